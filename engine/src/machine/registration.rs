//! When a machine registers, under which lease, and what its record says.
//!
//! Owns the rules of a machine's presence as a state machine without I/O: time, answers of the store and news of the machine
//! come in, what is to be done goes out. The time of a lease counts from the sending of the last request that was answered:
//! the store may count from later, never from earlier. It decides nothing about units, and reads no clock: `now` is any
//! monotonic time the caller keeps.
//!
//! ```text
//!            ┌───────────────────────────── lease gone, or the record not ours ──────┐
//!            ▼                                                                       │
//!  find the cluster ─▶ find the record ─▶ keep the known lease alive ─▶ grant one ─▶ write the record ─▶ registered: keep alive,
//!   │ another's, or no answer                                                                             verify, refresh
//!   └▶ wait for RETRY, begin anew
//! ```

mod attempt;
mod messages;
mod other_boot;
mod ownership;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::lease::{Lease, LeaseId, Presence};
use muster_common::machine::{ContainerEngine, Machine, RunnerKind};
use muster_common::probe::is_planted;

use crate::contact::StoreContact;
use other_boot::OtherBoot;

pub use messages::{
    FoundRecord, LeaseProblem, RegistrarAnswer, RegistrarEffect, RegistrarInput, RegistrarRequest,
    Registration, UnitsReported,
};

/// Pause between attempts while the store does not answer.
pub const RETRY: Duration = Duration::from_millis(500);
/// Longest time of one attempt; a store that needs longer is tried anew.
pub const ATTEMPT: Duration = Duration::from_secs(3);
/// Shortest lease worth having: below it an etcd election alone costs a machine its lease.
const SHORTEST: Duration = Duration::from_secs(2);
/// The time for which a container engine may be silent before the cluster is told that it is gone: it may be on its way up again.
pub const SILENCE_GRACE: Duration = Duration::from_secs(30);
/// A lease is prolonged this often in its time, so that two requests may fail before it ends.
const RENEWALS: u32 = 3;
/// A store that has been silent for longer than the lease is asked this often in its time, each time at another member: of three, that
/// which answers has been found within two thirds of the lease, for which everybody waits who thinks that others are lost (docs/decisions/0017).
const SOUNDINGS: u32 = 5;

/// The problem of a store that is silent.
const NO_ANSWER: &str = "the store does not answer in time";

/// The lease asked for so that a machine silent for `ttl` is gone even when etcd's leader went with it; see
/// docs/decisions/0001-lease-shorter-than-ttl.md.
pub fn lease_for(ttl: Duration) -> Duration {
    (ttl * 3 / 5).max(SHORTEST)
}

/// The part of a machine's record that may change while it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RecordFacts {
    /// True if the container engine runs units.
    runs_containers: bool,
    /// Why it does not answer although it did.
    containers_lost: Option<String>,
    leaving: bool,
    metadata: BTreeMap<String, String>,
}

/// Keeps one machine registered: decides when what is asked of the store, and what its answers mean.
#[derive(Debug, Clone)]
pub struct Registrar {
    /// The record without what may change.
    machine: Machine,
    lease_ttl: Duration,
    silence_grace: Duration,
    engine: ContainerEngine,
    /// Since when the container engine has been silent.
    silent_since: Option<Duration>,
    metadata: BTreeMap<String, String>,
    /// The machine goes down.
    leaving: bool,
    reported: UnitsReported,
    /// As the record was last written.
    written: Option<RecordFacts>,
    /// The last lease known to be ours, alive or not.
    lease: Option<LeaseId>,
    /// The lease of the record that was found last and taken for ours.
    found: Option<LeaseId>,
    /// The revision of the record that was last found to be ours, in what the store held then.
    own_revision: Option<u64>,
    /// The record of another boot that is at our address, as it was looked at first.
    other_boot: Option<OtherBoot>,
    /// A write under the lease was refused since it was last prolonged.
    lease_suspect: bool,
    registration: Registration,
    /// Contact with the store, as our own keepalives show it.
    contact: Option<StoreContact>,
    lease_problem: Option<LeaseProblem>,
    /// The cluster that it was registered in last, whether placements of it were carried out or not.
    cluster: Option<ClusterId>,
    /// An outage is noted on disk, or may be by an earlier daemon.
    outage_noted: bool,
    phase: RegistrationPhase,
}

#[derive(Debug, Clone)]
enum RegistrationPhase {
    /// No attempt is under way; the next one is due then.
    Resting { until: Duration },
    /// An attempt that began `since` then has asked for this.
    Registering { since: Duration, step: Attempt },
    /// Registered under the lease.
    Registered(Tenure),
}

