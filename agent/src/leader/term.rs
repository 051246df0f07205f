//! One term of leadership, carried out.
//!
//! Owns the loop around [`Term`]: it feeds it and does what it says, one request after another. What arrives meanwhile waits, and
//! belongs into the next plan.

use std::ops::ControlFlow;
use std::time::Duration;

use muster_common::errors::error_chain;
use muster_common::machine::MachineId;
use muster_engine::leader::messages::{TermAnswer, TermEffect, TermInput, TermNotice, TermRequest};
use muster_engine::leader::term::Term;
use muster_runtime::Instant;
use muster_store::{ClusterWatch, CommitError, Registry, StoreError};

use crate::machine::registration::FollowedRegistration;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;

pub(super) struct TermLoop<'a> {
    registry: &'a Registry,
    health: &'a Health,
    term: Term,
    /// When the term's clock was at zero.
    clock: Instant,
}

impl<'a> TermLoop<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        health: &'a Health,
        term: Term,
        clock: Instant,
    ) -> Self {
        Self { registry, health, term, clock }
    }

    /// Leads until another does, or until the lease is not good any more.
    pub(super) async fn run(mut self, followed: &mut FollowedRegistration) {
        let mut updates = self.registry.watch();
        followed.contact.mark_changed();
        while let Some(input) = self.next_input(&mut updates, followed).await {
            if self.feed_term(input).await.is_break() {
                return;
            }
        }
    }

    /// Waits for what comes next. All arms are cancel-safe.
    async fn next_input(
        &self,
        updates: &mut ClusterWatch,
        followed: &mut FollowedRegistration,
    ) -> Option<TermInput> {
        let deadline = self.term.next_deadline().map(|at| self.clock + at);
        tokio::select! {
            biased;
            changed = followed.registration.changed() => {
                changed.ok()?;
                Some(TermInput::Registration(followed.registration.borrow_and_update().clone()))
            }
            // Before the events of the cluster, which are judged by it.
            changed = followed.contact.changed() => {
                changed.ok()?;
                Some(TermInput::Contact(*followed.contact.borrow_and_update()))
            }
            event = updates.events.recv() => {
                let mut events = vec![event?];
                // Whatever else has arrived belongs into the same plan.
                while let Ok(event) = updates.events.try_recv() {
                    events.push(event);
                }
                Some(TermInput::Cluster(events))
            }
            () = sleep_until_opt(deadline) => Some(TermInput::Tick),
        }
    }

    /// Feeds an input, and then the answers to what the term asks for until it asks for no more. It breaks off when the term is
    /// over.
    async fn feed_term(&mut self, input: TermInput) -> ControlFlow<()> {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            for effect in self.step_term(next) {
                match effect {
                    TermEffect::Ask { request, within } => {
                        let answer = Box::pin(self.ask_within(request, within)).await;
                        input = Some(TermInput::Answer(answer));
                    }
                    TermEffect::MakePlan => input = Some(TermInput::MakePlan),
                    TermEffect::SetHeld(held) => self.health.update(|s| s.held = held),
                    TermEffect::CountCommitted { decisions, conflicts } => {
                        self.health.update_counters(|c| {
                            c.decisions += decisions;
                            c.conflicts += conflicts;
                        });
                    }
                    TermEffect::Log(notice) => log_notice(notice),
                    TermEffect::End => return ControlFlow::Break(()),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn step_term(&mut self, input: TermInput) -> Vec<TermEffect> {
        let plans = input == TermInput::MakePlan;
        let began = Instant::now();
        let effects = self.term.step(self.clock.elapsed(), input);
        if plans {
            self.health.record_plan(began.elapsed());
        }
        effects
    }

    async fn ask_within(&self, request: TermRequest, within: Option<Duration>) -> TermAnswer {
        let answer = self.ask_store(request);
        match within {
            Some(limit) => {
                muster_runtime::timeout(limit, answer).await.unwrap_or(TermAnswer::TimedOut)
            }
            None => answer.await,
        }
    }

    async fn ask_store(&self, request: TermRequest) -> TermAnswer {
        match request {
            TermRequest::ProbeLeases { machines, limit } => {
                match self.registry.time_left(&machines, limit).await {
                    Ok(leases) => TermAnswer::Leases(leases),
                    Err(error) => TermAnswer::Failed(error_chain(&error)),
                }
            }
            TermRequest::EndDrains { leadership, machine, drains } => {
                match self.registry.end_drains(leadership, &machine, &drains).await {
                    Ok(()) => TermAnswer::Done,
                    Err(error) => TermAnswer::Failed(error_chain(&error)),
                }
            }
            TermRequest::RecordMembers { leadership, seen, seen_at, members } => {
                match self.registry.set_members(leadership, (&seen, seen_at), &members).await {
                    Ok(true) => TermAnswer::Done,
                    Ok(false) => TermAnswer::Overtaken,
                    Err(error) => failure_answer(&error),
                }
            }
            TermRequest::RecordHeld { leadership, presence, held } => {
                let written = self.registry.write_held_machines(leadership, &presence, held).await;
                written.map_or_else(
                    |error| failure_answer(&error),
                    |revision| TermAnswer::Written { revision },
                )
            }
            TermRequest::CommitPlan { leadership, fence, moves } => {
                let committed = self.registry.commit_fenced_places(leadership, fence, &moves).await;
                committed.map_or_else(|error| failure_answer(&error), TermAnswer::Committed)
            }
        }
    }
}

fn failure_answer(error: &CommitError) -> TermAnswer {
    match error {
        CommitError::Deposed => TermAnswer::Deposed,
        CommitError::Fenced => TermAnswer::Overtaken,
        error @ CommitError::Store(StoreError::Full { .. }) => TermAnswer::Full(error_chain(error)),
        error => TermAnswer::Failed(error_chain(error)),
    }
}

fn log_notice(notice: TermNotice) {
    match notice {
        TermNotice::StoreLost { problem } => {
            tracing::warn!(problem, "the leader has lost the store; nothing is decided meanwhile");
        }
        TermNotice::MachineLost(machine) => tracing::warn!(%machine, "a machine is lost"),
        TermNotice::MachinesMayReturn(machines) => {
            let names: Vec<&str> = machines.iter().map(MachineId::as_str).collect();
            tracing::warn!(
                machines = names.join(" "),
                "machines are missing and the store was away, or may have been: they have a whole TTL to come back before \
                 their units move"
            );
        }
        TermNotice::MassLoss(held) => {
            let names: Vec<&str> = held.iter().map(MachineId::as_str).collect();
            tracing::error!(
                machines = names.join(" "),
                "too many machines vanished together: their units stay where they are until the machines return or \
                 `musterctl unfreeze` is run"
            );
        }
        TermNotice::Unfrozen => {
            tracing::warn!("unfrozen by a person; units of the missing machines are placed anew");
        }
        TermNotice::LossesWait { problem } => {
            tracing::info!(
                problem,
                "units of lost machines wait until it is known who else is lost"
            );
        }
        TermNotice::DrainDue { machine, holder, end } => {
            tracing::info!(%machine, %holder, ?end, "a drain is at its deadline");
        }
        TermNotice::PlanOvertaken { conflicts } => {
            tracing::debug!(conflicts, "part of the plan was overtaken; planning again");
        }
        TermNotice::CannotEndDrains { machine, problem } => {
            tracing::warn!(%machine, error = problem, "cannot end a drain");
        }
        TermNotice::CannotRecordMembers { problem } => {
            tracing::warn!(error = problem, "cannot record the members");
        }
        TermNotice::CannotRecordHeld { problem } => {
            tracing::warn!(error = problem, "cannot record the freeze");
        }
        TermNotice::CannotCommitPlan { problem } => {
            tracing::warn!(error = problem, "cannot write the plan");
        }
    }
}
