//! Leading: taking part in elections, and carrying out what the term decides.
//!
//! Owns the two loops around [`Election`] and [`Term`], which decide: they feed them with the
//! watch, the time and the store's answers, and do what they say. The store refuses whatever rests on something that has
//! changed. Only a leader follows the whole cluster; the others watch one key.

mod term;

use std::time::Duration;

use muster_common::errors::error_chain;
use muster_common::lease::Presence;
use muster_engine::leader::election::{CampaignOutcome, Election, ElectionEffect, ElectionInput};
use muster_engine::leader::term::Term;
use muster_runtime::Instant;
use muster_store::{ClusterWatch, Registry, RegistryError, StoreError};
use tokio_util::sync::CancellationToken;

use crate::machine::registration::FollowedRegistration;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;
use term::TermLoop;

/// Campaigns and leads until `shutdown`. Machines that vanish within `ttl` of each other count as lost together.
pub async fn run(
    registry: Registry,
    ttl: Duration,
    followed: FollowedRegistration,
    health: Health,
    shutdown: CancellationToken,
) {
    let election = ElectionLoop { registry, ttl, followed, health };
    shutdown.run_until_cancelled(Box::pin(election.take_part())).await;
}

struct ElectionLoop {
    registry: Registry,
    ttl: Duration,
    followed: FollowedRegistration,
    health: Health,
}

impl ElectionLoop {
    /// Returns when nothing can come any more.
    async fn take_part(mut self) {
        // One clock for registration, elections and terms: times are handed from one to the other.
        let started = self.followed.clock;
        let mut election = Election::default();
        let mut leader = self.registry.watch_leader();
        let registration = self.followed.registration.borrow_and_update().clone();
        let mut input = Some(ElectionInput::Registration(registration));
        while let Some(next) = input.take() {
            for effect in election.step(started.elapsed(), next) {
                match effect {
                    ElectionEffect::Campaign(presence) => {
                        let outcome = self.run_campaign(&presence).await;
                        input = Some(ElectionInput::Campaigned(outcome));
                    }
                    ElectionEffect::BeginTerm { presence, leadership, predecessor, room_since } => {
                        let term = Term::new(presence, leadership, predecessor, self.ttl)
                            .with_room_since(room_since);
                        self.lead_term(term).await;
                        // The term has followed it meanwhile.
                        self.followed.registration.mark_changed();
                        leader = self.registry.watch_leader();
                        input = Some(ElectionInput::TermEnded);
                    }
                    ElectionEffect::LogCampaignFailed(error) => {
                        tracing::debug!(error, "cannot campaign");
                    }
                }
            }
            if input.is_none() {
                let deadline = election.next_deadline().map(|at| started + at);
                input = self.next_input(&mut leader, deadline).await;
            }
        }
    }

    /// Waits for what comes next. All arms are cancel-safe.
    async fn next_input(
        &mut self,
        leader: &mut ClusterWatch,
        deadline: Option<Instant>,
    ) -> Option<ElectionInput> {
        tokio::select! {
            biased;
            changed = self.followed.registration.changed() => {
                changed.ok()?;
                let registration = self.followed.registration.borrow_and_update().clone();
                Some(ElectionInput::Registration(registration))
            }
            event = leader.events.recv() => event.map(ElectionInput::LeaderRecord),
            () = sleep_until_opt(deadline) => Some(ElectionInput::Tick),
        }
    }

    async fn run_campaign(&self, presence: &Presence) -> CampaignOutcome {
        match self.registry.campaign_for_leadership(presence).await {
            Ok(Some(leadership)) => CampaignOutcome::Won(leadership),
            Ok(None) => CampaignOutcome::Lost,
            Err(error @ RegistryError::Store(StoreError::Full { .. })) => {
                CampaignOutcome::Full(error_chain(&error))
            }
            Err(error) => CampaignOutcome::Failed(error_chain(&error)),
        }
    }

    async fn lead_term(&mut self, term: Term) {
        tracing::info!("this daemon leads");
        self.health.update(|s| {
            s.leading = true;
            s.counters.elections += 1;
        });
        let term = TermLoop::new(&self.registry, &self.health, term, self.followed.clock);
        term.run(&mut self.followed).await;
        tracing::info!("this daemon leads no more");
        self.health.update(|s| {
            s.leading = false;
            s.held.clear();
        });
    }
}
