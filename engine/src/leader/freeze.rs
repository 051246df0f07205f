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
//! that has not been prolonged when it should have been is *silent*, and counts with the lost until it is heard of. So does one of which
//! that cannot be told, because etcd has elected a leader since, which gives every lease its whole time.
//!
//! ```text
//!  lost ──▶ may return ──▶ due ──▶ the others are probed ──▶ alone: its units move, and it is a member for one window more
//!             │ registers     └─ too many with it ──▶ held: until it registers, or a person says so
//!             ▼
//!           live
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::lease::TimeLeft;
use muster_common::machine::MachineId;
use muster_common::probe::{is_planted, reached};

use crate::contact::StoreContact;

/// Fewest machines that make a mass loss. One is never mass: a cluster of two must fail over when it loses one.
const LEAST: usize = 2;

/// Most machines whose leases are asked about at a time: two rounds of questions to the store, of which 32 are under way at once,
/// however many machines are well. Of up to that many all are asked. Of more, these are chosen evenly, and others with each probe:
/// when half of the machines are silent, fewer than a quarter of 64 are found so once in a hundred thousand times.
pub(super) const PROBED_AT_ONCE: usize = 64;

/// Where not all can be asked, one in so many of those that are registered may be gone as well: a few leases of machines that went
/// together end seconds after the others, when etcd has failed to end them at first, and a sample of 64 misses one in sixteen
/// once in sixty times. So the part of a large cluster that counts as half is 7 of 15.
const UNSEEN_SHARE: usize = 16;

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

/// The time that a new leader of etcd gives every lease beside its own: the election timeout, as etcd has it unless it is told otherwise.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// True if a machine with this lease has missed prolonging it, or nobody can tell. A lease is prolonged every third
/// of its time, so one that is well has two thirds left, less what a slow answer takes; one that vanished together with
/// a machine whose lease is over has a third left at the most. After an election of etcd's every lease has its whole time, and looks as
/// if it had been prolonged until half of that is over.
pub fn is_silent(time: &TimeLeft) -> bool {
    let given_anew = time.counted_for <= time.granted / 2 + ELECTION_TIMEOUT;
    time.left * 2 < time.granted
        || time.granted.is_zero()
        || given_anew && !is_planted("election-taken-for-keepalives")
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
    /// it, and was about to be moved away from, may have been well for long and kept from registering. True if it has begun anew.
    pub fn set_contact(&mut self, contact: Option<StoreContact>) -> bool {
        let began = |contact: Option<StoreContact>| contact.map(|contact| contact.began_at());
        let (before, now) = (began(self.contact), began(contact));
        self.contact = contact;
        let is_anew = before.is_some() && now > before;
        if is_anew {
            self.doubt_losses();
        }
        is_anew && !is_planted("room-not-looked-for-after-outage")
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
        self.open_since(now)?;
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
        let share = if silent == 0 { 2 } else { share };
        // As many as a sample may miss. Where some silent ones were found, their share has this margin.
        let is_large = live > PROBED_AT_ONCE + 1 && silent == 0;
        let unseen =
            if is_large && !is_planted("half-without-margin") { live / UNSEEN_SHARE } else { 0 };
        let missing = lost + silent + unseen;
        missing >= LEAST && missing * share >= live + lost && !is_planted("mass-loss-moved")
    }
}

#[cfg(test)]
#[path = "freeze_tests.rs"]
mod tests;
