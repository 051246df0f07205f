//! What was promised to a user stays.

use muster_store::KeyChange;

use super::Findings;
use crate::facts::Facts;
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
pub(crate) fn check_unit(facts: &Facts, unit: &muster_common::unit::UnitName) -> Findings {
    let promised = facts.promises.get(unit).and_then(|promise| promise.settled_word());
    let is = facts.wanted_unit(unit);
    match promised {
        Some(word) if *word != is => {
            let text = format!("of {unit} was promised {word:?}, and it is {is:?}");
            vec![("promise-broken", text)]
        }
        _ => Findings::new(),
    }
}