/// The step that an attempt to register waits for.
#[derive(Debug, Clone)]
enum Attempt {
    Identifying,
    Establishing,
    Finding,
    /// The lease of another boot's record at our address, which may be ours of before.
    Judging {
        lease: LeaseId,
        address: String,
    },
    Reviving,
    Granting,
    Writing(RecordFacts),
}

#[derive(Debug, Clone)]
struct Tenure {
    lease: Lease,
    renew_at: Duration,
    /// When it is over unless the store says otherwise.
    ends_at: Duration,
    /// No refresh of the record before.
    refresh_after: Duration,
    /// When the record has to be looked at, if it does not become untrue before.
    record_due: Option<Duration>,
    asked: Option<TenureRequest>,
}

/// The answer that a registered machine waits for.
#[derive(Debug, Clone)]
enum TenureRequest {
    /// Any word of the store's, after its silence has outlasted the lease.
    Sounding,
    /// The lease's new time, counted from `sent`.
    Renewal { sent: Duration },
    /// The word that the record is ours, before the renewal counts.
    Verification { sent: Duration, ttl: Duration },
    /// The record written again.
    Refresh(RecordFacts),
}

impl Registrar {
    /// Registrar of a machine that is gone once it has been silent for `ttl`. `remembered` is the lease of an earlier
    /// daemon of this boot. The first attempt is due at once.
    pub fn new(machine: Machine, ttl: Duration, remembered: Option<LeaseId>) -> Self {
        Self {
            metadata: machine.metadata.clone(),
            machine,
            leaving: false,
            reported: UnitsReported::NoUnits,
            lease_ttl: lease_for(ttl),
            silence_grace: SILENCE_GRACE,
            engine: ContainerEngine::Absent,
            silent_since: None,
            written: None,
            lease: remembered,
            found: None,
            own_revision: None,
            other_boot: None,
            lease_suspect: false,
            registration: Registration::Pending,
            contact: None,
            lease_problem: None,
            cluster: None,
            outage_noted: true,
            phase: RegistrationPhase::Resting { until: Duration::ZERO },
        }
    }

    /// The same with another time that a container engine may be silent before it counts as gone.
    #[must_use]
    pub fn with_silence_grace(self, silence_grace: Duration) -> Self {
        Self { silence_grace, ..self }
    }

    /// Takes one input at a time that does not go back. While a request is under way, what comes is noted and acted upon after
    /// its answer.
    pub fn step(&mut self, now: Duration, input: RegistrarInput) -> Vec<RegistrarEffect> {
        let mut effects = Vec::new();
        match input {
            RegistrarInput::Tick => {}
            RegistrarInput::Answer(answer) => self.on_answer(now, answer, &mut effects),
            RegistrarInput::ContainerEngine(engine) => {
                let lost = matches!(engine, ContainerEngine::Lost(_));
                self.silent_since = lost.then(|| self.silent_since.unwrap_or(now));
                self.engine = engine;
            }
            RegistrarInput::Metadata(metadata) => self.metadata = metadata,
            RegistrarInput::Leaving(leaving) => self.leaving = leaving,
            RegistrarInput::UnitsReported(reported) => self.reported = reported,
            // The time for which it slept is missing on our clock, and the lease's went on: most of it may be over.
            RegistrarInput::Woken if is_planted("sleep-unnoticed") => {}
            RegistrarInput::LeaseSuspect | RegistrarInput::Woken => {
                self.lease_suspect = !is_planted("lease-suspicion-ignored");
            }
        }
        self.take_next_step(now, &mut effects);
        self.check_invariants(&effects);
        effects
    }

    /// Contact with the store, on the clock of the steps; `None` before a lease is had, and after it was lost.
    pub fn store_contact(&self) -> Option<StoreContact> {
        self.contact
    }

    /// When the lease is over under which the machine is registered, on the clock of the steps, unless the store says otherwise.
    pub fn lease_ends(&self) -> Option<Duration> {
        match &self.phase {
            RegistrationPhase::Registered(tenure) => Some(tenure.ends_at),
            RegistrationPhase::Resting { .. } | RegistrationPhase::Registering { .. } => None,
        }
    }

    /// When [`RegistrarInput::Tick`] is due, if nothing comes before. `None` while a request is under way.
    pub fn next_deadline(&self) -> Option<Duration> {
        match &self.phase {
            RegistrationPhase::Resting { until } => Some(*until),
            RegistrationPhase::Registered(Tenure { asked: None, renew_at, record_due, .. }) => {
                Some(record_due.map_or(*renew_at, |due| due.min(*renew_at)))
            }
            RegistrationPhase::Registering { .. } | RegistrationPhase::Registered(_) => None,
        }
    }

