//! When a loss is too large to act on.
//!
//! Owns the rule that mass loss does not evict in mass: when half of the machines or more vanish together, it is more
//! likely that the network or this leader is at fault than that they all died, and starting their units a second
//! time on the few that are left would be the greater harm. It reads no clock: `now` is any monotonic time the
//! caller keeps. It never decides where units go: the scheduler is told which machines are held
//! ([`crate::schedule::Scheduler::hold`]).
//!
//! A clean shutdown gives a machine's units up before it goes, so a machine that leaves without any placement is
//! reported with [`Freeze::left`] and counts as no loss.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::machine::MachineId;

/// Fewest machines that make a mass loss. One is never mass: a cluster of two must fail over when it loses one.
const LEAST: usize = 2;

/// Which machines vanished together, and whether that was too many.
#[derive(Debug, Clone)]
pub struct Freeze {
    window: Duration,
    live: BTreeSet<MachineId>,
    lost: BTreeMap<MachineId, Duration>,
    held: BTreeSet<MachineId>,
}

impl Freeze {
    /// Nothing lost, nothing held. `window` is the lease's TTL: machines cut off by one fault lose their leases
    /// within one TTL of each other.
    pub fn new(window: Duration) -> Self {
        Self { window, live: BTreeSet::new(), lost: BTreeMap::new(), held: BTreeSet::new() }
    }

    /// A new leader looks around: `live` machines are registered, `placed` ones have placements. It did not see the
    /// others go, so half or more of those with placements missing is a mass loss, however long ago it was.
    pub fn take_over(
        &mut self,
        live: BTreeSet<MachineId>,
        placed: &BTreeSet<MachineId>,
        now: Duration,
    ) {
        let absent: BTreeSet<MachineId> = placed.difference(&live).cloned().collect();
        self.live = live;
        self.held.clear();
        self.lost = absent.iter().map(|machine| (machine.clone(), now)).collect();
        if absent.len() >= LEAST && absent.len() * 2 >= placed.len() {
            self.held = absent;
        }
    }

    /// A machine's lease is gone, and units are still placed on it.
    pub fn gone(&mut self, machine: MachineId, now: Duration) {
        self.live.remove(&machine);
        self.lost.retain(|_, at| now.saturating_sub(*at) <= self.window);
        self.lost.insert(machine.clone(), now);
        let before = self.live.len() + self.lost.len();
        if !self.held.is_empty() {
            // Frozen already: whatever else goes belongs to the same trouble.
            self.held.insert(machine);
        } else if self.lost.len() >= LEAST && self.lost.len() * 2 >= before {
            self.held = self.lost.keys().cloned().collect();
        }
    }

    /// A machine gave its units up and went.
    pub fn left(&mut self, machine: &MachineId) {
        self.live.remove(machine);
        self.lost.remove(machine);
        self.held.remove(machine);
    }

    /// A machine registered. The freeze ends when the last held machine is back.
    pub fn returned(&mut self, machine: MachineId) {
        self.lost.remove(&machine);
        self.held.remove(&machine);
        self.live.insert(machine);
    }

    /// A person has looked: go on without the missing machines.
    pub fn unfreeze(&mut self) {
        self.lost.clear();
        self.held.clear();
    }

    /// Machines whose units stay where they are; empty when nothing is frozen.
    pub fn held(&self) -> &BTreeSet<MachineId> {
        &self.held
    }

    /// Whether re-placement is frozen.
    pub fn is_frozen(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn ids(names: &str) -> BTreeSet<MachineId> {
        names.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn cluster(names: &str) -> Freeze {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids(names), &ids(names), Duration::ZERO);
        freeze
    }

    fn lose(freeze: &mut Freeze, name: &str, second: u64) {
        freeze.gone(name.parse().unwrap(), Duration::from_secs(second));
    }

    #[test]
    fn one_loss_is_never_mass() {
        let mut two = cluster("a b");
        lose(&mut two, "b", 1);
        assert!(!two.is_frozen());
    }

    #[test]
    fn half_lost_within_a_ttl_freezes_and_later_losses_join() {
        let mut four = cluster("a b c d");
        lose(&mut four, "a", 1);
        assert!(!four.is_frozen());
        lose(&mut four, "b", 9);
        assert_eq!(four.held(), &ids("a b"));
        lose(&mut four, "c", 60);
        assert_eq!(four.held(), &ids("a b c"));
    }

    #[test]
    fn losses_far_apart_do_not_add_up() {
        let mut four = cluster("a b c d");
        lose(&mut four, "a", 1);
        lose(&mut four, "b", 12);
        assert!(!four.is_frozen());
    }

    #[test]
    fn fewer_than_half_moves_at_once() {
        let mut five = cluster("a b c d e");
        lose(&mut five, "a", 1);
        lose(&mut five, "b", 1);
        assert!(!five.is_frozen());
    }

    #[test]
    fn it_ends_when_all_are_back_or_a_person_says_so() {
        let mut three = cluster("a b c");
        lose(&mut three, "a", 1);
        lose(&mut three, "b", 2);
        three.returned("a".parse().unwrap());
        assert_eq!(three.held(), &ids("b"));
        three.returned("b".parse().unwrap());
        assert!(!three.is_frozen());
        lose(&mut three, "a", 30);
        lose(&mut three, "b", 31);
        three.unfreeze();
        assert!(!three.is_frozen());
    }

    #[test]
    fn a_clean_departure_is_no_loss() {
        let mut four = cluster("a b c d");
        four.left(&"a".parse().unwrap());
        lose(&mut four, "b", 1);
        assert!(!four.is_frozen());
    }

    #[test]
    fn a_new_leader_freezes_what_it_finds_missing() {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids("a"), &ids("a b c"), Duration::from_secs(5));
        assert_eq!(freeze.held(), &ids("b c"));
        freeze.take_over(ids("a"), &ids("a b"), Duration::from_secs(5));
        assert!(!freeze.is_frozen());
    }
}
