//! One term of leadership: what the leader does about what it sees, in which order.
//!
//! Owns the order of a leader's turn as a state machine without I/O, around the [scheduler](crate::schedule::Scheduler) and the
//! [freeze](super::freeze::Freeze): events of the cluster, time and the store's answers come in, requests and plans go out. Where a unit
//! goes is the scheduler's decision, and which losses are too large the freeze's. `now` is any monotonic time the caller keeps.
//!
//! ```text
//!  event, time ─▶ end drains that are due ─▶ probe the leases ─▶ record members ─▶ record the held ─▶ plan ─▶ commit
//!                        │                     if a loss may be       if they           if they                  │
//!                        │ nothing changed     part of a larger one   changed           changed                  │
//!                        ▼                                                                                       ▼
//!                      idle ◀── no plan before the revision of our own commit is seen ───────────────────────────┘
//! ```

mod returns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::cordon::{CordonHolder, Drain};
use muster_common::decision::PlacesCommitted;
use muster_common::lease::{Leadership, Presence};
use muster_common::machine::MachineId;
use muster_common::probe::{is_planted, reached};
use muster_common::snapshot::ClusterEvent;

use super::messages::{TermAnswer, TermEffect, TermInput, TermNotice, TermRequest};
use super::view::LeaderView;
use crate::machine::registration::Registration;

/// Pause before a request that the store did not carry out is made again.
const RETRY: Duration = Duration::from_millis(500);
/// After a conflict the change that caused it is on its way to us; should it not come, the plan is made again anyway.
const CONFLICT: Duration = Duration::from_millis(200);
/// Pause between two questions to the store after machines that are silent.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Longest time that the store may take to say how much time the leases have left.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Longest time for which the view is waited for to show our own commit. It takes milliseconds; a store that was restored never
/// shows it. A plan on an older view harms nothing: what it repeats is refused.
const OWN_WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One term of leadership.
#[derive(Debug, Clone)]
pub struct Term {
    presence: Presence,
    leadership: Leadership,
    view: LeaderView,
    /// Held machines as the leader record was last written; before the first time, as an earlier daemon under the same lease left it.
    held_written: Option<BTreeSet<MachineId>>,
    /// Held machines as last made known.
    held_shown: BTreeSet<MachineId>,
    /// Revision of the leader record as far as is known; `None` after a doubt. Plans are guarded by it, so that none of before a doubt is
    /// carried out once the record is written again.
    fence: Option<u64>,
    /// No plan before the view is at this revision: it would repeat what has just been written.
    wait_for: u64,
    /// For how long that is waited for at the most.
    wait_ends: Duration,
    retry_at: Option<Duration>,
    stage: Stage,
    /// When the turn under way has begun, or the last one.
    turn_began: Duration,
    /// Something came in during the turn under way.
    turn_due: bool,
    /// Machines that may return, as the log was last told.
    told_may_return: BTreeSet<MachineId>,
}

/// The point that the turn under way has come to.
#[derive(Debug, Clone)]
enum Stage {
    Idle,
    EndingDrains { ending: DueDrains, rest: Vec<DueDrains> },
    Probing { asked_at: Duration, asked: BTreeSet<MachineId> },
    RecordingMembers(BTreeSet<MachineId>),
    RecordingHeld(BTreeSet<MachineId>),
    Planning,
    Committing { decisions: u64 },
    Over,
}

type DueDrains = (MachineId, Vec<(CordonHolder, Drain)>);

impl Term {
    /// Term of the machine with this presence, under this leadership. `window` is the time within which losses count as one; see
    /// [`Freeze::new`](super::freeze::Freeze::new).
    /// `predecessor` is the machine that led before, and when its leader record was seen going, where that was seen.
    pub fn new(
        presence: Presence,
        leadership: Leadership,
        predecessor: Option<(MachineId, Duration)>,
        window: Duration,
    ) -> Self {
        Self {
            view: LeaderView::new(presence.machine.clone(), predecessor, window),
            presence,
            leadership,
            held_written: None,
            held_shown: BTreeSet::new(),
            // As it is when the record has not been written since it was made.
            fence: Some(leadership.created),
            wait_for: 0,
            wait_ends: Duration::ZERO,
            retry_at: None,
            stage: Stage::Idle,
            turn_began: Duration::ZERO,
            turn_due: false,
            told_may_return: BTreeSet::new(),
        }
    }

