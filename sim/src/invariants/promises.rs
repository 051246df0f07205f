//! What was promised to a user is in the store, and stays.

use muster_store::KeyChange;

use muster_common::unit::UnitName;

use super::Findings;
use crate::facts::{Facts, PromisedUnit, UserAnswer, WantedUnit, decode_wanted};
use crate::machine::PREFIX;

/// Checks the records of units that have changed against what users were promised.
pub(crate) fn check_promises(facts: &Facts, changes: &[KeyChange]) -> Findings {
    let mut found = Findings::new();
    for change in changes {
        let unit = change.key().strip_prefix(PREFIX).and_then(|key| key.strip_prefix("unit/"));
        let Some(unit) = unit.and_then(|unit| unit.parse().ok()) else { continue };
        found.extend(check_unit(facts, &unit));
    }
    found
}

/// Checks one unit's record.
pub(crate) fn check_unit(facts: &Facts, unit: &UnitName) -> Findings {
    // Whoever writes by hand keeps nobody's promise.
    if facts.is_by_hand(unit) {
        return Findings::new();
    }
    let promised = facts.promises.get(unit).and_then(|promise| promise.settled_word());
    let is = facts.wanted_unit(unit);
    match promised {
        Some(word) if !is_kept(word.as_ref(), is.as_ref()) => {
            let text = format!("of {unit} was promised {word:?}, and it is {is:?}");
            vec![("promise-broken", text)]
        }
        _ => Findings::new(),
    }
}

fn is_kept(word: Option<&PromisedUnit>, is: Option<&WantedUnit>) -> bool {
    match (word, is) {
        (Some(word), Some(is)) => word.is_kept_by(is),
        (None, None) => true,
        _ => false,
    }
}

/// Checks that what a user is told of a unit was in the store at that revision, whatever others have made of it since.
pub(crate) fn check_answer(facts: &Facts, unit: &UnitName, answer: &UserAnswer) -> Findings {
    let UserAnswer::Promised { revision, word, is_written } = answer else {
        return Findings::new();
    };
    let key = format!("unit/{unit}");
    let mut until_then = facts.changes_of(unit).iter();
    let last = until_then.rfind(|change| change.key == key && change.revision <= *revision);
    let is = last.and_then(|change| change.value.as_ref()).and_then(|value| decode_wanted(value));
    let is_written_then = last.is_some_and(|change| change.revision == *revision);
    if is_kept(word.as_ref(), is.as_ref()) && (is_written_then || !is_written) {
        return Findings::new();
    }
    let text = format!("of {unit} is said {word:?} at revision {revision}, and it is {last:?}");
    vec![("answer-untrue", text)]
}
