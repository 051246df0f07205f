//! A leader in its term, and a store on paper.
//!
//! | command | does |
//! | --- | --- |
//! | `machine ID…` | registers machines, or registers them anew |
//! | `rewrite ID…` | their records are written again as they are |
//! | `lose ID…` | their leases end |
//! | `leave ID…` | they take their leave: the record of the members is without them |
//! | `parting ID…` | their records say that they go |
//! | `launch UNIT…`, `destroy UNIT…` | what a user wants |
//! | `drain ID TIME` | its units are to move away within that time |
//! | `members ID…` | the record of the members, as an earlier leader left it |
//! | `lead ID [held=ID,…] [after=ID]` | a machine begins a term, with its leader record as given, after it has seen that of another go; events reach it with `see` |
//! | `contact TIME` | its keepalives have been answered without a gap since TIME, and go on to be; before the first: for ever |
//! | `silence` | its keepalives are not answered from now on, until `contact` |
//! | `see` | all events that there are reach the leader, in one go |
//! | `answer`, `lose`, `fail TEXT`, `fail full`, `drop` | what it asked for is carried out; is, and nobody knows; is not; nobody answers in time |
//! | `run TIME` | time passes: what it asks for is carried out at once, and events reach it |
//! | `wait TIME` | time passes, and nobody answers |
//! | `silent ID…`, `heard ID…` | machines have not prolonged their leases when they should have, or have again |
//! | `counted TIME` | etcd's leader was elected so long ago, and gave every lease its whole time then |
//! | `unfreeze` | a person empties the held machines in the leader record |
//! | `usurp ID` | the leader record is another machine's |
//! | `lapse` | the leader hears that its lease is not good any more |
//! | `registered LEASE` | it hears that it is registered under this lease; the term's is 1 |
//! | `away` | the watch says that the store is lost |
//! | `reset` | the watch begins anew with the next `see` |
//! | `keep-request`, `late` | the request under way stays in the store's socket, and is carried out later |
//! | `back-up`, `restore` | the store's records are kept, and put back as they were; then the watch begins anew |
//! | `show` | prints who is where, the members and who is held, as the store has them |
//!
//! What is said begins with the time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use muster_common::decision::{Decision, Move};
use muster_common::lease::{Leadership, Lease, LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent};
use muster_engine::contact::StoreContact;
use muster_engine::leader::messages::{TermAnswer, TermEffect, TermInput, TermNotice, TermRequest};
use muster_engine::leader::term::Term;
use muster_engine::machine::registration::Registration;

use crate::paper_cluster::PaperCluster;
use crate::scripts::{Player, parse_duration, show_duration};

/// Losses within it count as one.
const WINDOW: Duration = Duration::from_secs(10);
/// The time of a machine's lease.
const LEASE: Duration = Duration::from_secs(6);
/// The leader's clock when a script begins: what was before is long ago.
const EPOCH: Duration = Duration::from_secs(1000);

#[derive(Default)]
pub(crate) struct Reign {
    now: Duration,
    store: PaperCluster,
    term: Option<Term>,
    /// Since when the leader's keepalives are answered, by its own clock.
    contact_since: Duration,
    /// When they ceased to be.
    silent_since: Option<Duration>,
    /// A request that was given up and may be carried out later.
    kept: Option<TermRequest>,
    /// As the term knows it.
    contact_fed: Option<StoreContact>,
    /// The request under way, and when its time is over.
    asked: Option<(TermRequest, Option<Duration>)>,
    said: String,
}

impl Reign {
    fn lead(&mut self, id: &str, held: BTreeSet<MachineId>, predecessor: Option<MachineId>) {
        self.store.set_leader(id, held);
        self.store.leader_created = self.store.snapshot.revision;
        let machine: MachineId = id.parse().unwrap();
        let created = self.store.snapshot.machines.get(&machine).map_or(0, |m| m.created);
        let lease = Lease { id: LeaseId(1), ttl: LEASE };
        let leadership = Leadership { created: self.store.leader_created };
        let presence = Presence { machine, lease, created };
        let predecessor = predecessor.map(|machine| (machine, EPOCH + self.now));
        self.term = Some(Term::new(presence, leadership, predecessor, WINDOW));
        self.contact_fed = None;
        self.asked = None;
        self.store.begin_anew();
    }

