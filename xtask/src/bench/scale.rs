//! A large cluster on one machine: the measurement of its own program, taken over into the table.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::figure::{Figure, FigureLimit, Spread, format_table};
use crate::shell::{cargo_command, program_command};

/// A line of the program `scale`.
#[derive(Debug, Deserialize)]
struct ScaleLine {
    what: String,
    unit: String,
    values: Vec<f64>,
    raw: Vec<f64>,
    notes: Vec<String>,
}

/// Measures 1,000 agents and 10,000 units with the `musterd` of a directory.
pub(crate) fn measure_scale(binaries: &Path, is_quick: bool) -> Result<Vec<Figure>> {
    let musterd = binaries.join("musterd");
    let musterd = musterd.canonicalize().with_context(|| format!("no {}", musterd.display()))?;
    let mut arguments = ["run", "--quiet", "--release", "--package", "muster-doubles"]
        .map(ToOwned::to_owned)
        .to_vec();
    arguments.extend(["--example", "scale", "--", "--musterd"].map(ToOwned::to_owned));
    arguments.push(musterd.display().to_string());
    if is_quick {
        arguments.push("--quick".to_owned());
    }
    let output = bound_to_us(&cargo_command(&arguments)).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout).context("scale printed what is no text")?;
    let figures: Vec<Figure> = text.lines().map(read_figure).collect::<Result<_>>()?;
    if !output.status.success() {
        // What was measured until then is worth as much as before.
        eprint!("{}", format_table(&figures, &[]));
        bail!("the measurement broke off: {}", output.status);
    }
    Ok(figures)
}

fn read_figure(line: &str) -> Result<Figure> {
    let line: ScaleLine =
        serde_json::from_str(line).with_context(|| format!("scale printed {line}"))?;
    Ok(Figure {
        unit: unit_of(&line.unit),
        raw: Spread::from_values(line.raw),
        muster: Spread::from_values(line.values).context("a figure without values")?,
        must: None,
        aim: aim_of(&line.what),
        notes: line.notes,
        what: line.what,
    })
}

/// The same command, which the kernel asks to end when this program does, however that comes: it has etcd and daemons to end.
fn bound_to_us(command: &Command) -> Command {
    let mut bound = program_command("setpriv", &["--pdeathsig", "TERM"]);
    bound.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// The units that the program knows.
fn unit_of(word: &str) -> &'static str {
    ["s", "/s", "%", "MiB"].into_iter().find(|unit| *unit == word).unwrap_or("units")
}

/// What a figure should be.
fn aim_of(what: &str) -> Option<FigureLimit> {
    if what.ends_with(": placed") {
        // Ten thousand units are placed while a person looks up.
        return Some(FigureLimit::AtLeast(5000.0));
    }
    let bounds = [
        // A lost machine costs as much as in a cluster of three: the rest of its lease, and a plan.
        ("one machine lost", 10.0),
        ("more than half of the machines lost and back: units moved", 0.0),
        ("every agent anew at once: units moved", 0.0),
    ];
    bounds
        .iter()
        .find(|(start, _)| what.starts_with(start))
        .map(|(_, most)| FigureLimit::AtMost(*most))
}
