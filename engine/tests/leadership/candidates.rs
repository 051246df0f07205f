//! Daemons that may lead, and the leader record on paper.
//!
//! | command | does |
//! | --- | --- |
//! | `daemon ID…` | a daemon takes part; its watch over the leader record begins with the next `see` |
//! | `register ID…` | it is registered under a lease of its own |
//! | `lapse ID…` | its lease ends: its registration goes, and the leader record that lives under it; it has not heard of that yet |
//! | `unregister ID…` | it hears that its registration is not good any more |
//! | `see [ID…]` | the events of the watch reach these daemons, or all |
//! | `away ID…` | the watch says that the store is lost |
//! | `answer ID` | the store carries the campaign out and answers |
//! | `lose ID` | the store carries it out, and nobody knows whether it did |
//! | `fail ID TEXT`, `fail ID full` | the store says that it cannot, or that it has no room |
//! | `over ID` | its term is over; it watches anew |
//! | `wait TIME` | time passes |

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use muster_common::lease::{Leadership, Lease, LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent, Leader, Snapshot};
use muster_engine::leader::election::{CampaignOutcome, Election, ElectionEffect, ElectionInput};
use muster_engine::machine::registration::Registration;

use crate::scripts::{Player, parse_duration, show_duration};

#[derive(Default)]
pub(crate) struct Candidates {
    now: Duration,
    daemons: BTreeMap<String, Daemon>,
    record: Option<LeaderRecord>,
    revision: u64,
    leases: i64,
    said: String,
}

#[derive(Default)]
struct Daemon {
    election: Election,
    presence: Option<Presence>,
    campaign: Option<Presence>,
    events: VecDeque<ClusterEvent>,
}

struct LeaderRecord {
    machine: MachineId,
    lease: LeaseId,
    created: u64,
}

impl Candidates {
    fn daemon(&mut self, id: &str) -> &mut Daemon {
        self.daemons.get_mut(id).unwrap_or_else(|| panic!("{id}: there is no such daemon"))
    }

    fn leader(&self) -> Option<Leader> {
        let record = self.record.as_ref()?;
        Some(Leader { machine: record.machine.clone(), held: [].into() })
    }

    /// The first event of a watch.
    fn first_event(&self) -> ClusterEvent {
        let (revision, leader) = (self.revision, self.leader());
        ClusterEvent::Reset(Box::new(Snapshot { revision, leader, ..Snapshot::default() }))
    }

    fn set_record(&mut self, record: Option<LeaderRecord>) {
        self.record = record;
        let (revision, leader) = (self.revision, self.leader());
        for daemon in self.daemons.values_mut() {
            let changes = vec![Change::Leader(leader.clone())];
            daemon.events.push_back(ClusterEvent::Changes { revision, changes });
        }
    }

    fn feed(&mut self, id: &str, input: ElectionInput) {
        let now = self.now;
        for effect in self.daemon(id).election.step(now, input) {
            let said = match effect {
                ElectionEffect::Campaign(presence) => {
                    let said = format!("{id} campaigns under lease {}", presence.lease.id.0);
                    let before = self.daemon(id).campaign.replace(presence);
                    assert!(before.is_none(), "two campaigns at a time");
                    said
                }
                ElectionEffect::BeginTerm { presence, leadership, predecessor, room_since } => {
                    let after = predecessor.map(|(machine, at)| {
                        format!(", after {machine}, gone at {}", show_duration(at))
                    });
                    let room = room_since.map(|at| format!(", room since {}", show_duration(at)));
                    format!(
                        "{id} begins a term under lease {}, created at {}{}{}",
                        presence.lease.id.0,
                        leadership.created,
                        after.unwrap_or_default(),
                        room.unwrap_or_default()
                    )
                }
                ElectionEffect::LogCampaignFailed(problem) => {
                    format!("log of {id}: cannot campaign: {problem}")
                }
            };
            let _ = writeln!(self.said, "{} {said}", show_duration(now));
        }
    }

