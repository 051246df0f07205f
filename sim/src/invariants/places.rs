//! What is placed where: nothing twice, no two that conflict on one machine.

use std::collections::BTreeMap;

use muster_store::KeyChange;

use super::Findings;
use crate::facts::{Facts, parse_place};
use crate::machine::PREFIX;

/// Checks the placements after some of them have changed.
pub(crate) fn check_places(facts: &Facts, changes: &[KeyChange]) -> Findings {
    let of_places =
        |change: &KeyChange| change.key().strip_prefix(PREFIX).and_then(parse_place).is_some();
    if !changes.iter().any(of_places) {
        return Findings::new();
    }
    let mut found = Findings::new();
    let mut spread: BTreeMap<String, u32> = BTreeMap::new();
    for (unit, homes) in facts.current_places() {
        let name = unit.as_str();
        if name.starts_with("spread@") {
            for machine in homes.keys() {
                *spread.entry(machine.clone()).or_default() += 1;
            }
        }
        // Two are right while it moves from a machine that is drained, and then the newer says so.
        let moving = homes.keys().any(|machine| facts.was_cordoned(machine));
        if homes.len() > 1 && !name.starts_with("global") && !moving {
            let homes: Vec<&String> = homes.keys().collect();
            found.push(("placed-twice", format!("{unit} is placed on {homes:?}")));
        }
    }
    for (machine, _) in spread.into_iter().filter(|(_, count)| *count > 1) {
        found.push(("conflict-together", format!("two that conflict are placed on {machine}")));
    }
    found
}
