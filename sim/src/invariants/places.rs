//! What is placed where: nothing twice, no two that conflict on one machine.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::unit::UnitName;
use muster_store::KeyChange;

use super::Findings;
use crate::facts::{Facts, parse_place};
use crate::machine::PREFIX;

/// Checks the placements after some of them have changed.
pub(crate) fn check_places(facts: &Facts, changes: &[KeyChange]) -> Findings {
    // What was there before is another commit's: that a move comes to its end once nothing is drained any more is seen when all is calm.
    let placed: BTreeSet<(String, UnitName)> = changes
        .iter()
        .filter(|change| matches!(change, KeyChange::Put(_)))
        .filter_map(|change| parse_place(change.key().strip_prefix(PREFIX)?))
        // A unit that is on the move is told at both homes of a change of its file.
        .filter(|(machine, unit)| !facts.was_placed_before(machine, unit))
        .map(|(machine, unit)| (machine.to_owned(), unit))
        .collect();
    if placed.is_empty() {
        return Findings::new();
    }
    let is_placed_now = |unit: &UnitName| placed.iter().any(|(_, placed)| placed == unit);
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
        if homes.len() > 1 && !name.starts_with("global") && !moving && is_placed_now(&unit) {
            let homes: Vec<&String> = homes.keys().collect();
            found.push(("placed-twice", format!("{unit} is placed on {homes:?}")));
        }
    }
    for (machine, _) in spread.into_iter().filter(|(machine, count)| {
        *count > 1
            && placed
                .iter()
                .any(|(home, unit)| home == machine && unit.as_str().starts_with("spread@"))
    }) {
        found.push(("conflict-together", format!("two that conflict are placed on {machine}")));
    }
    found
}
