//! What may not run twice does not, as far as its machines can help it.

use std::collections::BTreeMap;

use muster_common::unit::UnitName;

use super::Findings;
use crate::conditions::RETURN;
use crate::fact_entries::Condition;
use crate::facts::Facts;

/// True for a unit that may not run twice.
pub(crate) fn is_single(unit: &UnitName) -> bool {
    ["single", "keeper", "job"].iter().any(|kind| unit.as_str().starts_with(kind))
}

/// Checks a unit that is about to run on a machine. `up` are the other machines on which something of it is left.
pub(crate) fn check_single(
    facts: &Facts,
    machine: &str,
    unit: &UnitName,
    up: &BTreeMap<String, String>,
) -> Findings {
    if !is_single(unit) {
        return Findings::new();
    }
    // Where a backup was put back, what has moved since it was made has two homes until the machines have heard of it.
    if facts.was_restored_within(crate::moment::Micros::from_secs(60)) {
        return Findings::new();
    }
    // One that is cut off carries out what it was told before, a restart that systemd has not come to yet included: it cannot know.
    // So does one whose line has come back a moment ago.
    let is_heard_of =
        |condition: &Condition| condition.is_well && condition.since + RETURN <= facts.now;
    if facts.machines.get(machine).is_some_and(|condition| !is_heard_of(condition)) {
        return Findings::new();
    }
    let long = crate::moment::Micros::from_secs(30);
    // One that has said goodbye is waited for until all on it has ended, for as long as it is heard and has its lease.
    let is_heard = |condition: &Condition| {
        condition.silent_since.is_none()
            && condition.heard_since + long <= facts.now
            && condition.set_back.is_none_or(|at| at + long <= facts.now)
    };
    // One that has booted since is back, and has its time to hear what has moved.
    let is_leaving =
        |condition: &Condition| condition.has_left && condition.parting_since.is_some();
    let helped = |other: &&String| {
        let condition = facts.machines.get(*other);
        condition.is_some_and(|it| it.is_well || is_leaving(it) && is_heard(it))
    };
    let others: Vec<&String> = up.keys().filter(helped).collect();
    if others.is_empty() || !facts.store_sound_for(crate::moment::Micros::from_secs(30)) {
        return Findings::new();
    }
    let calm = others.iter().all(|other| {
        facts
            .machines
            .get(*other)
            .is_some_and(|condition| is_leaving(condition) || condition.since + long <= facts.now)
    });
    if !calm {
        return Findings::new();
    }
    vec![("runs-twice", format!("{unit} runs on {machine} while it runs on {others:?}"))]
}