    /// The same where the store was without room and takes writes since then.
    #[must_use]
    pub fn with_room_since(mut self, room_since: Option<Duration>) -> Self {
        if let Some(at) = room_since {
            self.view.freeze.on_store_full();
            self.view.freeze.on_store_written(at);
        }
        self
    }

    /// Takes one input at a time that does not go back. What comes while a request is under way is taken in, and acted upon
    /// after its answer. After [`TermEffect::End`] nothing is done any more.
    pub fn step(&mut self, now: Duration, input: TermInput) -> Vec<TermEffect> {
        if matches!(self.stage, Stage::Over) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        match input {
            TermInput::Tick => self.on_tick(now),
            TermInput::Cluster(events) => self.handle_events(now, events, &mut effects),
            TermInput::Registration(registration) => {
                let ours = matches!(
                    &registration,
                    Registration::Registered(presence) if presence.lease.id == self.presence.lease.id
                );
                if !ours && !is_planted("lease-lost-while-leading") {
                    self.end_term(&mut effects);
                }
                self.turn_due = true;
            }
            TermInput::Contact(contact) => {
                let (waited_for, _) = self.view.freeze.machines_that_may_return(now);
                // A store that is back need not have room, and whoever has to register finds out first: a write of our own tells.
                let is_anew = self.view.freeze.set_contact(contact);
                self.fence = self.fence.filter(|_| !is_anew);
                let (waits_now, _) = self.view.freeze.machines_that_may_return(now);
                if !waited_for.is_empty() || !waits_now.is_empty() {
                    self.view.require_plan();
                    self.turn_due = true;
                }
            }
            TermInput::Answer(answer) => self.on_answer(now, answer, &mut effects),
            TermInput::MakePlan => self.make_plan(now, &mut effects),
        }
        if self.turn_due && matches!(self.stage, Stage::Idle) {
            self.begin_turn(now, &mut effects);
        }
        self.check_invariants(&effects);
        effects
    }

    /// When [`TermInput::Tick`] is due, if nothing comes before. `None` while a request is under way.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.retry_at.filter(|_| matches!(self.stage, Stage::Idle))
    }

    fn on_tick(&mut self, now: Duration) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.turn_due = true;
            self.view.require_plan();
        }
    }

    fn handle_events(
        &mut self,
        now: Duration,
        events: Vec<ClusterEvent>,
        effects: &mut Vec<TermEffect>,
    ) {
        let mut notices = Vec::new();
        let leads = events.into_iter().all(|e| self.view.handle_event(now, e, &mut notices));
        effects.extend(notices.into_iter().map(TermEffect::Log));
        if self.view.take_went_back() {
            self.stop_waiting_for_own_commit();
        }
        if !leads {
            self.end_term(effects);
        }
        self.turn_due = true;
    }

    fn wait_for_own_write(&mut self, now: Duration, revision: u64) {
        self.wait_for = if is_planted("own-commit-not-waited-for") { 0 } else { revision };
        self.wait_ends = now + OWN_WRITE_LIMIT;
    }

    fn stop_waiting_for_own_commit(&mut self) {
        if !is_planted("restored-store-waited-for") {
            self.wait_for = 0;
        }
    }

    fn end_term(&mut self, effects: &mut Vec<TermEffect>) {
        if !matches!(self.stage, Stage::Over) {
            self.stage = Stage::Over;
            effects.push(TermEffect::End);
        }
    }

    /// Looks again at a time, or when it was going to anyway if that is sooner.
    fn retry_by(&mut self, at: Duration) {
        self.retry_at = Some(self.retry_at.map_or(at, |retry| retry.min(at)));
    }

    /// A leader's writes are guarded by its own leadership, or they would be another's; and there is one request at a time.
    fn check_invariants(&self, effects: &[TermEffect]) {
        let mut asked = 0;
        for effect in effects {
            if let TermEffect::Ask { request, .. } = effect {
                asked += 1;
                let leadership = request.guarding_leadership().unwrap_or(self.leadership);
                debug_assert_eq!(leadership, self.leadership, "{request:?}");
            }
        }
        debug_assert!(asked <= 1, "one request at a time: {effects:?}");
    }
}

