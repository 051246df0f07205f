//! The reboot role of one host: what it remembers beside its journal, what it asks for, and what it does about a decision.
//!
//! Owns which questions are worth asking in which phase, what an answer that was not asked for is taken to be, which actions
//! of a decision are new, when the next decision is due, and what an earlier boot has left to be cleared away. The decision
//! itself is [`phase::step`]'s. It carries nothing out: whoever does answers its [`RoleQuestion`]s, keeps the journal, does the
//! [`RoleEffect`]s in their order, and tells how each of them ended.
//!
//! ```text
//!   next_leftover ──▶ open_questions ──▶ to_observation ──▶ phase::step ──▶ on_journal_kept ──▶ new_effects ──▶ next_pause
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use muster_common::boot::BootMark;
use muster_common::cordon::{Cordon, Hold};
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::reboot::{
    DueReason, Group, HistoryEntry, Holder, HolderId, HolderKind, HostStatus, Journal, Phase,
    PhaseSpan, RebootMethod, Semaphore, SlotOutcome, WaitReason,
};
use muster_common::unit::UnitName;

use super::commands::CommandKind;
use super::drain::{drain_hold, is_drain_ordered};
use super::due::{is_fulfilled_by, is_wish, method_of};
use super::gate::HealthGate;
use super::phase::{
    self, CommandState, DrainState, HookStates, Inhibitor, Observation, RebootAction, RebootCall,
    RebootPolicy, RebootStep, SlotState,
};
use super::publish::{self, is_same_status, user_warning};
use super::semaphore;

/// Pause after something that did not work.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The words to logged-in users who had been warned.
const RETRACTION: &str = "This machine does not reboot for now.\n";

/// A question whose answer the next decision may rest on. A machine at rest asks nobody anything.
///
/// One decision may lead through several phases, so what a later one rests on is asked for in the earlier ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleQuestion {
    /// The group's slots, and where there is a pause between reboots, its history.
    Slots,
    /// Inhibitors and sessions of the host.
    Host,
    /// The host's ability to reboot in this way.
    Method(RebootMethod),
    /// Units of the cluster that have failed.
    FailedUnits,
    /// The state of the machine's drain.
    Drain,
    /// The machine's health after its boot.
    Health,
    /// The role's own cordon of the machine.
    Cordon,
    /// The host's way down, once it has been asked to reboot.
    Stopping,
}

/// The answers to them. `None`: not asked for, or nobody could tell; the worst it could be is taken for it.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Inhibitors, and how many sessions users have; an error: logind does not answer.
    pub host: Option<Result<(Vec<Inhibitor>, u64), String>>,
    /// An error where the host cannot reboot in the way that was asked about: why not.
    pub method: Option<Result<(), String>>,
    /// Units of the cluster that have failed. The store that does not tell holds the reboot back by itself.
    pub failed: Option<Vec<UnitName>>,
    /// The state of the machine's drain.
    pub drain: Option<DrainState>,
    /// True if the role has cordoned the machine.
    pub cordoned: Option<bool>,
    /// True if the host is going down.
    pub stopping: Option<bool>,
    /// The machine's health.
    pub gate: Option<HealthGate>,
    /// The check.
    pub check: CommandState,
    /// The hooks.
    pub hooks: HookStates,
}

/// The host's clocks, read at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostClocks {
    /// Seconds since the Unix epoch.
    pub wall: u64,
    /// Milliseconds since the boot, suspend included.
    pub up: u64,
}

/// Something to be done about a decision, once the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleEffect {
    /// Begin a command, unless it runs or its answer still holds.
    RunCommand(CommandKind),
    /// Say something to logged-in users. Words that cannot be said hold nothing up.
    TellUsers(String),
    /// Take a slot of the group.
    AcquireSlot,
    /// Give the slot back, with what is to be remembered of it.
    ReleaseSlot {
        /// The outcome of its holding.
        outcome: SlotOutcome,
        /// Why the reboot was due.
        due: Vec<DueReason>,
        /// The phases it went through.
        phases: Vec<PhaseSpan>,
    },
    /// Order the drain, unless it is ordered; see [`RebootRole::drain_order`].
    OrderDrain {
        /// When units are left no more time, seconds since the Unix epoch.
        until: u64,
    },
    /// Take the role's cordon back.
    Uncordon,
    /// Remove the wish that was fulfilled, if it still is one of these.
    FulfilWishes(Vec<DueReason>),
    /// Ask the host to reboot in this way, if [`RebootRole::may_go_down`] still says so, and tell [`RebootRole::on_reboot_answered`].
    Reboot(RebootMethod),
}

