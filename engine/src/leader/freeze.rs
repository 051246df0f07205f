//! When a loss is too large to act on.
//!
//! Owns the rule that mass loss does not evict in mass: when half of the machines or more vanish together, it is more
//! likely that the network or this leader is at fault than that they all died, and starting their units a second
//! time on the few that are left would be the greater harm. It reads no clock: `now` is any monotonic time the
//! caller keeps. It never decides where units go: the scheduler is told which machines are held
//! ([`crate::schedule::Scheduler::hold`]).
//!
//! Machines cut off at one moment do not lose their leases at one moment: each was last prolonged at another time. So
//! before the units of a lost machine move, the store is asked how much time the other machines' leases have left. One
//! that has not been prolonged when it should have been is *silent*, and counts with the lost until it is heard of.

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
    lost: BTreeMap<MachineId, Loss>,
    held: BTreeSet<MachineId>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    at: Duration,
    /// The others have been asked after since, and were not too many.
    alone: bool,
}

/// Whether a machine whose lease has `left` to live, of `granted`, has missed prolonging it. It is prolonged every third
/// of its time, so one that is well has two thirds left, less what a slow answer takes; one that vanished together with
/// a machine whose lease is over has a third left at the most.
pub fn is_silent(left: Duration, granted: Duration) -> bool {
    left * 2 < granted || granted.is_zero()
}

impl Freeze {
    /// Nothing lost, nothing held. `window` is the time within which losses count as one: machines cut off by one
    /// fault lose their leases within one TTL of each other.
    pub fn new(window: Duration) -> Self {
        Self { window, live: BTreeSet::new(), lost: BTreeMap::new(), held: BTreeSet::new() }
    }

    /// A new leader looks around: `live` machines are registered, `known` ones belong to the cluster. It did not see the
    /// others go, so all that are missing count as lost together, however long ago it was.
    pub fn take_over(
        &mut self,
        live: BTreeSet<MachineId>,
        known: &BTreeSet<MachineId>,
        now: Duration,
    ) {
        let loss = Loss { at: now, alone: false };
        self.lost = known.difference(&live).map(|machine| (machine.clone(), loss)).collect();
        self.live = live;
        self.held.clear();
        if self.is_mass(&BTreeSet::new()) {
            self.held = self.lost.keys().cloned().collect();
        }
    }

    /// A machine's lease is gone.
    pub fn gone(&mut self, machine: MachineId, now: Duration) {
        self.live.remove(&machine);
        self.forget(now);
        self.lost.insert(machine.clone(), Loss { at: now, alone: false });
        if !self.held.is_empty() {
            // Frozen already: whatever else goes belongs to the same trouble.
            self.held.insert(machine);
        } else if self.is_mass(&BTreeSet::new()) {
            self.held = self.lost.keys().cloned().collect();
        }
    }

    /// A machine took its leave and went: no loss.
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

    /// Whether the other machines are to be asked after before anything moves ([`Freeze::asked`]).
    pub fn is_unsure(&self) -> bool {
        self.held.is_empty() && self.lost.values().any(|loss| !loss.alone)
    }

    /// The other machines have been asked after; these are silent. The lost may be moved away from unless the silent ones
    /// would make them too many: then they wait until the silent ones are heard of, or are gone as well.
    pub fn asked(&mut self, silent: &BTreeSet<MachineId>) {
        if !self.is_mass(silent) {
            for loss in self.lost.values_mut() {
                loss.alone = true;
            }
        }
    }

    /// Forgets losses that are too long ago to belong together with the next. Returns when the next one is to be
    /// forgotten.
    pub fn forget(&mut self, now: Duration) -> Option<Duration> {
        let Self { window, lost, held, .. } = self;
        lost.retain(|machine, loss| {
            !loss.alone || held.contains(machine) || now.saturating_sub(loss.at) <= *window
        });
        let passing = lost.iter().filter(|(machine, loss)| loss.alone && !held.contains(*machine));
        passing.map(|(_, loss)| loss.at + *window).min()
    }

    /// Machines that belong to the cluster: those that are here, and those that are missed.
    pub fn members(&self) -> BTreeSet<MachineId> {
        self.live.iter().chain(self.lost.keys()).chain(&self.held).cloned().collect()
    }

    /// Machines whose units stay where they are until these return or a person decides; empty when nothing is frozen.
    pub fn held(&self) -> &BTreeSet<MachineId> {
        &self.held
    }

    /// Machines whose units stay where they are for now: the held ones, and the lost ones of which it is not known yet
    /// whether they were lost alone.
    pub fn waiting(&self) -> BTreeSet<MachineId> {
        let unsure = self.lost.iter().filter(|(_, loss)| !loss.alone);
        unsure.map(|(machine, _)| machine).chain(&self.held).cloned().collect()
    }

