//! What a list of a large cluster costs a person: the whole command.

use anyhow::{Context, Result};
use muster_tests::lab::Lab;

use super::cluster::run_command;
use super::figure::{Figure, FigureLimit, Spread};

/// Both lists; the raw limit is a command that asks nobody.
pub(crate) fn measure_lists(lab: &Lab, units: usize, repetitions: usize) -> Result<Vec<Figure>> {
    let host = lab.host(1)?;
    let measure = |line: &str| -> Result<Spread> {
        let mut times = Vec::new();
        for _ in 0..repetitions {
            times.push(run_command(host, line)?.took.as_secs_f64() * 1000.0);
        }
        Spread::from_values(times).context("nothing was measured")
    };
    ["list-units", "list-unit-files"]
        .into_iter()
        .map(|list| {
            let shown = run_command(host, &format!("musterctl {list} --no-legend"))?.stdout;
            Ok(Figure {
                what: format!("{list} with {units} units, whole command"),
                unit: "ms",
                raw: Some(measure("musterctl --version")?),
                muster: measure(&format!("musterctl {list}"))?,
                must: Some(FigureLimit::AtMost(50.0)),
                aim: Some(FigureLimit::AtMost(15.0)),
                notes: vec![format!("{} lines", shown.lines().count())],
            })
        })
        .collect()
}