    /// Does what is due, unless a request is under way.
    fn take_next_step(&mut self, now: Duration, effects: &mut Vec<RegistrarEffect>) {
        let desired = self.desired_record(now);
        let stale = self.written.as_ref() != Some(&desired) && !is_planted("untrue-record-kept");
        let grace_ends = self.silence_ends().filter(|ends| now < *ends);
        match &mut self.phase {
            RegistrationPhase::Resting { until } if now >= *until => {
                self.begin_attempt(now, effects);
            }
            RegistrationPhase::Registered(tenure) if tenure.asked.is_none() => {
                if now >= tenure.renew_at || self.lease_suspect {
                    self.keep_lease_alive(now, effects);
                } else if self.outage_noted {
                    // The store has to be heard first.
                    tenure.record_due = None;
                } else if stale && now >= tenure.refresh_after {
                    self.refresh_record(now, desired, effects);
                } else {
                    tenure.record_due = if stale { Some(tenure.refresh_after) } else { grace_ends };
                }
            }
            RegistrationPhase::Resting { .. }
            | RegistrationPhase::Registering { .. }
            | RegistrationPhase::Registered(_) => {}
        }
    }

    fn on_answer(
        &mut self,
        now: Duration,
        answer: RegistrarAnswer,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        match &mut self.phase {
            RegistrationPhase::Registering { since, step } => {
                let (since, step) = (*since, step.clone());
                self.on_attempt_answer(now, since, step, answer, effects);
            }
            RegistrationPhase::Registered(tenure) => match tenure.asked.take() {
                Some(TenureRequest::Sounding) => self.on_sounding_answer(now, answer, effects),
                Some(TenureRequest::Renewal { sent }) => {
                    self.on_renewal_answer(now, sent, answer, effects);
                }
                Some(TenureRequest::Verification { sent, ttl }) => {
                    self.on_verification_answer(now, sent, ttl, answer, effects);
                }
                Some(TenureRequest::Refresh(facts)) => self.on_refresh_answer(now, facts, &answer),
                None => debug_assert!(false, "an answer to no request: {answer:?}"),
            },
            RegistrationPhase::Resting { .. } => {
                debug_assert!(false, "an answer to no request: {answer:?}");
            }
        }
    }
}

/// A registered machine.
impl Registrar {
    fn begin_tenure(
        &mut self,
        now: Duration,
        since: Duration,
        presence: Presence,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let lease = presence.lease;
        effects.push(RegistrarEffect::SetStoreHealth(None));
        self.set_lease_health(None, effects);
        effects.push(RegistrarEffect::LogRegistered(lease.id));
        self.phase = RegistrationPhase::Registered(Tenure {
            lease,
            // It may be of any age within the attempt; the attempt's beginning is before all of them.
            renew_at: since + lease.ttl / RENEWALS,
            ends_at: since + lease.ttl,
            refresh_after: now,
            record_due: None,
            asked: None,
        });
        self.set_registration(Registration::Registered(presence), effects);
    }

    /// The lease may only be in doubt; registering takes it over when it is alive.
    fn end_tenure(&mut self, now: Duration, effects: &mut Vec<RegistrarEffect>) {
        self.set_registration(Registration::Pending, effects);
        self.begin_attempt(now, effects);
    }

    fn keep_lease_alive(&mut self, now: Duration, effects: &mut Vec<RegistrarEffect>) {
        self.lease_suspect = false;
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        let over = now >= tenure.ends_at && !is_planted("silent-lease-relied-on");
        let within = (tenure.lease.ttl / SOUNDINGS).max(RETRY);
        if !over {
            self.renew_lease(now, effects);
            return;
        }
        // Nobody can say that it is gone while the store is away; our own clock says when it cannot be relied on. From here on what
        // runs here is no promise to anybody, so that it may be taken up again after a power cut. The promise is made anew once the
        // store has been heard: a renewal sent into its silence might be carried out, and its answer lost.
        tenure.asked = Some(TenureRequest::Sounding);
        self.set_lease_health(Some(LeaseProblem::RanOut), effects);
        self.note_outage(true, effects);
        effects.push(RegistrarEffect::Ask { request: RegistrarRequest::FindRecord, within });
    }