/// The end of an effect, or of a whole round of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EffectEnd {
    /// Nothing is known that was not known before.
    #[default]
    Nothing,
    /// Something has changed: decide again.
    Changed,
    /// It did not work: try again in a while.
    Failed,
}

/// Something that no attempt stands behind, to be cleared away once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// Wishes that were known before this boot: it has fulfilled them, whoever asked the machine to reboot.
    Wishes(Vec<DueReason>),
    /// The slot of a group that the machine was in before it was configured anew.
    OldSlot {
        /// The group.
        group: Group,
        /// The outcome of its holding.
        outcome: SlotOutcome,
    },
    /// A cordon of ours, left by a lost disk.
    Cordon,
}

/// A change of phase, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseChange {
    /// The phase before.
    pub from: Phase,
    /// The phase that was entered.
    pub to: Phase,
    /// True if no slot is wanted yet: hooks and the cluster of the attempt before say nothing any more.
    pub forgets_attempt: bool,
}

/// The role's memory beside the journal, which would be lost with the daemon.
#[derive(Debug)]
pub struct RebootRole {
    policy: RebootPolicy,
    /// True if this daemon runs units on its machine. Without, nothing is drained and nothing proven.
    agent: bool,
    id: HolderId,
    boot: BootMark,
    journal: Journal,
    /// The request to reboot, in this phase.
    call: RebootCall,
    /// The slots of the group as last read; `None`: to be read.
    slots: Option<SlotState>,
    /// When the group's last machine had rebooted.
    last_reboot: Option<u64>,
    /// True if users were told that the machine goes down.
    warned: bool,
    leftovers: VecDeque<Leftover>,
    published: Option<HostStatus>,
}

impl RebootRole {
    /// The role as its journal leaves it. `group`: that whose slot the journal speaks of, if it says so.
    pub fn from_journal(
        policy: RebootPolicy,
        agent: bool,
        machine: &MachineId,
        boot: BootMark,
        journal: Journal,
        group: Option<Group>,
    ) -> Self {
        let mut leftovers = VecDeque::new();
        if !boot.is_same(&journal.boot_mark()) {
            let soft = journal.boot == boot.machine;
            let is_fulfilled = |due: &&DueReason| is_fulfilled_by(due, policy.method, soft);
            let wishes: Vec<DueReason> = journal.due.iter().filter(is_fulfilled).cloned().collect();
            if !wishes.is_empty() {
                leftovers.push_back(Leftover::Wishes(wishes));
            }
        }
        if let Some(group) = group.filter(|group| *group != policy.group) {
            let problem = format!("the machine is of group {} now", policy.group);
            leftovers
                .push_back(Leftover::OldSlot { group, outcome: SlotOutcome::GaveUp { problem } });
        }
        if agent {
            leftovers.push_back(Leftover::Cordon);
        }
        Self {
            id: HolderId::from(machine),
            policy,
            agent,
            boot,
            journal,
            call: RebootCall::No,
            slots: None,
            last_reboot: None,
            warned: false,
            leftovers,
            published: None,
        }
    }

    /// The policy.
    pub fn reboot_policy(&self) -> &RebootPolicy {
        &self.policy
    }

    /// The id by which the host holds its slot.
    pub fn holder_id(&self) -> &HolderId {
        &self.id
    }

    /// This boot of the machine's kernel.
    pub fn boot_id(&self) -> &str {
        &self.boot.machine
    }

    /// The journal as it was last kept.
    pub fn kept_journal(&self) -> &Journal {
        &self.journal
    }

    /// The reasons that sources gave before this daemon began, as far as they may still hold. What was found on the machine
    /// went with its boot; a wish is gone when it is removed.
    pub fn known_reasons(&self) -> Vec<DueReason> {
        // `/run` outlasts a soft-reboot, and with it the marks.
        let same_boot = self.journal.boot == self.boot.machine;
        self.journal.due.iter().filter(|due| same_boot || is_wish(due)).cloned().collect()
    }