    /// Carries a campaign out as the store does: the first one under a live lease has it.
    fn campaign(&mut self, presence: &Presence) -> CampaignOutcome {
        let alive = |daemon: &Daemon| daemon.presence.as_ref() == Some(presence);
        match &self.record {
            Some(record) if record.lease == presence.lease.id => {
                CampaignOutcome::Won(Leadership { created: record.created })
            }
            Some(_) => CampaignOutcome::Lost,
            None if !self.daemons.values().any(alive) => {
                CampaignOutcome::Failed("machine is not registered any more".to_owned())
            }
            None => {
                self.revision += 1;
                let created = self.revision;
                let (machine, lease) = (presence.machine.clone(), presence.lease.id);
                self.set_record(Some(LeaderRecord { machine, lease, created }));
                CampaignOutcome::Won(Leadership { created })
            }
        }
    }

    fn register(&mut self, id: &str) {
        self.leases += 1;
        self.revision += 1;
        let lease = Lease { id: LeaseId(self.leases), ttl: Duration::from_secs(6) };
        let presence = Presence { machine: id.parse().unwrap(), lease, created: self.revision };
        self.daemon(id).presence = Some(presence.clone());
        self.feed(id, ElectionInput::Registration(Registration::Registered(presence)));
    }

    fn lapse(&mut self, id: &str) {
        let presence = self.daemon(id).presence.take();
        let led = |record: &LeaderRecord| presence.is_some_and(|p| p.lease.id == record.lease);
        if self.record.as_ref().is_some_and(led) {
            self.revision += 1;
            self.set_record(None);
        }
    }

    fn see(&mut self, id: &str) {
        while let Some(event) = self.daemon(id).events.pop_front() {
            self.feed(id, ElectionInput::LeaderRecord(event));
        }
    }

    fn wait(&mut self, end: Duration) {
        for id in self.daemons.keys().cloned().collect::<Vec<_>>() {
            let begun = self.now;
            while let Some(at) = self.daemon(&id).election.next_deadline().filter(|at| *at <= end) {
                self.now = at.max(begun);
                self.feed(&id, ElectionInput::Tick);
            }
            self.now = begun;
        }
        self.now = end;
    }
}

impl Player for Candidates {
    fn carry_out(&mut self, words: &[&str], _: &str) -> String {
        let (verb, arguments) = words.split_first().unwrap();
        let all: Vec<String> = self.daemons.keys().cloned().collect();
        let named: Vec<String> = arguments.iter().map(|id| (*id).to_owned()).collect();
        match *verb {
            "wait" => self.wait(self.now + parse_duration(arguments.concat().as_str())),
            "fail" | "answer" | "lose" => {
                let (id, rest) = arguments.split_first().unwrap();
                let Some(presence) = self.daemon(id).campaign.take() else {
                    return format!("{id} does not campaign");
                };
                let outcome = match *verb {
                    "answer" => self.campaign(&presence),
                    "lose" => {
                        self.campaign(&presence);
                        CampaignOutcome::Failed("not known whether it was carried out".to_owned())
                    }
                    _ if *rest == ["full"] => CampaignOutcome::Full("no room".to_owned()),
                    _ => CampaignOutcome::Failed(rest.join(" ")),
                };
                self.feed(id, ElectionInput::Campaigned(outcome));
            }
            verb => {
                for id in if named.is_empty() { all } else { named } {
                    self.carry_out_for(verb, &id);
                }
            }
        }
        std::mem::take(&mut self.said)
    }
}

impl Candidates {
    fn carry_out_for(&mut self, verb: &str, id: &str) {
        match verb {
            "daemon" => {
                let first = self.first_event();
                let events = VecDeque::from([first]);
                self.daemons.insert(id.to_owned(), Daemon { events, ..Daemon::default() });
            }
            "register" => self.register(id),
            "lapse" => self.lapse(id),
            "unregister" => self.feed(id, ElectionInput::Registration(Registration::Pending)),
            "see" => self.see(id),
            "away" => {
                let problem = "no endpoint answers".to_owned();
                self.feed(id, ElectionInput::LeaderRecord(ClusterEvent::Lost { problem }));
            }
            "over" => {
                let first = self.first_event();
                self.daemon(id).events = VecDeque::from([first]);
                self.feed(id, ElectionInput::TermEnded);
            }
            verb => panic!("{verb} is no command"),
        }
    }
}
