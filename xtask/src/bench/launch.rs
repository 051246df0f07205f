//! From the command to running units: one, and many at once.

use std::time::Duration;

use anyhow::{Context, Result};
use muster_tests::lab::Lab;

use super::cluster::{clear_raw, clear_units, launch_raw, launch_units};
use super::figure::{Figure, FigureLimit, Spread};

/// One unit after the other on a cluster that has nothing else to do.
pub(crate) fn measure_one(lab: &Lab, repetitions: usize) -> Result<Figure> {
    let (mut muster, mut returned, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=repetitions {
        let took = launch_units(lab, number, number)?;
        muster.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        raw.push(launch_raw(lab, 1)?.as_secs_f64());
        clear_raw(lab)?;
    }
    clear_units(lab, 1, repetitions)?;
    let (must, aim) = (Some(FigureLimit::AtMost(0.15)), Some(FigureLimit::AtMost(0.08)));
    launch_figure("one unit, from the command to active", muster, &returned, raw, must, aim)
}

/// Many at once; `meanwhile` is done while the last of them run.
pub(crate) fn measure_many(
    lab: &Lab,
    count: usize,
    repetitions: usize,
    mut meanwhile: impl FnMut() -> Result<()>,
) -> Result<Figure> {
    let (mut muster, mut returned, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for repetition in 1..=repetitions {
        raw.push(launch_raw(lab, count)?.as_secs_f64());
        clear_raw(lab)?;
        let took = launch_units(lab, 1, count)?;
        muster.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        if repetition == repetitions {
            meanwhile()?;
        }
        clear_units(lab, 1, count)?;
    }
    let what = format!("{count} instances, all active");
    let (must, aim) = (Some(FigureLimit::TimesRaw(2.0)), Some(FigureLimit::TimesRaw(1.3)));
    launch_figure(&what, muster, &returned, raw, must, aim)
}

fn launch_figure(
    what: &str,
    muster: Vec<f64>,
    returned: &[f64],
    raw: Vec<f64>,
    must: Option<FigureLimit>,
    aim: Option<FigureLimit>,
) -> Result<Figure> {
    let blocking = Spread::from_values(returned.to_vec()).context("nothing was measured")?;
    let blocking = Duration::from_secs_f64(blocking.median);
    Ok(Figure {
        what: what.to_owned(),
        unit: "s",
        raw: Spread::from_values(raw),
        muster: Spread::from_values(muster).context("nothing was measured")?,
        must,
        aim,
        notes: vec![format!("the command returned after {} ms (median)", blocking.as_millis())],
    })
}