    /// The contact with the store, as a leader has it that sends a keepalive each second.
    fn contact(&self) -> StoreContact {
        let last = EPOCH + self.silent_since.unwrap_or(self.now);
        let mut contact = StoreContact::begin(self.contact_since, LEASE);
        let mut sent = self.contact_since;
        while sent < last {
            sent = (sent + Duration::from_secs(1)).min(last);
            contact = contact.extend_contact(sent, sent);
        }
        contact
    }

    /// Feeds the term, which knows before how it is in contact with the store.
    fn feed(&mut self, input: TermInput) {
        // The last comes first.
        let mut inputs = vec![input];
        let contact = Some(self.contact());
        if self.contact_fed != contact {
            self.contact_fed = contact;
            inputs.push(TermInput::Contact(contact));
        }
        while let Some(input) = inputs.pop() {
            let now = self.now;
            let term = self.term.as_mut().unwrap_or_else(|| panic!("nobody leads"));
            let plans = input == TermInput::MakePlan;
            let effects = term.step(EPOCH + now, input);
            if plans && effects.is_empty() {
                let _ = writeln!(self.said, "{} plans nothing", show_duration(now));
            }
            for effect in effects {
                if effect == TermEffect::MakePlan {
                    inputs.push(TermInput::MakePlan);
                    continue;
                }
                self.note(effect);
            }
        }
    }

    fn note(&mut self, effect: TermEffect) {
        let said = match effect {
            TermEffect::Ask { request, within } => {
                assert!(self.asked.is_none(), "two requests at a time");
                let said = describe_request(&request);
                self.asked = Some((request, within.map(|limit| self.now + limit)));
                said
            }
            TermEffect::SetHeld(held) => format!("held: {}", list(&held)),
            TermEffect::CountCommitted { decisions, conflicts } => {
                format!("{decisions} decisions, {conflicts} conflicts")
            }
            TermEffect::Log(notice) => format!("log: {}", describe_notice(notice)),
            TermEffect::End => "its term is over".to_owned(),
            TermEffect::MakePlan => return,
        };
        for (number, line) in said.lines().enumerate() {
            let time = show_duration(self.now);
            let lead = if number == 0 { time } else { " ".repeat(time.len()) };
            let _ = writeln!(self.said, "{lead} {line}");
        }
    }

    fn answer(&mut self, answer: TermAnswer) {
        self.asked = None;
        self.feed(TermInput::Answer(answer));
    }

    fn carry_out_request(&mut self) -> TermAnswer {
        let asked = self.asked.as_ref().map(|(request, _)| request.clone());
        self.store.carry_out(&asked.unwrap_or_else(|| panic!("nothing is asked for")))
    }

    fn see(&mut self) {
        let events = self.store.events();
        if !events.is_empty() {
            self.feed(TermInput::Cluster(events));
        }
    }

