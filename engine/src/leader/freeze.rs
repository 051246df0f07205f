//! Which losses are acted on, and when a loss is too large for that.
//!
//! Owns two rules. *Mass loss does not evict in mass*: when half of the machines or more vanish together, it is more
//! likely that the network or this leader is at fault than that they all died, and starting their units a second
//! time on the few that are left would be the greater harm. *An outage moves nothing*: leases run out while nobody can prolong
//! them, so a machine whose lease ended while the store was away, or nobody knows when, has a whole time to live to come back,
//! counted from when the store was there again ([`StoreContact`]). A store without room is as good as none to a machine that has to
//! register. It reads no clock: `now` is any monotonic time the
//! caller keeps. It never decides where units go: the scheduler is told which machines are held
//! ([`crate::schedule::Scheduler::hold_machines`]).
//!
//! Machines cut off at one moment do not lose their leases at one moment: each was last prolonged at another time. So
//! before the units of a lost machine move, the store is asked how much time the other machines' leases have left. One
//! that has not been prolonged when it should have been is *silent*, and counts with the lost until it is heard of.
//!
//! ```text
//!  lost ──▶ may return ──▶ due ──▶ the others are probed ──▶ alone: its units move, and it is a member for one window more
//!             │ registers     └─ too many with it ──▶ held: until it registers, or a person says so
//!             ▼
//!           live
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::probe::{is_planted, reached};

use crate::contact::StoreContact;

/// Fewest machines that make a mass loss. One is never mass: a cluster of two must fail over when it loses one.
const LEAST: usize = 2;

/// Machines that vanished together, and the verdict on whether those were too many.
#[derive(Debug, Clone)]
pub struct Freeze {
    window: Duration,
    /// The time for which the leader knows that the store was there; `None`: it does not.
    contact: Option<StoreContact>,
    /// Since when the store takes writes, as far as is known; `None`: it has no room.
    room_since: Option<Duration>,
    live: BTreeSet<MachineId>,
    lost: BTreeMap<MachineId, Loss>,
    held: BTreeSet<MachineId>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    at: Duration,
    /// It was seen going at that time; otherwise it was found missing then.
    seen_going: bool,
    /// The others have been asked after since, and were not too many.
    alone: bool,
    /// The log names it.
    logged: bool,
}

/// The answers to questions after the leases of registered machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseProbe {
    /// The machines that were asked after.
    pub asked: BTreeSet<MachineId>,
    /// Those of them that have not prolonged their leases when they should have, or of which nobody knows.
    pub silent: BTreeSet<MachineId>,
}

/// True if a machine whose lease has `left` to live, of `granted`, has missed prolonging it. A lease is prolonged every third
/// of its time, so one that is well has two thirds left, less what a slow answer takes; one that vanished together with
/// a machine whose lease is over has a third left at the most.
pub fn is_silent(left: Duration, granted: Duration) -> bool {
    left * 2 < granted || granted.is_zero()
}

impl Freeze {
    /// Nothing lost, nothing held. `window` is the time to live: losses within it count as one, because machines cut off by one
    /// fault lose their leases within one of each other, and it is the time that a machine has to come back after an outage.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            contact: None,
            room_since: Some(Duration::ZERO),
            live: BTreeSet::new(),
            lost: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Begins with what a new leader finds: `live` machines are registered, `known` ones belong to the cluster. It did not see
    /// the others go, so all that are missing count as lost together, however long ago it was; but for its `predecessor`, whose
    /// leader record it saw going at that time.
    pub fn take_over(
        &mut self,
        live: BTreeSet<MachineId>,
        known: &BTreeSet<MachineId>,
        predecessor: Option<&(MachineId, Duration)>,
        now: Duration,
    ) {
        let loss = |machine: &MachineId| match predecessor {
            Some((predecessor, at)) if predecessor == machine => {
                Loss { at: *at, seen_going: true, alone: false, logged: false }
            }
            _ => Loss { at: now, seen_going: false, alone: false, logged: false },
        };
        self.lost =
            known.difference(&live).map(|machine| (machine.clone(), loss(machine))).collect();
        self.live = live;
        self.held.clear();
        self.freeze_mass_loss(now);
    }

