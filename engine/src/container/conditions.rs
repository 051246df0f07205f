//! What follows from a unit's conditions and assertions.
//!
//! Owns systemd's rule (systemd.unit(5)): every condition has to hold that is not marked `|`, and of those that are, one;
//! if not, a start comes to nothing, which is no failure. Assertions likewise, and without them a start fails. Conditions
//! come first. Whether each holds on this machine is passed in.

use muster_common::container::Condition;

/// The answer of a machine to one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionAnswer {
    /// It holds, its `!` taken into account.
    Yes,
    /// It does not.
    No,
    /// The machine cannot tell, for this reason.
    Unknown(String),
}

/// The consequence for a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartVerdict {
    /// It may go on.
    Start,
    /// It comes to nothing, for this reason.
    Skip(String),
    /// It fails, for this reason.
    Fail(String),
    /// It fails, since nobody knows: a unit is not run where it may not be meant to.
    Unknown(String),
}

/// Weighs a unit's conditions, each with what the machine says of it.
pub fn weigh_conditions(conditions: &[(&Condition, ConditionAnswer)]) -> StartVerdict {
    let unknown = conditions.iter().find_map(|(condition, holds)| match holds {
        ConditionAnswer::Unknown(problem) => {
            Some(format!("{condition} cannot be checked: {problem}"))
        }
        ConditionAnswer::Yes | ConditionAnswer::No => None,
    });
    if let Some(problem) = unknown {
        return StartVerdict::Unknown(problem);
    }
    if let Some(reason) = missed_condition(conditions, false) {
        return StartVerdict::Skip(reason);
    }
    match missed_condition(conditions, true) {
        Some(reason) => StartVerdict::Fail(reason),
        None => StartVerdict::Start,
    }
}

/// The condition of one side that does not hold, if there is one.
fn missed_condition(conditions: &[(&Condition, ConditionAnswer)], asserts: bool) -> Option<String> {
    let side = || conditions.iter().filter(move |(condition, _)| condition.asserts == asserts);
    let unmet =
        side().find(|(condition, holds)| !condition.triggers && *holds != ConditionAnswer::Yes);
    if let Some((condition, _)) = unmet {
        return Some(format!("{condition} was not met"));
    }
    let triggers: Vec<_> = side().filter(|(condition, _)| condition.triggers).collect();
    if triggers.is_empty() || triggers.iter().any(|(_, holds)| *holds == ConditionAnswer::Yes) {
        return None;
    }
    let names: Vec<_> = triggers.iter().map(|(condition, _)| condition.to_string()).collect();
    Some(match names.as_slice() {
        [one] => format!("{one} was not met"),
        several => format!("none of {} was met", several.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use muster_common::container::{HostFacts, Quadlet, read};

    use super::*;

    /// The verdict where exactly the conditions hold whose parameter has a `y` in it.
    fn verdict(lines: &str) -> StartVerdict {
        let file = format!("[Unit]\n{lines}\n[Container]\nImage=a\n").parse().unwrap();
        let Ok((Quadlet::Container(spec), _)) =
            read(&"web.container".parse().unwrap(), &file, &HostFacts::stand_in())
        else {
            panic!("{lines} is refused");
        };
        let holds = |condition: &Condition| match condition.parameter.as_str() {
            "?" => ConditionAnswer::Unknown("nobody knows".to_owned()),
            parameter if parameter.contains('y') != condition.negated => ConditionAnswer::Yes,
            _ => ConditionAnswer::No,
        };
        weigh_conditions(&spec.conditions.iter().map(|c| (c, holds(c))).collect::<Vec<_>>())
    }

    #[test]
    fn every_condition_has_to_hold_and_of_the_triggering_ones_one() {
        let skip = |reason: &str| StartVerdict::Skip(reason.to_owned());
        let table = [
            ("", StartVerdict::Start),
            ("ConditionPathExists=/y\nConditionHost=y", StartVerdict::Start),
            ("ConditionHost=y\nConditionUser=n", skip("ConditionUser=n was not met")),
            ("ConditionPathExists=!/y", skip("ConditionPathExists=!/y was not met")),
            ("ConditionPathExists=!/n", StartVerdict::Start),
            ("ConditionHost=|n\nConditionUser=|y", StartVerdict::Start),
            (
                "ConditionHost=|n\nConditionUser=|m",
                skip("none of ConditionHost=|n, ConditionUser=|m was met"),
            ),
            ("ConditionHost=|n\nConditionUser=y", skip("ConditionHost=|n was not met")),
            ("ConditionHost=|y\nConditionUser=n", skip("ConditionUser=n was not met")),
            ("ConditionHost=n\nConditionUser=", StartVerdict::Start),
        ];
        for (lines, expected) in table {
            assert_eq!(verdict(lines), expected, "{lines}");
        }
    }

    #[test]
    fn an_assertion_that_is_missed_is_a_failure_and_comes_second() {
        let fail = |reason: &str| StartVerdict::Fail(reason.to_owned());
        assert_eq!(verdict("AssertHost=y\nAssertUser=n"), fail("AssertUser=n was not met"));
        assert_eq!(
            verdict("AssertUser=n\nConditionHost=n"),
            StartVerdict::Skip("ConditionHost=n was not met".to_owned())
        );
        assert_eq!(verdict("AssertUser=|n\nAssertHost=|y\nConditionHost=|y"), StartVerdict::Start);
    }

    #[test]
    fn what_nobody_knows_lets_nothing_start() {
        assert_eq!(
            verdict("ConditionHost=y\nConditionVersion=?"),
            StartVerdict::Unknown("ConditionVersion=? cannot be checked: nobody knows".to_owned())
        );
    }
}
