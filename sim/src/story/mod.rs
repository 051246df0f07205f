//! A violation as a story that can be read by somebody who knows Muster and not the simulator.
//!
//! Owns the text: what went wrong and which promise that breaks, the cluster, and a time line of who did what.

mod promises;
mod time_line;
mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::plan::Plan;
use crate::plan::shape::Shape;
use crate::run::RunOutcome;

/// Tells how a run came to its violation.
pub fn tell_story(plan: &Plan, outcome: &RunOutcome) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = write_story(&mut text, plan, outcome);
    text
}

fn write_story(text: &mut String, plan: &Plan, outcome: &RunOutcome) -> std::fmt::Result {
    for violation in &outcome.violations {
        writeln!(text, "{} at {} s", violation.word, violation.at)?;
        writeln!(text, "  {}", words::shorten_line(&violation.text))?;
        if let Some(promise) = promises::broken_promise(violation.word) {
            writeln!(text, "  It breaks: {promise}.")?;
        }
    }
    if outcome.violations.is_empty() {
        writeln!(text, "nothing went wrong")?;
    }
    writeln!(text, "\nThe cluster (seed {}, made smaller)", plan.seed)?;
    writeln!(text, "  {}", describe_cluster(&plan.shape))?;
    let units = named_units(plan, outcome);
    for unit in plan.shape.units.iter().filter(|unit| units.contains(unit.name.as_str())) {
        writeln!(text, "  {}: {}", unit.name, words::describe_kind(&unit.kind))?;
    }
    writeln!(
        text,
        "\nWhat happened, in seconds (* what was planned; + a record is written, - it is removed)"
    )?;
    for line in time_line::describe_events(plan, outcome) {
        writeln!(text, "{line}")?;
    }
    Ok(())
}

fn describe_cluster(shape: &Shape) -> String {
    let mut text = format!(
        "{} machines, m0 to m{}; one that is silent for {} s is lost; a message takes up to {} s",
        shape.machines,
        shape.machines.saturating_sub(1),
        shape.ttl_seconds,
        shape.latency
    );
    for (machine, drift) in shape.drifts.iter().enumerate().filter(|(_, drift)| **drift != 0) {
        let way = if *drift > 0 { "fast" } else { "slow" };
        let _ = write!(text, "; the clock of m{machine} is {} ppm {way}", drift.unsigned_abs());
    }
    for (share, what) in [(shape.slow_per_mille, "take seconds"), (shape.failing_per_mille, "fail")]
    {
        if share > 0 {
            let _ = write!(text, "; {share} of 1,000 starts {what}");
        }
    }
    text
}

/// The units that are asked for, or that the violation is about.
fn named_units(plan: &Plan, outcome: &RunOutcome) -> BTreeSet<String> {
    let asked = plan.requests.iter().filter_map(|planned| words::unit_of(&planned.request, plan));
    let about = outcome.violations.iter().flat_map(|violation| {
        let units = plan.shape.units.iter().map(|unit| unit.name.to_string());
        units.filter(|unit| violation.text.contains(unit.as_str()))
    });
    asked.chain(about).collect()
}

#[cfg(test)]
mod tests {
    use muster_common::probe;

    use super::*;
    use crate::run::run_plan;
    use crate::shrink::shrink_plan;

    #[test]
    fn a_story_says_what_went_wrong_who_did_what_and_which_promise_is_broken() {
        probe::plant_fault(Some("placed-without-unit"));
        let plan = Plan::for_seed(1);
        let outcome = run_plan(&plan, false);
        let (small, _) = shrink_plan(&plan, "placed-without-unit");
        let story = tell_story(&small, &run_plan(&small, true));
        probe::plant_fault(None);
        assert_eq!(outcome.violations[0].word, "placed-without-unit");
        assert_eq!((small.faults.len(), small.requests.len()), (0, 1), "{story}");
        for part in ["placed-without-unit at ", "It breaks: ", "* a user ", "* VIOLATION "] {
            assert!(story.contains(part), "{part}:\n{story}");
        }
        assert!(!story.contains("/muster/v1/"), "{story}");
        assert!(story.lines().count() < 60, "{story}");
    }
}