    /// The next thing that is to be cleared away, while no attempt may stand behind it.
    pub fn next_leftover(&self) -> Option<&Leftover> {
        self.leftovers.front().filter(|_| is_before_slot(self.journal.phase))
    }

    /// Notes that the next leftover is cleared away. Returns it.
    pub fn on_leftover_cleared(&mut self) -> Option<Leftover> {
        self.leftovers.pop_front()
    }

    /// The questions that the next decision needs answers to. `due`: the reasons that sources give.
    pub fn open_questions(&self, due: &[DueReason]) -> BTreeSet<RoleQuestion> {
        let phase = self.journal.phase;
        let before = is_before_slot(phase);
        let concerned = !before || phase != Phase::Idle || !due.is_empty();
        let method = method_of(self.policy.method, due);
        let asks_host = before && concerned || goes_down_from(phase);
        // A journal of another boot that was in an attempt is about to be in `returned`.
        let proving = matches!(phase, Phase::Returned | Phase::Settling)
            || !before && !self.boot.is_same(&self.journal.boot_mark());
        let worth = [
            // In an attempt always: nobody may go down without its slot.
            (RoleQuestion::Slots, self.slots.is_none() || !before),
            (RoleQuestion::Host, asks_host),
            (RoleQuestion::Method(method), asks_host && method != RebootMethod::Reboot),
            (RoleQuestion::FailedUnits, before && concerned && self.policy.block_on_failed),
            (RoleQuestion::Drain, self.agent && matches!(phase, Phase::Locking | Phase::Draining)),
            (RoleQuestion::Health, self.agent && proving),
            (RoleQuestion::Cordon, self.agent && !before),
            (RoleQuestion::Stopping, phase == Phase::Rebooting),
        ];
        worth.into_iter().filter_map(|(question, asked)| asked.then_some(question)).collect()
    }

    /// Tells whether the group's history is worth reading with its slots. Freeing a slot writes both records in one commit, so the
    /// history is as new as the slots.
    pub fn needs_history(&self) -> bool {
        !self.policy.pause.is_zero()
    }

    /// Takes the group's slots as they were read; an error: they cannot be.
    pub fn on_slots_read(&mut self, read: Result<&Semaphore, String>) {
        self.slots = Some(match read {
            Ok(semaphore) => slot_state(&self.policy.group, semaphore, &self.id),
            Err(problem) => SlotState::Unknown { problem },
        });
    }

    /// Takes the group's history as it was read.
    pub fn on_history_read(&mut self, history: &[HistoryEntry]) {
        self.last_reboot = last_reboot(history);
    }

    /// Notes that the group's slots may have changed.
    pub fn on_slots_changed(&mut self) {
        self.slots = None;
    }

    /// Notes that the group's slots cannot be watched.
    pub fn on_slots_lost(&mut self, problem: String) {
        self.slots = Some(SlotState::Unknown { problem });
    }

    /// The observation that the answers come to. What was not asked for is told as the worst it could be.
    pub fn to_observation(
        &self,
        clocks: HostClocks,
        due: Vec<DueReason>,
        answers: Answers,
    ) -> Observation {
        let unread = || SlotState::Unknown { problem: "not read yet".to_owned() };
        let (inhibitors, sessions) = match answers.host {
            None => (Ok(Vec::new()), 0),
            Some(Ok((inhibitors, sessions))) => (Ok(inhibitors), sessions),
            Some(Err(problem)) => (Err(problem), 0),
        };
        // Without units nothing on this machine is the cluster's.
        let drain = if self.agent { DrainState::No } else { DrainState::Done };
        let gate = answers.gate.unwrap_or_default();
        let method = self.method_answer(method_of(self.policy.method, &due), answers.method);
        Observation {
            wall: clocks.wall,
            up: clocks.up,
            boot: self.boot.machine.clone(),
            userspace: self.boot.userspace.clone(),
            due,
            inhibitors,
            sessions,
            method,
            failed: answers.failed.unwrap_or_default(),
            last_reboot: self.last_reboot,
            slots: self.slots.clone().unwrap_or_else(unread),
            check: answers.check,
            hooks: answers.hooks,
            drain: answers.drain.unwrap_or(drain),
            cordoned: answers.cordoned.unwrap_or(self.agent),
            call: self.call.clone(),
            stopping: answers.stopping.unwrap_or(false),
            registered: self.agent.then_some(gate.registered),
            unhealthy: gate.unhealthy,
        }
    }

