//! An attempt to register: which cluster it is, whose record is there, which lease is to be had.
//!
//! Owns the questions of an attempt and what their answers mean. All of them together have one time limit.

use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::lease::LeaseId;
use muster_common::probe::{is_planted, reached};

use super::messages::{
    LeaseProblem, RegistrarAnswer, RegistrarEffect, RegistrarRequest, Registration,
};
use super::{ATTEMPT, Attempt, NO_ANSWER, RETRY, Registrar, RegistrationPhase};
use crate::contact::StoreContact;
use crate::machine::cluster::{ClusterVerdict, RememberedCluster, judge_store};

impl Registrar {
    pub(super) fn begin_attempt(&mut self, now: Duration, effects: &mut Vec<RegistrarEffect>) {
        self.advance_attempt(
            now,
            now,
            Attempt::Identifying,
            RegistrarRequest::FindCluster,
            effects,
        );
    }

    /// Asks the next question of an attempt. All of them together have one time limit.
    pub(super) fn advance_attempt(
        &mut self,
        now: Duration,
        since: Duration,
        step: Attempt,
        request: RegistrarRequest,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        self.phase = RegistrationPhase::Registering { since, step };
        let within = (since + ATTEMPT).saturating_sub(now);
        effects.push(RegistrarEffect::Ask { request, within });
    }

    pub(super) fn on_attempt_answer(
        &mut self,
        now: Duration,
        since: Duration,
        step: Attempt,
        answer: RegistrarAnswer,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        match (step, answer) {
            (_, RegistrarAnswer::Failed(problem)) => self.fail_attempt(now, problem, effects),
            (_, RegistrarAnswer::TimedOut) => {
                self.fail_attempt(now, NO_ANSWER.to_owned(), effects);
            }
            (Attempt::Identifying, RegistrarAnswer::ClusterFound { remembered, stored }) => {
                let remembered = match (remembered, self.cluster) {
                    // One that was in a cluster a moment ago is not new because nothing was placed on it.
                    (RememberedCluster::Nothing | RememberedCluster::Seen(_), Some(cluster)) => {
                        RememberedCluster::Known(cluster)
                    }
                    (remembered, _) => remembered,
                };
                match judge_store(remembered, stored) {
                    ClusterVerdict::Ours(cluster) => {
                        self.enter_cluster(now, since, cluster, effects);
                    }
                    ClusterVerdict::ToEstablish => {
                        let request = RegistrarRequest::EstablishCluster;
                        self.advance_attempt(now, since, Attempt::Establishing, request, effects);
                    }
                    ClusterVerdict::Foreign(foreign) => {
                        reached("store-is-foreign");
                        let problem = LeaseProblem::ForeignCluster(foreign);
                        self.refuse_registration(now, problem, effects);
                    }
                }
            }
            (
                Attempt::Identifying | Attempt::Establishing,
                RegistrarAnswer::ClusterUnreadable(problem),
            ) => {
                self.refuse_registration(now, LeaseProblem::UnreadableCluster(problem), effects);
            }
            (Attempt::Establishing, RegistrarAnswer::ClusterEstablished(cluster)) => {
                self.enter_cluster(now, since, cluster, effects);
            }
            (Attempt::Finding, RegistrarAnswer::Found(Some(found))) => {
                self.on_record_found(now, since, found, effects);
            }
            // A record nobody can read is nobody's; ours replaces it.
            (Attempt::Finding, RegistrarAnswer::Found(None) | RegistrarAnswer::FoundUnreadable) => {
                self.replace_record(now, since, None, effects);
            }
            (Attempt::Judging { lease, .. }, RegistrarAnswer::LeaseGone) => {
                self.replace_record(now, since, Some(lease), effects);
            }
            (Attempt::Judging { lease, address }, RegistrarAnswer::TimeLeft(time)) => {
                self.on_time_left(now, since, (lease, address), time, effects);
            }
            (Attempt::Reviving, RegistrarAnswer::LeaseGone) => {
                self.contact = None;
                self.ask_for_lease(now, since, effects);
            }
            (Attempt::Reviving | Attempt::Granting, RegistrarAnswer::Leased(lease)) => {
                // Known from here on: should the record be written and the answer be lost, the next attempt knows it for ours.
                let is_new = self.lease.replace(lease.id) != Some(lease.id);
                self.extend_contact(now, since, lease);
                if is_new && !is_planted("note-vouches-for-an-earlier-lease") {
                    effects.push(RegistrarEffect::DoubtPlacements);
                }
                effects.push(RegistrarEffect::RememberLease(lease.id));
                let facts = self.desired_record(now);
                let request = self.write_record(&facts, lease);
                self.advance_attempt(now, since, Attempt::Writing(facts), request, effects);
            }
            (Attempt::Writing(facts), RegistrarAnswer::Written { presence, revision }) => {
                self.written = Some(facts);
                self.own_revision = Some(revision);
                // Whatever has kept this machine from registering, a store without room for example, has kept others as well.
                if !is_planted("contact-outlasts-vain-attempts") {
                    self.contact = Some(StoreContact::begin(now, presence.lease.ttl));
                }
                self.begin_tenure(now, since, presence, effects);
            }
            (step, answer) => {
                debug_assert!(false, "no answer to {step:?}: {answer:?}");
                self.fail_attempt(now, NO_ANSWER.to_owned(), effects);
            }
        }
    }

    /// The store is ours and answers. Nothing was asked of it yet that makes others count on this machine.
    fn enter_cluster(
        &mut self,
        now: Duration,
        since: Duration,
        cluster: ClusterId,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        self.note_outage(false, effects);
        // Another cluster counts its revisions for itself.
        let is_same = self.cluster.is_none_or(|before| before == cluster);
        self.own_revision = self.own_revision.filter(|_| is_same);
        self.cluster = Some(cluster);
        effects.push(RegistrarEffect::SetCluster(cluster));
        let request = RegistrarRequest::FindRecord;
        self.advance_attempt(now, since, Attempt::Finding, request, effects);
    }

    fn ask_for_lease(
        &mut self,
        now: Duration,
        since: Duration,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let request = RegistrarRequest::Grant(self.lease_ttl);
        self.advance_attempt(now, since, Attempt::Granting, request, effects);
    }

    /// The way is free: a record under this lease, or none, is ours to replace.
    pub(super) fn replace_record(
        &mut self,
        now: Duration,
        since: Duration,
        found: Option<LeaseId>,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        self.other_boot = None;
        self.found = found;
        match self.lease {
            Some(lease) => {
                let request = RegistrarRequest::KeepAlive(lease);
                self.advance_attempt(now, since, Attempt::Reviving, request, effects);
            }
            None => self.ask_for_lease(now, since, effects),
        }
    }

    pub(super) fn refuse_registration(
        &mut self,
        now: Duration,
        problem: LeaseProblem,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        if self.lease_problem.as_ref() != Some(&problem) {
            effects.push(RegistrarEffect::LogRefused(problem.clone()));
        }
        effects.push(RegistrarEffect::SetStoreHealth(None));
        self.set_lease_health(Some(problem), effects);
        self.set_registration(Registration::Refused, effects);
        self.phase = RegistrationPhase::Resting { until: now + RETRY };
    }

    fn fail_attempt(&mut self, now: Duration, problem: String, effects: &mut Vec<RegistrarEffect>) {
        effects.push(RegistrarEffect::SetStoreHealth(Some(problem)));
        self.set_lease_health(Some(LeaseProblem::NotRegistered), effects);
        self.set_registration(Registration::Unreachable, effects);
        self.phase = RegistrationPhase::Resting { until: now + RETRY };
    }
}
