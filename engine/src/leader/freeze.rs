//! When a loss is too large to act on.
//!
//! Owns the rule that mass loss does not evict in mass: when half of the machines or more vanish together, it is more
//! likely that the network or this leader is at fault than that they all died, and starting their units a second
//! time on the few that are left would be the greater harm. It reads no clock: `now` is any monotonic time the
//! caller keeps. It never decides where units go: the scheduler is told which machines are held
//! ([`crate::schedule::Scheduler::hold_machines`]).
//!
//! Machines cut off at one moment do not lose their leases at one moment: each was last prolonged at another time. So
//! before the units of a lost machine move, the store is asked how much time the other machines' leases have left. One
//! that has not been prolonged when it should have been is *silent*, and counts with the lost until it is heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::machine::MachineId;

/// Fewest machines that make a mass loss. One is never mass: a cluster of two must fail over when it loses one.
const LEAST: usize = 2;

/// Machines that vanished together, and the verdict on whether those were too many.
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

/// True if a machine whose lease has `left` to live, of `granted`, has missed prolonging it. A lease is prolonged every third
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

    /// Begins with what a new leader finds: `live` machines are registered, `known` ones belong to the cluster. It did not see
    /// the others go, so all that are missing count as lost together, however long ago it was.
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
        if self.is_mass_loss(&BTreeSet::new()) {
            self.held = self.lost.keys().cloned().collect();
        }
        self.check_invariants();
    }

    /// Notes that a machine's lease is gone.
    pub fn on_machine_lost(&mut self, machine: MachineId, now: Duration) {
        self.live.remove(&machine);
        self.forget_old_losses(now);
        self.lost.insert(machine.clone(), Loss { at: now, alone: false });
        if !self.held.is_empty() {
            // Frozen already: whatever else goes belongs to the same trouble.
            self.held.insert(machine);
        } else if self.is_mass_loss(&BTreeSet::new()) {
            self.held = self.lost.keys().cloned().collect();
        }
        self.check_invariants();
    }

    /// Notes that a machine took its leave and went: no loss.
    pub fn on_machine_left(&mut self, machine: &MachineId) {
        self.live.remove(machine);
        self.lost.remove(machine);
        self.held.remove(machine);
        self.check_invariants();
    }

    /// Notes that a machine registered. The freeze ends when the last held machine is back.
    pub fn on_machine_returned(&mut self, machine: MachineId) {
        self.lost.remove(&machine);
        self.held.remove(&machine);
        self.live.insert(machine);
        self.check_invariants();
    }

    /// Ends the freeze on a person's word: it goes on without the missing machines.
    pub fn unfreeze_all(&mut self) {
        self.lost.clear();
        self.held.clear();
    }

    /// True while some loss may be part of a larger one: the leases of the other machines have to be probed before anything
    /// moves ([`Freeze::on_leases_probed`]).
    pub fn needs_probe(&self) -> bool {
        self.held.is_empty() && self.lost.values().any(|loss| !loss.alone)
    }

    /// The leases of the other machines have been probed at a time; these are silent. Machines lost by then may be moved away
    /// from unless the silent ones would make them too many: then they wait until the silent ones are heard of, or are
    /// gone as well.
    pub fn on_leases_probed(&mut self, silent: &BTreeSet<MachineId>, asked_at: Duration) {
        if !self.is_mass_loss(silent) {
            for loss in self.lost.values_mut().filter(|loss| loss.at <= asked_at) {
                loss.alone = true;
            }
        }
        self.check_invariants();
    }

    /// Forgets losses that are too long ago to belong together with the next. Returns when the next one is to be
    /// forgotten.
    pub fn forget_old_losses(&mut self, now: Duration) -> Option<Duration> {
        let Self { window, lost, held, .. } = self;
        lost.retain(|machine, loss| {
            !loss.alone || held.contains(machine) || now.saturating_sub(loss.at) <= *window
        });
        let passing = lost.iter().filter(|(machine, loss)| loss.alone && !held.contains(*machine));
        let next = passing.map(|(_, loss)| loss.at + *window).min();
        // What is kept is not over yet: whoever waits for this time does not wait for the past, again and again.
        debug_assert!(next.is_none_or(|next| next >= now), "{next:?} at {now:?}: {self:?}");
        self.check_invariants();
        next
    }

    /// Machines that are registered.
    pub fn live_machines(&self) -> &BTreeSet<MachineId> {
        &self.live
    }

    /// Machines that belong to the cluster: those that are here, and those that are missed.
    pub fn known_members(&self) -> BTreeSet<MachineId> {
        self.live.iter().chain(self.lost.keys()).chain(&self.held).cloned().collect()
    }

    /// Machines whose units stay where they are until these return or a person decides; empty when nothing is frozen.
    pub fn held_machines(&self) -> &BTreeSet<MachineId> {
        &self.held
    }

    /// Machines whose units stay where they are for now: the held ones, and the lost ones of which it is not known yet
    /// whether they were lost alone.
    pub fn waiting_machines(&self) -> BTreeSet<MachineId> {
        let unsure = self.lost.iter().filter(|(_, loss)| !loss.alone);
        unsure.map(|(machine, _)| machine).chain(&self.held).cloned().collect()
    }

    /// True while re-placement is frozen.
    pub fn is_frozen(&self) -> bool {
        !self.held.is_empty()
    }

    /// A machine is here or missing, and whoever is held is missing: units of one that is here are never held back.
    fn check_invariants(&self) {
        debug_assert!(self.live.is_disjoint(&self.lost.keys().cloned().collect()), "{self:?}");
        debug_assert!(self.held.iter().all(|machine| self.lost.contains_key(machine)), "{self:?}");
    }

    /// True if the lost, and those of the others that are silent, are too many.
    fn is_mass_loss(&self, silent: &BTreeSet<MachineId>) -> bool {
        let missing = self.lost.len() + silent.intersection(&self.live).count();
        missing >= LEAST && missing * 2 >= self.live.len() + self.lost.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    /// Later than all losses of a test.
    const AFTERWARDS: Duration = Duration::MAX;

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
        freeze.on_machine_lost(name.parse().unwrap(), Duration::from_secs(second));
        if freeze.needs_probe() {
            freeze.on_leases_probed(&BTreeSet::new(), AFTERWARDS);
        }
    }

    #[test]
    fn one_loss_is_never_mass() {
        let mut two = cluster("a b");
        lose(&mut two, "b", 1);
        assert!(!two.is_frozen());
        assert!(two.waiting_machines().is_empty());
    }

    #[test]
    fn half_lost_within_a_ttl_freezes_and_later_losses_join() {
        let mut four = cluster("a b c d");
        lose(&mut four, "a", 1);
        assert!(!four.is_frozen());
        lose(&mut four, "b", 9);
        assert_eq!(four.held_machines(), &ids("a b"));
        lose(&mut four, "c", 60);
        assert_eq!(four.held_machines(), &ids("a b c"));
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
        assert!(five.waiting_machines().is_empty());
    }

    #[test]
    fn nothing_moves_before_the_others_have_been_asked_after() {
        let mut three = cluster("a b c");
        three.on_machine_lost("a".parse().unwrap(), Duration::from_secs(1));
        assert!(three.needs_probe());
        assert_eq!(three.waiting_machines(), ids("a"));
        assert!(!three.is_frozen());
        three.on_leases_probed(&ids(""), AFTERWARDS);
        assert!(three.waiting_machines().is_empty());
    }

    #[test]
    fn a_silent_machine_counts_with_the_lost_until_it_is_heard_of() {
        let mut three = cluster("a b c");
        three.on_machine_lost("a".parse().unwrap(), Duration::from_secs(1));
        three.on_leases_probed(&ids("b"), AFTERWARDS);
        assert!(three.needs_probe());
        assert_eq!(three.waiting_machines(), ids("a"));
        let mut heard = three.clone();
        heard.on_leases_probed(&ids(""), AFTERWARDS);
        assert!(heard.waiting_machines().is_empty());
        three.on_machine_lost("b".parse().unwrap(), Duration::from_secs(3));
        assert_eq!(three.held_machines(), &ids("a b"));
        assert!(!three.needs_probe());
    }

    #[test]
    fn a_silent_machine_among_many_holds_nothing_up() {
        let mut five = cluster("a b c d e");
        five.on_machine_lost("a".parse().unwrap(), Duration::from_secs(1));
        five.on_leases_probed(&ids("b"), AFTERWARDS);
        assert!(five.waiting_machines().is_empty());
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
        three.on_machine_returned("a".parse().unwrap());
        assert_eq!(three.held_machines(), &ids("b"));
        three.on_machine_returned("b".parse().unwrap());
        assert!(!three.is_frozen());
        lose(&mut three, "a", 30);
        lose(&mut three, "b", 31);
        three.unfreeze_all();
        assert!(!three.is_frozen());
        assert!(three.waiting_machines().is_empty());
    }

    #[test]
    fn a_clean_departure_is_no_loss() {
        let mut four = cluster("a b c d");
        four.on_machine_left(&"a".parse().unwrap());
        lose(&mut four, "b", 1);
        assert!(!four.is_frozen());
        assert_eq!(four.known_members(), ids("b c d"));
    }

    #[test]
    fn a_new_leader_freezes_what_it_finds_missing() {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids("a"), &ids("a b c"), Duration::from_secs(5));
        assert_eq!(freeze.held_machines(), &ids("b c"));
        freeze.take_over(ids("a"), &ids("a b"), Duration::from_secs(5));
        assert!(!freeze.is_frozen());
        assert!(freeze.needs_probe());
    }

    #[test]
    fn a_new_leader_that_misses_one_asks_after_the_others() {
        let mut freeze = Freeze::new(TTL);
        freeze.take_over(ids("b c"), &ids("a b c"), Duration::ZERO);
        assert_eq!(freeze.waiting_machines(), ids("a"));
        freeze.on_leases_probed(&ids("c"), AFTERWARDS);
        assert_eq!(freeze.waiting_machines(), ids("a"));
        freeze.on_machine_lost("c".parse().unwrap(), Duration::from_secs(1));
        assert_eq!(freeze.held_machines(), &ids("a c"));
    }

    #[test]
    fn a_machine_belongs_to_the_cluster_while_its_loss_may_be_part_of_a_larger_one() {
        let mut three = cluster("a b c");
        lose(&mut three, "a", 1);
        assert_eq!(three.forget_old_losses(Duration::from_secs(2)), Some(Duration::from_secs(11)));
        assert_eq!(three.known_members(), ids("a b c"));
        assert_eq!(three.forget_old_losses(Duration::from_secs(12)), None);
        assert_eq!(three.known_members(), ids("b c"));
        // A held machine does for as long as it is held.
        lose(&mut three, "b", 20);
        lose(&mut three, "c", 21);
        assert_eq!(three.forget_old_losses(Duration::from_secs(90)), None);
        assert_eq!(three.known_members(), ids("b c"));
    }
}