    /// The answer on whether the host can reboot in a way. Who could not tell that a soft-reboot has happened begins none: it would be
    /// begun again and again.
    fn method_answer(
        &self,
        method: RebootMethod,
        answer: Option<Result<(), String>>,
    ) -> Result<(), String> {
        match method {
            RebootMethod::Reboot => Ok(()),
            RebootMethod::SoftReboot if self.boot.userspace.is_none() => {
                Err("systemd has not said which boot of userspace this is; restart musterd".into())
            }
            _ => answer.unwrap_or_else(|| Err("the host has not been asked yet".to_owned())),
        }
    }

    /// Decides what to do next.
    pub fn decide_step(&self, seen: &Observation) -> RebootStep {
        phase::step(&self.policy, &self.journal, seen)
    }

    /// Takes a journal that is on the disk now, and forgets what says nothing in another phase.
    pub fn on_journal_kept(&mut self, journal: Journal) -> Option<PhaseChange> {
        let (from, to) = (self.journal.phase, journal.phase);
        debug_assert_eq!(journal.boot, self.boot.machine, "what is kept is of this boot");
        self.journal = journal;
        if from == to {
            return None;
        }
        self.call = RebootCall::No;
        self.slots = None;
        let forgets_attempt = is_before_slot(to);
        if !forgets_attempt {
            // What users were told has come true; before, it holds until they are told otherwise.
            self.warned = false;
        }
        Some(PhaseChange { from, to, forgets_attempt })
    }

    /// The status to be shown, with what the host waits for.
    pub fn host_status(&self, waits: &[WaitReason]) -> HostStatus {
        publish::host_status(&self.policy, &self.journal, waits, &self.boot)
    }

    /// Tells whether a status says something that was not published yet.
    pub fn is_news(&self, status: &HostStatus) -> bool {
        self.published.as_ref().is_none_or(|before| !is_same_status(before, status))
    }

    /// Notes that a status is in the store.
    pub fn on_published(&mut self, status: HostStatus) {
        self.published = Some(status);
    }

    /// The effects of a decision whose journal is kept. What a decision asks for again and was done is left out.
    pub fn new_effects(&mut self, actions: &[RebootAction], wall: u64) -> Vec<RoleEffect> {
        actions.iter().filter_map(|action| self.effect_of(action, wall)).collect()
    }

    fn effect_of(&mut self, action: &RebootAction, wall: u64) -> Option<RoleEffect> {
        Some(match action {
            RebootAction::Check => RoleEffect::RunCommand(CommandKind::Check),
            RebootAction::Hook(hook) => RoleEffect::RunCommand(CommandKind::Hook(*hook)),
            RebootAction::Warn { at } => {
                if std::mem::replace(&mut self.warned, true) {
                    return None;
                }
                let minutes = at.saturating_sub(wall).div_ceil(60);
                RoleEffect::TellUsers(user_warning(minutes, &self.journal.due))
            }
            RebootAction::Unwarn => {
                if !std::mem::replace(&mut self.warned, false) {
                    return None;
                }
                RoleEffect::TellUsers(RETRACTION.to_owned())
            }
            RebootAction::Acquire => RoleEffect::AcquireSlot,
            RebootAction::Release(outcome) => RoleEffect::ReleaseSlot {
                outcome: outcome.clone(),
                due: self.journal.due.clone(),
                phases: self.journal.passed.clone(),
            },
            RebootAction::Drain { .. } if !self.agent => return None,
            RebootAction::Drain { until } => RoleEffect::OrderDrain { until: *until },
            RebootAction::Uncordon => RoleEffect::Uncordon,
            RebootAction::Fulfil => RoleEffect::FulfilWishes(self.fulfilled_wishes()),
            // Asked in this phase by this daemon: the answer is known.
            RebootAction::Reboot if self.call != RebootCall::No => return None,
            RebootAction::Reboot => {
                RoleEffect::Reboot(method_of(self.policy.method, &self.journal.due))
            }
        })
    }