    /// Notes how the leader is in contact with the store. Contact that began anew has been through an outage: whoever was lost before
    /// it, and was about to be moved away from, may have been well for long and kept from registering.
    pub fn set_contact(&mut self, contact: Option<StoreContact>) {
        let began = |contact: Option<StoreContact>| contact.map(|contact| contact.began_at());
        let (before, now) = (began(self.contact), began(contact));
        self.contact = contact;
        if before.is_some() && now > before {
            self.doubt_losses();
        }
    }

    /// Notes that the store had no room for a write. Machines that are missing could not register.
    pub fn on_store_full(&mut self) {
        if is_planted("full-store-unnoticed") {
            return;
        }
        reached("store-was-full");
        self.room_since = None;
        self.doubt_losses();
    }

    /// Notes that the store took a write, or had room when somebody last looked at that time.
    pub fn on_store_written(&mut self, at: Duration) {
        self.room_since.get_or_insert(at);
    }

    /// True if the last write that was tried found no room.
    pub fn is_store_full(&self) -> bool {
        self.room_since.is_none()
    }

    fn doubt_losses(&mut self) {
        for loss in self.lost.values_mut().filter(|_| !is_planted("old-verdict-outlives-outage")) {
            loss.alone = false;
        }
    }

    /// The time since which whoever is well could register: the store was there, and took writes.
    fn open_since(&self, now: Duration) -> Option<Duration> {
        let contact = self.contact.filter(|contact| contact.is_unbroken(now))?;
        Some(contact.began_at().max(self.room_since?))
    }

