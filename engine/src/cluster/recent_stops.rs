//! Which units were launched until a moment ago.
//!
//! Owns the memory that fleet's API needs for one command: `fleetctl restart` asks for `loaded` and then looks, four
//! times a second, for `launched`: it means the state before the stop, and waits for ever once it has missed it.
//! fleetd was slow enough to show it. So the old state is shown for a moment after the stop.
//!
//! Each daemon remembers what its own view saw end, so that whichever of them is asked knows of a stop, whoever wanted
//! it, and no clocks are compared. Nothing is stored: after a restart of the daemon there is no moment to bridge. A
//! pure table; time comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::unit::UnitName;

/// The time in which a unit that has stopped is shown as launched, to everybody. fleetctl's first look comes 250 ms after its
/// request, and with `--block-attempts=1` its `stop` waits for 2 s: one second leaves room on either side.
pub const SHOWN_TO_ALL: Duration = Duration::from_secs(1);

/// The time in which it is shown once more where nobody has looked in that moment: a client or a line that was held up. Later than
/// that whoever looks wants to know what is, not what was.
pub const SHOWN_ONCE: Duration = Duration::from_secs(10);

/// Most units remembered; whatever stops thousands of units at a time is not fleetctl, which restarts one by one.
const MAX_STOPS: usize = 1_000;

/// The memory.
#[derive(Debug, Default)]
pub struct RecentStops(BTreeMap<UnitName, Stop>);

#[derive(Debug, Clone, Copy)]
struct Stop {
    at: Duration,
    shown: bool,
}

impl RecentStops {
    /// A unit has gone from launched to loaded.
    pub fn record_stop(&mut self, unit: &UnitName, now: Duration) {
        if self.0.len() >= MAX_STOPS {
            self.0.retain(|_, stop| now.saturating_sub(stop.at) < SHOWN_ONCE);
        }
        if self.0.len() < MAX_STOPS {
            self.0.insert(unit.clone(), Stop { at: now, shown: false });
        }
    }

    /// True if a unit that has stopped is to be shown as launched, to somebody who asks now.
    pub fn shows_launched(&mut self, unit: &UnitName, now: Duration) -> bool {
        let Some(stop) = self.0.get_mut(unit) else { return false };
        let age = now.saturating_sub(stop.at);
        if age < SHOWN_TO_ALL || (!stop.shown && age < SHOWN_ONCE) {
            stop.shown = true;
            return true;
        }
        self.0.remove(unit);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> UnitName {
        "a.service".parse().unwrap()
    }

    #[test]
    fn the_old_state_is_told_for_a_moment_and_no_longer() {
        let mut stops = RecentStops::default();
        let began = Duration::from_secs(100);
        assert!(!stops.shows_launched(&unit(), began), "it never ran");
        stops.record_stop(&unit(), began);
        assert!(stops.shows_launched(&unit(), began + Duration::from_millis(250)));
        assert!(stops.shows_launched(&unit(), began + Duration::from_millis(999)));
        assert!(!stops.shows_launched(&unit(), began + SHOWN_TO_ALL));
        assert!(!stops.shows_launched(&unit(), began + SHOWN_TO_ALL));
    }

    #[test]
    fn a_client_that_was_held_up_sees_it_once() {
        let mut stops = RecentStops::default();
        let began = Duration::from_secs(100);
        stops.record_stop(&unit(), began);
        assert!(stops.shows_launched(&unit(), began + Duration::from_secs(5)));
        assert!(!stops.shows_launched(&unit(), began + Duration::from_secs(5)));
        stops.record_stop(&unit(), began);
        assert!(!stops.shows_launched(&unit(), began + SHOWN_ONCE), "too late to be of use");
    }

    #[test]
    fn a_flood_of_stops_does_not_grow_without_end() {
        let mut stops = RecentStops::default();
        let began = Duration::from_secs(100);
        for number in 0..2 * MAX_STOPS {
            stops.record_stop(&format!("a{number}.service").parse().unwrap(), began);
        }
        assert_eq!(stops.0.len(), MAX_STOPS);
        stops.record_stop(&unit(), began + SHOWN_ONCE);
        assert!(stops.shows_launched(&unit(), began + SHOWN_ONCE), "what is old makes room");
    }
}