    /// Lets time pass until `end`, step by step from one deadline to the next.
    fn pass(&mut self, end: Duration, store_works: bool) {
        for _ in 0..1000 {
            if store_works {
                if self.asked.is_some() {
                    let answer = self.carry_out_request();
                    self.answer(answer);
                    continue;
                }
                self.see();
                if self.asked.is_some() {
                    continue;
                }
            }
            let timer = self.term.as_ref().and_then(Term::next_deadline);
            let timer = timer.map(|at| at.saturating_sub(EPOCH));
            match (self.asked.as_ref().map(|(_, limit)| *limit), timer) {
                (Some(Some(limit)), _) if limit <= end => {
                    self.now = self.now.max(limit);
                    self.answer(TermAnswer::TimedOut);
                }
                (None, Some(timer)) if timer <= end => {
                    self.now = self.now.max(timer);
                    self.feed(TermInput::Tick);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("it does not come to rest: {}", self.said);
    }

    fn show(&mut self) {
        let snapshot = &self.store.snapshot;
        for (unit, places) in &snapshot.places {
            let machines: BTreeSet<MachineId> = places.keys().cloned().collect();
            let _ = writeln!(self.said, "{unit} on {}", list(&machines));
        }
        let _ = writeln!(self.said, "members: {}", list(&snapshot.members));
        let held = snapshot.leader.as_ref().map(|leader| leader.held.clone()).unwrap_or_default();
        let _ = writeln!(self.said, "held: {}", list(&held));
    }

    fn carry_out_answer(&mut self, verb: &str, arguments: &[&str]) {
        if self.asked.is_none() {
            self.said.push_str("nothing is asked for\n");
            return;
        }
        match verb {
            "answer" => {
                let answer = self.carry_out_request();
                self.answer(answer);
            }
            "lose" => {
                self.carry_out_request();
                let problem = "not known whether it was carried out".to_owned();
                self.answer(TermAnswer::Failed(problem));
            }
            "drop" => {
                let limit = self.asked.as_ref().and_then(|(_, limit)| *limit);
                self.now = limit.unwrap_or_else(|| panic!("it has no time limit"));
                self.answer(TermAnswer::TimedOut);
            }
            _ if *arguments == ["full"] => self.answer(TermAnswer::Full("no room".to_owned())),
            _ => self.answer(TermAnswer::Failed(arguments.join(" "))),
        }
    }

    /// Something happens in the cluster, which the leader has not seen yet.
    fn change_cluster(&mut self, verb: &str, arguments: &[&str]) {
        for argument in arguments {
            let machine = argument.parse::<MachineId>();
            match verb {
                "machine" => self.store.register(argument),
                "rewrite" => self.store.rewrite(argument, false),
                "parting" => self.store.rewrite(argument, true),
                "lose" => self.store.change(Change::Machine(machine.unwrap(), None)),
                "leave" => {
                    let mut members = self.store.snapshot.members.clone();
                    members.remove(&machine.unwrap());
                    self.store.change(Change::Members(members));
                }
                "launch" => self.store.launch(argument),
                "destroy" => self.store.change(Change::Unit(argument.parse().unwrap(), None)),
                "silent" => {
                    self.store.silent.insert(machine.unwrap());
                }
                "heard" => {
                    self.store.silent.remove(&machine.unwrap());
                }
                "usurp" => {
                    self.store.set_leader(argument, BTreeSet::new());
                    self.store.leader_created = self.store.snapshot.revision;
                }
                verb => panic!("{verb} is no command"),
            }
        }
    }
}

impl Player for Reign {
    fn carry_out(&mut self, words: &[&str], _: &str) -> String {
        let (verb, arguments) = words.split_first().unwrap();
        let first = arguments.first().copied().unwrap_or_default();
        match (*verb, arguments.len()) {
            ("answer" | "fail" | "drop", _) | ("lose", 0) => {
                self.carry_out_answer(verb, arguments);
            }
            ("lead", _) => {
                let named = |key| arguments.iter().find_map(|word| word.strip_prefix(key));
                let held = named("held=").into_iter().flat_map(|ids: &str| ids.split(','));
                let after = named("after=").map(|id: &str| id.parse().unwrap());
                self.lead(first, held.map(|id| id.parse().unwrap()).collect(), after);
            }
            ("members", _) => {
                let members = arguments.iter().map(|id| id.parse().unwrap()).collect();
                self.store.change(Change::Members(members));
            }
            ("drain", _) => {
                let time = parse_duration(arguments.get(1).copied().unwrap_or_default());
                self.store.drain(first, time.as_secs());
            }
            ("see", _) => self.see(),
            ("run", _) => self.pass(self.now + parse_duration(first), true),
            ("wait", _) => self.pass(self.now + parse_duration(first), false),
            ("unfreeze", _) => {
                let leader = self.store.snapshot.leader.clone().unwrap();
                self.store.set_leader(leader.machine.as_str(), BTreeSet::new());
            }
            ("lapse", _) => self.feed(TermInput::Registration(Registration::Pending)),
            ("registered", _) => {
                let machine = self.store.snapshot.leader.as_ref().unwrap().machine.clone();
                let lease = Lease { id: LeaseId(first.parse().unwrap()), ttl: WINDOW };
                let presence = Presence { machine, lease, created: 1 };
                self.feed(TermInput::Registration(Registration::Registered(presence)));
            }
            ("away", _) => {
                let problem = "no endpoint answers".to_owned();
                self.feed(TermInput::Cluster(vec![ClusterEvent::Lost { problem }]));
            }
            ("contact", _) => {
                self.contact_since = EPOCH + parse_duration(first);
                self.silent_since = None;
                if self.term.is_some() {
                    self.feed(TermInput::Tick);
                }
            }
            ("counted", _) => self.store.counted_for = Some(parse_duration(first)),
            ("silence", _) => self.silent_since = Some(self.now),
            ("keep-request", _) => {
                self.kept = self.asked.as_ref().map(|(request, _)| request.clone());
                self.store.keep_request();
            }
            ("late", _) => {
                let kept = self.kept.take().unwrap_or_else(|| panic!("nothing was kept"));
                let _ = writeln!(self.said, "{:?}", self.store.carry_out_late(&kept));
            }
            ("back-up", _) => self.store.back_up(),
            ("restore", _) => self.store.restore(),
            ("reset", _) => self.store.begin_anew(),
            ("list-early", _) => self.store.list_early(),
            ("show", _) => self.show(),
            _ => self.change_cluster(verb, arguments),
        }
        std::mem::take(&mut self.said)
    }
}

fn list(machines: &BTreeSet<MachineId>) -> String {
    let names: Vec<&str> = machines.iter().map(MachineId::as_str).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
}

fn describe_request(request: &TermRequest) -> String {
    match request {
        TermRequest::ProbeLeases { machines, .. } => {
            format!("asks how much time the leases of {} have left", list(machines))
        }
        TermRequest::EndDrains { machine, drains, .. } => {
            let holders: Vec<String> =
                drains.iter().map(|(holder, _)| holder.to_string()).collect();
            format!("ends the drain of {machine} by {}", holders.join(" "))
        }
        TermRequest::RecordMembers { members, .. } => {
            format!("writes the members {}", list(members))
        }
        TermRequest::RecordHeld { held, .. } => format!("writes the held {}", list(held)),
        TermRequest::CommitPlan { moves, .. } => {
            let moves: Vec<String> = moves.iter().map(describe_move).collect();
            moves.join("\n")
        }
    }
}

fn describe_move(step: &Move) -> String {
    let decisions: Vec<String> = step
        .decisions
        .iter()
        .map(|decision| match decision {
            Decision::Place { machine, unit, .. } => format!("places {unit} on {machine}"),
            Decision::Remove { machine, unit, .. } => format!("removes {unit} from {machine}"),
        })
        .collect();
    decisions.join(" and ")
}

fn describe_notice(notice: TermNotice) -> String {
    match notice {
        TermNotice::StoreLost { problem } => format!("the store is lost: {problem}"),
        TermNotice::MachineLost(machine) => format!("{machine} is lost"),
        TermNotice::MachinesMayReturn(machines) => format!("{} may return", list(&machines)),
        TermNotice::MassLoss(held) => format!("too many vanished together: {}", list(&held)),
        TermNotice::Unfrozen => "unfrozen by a person".to_owned(),
        TermNotice::LossesWait { problem } => format!("losses wait: {problem}"),
        TermNotice::DrainDue { machine, holder, end } => {
            format!("the drain of {machine} by {holder} is at its deadline: {end:?}")
        }
        TermNotice::PlanOvertaken { conflicts } => format!("{conflicts} moves were overtaken"),
        TermNotice::CannotEndDrains { machine, problem } => {
            format!("cannot end the drain of {machine}: {problem}")
        }
        TermNotice::CannotRecordMembers { problem } => format!("cannot record members: {problem}"),
        TermNotice::CannotRecordHeld { problem } => format!("cannot record the held: {problem}"),
        TermNotice::CannotCommitPlan { problem } => format!("cannot write the plan: {problem}"),
    }
}