    fn renew_lease(&mut self, now: Duration, effects: &mut Vec<RegistrarEffect>) {
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        tenure.asked = Some(TenureRequest::Renewal { sent: now });
        let request = RegistrarRequest::KeepAlive(tenure.lease.id);
        // The store goes on from one member to the next by itself, and each has its time: whoever gave up on it in the middle and
        // asked anew would begin with a member that has just kept silent.
        let left = tenure.ends_at.saturating_sub(now);
        let is_cut_short = left.is_zero() || is_planted("renewal-cut-short");
        let within = if is_cut_short { tenure.lease.ttl / RENEWALS } else { left }.max(RETRY);
        effects.push(RegistrarEffect::Ask { request, within });
    }

    fn on_sounding_answer(
        &mut self,
        now: Duration,
        answer: RegistrarAnswer,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        match answer {
            RegistrarAnswer::Found(_) | RegistrarAnswer::FoundUnreadable => {
                self.note_outage(false, effects);
                self.renew_lease(now, effects);
            }
            RegistrarAnswer::Failed(problem) => {
                tenure.renew_at = now + RETRY;
                effects.push(RegistrarEffect::SetStoreHealth(Some(problem)));
            }
            answer => {
                debug_assert_eq!(answer, RegistrarAnswer::TimedOut, "no answer to a sounding");
                tenure.renew_at = now;
                effects.push(RegistrarEffect::SetStoreHealth(Some(NO_ANSWER.to_owned())));
            }
        }
    }

    fn on_renewal_answer(
        &mut self,
        now: Duration,
        sent: Duration,
        answer: RegistrarAnswer,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        match answer {
            RegistrarAnswer::Leased(lease) => {
                tenure.asked = Some(TenureRequest::Verification { sent, ttl: lease.ttl });
                self.extend_contact(now, sent, lease);
                effects.push(RegistrarEffect::SetStoreHealth(None));
                self.set_lease_health(None, effects);
                let request = RegistrarRequest::FindRecord;
                effects.push(RegistrarEffect::Ask { request, within: RETRY });
            }
            RegistrarAnswer::LeaseGone if is_planted("lost-lease-unnoticed") => {
                tenure.renew_at = now + RETRY;
            }
            RegistrarAnswer::LeaseGone => {
                effects.push(RegistrarEffect::LogLeaseGone(tenure.lease.id));
                self.contact = None;
                self.set_lease_health(Some(LeaseProblem::Lost), effects);
                self.end_tenure(now, effects);
            }
            RegistrarAnswer::Failed(problem) => {
                tenure.renew_at = now + RETRY;
                effects.push(RegistrarEffect::SetStoreHealth(Some(problem)));
            }
            answer => {
                debug_assert_eq!(answer, RegistrarAnswer::TimedOut, "no answer to a renewal");
                // The next try goes to another endpoint.
                tenure.renew_at = now;
                effects.push(RegistrarEffect::SetStoreHealth(Some(NO_ANSWER.to_owned())));
            }
        }
    }

    /// A lease that is alive is worth nothing if the record under our id lives under another. Where that cannot be found out
    /// now, it is taken for ours.
    fn on_verification_answer(
        &mut self,
        now: Duration,
        sent: Duration,
        ttl: Duration,
        answer: RegistrarAnswer,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        let own = Some(tenure.lease.id);
        match answer {
            RegistrarAnswer::Found(Some(found)) if found.lease == own => {
                self.own_revision = Some(found.revision);
            }
            RegistrarAnswer::Found(_) if !is_planted("record-not-verified") => {
                self.end_tenure(now, effects);
                return;
            }
            _ => {}
        }
        debug_assert!(sent <= now, "the lease's time counts from when it was asked for");
        let sent = if is_planted("lease-timed-from-answer") { now } else { sent };
        tenure.renew_at = sent + ttl / RENEWALS;
        tenure.ends_at = sent + ttl;
    }

    /// Writes the record again: it has become untrue. It is given up for the renewal, which needs its time to find a member that answers.
    fn refresh_record(
        &mut self,
        now: Duration,
        facts: RecordFacts,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        let RegistrationPhase::Registered(tenure) = &self.phase else { return };
        let until_renewal = tenure.renew_at.saturating_sub(now);
        let is_held_up = is_planted("refresh-holds-renewal-up");
        let within = if is_held_up { ATTEMPT } else { until_renewal.clamp(RETRY, ATTEMPT) };
        let request = self.write_record(&facts, tenure.lease);
        if let RegistrationPhase::Registered(tenure) = &mut self.phase {
            tenure.asked = Some(TenureRequest::Refresh(facts));
        }
        effects.push(RegistrarEffect::Ask { request, within });
    }

    fn on_refresh_answer(&mut self, now: Duration, facts: RecordFacts, answer: &RegistrarAnswer) {
        let RegistrationPhase::Registered(tenure) = &mut self.phase else { return };
        if let RegistrarAnswer::Written { revision, .. } = answer {
            self.own_revision = Some(*revision);
            self.written = Some(facts);
        } else {
            // What keeps the store from it is told by the next renewal.
            tenure.refresh_after = now + RETRY;
        }
    }
}

