//! What holds of every term, whatever happens to its cluster and to its requests.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_common::lease::{Leadership, Lease, LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent};
use muster_engine::contact::StoreContact;
use muster_engine::leader::messages::{TermAnswer, TermEffect, TermInput, TermRequest};
use muster_engine::leader::term::Term;
use muster_engine::machine::registration::Registration;
use muster_engine::schedule::Scheduler;
use proptest::prelude::*;

use crate::paper_cluster::PaperCluster;

/// Losses within it count as one.
const WINDOW: Duration = Duration::from_secs(10);
/// The clock when a term begins: what was before is long ago.
const EPOCH: Duration = Duration::from_secs(1000);
/// For as long a term waits to see what it has written itself.
const OWN_WRITE_LIMIT: Duration = Duration::from_secs(5);
/// The machine that leads.
const LEADER: &str = "m0";
/// Most steps of a term to its rest, from wherever it is: a turn has some ten, and few turns follow each other.
const STEPS_TO_REST: usize = 1000;

/// Something that happens, to the cluster, to the request under way, or to the term.
#[derive(Debug, Clone)]
enum Happening {
    Register(u8),
    Lose(u8),
    Leave(u8),
    Silence(u8),
    Hear,
    Launch(u8),
    Destroy(u8),
    Drain(u8, u64),
    Unfreeze,
    Usurp,
    See,
    Reset,
    Away,
    /// The store was away, for longer than a lease lives.
    Outage,
    /// The request is carried out.
    Answer,
    /// It is carried out, and nobody knows.
    LoseAnswer,
    Fail,
    TimeOut,
    Wait(u64),
    /// Time passes until the term wants to be woken.
    Wake,
    Registered(i64),
    Lapse,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::{
        Answer, Away, Destroy, Drain, Fail, Hear, Lapse, Launch, Leave, Lose, LoseAnswer, Outage,
        Register, Registered, Reset, See, Silence, TimeOut, Unfreeze, Usurp, Wait, Wake,
    };
    let machine = || 1..5_u8;
    let happening = prop_oneof![
        6 => machine().prop_map(Register),
        3 => machine().prop_map(Lose),
        1 => machine().prop_map(Leave),
        2 => machine().prop_map(Silence),
        1 => Just(Hear),
        4 => (0..4_u8).prop_map(Launch),
        1 => (0..4_u8).prop_map(Destroy),
        2 => (machine(), 0..3_u64).prop_map(|(machine, seconds)| Drain(machine, seconds)),
        1 => Just(Unfreeze),
        12 => Just(See),
        1 => Just(Reset),
        1 => Just(Away),
        1 => Just(Outage),
        16 => Just(Answer),
        2 => Just(LoseAnswer),
        3 => Just(Fail),
        2 => Just(TimeOut),
        2 => (0..3000_u64).prop_map(Wait),
        6 => Just(Wake),
        1 => Just(Registered(1)),
    ];
    // Few terms end before all has happened that may happen to them.
    let end = prop_oneof![Just(Usurp), Just(Lapse), Just(Registered(2))];
    let rest = prop::option::weighted(0.3, (end, prop::collection::vec(happening.clone(), 0..10)));
    (prop::collection::vec(happening, 0..80), rest).prop_map(|(mut all, rest)| {
        all.extend(rest.into_iter().flat_map(|(end, after)| std::iter::once(end).chain(after)));
        all
    })
}

struct WatchedTerm {
    now: Duration,
    store: PaperCluster,
    term: Term,
    leadership: Leadership,
    asked: Option<TermRequest>,
    /// Revision that the term has seen.
    seen: u64,
    /// Revision of its own last commit, as far as it was told, and when that was.
    committed: u64,
    committed_at: Duration,
    /// Since when its keepalives are answered.
    contact_since: Duration,
    contact: Option<StoreContact>,
    over: bool,
}

impl WatchedTerm {
    fn begin() -> Self {
        let mut store = PaperCluster::default();
        store.register(LEADER);
        store.set_leader(LEADER, BTreeSet::new());
        store.leader_created = store.snapshot.revision;
        let leadership = Leadership { created: store.leader_created };
        let lease = Lease { id: LeaseId(1), ttl: Duration::from_secs(6) };
        let presence = Presence { machine: LEADER.parse().unwrap(), lease, created: 1 };
        store.begin_anew();
        let term = Term::new(presence, leadership, None, WINDOW);
        let (now, asked, over) = (EPOCH, None, false);
        let (committed_at, contact_since, contact) = (Duration::ZERO, Duration::ZERO, None);
        Self {
            now,
            store,
            term,
            leadership,
            asked,
            seen: 0,
            committed: 0,
            committed_at,
            contact_since,
            contact,
            over,
        }
    }

