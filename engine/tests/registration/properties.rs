//! What holds of every registrar, whatever happens to its store and its answers.

use std::time::Duration;

use muster_common::lease::LeaseId;
use muster_common::machine::{ContainerEngine, Machine};
use muster_engine::machine::cluster::RememberedCluster;
use muster_engine::machine::registration::{
    Registrar, RegistrarAnswer, RegistrarEffect, RegistrarInput, RegistrarRequest, Registration,
};
use proptest::prelude::*;

use super::{FOREIGN, PaperRecord, PaperStore};

/// The time after which a silent machine is gone.
const TTL: Duration = Duration::from_secs(10);
/// More than a lease lasts: whatever a registrar believes of one is found out in it.
const CALM: Duration = Duration::from_secs(20);

/// Something that happens, to the store, to the request under way, or to the machine.
#[derive(Debug, Clone)]
enum Happening {
    Answer,
    /// The request is carried out, and the answer comes this much later.
    AnswerLate(u64),
    /// It is carried out, and the answer gets lost.
    LoseAnswer,
    /// It gets lost.
    TimeOut,
    Fail,
    Wait(u64),
    Wake,
    Suspect,
    Engine(u8),
    Metadata(u8),
    Revoke,
    Foreign,
    ForeignGone,
    Damage,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::{
        Answer, AnswerLate, Damage, Engine, Fail, Foreign, ForeignGone, LoseAnswer, Metadata,
        Revoke, Suspect, TimeOut, Wait, Wake,
    };
    let happening = prop_oneof![
        20 => Just(Answer),
        2 => (0..9000_u64).prop_map(AnswerLate),
        2 => Just(LoseAnswer),
        2 => Just(TimeOut),
        2 => Just(Fail),
        2 => (0..9000_u64).prop_map(Wait),
        12 => Just(Wake),
        1 => Just(Suspect),
        2 => (0..3_u8).prop_map(Engine),
        1 => (0..3_u8).prop_map(Metadata),
        1 => Just(Revoke),
        1 => Just(Foreign),
        2 => Just(ForeignGone),
        1 => Just(Damage),
    ];
    prop::collection::vec(happening, 0..80)
}

struct WatchedRegistrar {
    now: Duration,
    registrar: Registrar,
    store: PaperStore,
    /// The request under way, and when its time is over.
    asked: Option<(RegistrarRequest, Duration)>,
    remembered: Option<LeaseId>,
    cluster: RememberedCluster,
    /// An outage is noted on disk, or may be.
    outage_noted: bool,
    registration: Registration,
}

impl WatchedRegistrar {
    fn begin() -> Self {
        let machine =
            serde_json::json!({"id": "m1", "address": "192.0.2.1", "runners": ["systemd"]});
        let machine: Machine = serde_json::from_value(machine).unwrap();
        let registrar = Registrar::new(machine, TTL, None);
        let (now, store) = (Duration::ZERO, PaperStore::default());
        let registration = Registration::Pending;
        Self {
            now,
            registrar,
            store,
            asked: None,
            remembered: None,
            cluster: RememberedCluster::Nothing,
            outage_noted: true,
            registration,
        }
    }

    fn feed(&mut self, input: RegistrarInput) {
        for effect in self.registrar.step(self.now, input) {
            match effect {
                RegistrarEffect::Ask { request, within } => self.note_request(request, within),
                RegistrarEffect::RememberLease(lease) => self.remembered = Some(lease),
                RegistrarEffect::SetCluster(cluster) => {
                    // A machine that has a cluster never takes another.
                    let known = RememberedCluster::Known(cluster);
                    assert!([RememberedCluster::Nothing, known].contains(&self.cluster));
                    self.cluster = known;
                }
                RegistrarEffect::NoteOutage(noted) => self.outage_noted = noted,
                RegistrarEffect::SetRegistration(registration) => {
                    if let Registration::Registered(presence) = &registration {
                        // The next daemon of this boot takes it over.
                        assert_eq!(self.remembered, Some(presence.lease.id));
                    }
                    self.registration = registration;
                }
                RegistrarEffect::DoubtPlacements
                | RegistrarEffect::SetStoreHealth(_)
                | RegistrarEffect::SetLeaseHealth(_)
                | RegistrarEffect::LogRegistered(_)
                | RegistrarEffect::LogLeaseGone(_)
                | RegistrarEffect::LogRefused(_) => {}
            }
        }
        let deadline = self.registrar.next_deadline();
        if self.asked.is_some() {
            assert_eq!(deadline, None, "it waits for an answer");
        } else {
            // A machine that waits for nothing would never be registered again.
            assert!(deadline.is_some_and(|at| at > self.now), "{deadline:?} at {:?}", self.now);
        }
    }

