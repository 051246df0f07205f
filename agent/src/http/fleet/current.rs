//! `currentState`: how far a unit has come, in fleet's sense.
//!
//! Owns the difference between what Muster knows and what fleetctl waits for. Pure.
//!
//! | wanted | carried out | told |
//! | --- | --- | --- |
//! | launched | launched, but an earlier request | `loaded`, until it has started anew |
//! | loaded | loaded, a moment ago still launched | `launched`; see [`muster_engine::cluster::recent_stops`] |
//! | else | | what has been carried out |

use muster_common::snapshot::{self, Snapshot, Unit};
use muster_common::state::DesiredState;

use muster_engine::cluster::lists;

/// How far a unit has come, for lists.
pub(super) fn current(snapshot: &Snapshot, unit: &Unit) -> DesiredState {
    let current = lists::current_state(snapshot, &unit.name);
    if unit.desired == DesiredState::Launched && is_behind(snapshot, unit) {
        return current.min(DesiredState::Loaded);
    }
    current
}

/// The same for whoever waits for one unit. `was_launched` is asked only where it matters.
pub(super) fn awaited(
    current: DesiredState,
    desired: DesiredState,
    was_launched: impl FnOnce() -> bool,
) -> DesiredState {
    let stopped = desired == DesiredState::Loaded && current == DesiredState::Loaded;
    if stopped && was_launched() { DesiredState::Launched } else { current }
}

/// Whether a machine has yet to carry out the last request to start the unit.
fn is_behind(snapshot: &Snapshot, unit: &Unit) -> bool {
    let Some(places) = snapshot.places.get(&unit.name) else { return false };
    let states = snapshot.states.get(&unit.name);
    snapshot::homes(places).any(|(machine, _)| {
        let state = states.and_then(|states| states.get(machine));
        state.is_some_and(|state| state.generation < unit.generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unit_that_was_stopped_is_told_as_it_was() {
        use DesiredState::{Inactive, Launched, Loaded};
        assert_eq!(awaited(Loaded, Loaded, || true), Launched);
        assert_eq!(awaited(Loaded, Loaded, || false), Loaded);
        for (current, desired) in
            [(Loaded, Launched), (Loaded, Inactive), (Inactive, Loaded), (Launched, Loaded)]
        {
            assert_eq!(awaited(current, desired, || panic!("it does not matter")), current);
        }
    }
}
