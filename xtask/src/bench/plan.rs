//! Decisions by themselves, in process: the engine's own measurement, taken over into the table.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::figure::{Figure, FigureLimit, Spread};
use crate::shell::{cargo_command, read_output};

/// A line of `plan_speed`.
#[derive(Debug, Deserialize)]
struct PlanLine {
    what: String,
    runs: usize,
    median_s: f64,
    min_s: f64,
    max_s: f64,
}

pub(crate) fn measure_plan() -> Result<Vec<Figure>> {
    let arguments =
        ["run", "--quiet", "--release", "--package", "muster-engine", "--example", "plan_speed"];
    let lines = read_output(&mut cargo_command(&arguments))?;
    lines
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| {
            let line: PlanLine =
                serde_json::from_str(line).with_context(|| format!("plan_speed printed {line}"))?;
            let (must, aim) = plan_bounds(&line.what);
            Ok(Figure {
                unit: "ms",
                raw: None,
                muster: Spread {
                    median: line.median_s * 1000.0,
                    least: line.min_s * 1000.0,
                    most: line.max_s * 1000.0,
                    count: line.runs,
                    values: Vec::new(),
                },
                must: must.map(FigureLimit::AtMost),
                aim: aim.map(FigureLimit::AtMost),
                notes: Vec::new(),
                what: line.what,
            })
        })
        .collect()
}

/// The bounds that a figure must and should keep, in milliseconds; those that only inform have no bounds.
fn plan_bounds(what: &str) -> (Option<f64>, Option<f64>) {
    if what.contains("10,000 units") {
        (Some(50.0), Some(10.0))
    } else if what.starts_with("full plan, 5,000 machines") {
        (Some(500.0), Some(100.0))
    } else if what.starts_with("one unit") {
        (Some(5.0), Some(0.2))
    } else {
        (None, None)
    }
}