    fn note_request(&mut self, request: RegistrarRequest, within: Duration) {
        assert!(self.asked.is_none(), "two requests at a time: {:?}, {request:?}", self.asked);
        let reads = matches!(request, RegistrarRequest::FindCluster | RegistrarRequest::FindRecord);
        if !reads {
            // Nobody may count on this machine while a note on its disk says that nobody does.
            let writes_nothing_of_ours = request == RegistrarRequest::EstablishCluster;
            assert!(!self.outage_noted || writes_nothing_of_ours, "{request:?} in an outage");
        }
        if let Registration::Registered(presence) = &self.registration {
            let lease = match &request {
                RegistrarRequest::KeepAlive(lease) => Some(*lease),
                RegistrarRequest::WriteRecord { lease, .. } => Some(lease.id),
                RegistrarRequest::FindRecord => None,
                RegistrarRequest::FindCluster
                | RegistrarRequest::EstablishCluster
                | RegistrarRequest::ReadTimeLeft(_)
                | RegistrarRequest::Grant(_) => {
                    panic!("another lease or cluster for one who has one")
                }
            };
            assert!(lease.is_none_or(|lease| lease == presence.lease.id), "{request:?}");
        }
        self.asked = Some((request, self.now + within));
    }

    /// Carries the request out and answers after a pause.
    fn answer_after(&mut self, pause: Duration) {
        let Some((request, _)) = self.asked.take() else { return };
        let answer = self.store.carry_out(&request, self.now, self.cluster);
        self.now += pause;
        self.feed(RegistrarInput::Answer(answer));
    }

    /// The time of the request runs out.
    fn time_out(&mut self, is_carried_out: bool) {
        let Some((request, limit)) = self.asked.take() else { return };
        if is_carried_out {
            self.store.carry_out(&request, self.now, self.cluster);
        }
        self.now = self.now.max(limit);
        self.feed(RegistrarInput::Answer(RegistrarAnswer::TimedOut));
    }

    fn wake(&mut self) {
        if let Some(at) = self.registrar.next_deadline() {
            self.now = self.now.max(at);
            self.feed(RegistrarInput::Tick);
        }
    }

    fn lets_happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Answer => self.answer_after(Duration::ZERO),
            Happening::AnswerLate(milliseconds) => {
                self.answer_after(Duration::from_millis(*milliseconds));
            }
            Happening::LoseAnswer => self.time_out(true),
            Happening::TimeOut => self.time_out(false),
            Happening::Fail => {
                if self.asked.take().is_some() {
                    let problem = "it is full".to_owned();
                    self.feed(RegistrarInput::Answer(RegistrarAnswer::Failed(problem)));
                }
            }
            Happening::Wait(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                self.feed(RegistrarInput::Tick);
            }
            Happening::Wake => self.wake(),
            Happening::Suspect => self.feed(RegistrarInput::LeaseSuspect),
            Happening::Engine(state) => {
                let engine = match state {
                    0 => ContainerEngine::Absent,
                    1 => ContainerEngine::Up,
                    _ => ContainerEngine::Lost("it does not answer".to_owned()),
                };
                self.feed(RegistrarInput::ContainerEngine(engine));
            }
            Happening::Metadata(zone) => {
                let metadata = [("zone".to_owned(), zone.to_string())].into();
                self.feed(RegistrarInput::Metadata(metadata));
            }
            Happening::Revoke => {
                if let Some(record) = &self.store.record {
                    self.store.leases.remove(&record.lease);
                }
            }
            Happening::Foreign => {
                self.store.revision += 1;
                self.store.record = Some(PaperRecord {
                    machine: None,
                    address: "192.0.2.2".to_owned(),
                    boot: String::new(),
                    lease: FOREIGN,
                    created: self.store.revision,
                    written: self.store.revision,
                });
            }
            Happening::ForeignGone => self.remove_foreign_record(),
            Happening::Damage => {
                if let Some(record) = &mut self.store.record {
                    record.machine = None;
                }
            }
        }
    }

    fn remove_foreign_record(&mut self) {
        if self.store.record.as_ref().is_some_and(|record| record.lease == FOREIGN) {
            self.store.record = None;
        }
    }

    /// Lets the store answer at once for some time.
    fn run_calmly(&mut self) {
        let end = self.now + CALM;
        while self.now < end {
            if self.asked.is_some() {
                self.answer_after(Duration::ZERO);
            } else {
                self.wake();
            }
        }
        while self.asked.is_some() {
            self.answer_after(Duration::ZERO);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in any order and with any answers: there is one request at a time, a registered machine asks only under the
    /// lease it is registered with, and there is always an answer or a time to wait for. Once the store works and nobody else
    /// has its id, a machine is registered, under the lease of its record, which is alive.
    #[test]
    fn a_registrar_asks_one_thing_at_a_time_and_registers(happenings in happenings()) {
        let mut watched = WatchedRegistrar::begin();
        watched.feed(RegistrarInput::Tick);
        for happening in &happenings {
            watched.lets_happen(happening);
        }
        watched.remove_foreign_record();
        watched.run_calmly();
        watched.store.expire(watched.now);
        let Registration::Registered(presence) = &watched.registration else {
            panic!("not registered: {:?}", watched.registrar);
        };
        let record = watched.store.record.as_ref().map(|record| record.lease);
        prop_assert_eq!(record, Some(presence.lease.id));
        prop_assert!(watched.store.leases.contains_key(&presence.lease.id));
    }
}