    /// Notes that a machine's lease is gone: it was seen going now, or found missing.
    pub fn on_machine_lost(&mut self, machine: MachineId, seen_going: bool, now: Duration) {
        self.live.remove(&machine);
        self.forget_old_losses(now);
        let loss = Loss { at: now, seen_going, alone: false, logged: true };
        self.lost.insert(machine.clone(), loss);
        if self.held.is_empty() {
            self.freeze_mass_loss(now);
        } else {
            // Frozen already: whatever else goes belongs to the same trouble.
            self.held.insert(machine);
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
        if is_planted("freeze-ended-by-one") {
            self.unfreeze_all();
        }
        self.live.insert(machine);
        self.check_invariants();
    }

    /// Ends the freeze on a person's word: it goes on without the missing machines.
    pub fn unfreeze_all(&mut self) {
        self.lost.clear();
        self.held.clear();
    }

    /// Freezes if too many are lost and none of them may return any more.
    pub fn freeze_mass_loss(&mut self, now: Duration) {
        let is_over = |loss: &Loss| loss.alone || self.is_due(loss, now);
        if self.held.is_empty()
            && self.is_mass_loss(&LeaseProbe::default())
            && self.lost.values().all(is_over)
        {
            reached("freeze-begins");
            self.held = self.lost.keys().cloned().collect();
        }
        self.check_invariants();
    }

    /// True while some loss may be part of a larger one: the leases of the other machines have to be probed before anything
    /// moves ([`Freeze::on_leases_probed`]).
    pub fn needs_probe(&self, now: Duration) -> bool {
        self.held.is_empty()
            && !self.is_mass_loss(&LeaseProbe::default())
            && self.lost.values().any(|loss| !loss.alone && self.is_due(loss, now))
    }

    /// Lost machines that may yet return, because the store may have been away when their leases ended; and when that is over,
    /// where it is known.
    pub fn machines_that_may_return(
        &self,
        now: Duration,
    ) -> (BTreeSet<MachineId>, Option<Duration>) {
        let waited_for = self.lost.iter().filter(|(machine, loss)| {
            !loss.alone && !self.held.contains(*machine) && !self.is_due(loss, now)
        });
        let machines: BTreeSet<MachineId> =
            waited_for.map(|(machine, _)| machine.clone()).collect();
        let until = self.open_since(now).map(|since| since.saturating_add(self.window));
        (machines, until)
    }

    /// The leases of other machines have been probed at a time. Machines lost by then may be moved away
    /// from unless the silent ones would make them too many: then they wait until the silent ones are heard of, or are
    /// gone as well. Gives those of which the log does not say yet that they are lost.
    pub fn on_leases_probed(
        &mut self,
        probe: &LeaseProbe,
        asked_at: Duration,
        now: Duration,
    ) -> Vec<MachineId> {
        if self.is_mass_loss(probe) {
            return Vec::new();
        }
        let mut unlogged = Vec::new();
        let due: Vec<MachineId> = self
            .lost
            .iter()
            .filter(|(_, loss)| loss.at <= asked_at && self.is_due(loss, now))
            .map(|(machine, _)| machine.clone())
            .collect();
        for machine in due {
            if let Some(loss) = self.lost.get_mut(&machine) {
                loss.alone = true;
                if !std::mem::replace(&mut loss.logged, true) {
                    unlogged.push(machine);
                }
            }
        }
        self.check_invariants();
        unlogged
    }

    /// Forgets losses that are too long ago to belong together with the next. Returns when the next one is to be
    /// forgotten. None is while the store is away: it may have to be judged anew.
    pub fn forget_old_losses(&mut self, now: Duration) -> Option<Duration> {
        if self.open_since(now).is_none() {
            return None;
        }
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

    /// True if a lost machine's time to come back is over: it was seen going while the store was there and everybody else had
    /// had the time to prolong a lease, or the store has been there for a whole time to live since.
    fn is_due(&self, loss: &Loss, now: Duration) -> bool {
        if is_planted("outage-counts-as-loss") {
            return true;
        }
        let (Some(contact), Some(since)) = (self.contact, self.open_since(now)) else {
            return false;
        };
        let went_in_contact =
            loss.seen_going && loss.at >= contact.settled_from() && loss.at >= since;
        went_in_contact || now >= since.saturating_add(self.window)
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

    /// The same for a plan that is made now: while it is not known whether the store is there, nothing is made of any loss.
    pub fn machines_to_hold(&self, now: Duration) -> BTreeSet<MachineId> {
        if self.open_since(now).is_some() {
            return self.waiting_machines();
        }
        self.lost.keys().cloned().collect()
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

    /// True if the lost, and those of the others that are silent, are too many. Where only some were asked after, as many of the
    /// rest are taken for silent in proportion, and half as many are too many already: a sample errs, and towards not moving.
    fn is_mass_loss(&self, probe: &LeaseProbe) -> bool {
        let (live, lost) = (self.live.len(), self.lost.len());
        let silent = probe.silent.intersection(&self.live).count();
        let silent = if is_planted("others-not-asked-after") { 0 } else { silent };
        let asked = probe.asked.intersection(&self.live).count();
        let (silent, share) = if asked == 0 || asked + 1 >= live {
            (silent, 2)
        } else {
            ((silent * live).div_ceil(asked), 4)
        };
        let missing = lost + silent;
        let share = if silent == 0 { 2 } else { share };
        missing >= LEAST && missing * share >= live + lost && !is_planted("mass-loss-moved")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    /// When tests begin: the leader's contact with the store is older than the TTL.
    const EPOCH: Duration = Duration::from_secs(20);
    /// Later than all losses of a test.
    const AFTERWARDS: Duration = Duration::from_secs(120);

    fn ids(names: &str) -> BTreeSet<MachineId> {
        names.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    /// A leader that is in contact with the store since this second, for as long as the test takes.
    fn in_contact_since(second: u64) -> StoreContact {
        let lease = Duration::from_secs(6);
        let mut contact = StoreContact::begin(Duration::from_secs(second), lease);
        for sent in (second..second + 200).map(Duration::from_secs) {
            contact = contact.extend_contact(sent, sent);
        }
        contact
    }

    /// All that is here belongs to the cluster, and the store was there for longer than anybody knows.
    fn cluster(names: &str) -> Freeze {
        let mut freeze = Freeze::new(TTL);
        freeze.set_contact(Some(in_contact_since(0)));
        freeze.take_over(ids(names), &ids(names), None, EPOCH);
        freeze
    }

    fn at(second: u64) -> Duration {
        EPOCH + Duration::from_secs(second)
    }

    /// All others were asked after, and these are silent.
    fn probe(freeze: &Freeze, silent: &str) -> LeaseProbe {
        LeaseProbe { asked: freeze.live_machines().clone(), silent: ids(silent) }
    }

    /// A loss after which all others are heard of.
    fn lose(freeze: &mut Freeze, name: &str, second: u64) {
        freeze.on_machine_lost(name.parse().unwrap(), true, at(second));
        if freeze.needs_probe(at(second)) {
            let probe = probe(freeze, "");
            freeze.on_leases_probed(&probe, AFTERWARDS, at(second));
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
        three.on_machine_lost("a".parse().unwrap(), true, at(1));
        assert!(three.needs_probe(at(1)));
        assert_eq!(three.waiting_machines(), ids("a"));
        assert!(!three.is_frozen());
        three.on_leases_probed(&probe(&three, ""), AFTERWARDS, at(1));
        assert!(three.waiting_machines().is_empty());
    }

    #[test]
    fn a_silent_machine_counts_with_the_lost_until_it_is_heard_of() {
        let mut three = cluster("a b c");
        three.on_machine_lost("a".parse().unwrap(), true, at(1));
        three.on_leases_probed(&probe(&three, "b"), AFTERWARDS, at(1));
        assert!(three.needs_probe(at(1)));
        assert_eq!(three.waiting_machines(), ids("a"));
        let mut heard = three.clone();
        heard.on_leases_probed(&probe(&heard, ""), AFTERWARDS, at(1));
        assert!(heard.waiting_machines().is_empty());
        three.on_machine_lost("b".parse().unwrap(), true, at(3));
        assert_eq!(three.held_machines(), &ids("a b"));
        assert!(!three.needs_probe(at(1)));
    }

    #[test]
    fn a_silent_machine_among_many_holds_nothing_up() {
        let mut five = cluster("a b c d e");
        five.on_machine_lost("a".parse().unwrap(), true, at(1));
        five.on_leases_probed(&probe(&five, "b"), AFTERWARDS, at(1));
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
        let mut freeze = cluster("");
        freeze.take_over(ids("a"), &ids("a b c"), None, at(0));
        assert_eq!(freeze.held_machines(), &ids("b c"));
        freeze.take_over(ids("a"), &ids("a b"), None, at(0));
        assert!(!freeze.is_frozen());
        assert!(freeze.needs_probe(at(1)));
    }

    #[test]
    fn a_new_leader_that_misses_one_asks_after_the_others() {
        let mut freeze = cluster("");
        freeze.take_over(ids("b c"), &ids("a b c"), None, at(0));
        assert_eq!(freeze.waiting_machines(), ids("a"));
        freeze.on_leases_probed(&probe(&freeze, "c"), AFTERWARDS, at(1));
        assert_eq!(freeze.waiting_machines(), ids("a"));
        freeze.on_machine_lost("c".parse().unwrap(), true, at(1));
        assert_eq!(freeze.held_machines(), &ids("a c"));
    }

    #[test]
    fn a_machine_belongs_to_the_cluster_while_its_loss_may_be_part_of_a_larger_one() {
        let mut three = cluster("a b c");
        lose(&mut three, "a", 1);
        assert_eq!(three.forget_old_losses(at(2)), Some(at(11)));
        assert_eq!(three.known_members(), ids("a b c"));
        assert_eq!(three.forget_old_losses(at(12)), None);
        assert_eq!(three.known_members(), ids("b c"));
        // A held machine does for as long as it is held.
        lose(&mut three, "b", 20);
        lose(&mut three, "c", 21);
        assert_eq!(three.forget_old_losses(at(90)), None);
        assert_eq!(three.known_members(), ids("b c"));
    }

    #[test]
    fn whoever_is_missing_after_an_outage_has_a_whole_ttl_to_come_back() {
        let mut freeze = cluster("");
        // The store is back since second 30, and the first daemon to register leads a second later.
        freeze.set_contact(Some(in_contact_since(30)));
        let now = Duration::from_secs(31);
        freeze.take_over(ids("a"), &ids("a b c"), None, now);
        assert!(!freeze.is_frozen() && !freeze.needs_probe(now), "nothing is judged yet");
        assert_eq!(freeze.waiting_machines(), ids("b c"));
        let until = Some(Duration::from_secs(40));
        assert_eq!(freeze.machines_that_may_return(now), (ids("b c"), until));
        freeze.on_machine_returned("b".parse().unwrap());
        let later = Duration::from_secs(40);
        freeze.freeze_mass_loss(later);
        assert!(!freeze.is_frozen() && freeze.needs_probe(later));
        let lost = freeze.on_leases_probed(&probe(&freeze, ""), later, later);
        assert_eq!(lost, ["c".parse().unwrap()], "its units move, and the log says so");
        assert_eq!(freeze.waiting_machines(), ids(""));
    }

    #[test]
    fn who_is_still_missing_then_counts_together() {
        let mut freeze = cluster("");
        freeze.set_contact(Some(in_contact_since(30)));
        freeze.take_over(ids("a"), &ids("a b c"), None, Duration::from_secs(31));
        freeze.freeze_mass_loss(Duration::from_secs(40));
        assert_eq!(freeze.held_machines(), &ids("b c"));
    }

    #[test]
    fn a_lease_that_ends_in_the_first_moments_after_an_outage_ended_because_of_it() {
        let mut freeze = cluster("a b c");
        freeze.set_contact(Some(in_contact_since(30)));
        freeze.on_machine_lost("c".parse().unwrap(), true, Duration::from_secs(33));
        assert_eq!(freeze.waiting_machines(), ids("c"));
        assert!(!freeze.needs_probe(Duration::from_secs(39)));
        assert!(freeze.needs_probe(Duration::from_secs(40)));
        // Four seconds after it everybody who was well had prolonged a lease of six.
        let mut later = cluster("a b c");
        later.set_contact(Some(in_contact_since(30)));
        later.on_machine_lost("c".parse().unwrap(), true, Duration::from_secs(34));
        assert!(later.needs_probe(Duration::from_secs(34)));
    }

    #[test]
    fn a_leader_that_does_not_know_of_the_store_judges_nobody() {
        let mut freeze = cluster("a b c");
        freeze.set_contact(None);
        freeze.on_machine_lost("c".parse().unwrap(), true, at(5));
        assert!(!freeze.needs_probe(at(5)) && !freeze.needs_probe(at(500)));
        // Paused: the last keepalive is long ago, and the next says when contact began anew.
        freeze.set_contact(Some(StoreContact::begin(at(0), Duration::from_secs(6))));
        assert!(!freeze.needs_probe(at(5)));
        freeze.set_contact(Some(in_contact_since(25)));
        assert!(freeze.needs_probe(at(15)));
    }

    #[test]
    fn the_leader_before_is_a_loss_that_was_seen() {
        let mut freeze = cluster("");
        freeze.set_contact(Some(in_contact_since(30)));
        let predecessor = ("a".parse().unwrap(), Duration::from_secs(36));
        let now = Duration::from_secs(37);
        freeze.take_over(ids("b c d e"), &ids("a b c d e"), Some(&predecessor), now);
        assert!(freeze.needs_probe(now));
    }

    #[test]
    fn of_many_machines_some_are_asked_after() {
        let names: Vec<String> = (0..100).map(|number| format!("m{number:02}")).collect();
        let mut freeze = cluster(&names.join(" "));
        freeze.on_machine_lost("m00".parse().unwrap(), true, at(1));
        let asked: BTreeSet<MachineId> = freeze.live.iter().step_by(2).cloned().collect();
        for (silent, is_alone) in [(0, true), (11, true), (12, false), (50, false)] {
            let mut freeze = freeze.clone();
            let silent = asked.iter().take(silent).cloned().collect();
            let probe = LeaseProbe { asked: asked.clone(), silent };
            freeze.on_leases_probed(&probe, AFTERWARDS, at(1));
            assert_eq!(freeze.waiting_machines().is_empty(), is_alone, "{probe:?}");
        }
    }
}
