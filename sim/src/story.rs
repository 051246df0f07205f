//! A violation as a story that can be read.
//!
//! Owns the text: the cluster, what went wrong and what was asked for, and the time line of what happened last.

use std::fmt::Write as _;

use crate::plan::Plan;
use crate::run::RunOutcome;

/// Lines of the time line.
const LINES: usize = 60;

/// Tells how a run came to its violation.
pub fn tell_story(plan: &Plan, outcome: &RunOutcome) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = write_story(&mut text, plan, outcome);
    text
}

fn write_story(text: &mut String, plan: &Plan, outcome: &RunOutcome) -> std::fmt::Result {
    let shape = &plan.shape;
    writeln!(
        text,
        "seed {}: {} machines, ttl {} s, latency up to {} s, {} units",
        plan.seed,
        shape.machines,
        shape.ttl_seconds,
        shape.latency,
        shape.units.len()
    )?;
    for violation in &outcome.violations {
        writeln!(text, "{} {}: {}", violation.at, violation.word, violation.text)?;
    }
    writeln!(text, "faults:")?;
    for fault in &plan.faults {
        writeln!(text, "  {} {:?} for {}", fault.at, fault.fault, fault.lasts)?;
    }
    writeln!(text, "requests:")?;
    for request in &plan.requests {
        writeln!(text, "  {} {:?}", request.at, request.request)?;
    }
    writeln!(text, "time line, its end:")?;
    let lines = outcome.trace.lines();
    for (at, line) in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        writeln!(text, "  {at} {line}")?;
    }
    Ok(())
}