    /// Feeds the term, which knows before how it is in contact with the store.
    fn feed(&mut self, input: TermInput) {
        let mut contact = StoreContact::begin(self.contact_since, WINDOW);
        let mut sent = self.contact_since;
        while sent < self.now {
            sent = (sent + Duration::from_secs(3)).min(self.now);
            contact = contact.extend_contact(sent, sent);
        }
        if self.contact != Some(contact) {
            self.contact = Some(contact);
            self.feed_one(TermInput::Contact(Some(contact)));
        }
        self.feed_one(input);
    }

    fn feed_one(&mut self, input: TermInput) {
        let is_tick = input == TermInput::Tick;
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let effects = self.term.step(self.now, input);
            assert!(!self.over || effects.is_empty(), "after its end: {effects:?}");
            for effect in effects {
                match effect {
                    TermEffect::Ask { request, .. } => self.note_request(request),
                    TermEffect::MakePlan => next = Some(TermInput::MakePlan),
                    TermEffect::End => self.over = true,
                    TermEffect::SetHeld(_)
                    | TermEffect::CountCommitted { .. }
                    | TermEffect::Log(_) => {}
                }
            }
        }
        let deadline = self.term.next_deadline();
        if self.asked.is_some() || self.over {
            assert_eq!(deadline, None, "it waits for an answer, or for nothing");
        } else if is_tick {
            assert!(deadline.is_none_or(|at| at > self.now), "woken in vain: {:?}", self.term);
        }
    }

    fn note_request(&mut self, request: TermRequest) {
        assert!(self.asked.is_none(), "two requests at a time: {:?}, {request:?}", self.asked);
        let is_question = matches!(request, TermRequest::ProbeLeases { .. });
        let guarded = (!is_question).then_some(self.leadership);
        assert_eq!(request.guarding_leadership(), guarded, "{request:?}");
        if let TermRequest::CommitPlan { moves, .. } = &request {
            assert!(!moves.is_empty(), "an empty plan");
            let long_ago = self.now >= self.committed_at + OWN_WRITE_LIMIT;
            let is_seen = self.seen >= self.committed || long_ago;
            assert!(is_seen, "a plan on {} of {}", self.seen, self.committed);
        }
        self.asked = Some(request);
    }

    /// Answers the request under way. One that outlives its term is answered all the same.
    fn answer(&mut self, is_carried_out: bool, answer: Option<TermAnswer>) {
        let Some(request) = self.asked.take() else { return };
        let outcome = is_carried_out.then(|| self.store.carry_out(&request));
        let answer = answer.or(outcome).unwrap();
        if let TermAnswer::Committed(committed) = &answer
            && committed.revision > self.committed
        {
            (self.committed, self.committed_at) = (committed.revision, self.now);
        }
        self.feed(TermInput::Answer(answer));
    }

    /// True if there was something to see.
    fn see(&mut self) -> bool {
        let events = self.store.events();
        for event in &events {
            match event {
                ClusterEvent::Reset(snapshot) => self.seen = snapshot.revision,
                ClusterEvent::Changes { revision, .. } => self.seen = *revision,
                ClusterEvent::Lost { .. } => {}
            }
        }
        let found = !events.is_empty();
        if found {
            self.feed(TermInput::Cluster(events));
        }
        found
    }

    /// True if it wanted to be woken.
    fn wake(&mut self) -> bool {
        let deadline = self.term.next_deadline();
        if let Some(at) = deadline {
            self.now = self.now.max(at);
            self.feed(TermInput::Tick);
        }
        deadline.is_some()
    }

    fn lets_happen(&mut self, happening: &Happening) {
        let machine = |number: u8| format!("m{number}").parse::<MachineId>().unwrap();
        match happening {
            Happening::Register(m) => self.store.register(machine(*m).as_str()),
            Happening::Lose(m) => self.store.change(Change::Machine(machine(*m), None)),
            Happening::Leave(m) => {
                let mut members = self.store.snapshot.members.clone();
                members.remove(&machine(*m));
                self.store.change(Change::Members(members));
            }
            Happening::Silence(m) => {
                self.store.silent.insert(machine(*m));
            }
            Happening::Hear => self.store.silent.clear(),
            Happening::Launch(unit) => self.store.launch(&format!("u{unit}.service")),
            Happening::Destroy(unit) => {
                let unit = format!("u{unit}.service").parse().unwrap();
                self.store.change(Change::Unit(unit, None));
            }
            Happening::Drain(m, seconds) => self.store.drain(machine(*m).as_str(), *seconds),
            Happening::Unfreeze => {
                let leader = self.store.snapshot.leader.clone().unwrap();
                self.store.set_leader(leader.machine.as_str(), BTreeSet::new());
            }
            Happening::Usurp => {
                self.store.set_leader("m4", BTreeSet::new());
                self.store.leader_created = self.store.snapshot.revision;
            }
            Happening::See => {
                self.see();
            }
            Happening::Reset => self.store.begin_anew(),
            Happening::Away => {
                let problem = "no endpoint answers".to_owned();
                self.feed(TermInput::Cluster(vec![ClusterEvent::Lost { problem }]));
            }
            Happening::Outage => self.contact_since = self.now,
            Happening::Answer => self.answer(true, None),
            Happening::LoseAnswer => {
                self.answer(true, Some(TermAnswer::Failed("nobody knows".to_owned())));
            }
            Happening::Fail => {
                let problem = "it is full".to_owned();
                self.answer(false, Some(TermAnswer::Full(problem)));
            }
            Happening::TimeOut => self.answer(false, Some(TermAnswer::TimedOut)),
            Happening::Wait(milliseconds) => self.now += Duration::from_millis(*milliseconds),
            Happening::Wake => {
                self.wake();
            }
            Happening::Registered(lease) => {
                let lease = Lease { id: LeaseId(*lease), ttl: WINDOW };
                let machine = LEADER.parse().unwrap();
                let presence = Presence { machine, lease, created: 1 };
                self.feed(TermInput::Registration(Registration::Registered(presence)));
            }
            Happening::Lapse => self.feed(TermInput::Registration(Registration::Pending)),
        }
    }

    /// Lets the store work, everybody be heard of and time pass, until nothing is left to do.
    fn come_to_rest(&mut self) {
        self.store.silent.clear();
        for _ in 0..STEPS_TO_REST {
            if self.asked.is_some() {
                self.answer(true, None);
            } else if !self.see() && !self.wake() {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.term);
    }
}