    /// The wishes that this boot is what they ask for.
    fn fulfilled_wishes(&self) -> Vec<DueReason> {
        let journal = &self.journal;
        let is_fulfilled =
            |due: &&DueReason| is_fulfilled_by(due, self.policy.method, journal.soft);
        journal.due.iter().filter(is_fulfilled).cloned().collect()
    }

    /// The hold to take with the order to drain; `None`: it was ordered in this attempt, since each ends with the cordon's end,
    /// and the order keeps its own deadline.
    pub fn drain_order(&self, cordon: Option<&Cordon>, until: u64, wall: u64) -> Option<Hold> {
        if cordon.is_some_and(is_drain_ordered) {
            return None;
        }
        let time = Duration::from_secs(until.saturating_sub(wall).max(1));
        Some(drain_hold(wall, time, self.policy.stuck))
    }

    /// True if the machine has to hold a slot as it goes down. Then its slots are read once more right before it is asked to: telling
    /// how far it is lies between that and the decision, and takes its time when the store is away.
    pub fn needs_slot(&self) -> bool {
        self.policy.needs_slot() && !is_planted("slot-trusted-until-reboot")
    }

    /// True if the machine may be asked to go down, as far as the slots were read last.
    pub fn may_go_down(&self) -> bool {
        !self.needs_slot() || matches!(self.slots, Some(SlotState::Mine { .. }))
    }

    /// Takes the host's answer to the request to reboot; an error: it refuses.
    pub fn on_reboot_answered(&mut self, answer: Result<(), String>) {
        self.call = match answer {
            Ok(()) => RebootCall::Accepted,
            Err(problem) => RebootCall::Refused(problem),
        };
    }

    /// The pause until the next decision if nothing happens before; `None`: for ever.
    ///
    /// `wake`: the decision's own, in milliseconds. `round`: the worst end of its effects. `stored`: whether everything that
    /// was to be kept and published is. `look`: how often the machine is looked at again while a reboot is due. `expiry`: when
    /// a command's answer no longer holds.
    pub fn next_pause(
        &self,
        wake: Option<u64>,
        round: EffectEnd,
        stored: bool,
        look: Duration,
        expiry: Option<Duration>,
    ) -> Option<Duration> {
        let again = match (round, stored) {
            (EffectEnd::Changed, _) => Some(Duration::ZERO),
            (EffectEnd::Failed, _) | (EffectEnd::Nothing, false) => Some(STORE_RETRY),
            (EffectEnd::Nothing, true) => None,
        };
        let due = self.journal.phase != Phase::Idle;
        let unread = self.slots.is_none();
        [
            again,
            wake.map(Duration::from_millis),
            due.then_some(look),
            expiry,
            unread.then_some(STORE_RETRY),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// The slots of a group as one host meets them.
fn slot_state(group: &Group, semaphore: &Semaphore, id: &HolderId) -> SlotState {
    if let Some(holder) = semaphore.find_holder(id) {
        let by_host = holder.kind == HolderKind::Host;
        return SlotState::Mine { since: holder.since, by_host };
    }
    let wanted = Holder { id: id.clone(), kind: HolderKind::Host, since: 0 };
    match semaphore::acquire_slot(group, semaphore, wanted) {
        semaphore::Acquire::Wait(wait) => SlotState::Full(wait),
        semaphore::Acquire::Grant(_) | semaphore::Acquire::AlreadyHeld { .. } => SlotState::Free,
    }
}

/// When the last host of a group had rebooted. A `FleetLock` client gives its slot back after its reboot.
fn last_reboot(history: &[HistoryEntry]) -> Option<u64> {
    let reboots = history.iter().filter(|entry| {
        entry.outcome == SlotOutcome::Rebooted
            || entry.outcome == SlotOutcome::Released && entry.kind == HolderKind::FleetLock
    });
    reboots.map(|entry| entry.freed).max()
}

/// Tells whether the host is on its way down in a phase.
fn goes_down_from(phase: Phase) -> bool {
    matches!(phase, Phase::Locking | Phase::Draining | Phase::BeforeReboot)
}

/// Tells whether no slot is wanted yet in a phase.
pub fn is_before_slot(phase: Phase) -> bool {
    matches!(phase, Phase::Idle | Phase::Due | Phase::Waiting | Phase::Warning | Phase::Unknown)
}
