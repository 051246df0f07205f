//! Which units were launched until a moment ago.
//!
//! Owns the memory that fleet's API needs for one command: `fleetctl restart` asks for `loaded` and then looks, four
//! times a second, for `launched`: it means the state before the stop, and waits for ever once it has missed it.
//! fleetd was slow enough to show it. So the old state is told for a moment after the stop.
//!
//! Each daemon remembers what its own view saw end, so that whichever of them is asked knows of a stop, whoever wanted
//! it, and no clocks are compared. Nothing is stored: after a restart of the daemon there is no moment to bridge. A
//! pure table; time comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::unit::UnitName;

/// How long a unit that has stopped is told as launched, to everybody. fleetctl's first look comes 250 ms after its
/// request, and with `--block-attempts=1` its `stop` waits for 2 s: one second leaves room on either side.
pub const MOMENT: Duration = Duration::from_secs(1);

/// How long it is told once more where nobody has looked in that moment: a client or a line that was held up. Later than
/// that whoever looks wants to know what is, not what was.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most units remembered; whatever stops thousands of units at a time is not fleetctl, which restarts one by one.
const MOST: usize = 1_000;

/// The memory.
#[derive(Debug, Default)]
pub struct Stops(BTreeMap<UnitName, Stop>);

#[derive(Debug, Clone, Copy)]
struct Stop {
    at: Duration,
    told: bool,
}

impl Stops {
    /// A unit has gone from launched to loaded.
    pub fn note(&mut self, unit: &UnitName, now: Duration) {
        if self.0.len() >= MOST {
            self.0.retain(|_, stop| now.saturating_sub(stop.at) < PATIENCE);
        }
        if self.0.len() < MOST {
            self.0.insert(unit.clone(), Stop { at: now, told: false });
        }
    }

    /// Whether a unit that has stopped is to be told as launched, to somebody who asks now.
    pub fn tell(&mut self, unit: &UnitName, now: Duration) -> bool {
        let Some(stop) = self.0.get_mut(unit) else { return false };
        let age = now.saturating_sub(stop.at);
        if age < MOMENT || (!stop.told && age < PATIENCE) {
            stop.told = true;
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
        let mut stops = Stops::default();
        let began = Duration::from_secs(100);
        assert!(!stops.tell(&unit(), began), "it never ran");
        stops.note(&unit(), began);
        assert!(stops.tell(&unit(), began + Duration::from_millis(250)));
        assert!(stops.tell(&unit(), began + Duration::from_millis(999)));
        assert!(!stops.tell(&unit(), began + MOMENT));
        assert!(!stops.tell(&unit(), began + MOMENT));
    }

    #[test]
    fn a_client_that_was_held_up_sees_it_once() {
        let mut stops = Stops::default();
        let began = Duration::from_secs(100);
        stops.note(&unit(), began);
        assert!(stops.tell(&unit(), began + Duration::from_secs(5)));
        assert!(!stops.tell(&unit(), began + Duration::from_secs(5)));
        stops.note(&unit(), began);
        assert!(!stops.tell(&unit(), began + PATIENCE), "too late to be of use");
    }

    #[test]
    fn a_flood_of_stops_does_not_grow_without_end() {
        let mut stops = Stops::default();
        let began = Duration::from_secs(100);
        for number in 0..2 * MOST {
            stops.note(&format!("a{number}.service").parse().unwrap(), began);
        }
        assert_eq!(stops.0.len(), MOST);
        stops.note(&unit(), began + PATIENCE);
        assert!(stops.tell(&unit(), began + PATIENCE), "what is old makes room");
    }
}