/// The record and where the machine stands.
impl Registrar {
    /// The part of the record that may change, as it is to be now.
    fn desired_record(&self, now: Duration) -> RecordFacts {
        let (runs_containers, containers_lost) = match &self.engine {
            ContainerEngine::Absent => (false, None),
            ContainerEngine::Up => (true, None),
            // It may be on its way up again: its units stay its own, and new ones may come.
            ContainerEngine::Lost(problem) => {
                (self.silence_ends().is_some_and(|ends| now < ends), Some(problem.clone()))
            }
        };
        let (metadata, leaving) = (self.metadata.clone(), self.leaving && self.is_reported());
        RecordFacts { runs_containers, containers_lost, leaving, metadata }
    }

    /// True once the cluster knows what runs here. A machine that goes down is taken at its word: what it does not report has ended,
    /// and is started elsewhere. Until everything has been reported under the present lease that would be what still runs; whoever
    /// never comes to say that it goes is waited for until its lease ends.
    fn is_reported(&self) -> bool {
        let reported = match self.reported {
            UnitsReported::NoUnits => true,
            UnitsReported::NotYet => false,
            UnitsReported::Under(lease) => self.lease == Some(lease),
        };
        reported || is_planted("unreported-host-leaves")
    }

    /// When a container engine that is silent counts as gone.
    fn silence_ends(&self) -> Option<Duration> {
        self.silent_since.map(|since| since.saturating_add(self.silence_grace))
    }

    fn write_record(&self, facts: &RecordFacts, lease: Lease) -> RegistrarRequest {
        let mut machine = Box::new(self.machine.clone());
        if facts.runs_containers {
            machine.runners.insert(RunnerKind::Docker);
        }
        machine.containers_lost.clone_from(&facts.containers_lost);
        machine.leaving = facts.leaving;
        machine.metadata.clone_from(&facts.metadata);
        RegistrarRequest::WriteRecord { machine, lease, found: self.found }
    }

    /// A keepalive was answered, which was sent then. What was before a lease was had is not known.
    fn extend_contact(&mut self, now: Duration, sent: Duration, lease: Lease) {
        self.contact = Some(match self.contact {
            Some(contact) if self.lease == Some(lease.id) => contact.extend_contact(sent, now),
            _ => StoreContact::begin(now, lease.ttl),
        });
    }

    fn set_lease_health(
        &mut self,
        problem: Option<LeaseProblem>,
        effects: &mut Vec<RegistrarEffect>,
    ) {
        self.lease_problem.clone_from(&problem);
        effects.push(RegistrarEffect::SetLeaseHealth(problem));
    }

    fn note_outage(&mut self, noted: bool, effects: &mut Vec<RegistrarEffect>) {
        let kept = !noted && is_planted("outage-note-kept");
        if self.outage_noted != noted && !kept {
            self.outage_noted = noted;
            effects.push(RegistrarEffect::NoteOutage(noted));
        }
    }

    fn set_registration(&mut self, registration: Registration, effects: &mut Vec<RegistrarEffect>) {
        if self.registration != registration {
            self.registration = registration.clone();
            effects.push(RegistrarEffect::SetRegistration(registration));
        }
    }

    /// Whoever is told that the machine is registered writes under that lease: it has to be the one that is kept alive. One
    /// request at a time keeps answers and questions together.
    fn check_invariants(&self, effects: &[RegistrarEffect]) {
        let asked = effects.iter().filter(|effect| matches!(effect, RegistrarEffect::Ask { .. }));
        debug_assert!(asked.count() <= 1, "one request at a time: {effects:?}");
        match (&self.phase, &self.registration) {
            (RegistrationPhase::Registered(tenure), Registration::Registered(presence)) => {
                debug_assert_eq!(presence.lease.id, tenure.lease.id);
                debug_assert_eq!(self.lease, Some(tenure.lease.id));
                debug_assert!(self.written.is_some(), "registered without a record");
            }
            (phase, registration) => debug_assert!(
                !matches!(phase, RegistrationPhase::Registered(_))
                    && !matches!(registration, Registration::Registered(_)),
                "{registration:?} while {phase:?}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_leaves_room_for_an_election() {
        for (ttl, lease) in [(5, 3), (10, 6), (30, 18), (2, 2), (1, 2)] {
            assert_eq!(lease_for(Duration::from_secs(ttl)), Duration::from_secs(lease));
        }
    }
}