/// The turn.
impl Term {
    fn begin_turn(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        self.turn_due = false;
        self.turn_began = now;
        let due = self.view.deadlines.due_drains(now);
        self.end_drains(now, due, effects);
    }

    fn finish_turn(&mut self, now: Duration) {
        self.stage = Stage::Idle;
        // Somebody is back, or an old write was carried out, since this turn looked: its plan was for that change as well.
        if self.view.members_to_record() != self.view.members
            && !is_planted("return-while-recording-forgotten")
        {
            self.retry_by(now + RETRY);
        }
    }

    fn ask_store(
        &mut self,
        stage: Stage,
        request: TermRequest,
        within: Option<Duration>,
        effects: &mut Vec<TermEffect>,
    ) {
        self.stage = stage;
        effects.push(TermEffect::Ask { request, within });
    }

    fn on_answer(&mut self, now: Duration, answer: TermAnswer, effects: &mut Vec<TermEffect>) {
        if matches!(answer, TermAnswer::Deposed) {
            self.end_term(effects);
            return;
        }
        self.note_room(now, &answer);
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::EndingDrains { ending, rest } => {
                self.on_drains_ended(now, ending, answer, effects);
                self.end_drains(now, rest, effects);
            }
            Stage::Probing { asked_at, asked } => {
                self.on_leases_probed(now, asked_at, asked, answer, effects);
                self.record_members(now, effects);
            }
            Stage::RecordingMembers(members) => {
                self.on_members_recorded(now, members, answer, effects);
                self.record_held(effects);
            }
            Stage::RecordingHeld(held) => self.on_held_recorded(now, held, answer, effects),
            Stage::Committing { decisions } => {
                self.on_plan_committed(now, decisions, answer, effects);
            }
            stage @ (Stage::Idle | Stage::Planning) => {
                debug_assert!(false, "an answer to no request: {answer:?}");
                self.stage = stage;
            }
            // It came too late for this term.
            Stage::Over => self.stage = Stage::Over,
        }
    }

    /// Notes of drains that their deadline has come, one machine after another.
    fn end_drains(
        &mut self,
        now: Duration,
        mut due: Vec<DueDrains>,
        effects: &mut Vec<TermEffect>,
    ) {
        if due.is_empty() {
            // One that came due in the course of this turn counts as well; one that was due as it began and could not be ended has its
            // retry, and one that was ordered meanwhile has the turn that its event calls for.
            if let Some(next) = self.view.deadlines.next_deadline()
                && next > self.turn_began
            {
                self.retry_by(next);
            }
            self.consider_planning(now, effects);
            return;
        }
        let (machine, drains) = due.remove(0);
        for (holder, drain) in &drains {
            effects.push(TermEffect::Log(TermNotice::DrainDue {
                machine: machine.clone(),
                holder: holder.clone(),
                end: drain.then.end(),
            }));
        }
        let request = TermRequest::EndDrains {
            leadership: self.leadership,
            machine: machine.clone(),
            drains: drains.clone(),
        };
        let stage = Stage::EndingDrains { ending: (machine, drains), rest: due };
        self.ask_store(stage, request, None, effects);
    }

    fn on_drains_ended(
        &mut self,
        now: Duration,
        (machine, drains): DueDrains,
        answer: TermAnswer,
        effects: &mut Vec<TermEffect>,
    ) {
        match answer.into_problem() {
            None => self.view.deadlines.remove_ended(&machine, &drains),
            Some(problem) => {
                let notice = TermNotice::CannotEndDrains { machine, problem };
                effects.push(TermEffect::Log(notice));
                self.retry_by(now + RETRY);
            }
        }
    }

    fn consider_planning(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        if now >= self.wait_ends {
            self.stop_waiting_for_own_commit();
        }
        if !self.view.is_plan_due(self.wait_for) {
            if self.wait_for > 0 && self.view.is_plan_due(0) {
                self.retry_by(self.wait_ends);
            }
            self.finish_turn(now);
            return;
        }
        self.wait_for_returns(now, effects);
        self.view.freeze.freeze_mass_loss(now);
        if self.view.freeze.needs_probe(now) {
            self.probe_leases(now, effects);
        } else {
            self.record_members(now, effects);
        }
    }

    /// Before anything moves away from a lost machine: how are the others?
    fn probe_leases(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        let machines = self.view.machines_to_probe();
        if machines.is_empty() {
            self.on_leases_probed(now, now, machines, TermAnswer::Leases(BTreeMap::new()), effects);
            self.record_members(now, effects);
            return;
        }
        let stage = Stage::Probing { asked_at: now, asked: machines.clone() };
        let request = TermRequest::ProbeLeases { machines, limit: PROBE_LIMIT };
        // As many answers as have come by the limit are given; should even that fail, it is over soon after.
        self.ask_store(stage, request, Some(PROBE_LIMIT + PROBE_INTERVAL), effects);
    }

    fn on_leases_probed(
        &mut self,
        now: Duration,
        asked_at: Duration,
        asked: BTreeSet<MachineId>,
        answer: TermAnswer,
        effects: &mut Vec<TermEffect>,
    ) {
        let problem = if let TermAnswer::Leases(leases) = answer {
            let probe = LeaderView::read_probe(asked, &leases);
            let lost = self.view.freeze.on_leases_probed(&probe, asked_at, now);
            let lost = lost.into_iter().map(TermNotice::MachineLost);
            effects.extend(lost.map(TermEffect::Log));
            let names: Vec<&str> = probe.silent.iter().map(MachineId::as_str).collect();
            Some(names.join(" "))
                .filter(|names| !names.is_empty())
                .map(|names| format!("not heard of lately: {names}"))
        } else {
            answer.into_problem()
        };
        if self.view.freeze.needs_probe(now) {
            let notices = problem.map(|problem| TermNotice::LossesWait { problem });
            effects.extend(notices.map(TermEffect::Log));
            self.retry_by(now + PROBE_INTERVAL);
        }
    }

    /// Keeps the record of the members true. A failure is made good with the next turn.
    fn record_members(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        if let Some(at) = self.view.freeze.forget_old_losses(now) {
            // A moment later it certainly is in the past.
            self.retry_by(at.max(now) + PROBE_INTERVAL);
        }
        let members = self.view.members_to_record();
        if members == self.view.members || is_planted("members-not-recorded") {
            self.record_held(effects);
            return;
        }
        if !is_planted("members-under-way-taken-for-leave") {
            self.view.on_members_sent(members.clone());
        }
        let request = TermRequest::RecordMembers {
            leadership: self.leadership,
            seen: self.view.members.clone(),
            seen_at: self.view.seen_revision(),
            members: members.clone(),
        };
        self.ask_store(Stage::RecordingMembers(members), request, None, effects);
    }

    fn on_members_recorded(
        &mut self,
        now: Duration,
        members: BTreeSet<MachineId>,
        answer: TermAnswer,
        effects: &mut Vec<TermEffect>,
    ) {
        if answer == TermAnswer::Overtaken {
            // A machine has taken its leave; the watch is about to say so.
            self.retry_by(now + CONFLICT);
            return;
        }
        match answer.into_problem() {
            None => self.view.on_members_written(members),
            Some(problem) => {
                self.view.on_members_sent(members);
                effects.push(TermEffect::Log(TermNotice::CannotRecordMembers { problem }));
                self.retry_by(now + RETRY);
            }
        }
    }

    /// Makes known which machines are held, before anything is planned.
    fn record_held(&mut self, effects: &mut Vec<TermEffect>) {
        let held = self.view.freeze.held_machines().clone();
        let written = self.held_written.get_or_insert_with(|| self.view.held_seen.clone());
        if held == self.held_shown && held == *written && self.fence.is_some() {
            self.announce_plan(effects);
            return;
        }
        if !held.is_empty() && held != self.held_shown {
            effects.push(TermEffect::Log(TermNotice::MassLoss(held.clone())));
        }
        self.view.on_held_sent(&held);
        let request = TermRequest::RecordHeld {
            leadership: self.leadership,
            presence: self.presence.clone(),
            held: held.clone(),
        };
        self.ask_store(Stage::RecordingHeld(held), request, None, effects);
    }

    fn on_held_recorded(
        &mut self,
        now: Duration,
        held: BTreeSet<MachineId>,
        answer: TermAnswer,
        effects: &mut Vec<TermEffect>,
    ) {
        if let TermAnswer::Written { revision } = answer {
            self.view.on_held_written(&held, revision);
            if self.fence.is_none() {
                // What was in doubt has happened before this, or never will.
                self.wait_for_own_write(now, revision);
            }
            self.fence = Some(revision);
        } else {
            self.fence = None;
        }
        if answer == TermAnswer::Overtaken {
            // The record was changed at the same moment; the watch is about to say how.
            self.retry_by(now + CONFLICT);
            self.finish_turn(now);
            return;
        }
        if let Some(problem) = answer.into_problem() {
            effects.push(TermEffect::Log(TermNotice::CannotRecordHeld { problem }));
            self.retry_by(now + RETRY);
            self.finish_turn(now);
            return;
        }
        self.held_written = Some(held.clone());
        self.held_shown.clone_from(&held);
        effects.push(TermEffect::SetHeld(held));
        if self.view.is_plan_due(self.wait_for) {
            self.announce_plan(effects);
        } else {
            self.retry_by(self.wait_ends);
            self.finish_turn(now);
        }
    }

    fn announce_plan(&mut self, effects: &mut Vec<TermEffect>) {
        self.stage = Stage::Planning;
        effects.push(TermEffect::MakePlan);
    }

    fn make_plan(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        if !matches!(self.stage, Stage::Planning) {
            debug_assert!(matches!(self.stage, Stage::Over), "no plan was announced");
            return;
        }
        let plan = self.view.make_plan(now, self.wait_for);
        if plan.moves.is_empty() {
            self.finish_turn(now);
            return;
        }
        let decisions: usize = plan.moves.iter().map(|m| m.decisions.len()).sum();
        // The record has been written again since the last doubt, or nothing would have been planned.
        let fence = self.fence.unwrap_or(self.leadership.created);
        let request =
            TermRequest::CommitPlan { leadership: self.leadership, fence, moves: plan.moves };
        let stage = Stage::Committing { decisions: decisions as u64 };
        self.ask_store(stage, request, None, effects);
    }

    fn on_plan_committed(
        &mut self,
        now: Duration,
        decisions: u64,
        answer: TermAnswer,
        effects: &mut Vec<TermEffect>,
    ) {
        self.finish_turn(now);
        if let TermAnswer::Committed(PlacesCommitted { revision, conflicts }) = answer {
            self.wait_for_own_write(now, revision);
            let conflicts = conflicts.len() as u64;
            effects.push(TermEffect::CountCommitted { decisions, conflicts });
            if conflicts > 0 && !is_planted("conflict-not-planned-again") {
                effects.push(TermEffect::Log(TermNotice::PlanOvertaken { conflicts }));
                self.retry_by(now + CONFLICT);
            }
        } else {
            reached("plan-in-doubt");
            if !is_planted("fence-kept-in-doubt") {
                self.fence = None;
            }
            if answer == TermAnswer::Overtaken {
                // A person has ended a freeze, and the leader record is theirs.
                self.retry_by(now + CONFLICT);
                return;
            }
            let problem = answer.into_problem().unwrap_or_default();
            effects.push(TermEffect::Log(TermNotice::CannotCommitPlan { problem }));
            if !is_planted("failed-plan-not-made-again") {
                self.retry_by(now + RETRY);
            }
        }
    }
}