    /// Whether re-placement is frozen.
    pub fn is_frozen(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the lost, and those of the others that are silent, are too many.
    fn is_mass(&self, silent: &BTreeSet<MachineId>) -> bool {
        let missing = self.lost.len() + silent.intersection(&self.live).count();
        missing >= LEAST && missing * 2 >= self.live.len() + self.lost.len()
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

    /// A loss after which all others are heard of.
    fn lose(freeze: &mut Freeze, name: &str, second: u64) {
        freeze.gone(name.parse().unwrap(), Duration::from_secs(second));
        if freeze.is_unsure() {
            freeze.asked(&BTreeSet::new());
        }
    }

    #[test]
    fn one_loss_is_never_mass() {
        let mut two = cluster("a b");
        lose(&mut two, "b", 1);
        assert!(!two.is_frozen());
        assert!(two.waiting().is_empty());
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
        assert!(five.waiting().is_empty());
    }

    #[test]
    fn nothing_moves_before_the_others_have_been_asked_after() {
        let mut three = cluster("a b c");
        three.gone("a".parse().unwrap(), Duration::from_secs(1));
        assert!(three.is_unsure());
        assert_eq!(three.waiting(), ids("a"));
        assert!(!three.is_frozen());
        three.asked(&ids(""));
        assert!(three.waiting().is_empty());
    }

    #[test]
    fn a_silent_machine_counts_with_the_lost_until_it_is_heard_of() {
        let mut three = cluster("a b c");
        three.gone("a".parse().unwrap(), Duration::from_secs(1));
        three.asked(&ids("b"));
        assert!(three.is_unsure());
        assert_eq!(three.waiting(), ids("a"));
        let mut heard = three.clone();
        heard.asked(&ids(""));
        assert!(heard.waiting().is_empty());
        three.gone("b".parse().unwrap(), Duration::from_secs(3));
        assert_eq!(three.held(), &ids("a b"));
        assert!(!three.is_unsure());
    }

    #[test]
    fn a_silent_machine_among_many_holds_nothing_up() {
        let mut five = cluster("a b c d e");
        five.gone("a".parse().unwrap(), Duration::from_secs(1));
        five.asked(&ids("b"));
        assert!(five.waiting().is_empty());
    }

    #[test]
    fn a_lease_prolonged_when_it_should_be_is_not_silent() {
        let seconds = Duration::from_secs;
        // Of three seconds, prolonged every second, in whole seconds as etcd counts.
        assert!(!is_silent(seconds(2), seconds(3)));
        assert!(is_silent(seconds(1), seconds(3)));
        // Of six, prolonged every two.
        assert!(!is_silent(seconds(4), seconds(6)));
        assert!(!is_silent(seconds(3), seconds(6)));
        assert!(is_silent(seconds(2), seconds(6)));
        // It ended while it was asked after.
        assert!(is_silent(Duration::ZERO, Duration::ZERO));
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
        assert!(three.waiting().is_empty());
    }

    #[test]
    fn a_clean_departure_is_no_loss() {
        let mut four = cluster("a b c d");
        four.left(&"a".parse().unwrap());
        lose(&mut four, "b", 1);
        assert!(!four.is_frozen());
        assert_eq!(four.members(), ids("b c d"));
    }

    #[test]
    fn a_new_leader_freezes_what_it_finds_missing() {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids("a"), &ids("a b c"), Duration::from_secs(5));
        assert_eq!(freeze.held(), &ids("b c"));
        freeze.take_over(ids("a"), &ids("a b"), Duration::from_secs(5));
        assert!(!freeze.is_frozen());
        assert!(freeze.is_unsure());
    }

    #[test]
    fn a_new_leader_that_misses_one_asks_after_the_others() {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids("b c"), &ids("a b c"), Duration::ZERO);
        assert_eq!(freeze.waiting(), ids("a"));
        freeze.asked(&ids("c"));
        assert_eq!(freeze.waiting(), ids("a"));
        freeze.gone("c".parse().unwrap(), Duration::from_secs(1));
        assert_eq!(freeze.held(), &ids("a c"));
    }

    #[test]
    fn a_machine_belongs_to_the_cluster_while_its_loss_may_be_part_of_a_larger_one() {
        let mut three = cluster("a b c");
        lose(&mut three, "a", 1);
        assert_eq!(three.forget(Duration::from_secs(2)), Some(Duration::from_secs(11)));
        assert_eq!(three.members(), ids("a b c"));
        assert_eq!(three.forget(Duration::from_secs(12)), None);
        assert_eq!(three.members(), ids("b c"));
        // A held machine does for as long as it is held.
        lose(&mut three, "b", 20);
        lose(&mut three, "c", 21);
        assert_eq!(three.forget(Duration::from_secs(90)), None);
        assert_eq!(three.members(), ids("b c"));
    }
}