/// A store without room is asked again, whatever it was asked when that showed, until whoever is lost had the time to register.
#[test]
fn a_store_that_was_full_is_written_to_until_it_has_room() {
    use Happening::{Answer, Fail, Launch, Lose, LoseAnswer, Register, See};
    let mut watched = WatchedTerm::begin();
    let happenings = [
        Register(1),
        Register(4),
        Launch(0),
        Launch(1),
        Launch(2),
        See,
        Answer,
        LoseAnswer,
        Lose(4),
        See,
        LoseAnswer,
        Answer,
        See,
        Fail,
    ];
    for happening in &happenings {
        watched.lets_happen(happening);
    }
    watched.come_to_rest();
    let lost: MachineId = "m4".parse().unwrap();
    let left = watched.store.snapshot.places.values().filter(|places| places.contains_key(&lost));
    assert_eq!(left.count(), 0, "its units stay with a machine that is gone");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in any order and with any answers: there is one request at a time, each write carries the leadership of its
    /// term, no plan rests on a view without the term's own last commit, and nobody is woken in vain.
    /// Once the store works again a term comes to rest, and leaves nothing undone that the scheduler would do.
    #[test]
    fn a_term_asks_one_thing_at_a_time_and_comes_to_rest(happenings in happenings()) {
        let mut watched = WatchedTerm::begin();
        for happening in &happenings {
            watched.lets_happen(happening);
        }
        watched.come_to_rest();
        if !watched.over {
            let snapshot = &watched.store.snapshot;
            let mut scheduler = Scheduler::new(snapshot);
            scheduler.hold_machines(snapshot.leader.clone().unwrap().held);
            let plan = scheduler.plan();
            prop_assert!(plan.moves.is_empty(), "{:?} is left undone", plan.moves);
        }
    }
}
