//! Plays the scripts in `tests/scenarios/{registering,rejoining}`: one machine's registrar, and a store on paper that answers it.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what is said into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `start [address=ADDRESS] [ttl=TIME] [grace=TIME]` | the machine's daemon starts, with the lease that the one before remembered |
//! | `stop` | its daemon ends; the lease is left alive |
//! | `reboot` | its daemon ends, and what was remembered of this boot is gone |
//! | `answer` | the store carries out what it was asked for and answers |
//! | `answer after TIME` | it does so now, and the daemon is paused: the answer and all timers are due when it goes on |
//! | `lose` | the store carries it out, and the answer gets lost |
//! | `drop` | the question gets lost |
//! | `fail TEXT` | the store says that it cannot |
//! | `run TIME` | time passes, in which the store answers at once |
//! | `wait TIME` | time passes, in which nobody answers: a request ends with the time it was given |
//! | `engine absent\|up\|lost TEXT` | how the container engine is |
//! | `metadata [k=v]…` | what the machine is configured with |
//! | `leave`, `stay` | the machine goes down, or does not after all |
//! | `reported LEASE` / `reported nothing` | everything on the machine has been reported under this lease, or not yet |
//! | `suspect` | a write under the lease was refused |
//! | `woken` | the machine has slept, for a time that its clock does not count |
//! | `revoke` | the store ends the lease of the machine's record |
//! | `foreign ADDRESS` | another machine registers under our id, and keeps its lease alive |
//! | `foreign gone` | it goes |
//! | `damage` | the record under our id cannot be read any more |
//! | `backup`, `restore` | what the store holds is put away, and put back: its leases have their whole time again |
//! | `cluster NUMBER\|none\|old` | the store holds this cluster from now on, none, or one of a release before; leases and records are gone |
//! | `remember NUMBER\|nothing\|anew\|old\|damaged` | what the machine remembers of its cluster |
//! | `store` | prints the record under our id |
//! | `contact` | says since when it is known that whoever was well could register |
//!
//! What is said begins with the time. Health is said when it changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail, and reads its scripts")]
#![allow(clippy::cast_precision_loss, reason = "times of scripts are short")]

#[path = "registration/properties.rs"]
mod properties;
#[path = "support/scripts.rs"]
mod scripts;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::lease::{Lease, LeaseId, Presence, TimeLeft};
use muster_common::machine::{ContainerEngine, Machine};
use muster_engine::machine::cluster::{RememberedCluster, StoredCluster};
use muster_engine::machine::registration::{
    FoundRecord, Registrar, RegistrarAnswer, RegistrarEffect, RegistrarInput, RegistrarRequest,
    Registration, UnitsReported,
};
use scripts::{Player, fails_without, parse_duration, play_directory, show_duration};

#[test]
fn registering() {
    play_directory::<World>("registering");
}

#[test]
fn a_rule_of_registration_that_is_left_out_is_noticed() {
    for planted in [
        "any-store-is-ours",
        "clone-at-one-address-taken-for-ours",
        "contact-outlasts-vain-attempts",
        "idle-machine-begins-a-cluster",
        "lease-suspicion-ignored",
        "lease-timed-from-answer",
        "lost-lease-unnoticed",
        "note-vouches-for-an-earlier-lease",
        "outage-note-kept",
        "record-not-verified",
        "record-put-back-waited-for",
        "refresh-holds-renewal-up",
        "renewal-cut-short",
        "silent-lease-relied-on",
        "sleep-unnoticed",
        "unreported-host-leaves",
        "untrue-record-kept",
    ] {
        fails_without(planted, registering);
    }
}

#[test]
fn rejoining() {
    play_directory::<World>("rejoining");
}

/// The lease of the machine that has our id. It is kept alive by somebody else.
const FOREIGN: LeaseId = LeaseId(100);

#[derive(Default)]
struct World {
    now: Duration,
    daemon: Option<Daemon>,
    /// What the daemon before has remembered on this boot.
    remembered: Option<LeaseId>,
    cluster: Option<RememberedCluster>,
    /// Boots before this one.
    boots: usize,
    store: PaperStore,
    backup: PaperStore,
    story: String,
}

struct Daemon {
    registrar: Registrar,
    started: Duration,
    /// The request under way, and when its time is over.
    asked: Option<(RegistrarRequest, Duration)>,
    /// `ok`, or the problem.
    store_health: Option<String>,
    lease_health: Option<String>,
}

/// One record, and the leases.
#[derive(Clone, Default)]
struct PaperStore {
    cluster: Option<StoredCluster>,
    revision: u64,
    record: Option<PaperRecord>,
    leases: BTreeMap<LeaseId, (Duration, Duration)>,
    granted: i64,
}

#[derive(Clone)]
struct PaperRecord {
    machine: Option<Box<Machine>>,
    address: String,
    boot: String,
    lease: LeaseId,
    created: u64,
    written: u64,
}

impl PaperStore {
    fn expire(&mut self, now: Duration) {
        self.leases.retain(|_, (_, ends)| now < *ends);
        let leases = &self.leases;
        let gone =
            |record: &PaperRecord| record.lease != FOREIGN && !leases.contains_key(&record.lease);
        if self.record.as_ref().is_some_and(gone) {
            self.record = None;
        }
    }

    fn carry_out(
        &mut self,
        request: &RegistrarRequest,
        now: Duration,
        remembered: RememberedCluster,
    ) -> RegistrarAnswer {
        self.expire(now);
        match request {
            RegistrarRequest::FindCluster => {
                let first = StoredCluster::Identified(ClusterId::from_number(1));
                let stored = *self.cluster.get_or_insert(first);
                RegistrarAnswer::ClusterFound { remembered, stored }
            }
            RegistrarRequest::EstablishCluster => {
                let id = ClusterId::from_number(9);
                self.cluster = Some(StoredCluster::Identified(id));
                RegistrarAnswer::ClusterEstablished(id)
            }
            RegistrarRequest::FindRecord => match &self.record {
                Some(PaperRecord { machine: None, lease, .. }) if *lease != FOREIGN => {
                    RegistrarAnswer::FoundUnreadable
                }
                found => RegistrarAnswer::Found(found.as_ref().map(|found| FoundRecord {
                    address: found.address.clone(),
                    boot: found.boot.clone(),
                    lease: Some(found.lease),
                    revision: found.written,
                })),
            },
            // Somebody keeps it alive.
            RegistrarRequest::ReadTimeLeft(FOREIGN) => {
                let granted = Duration::from_secs(6);
                RegistrarAnswer::TimeLeft(TimeLeft {
                    left: granted,
                    granted,
                    counted_for: Duration::MAX,
                })
            }
            RegistrarRequest::ReadTimeLeft(lease) => match self.leases.get(lease) {
                Some((granted, ends)) => {
                    let left = Duration::from_secs(ends.saturating_sub(now).as_secs());
                    RegistrarAnswer::TimeLeft(TimeLeft {
                        left,
                        granted: *granted,
                        counted_for: Duration::MAX,
                    })
                }
                None => RegistrarAnswer::LeaseGone,
            },
            RegistrarRequest::KeepAlive(lease) => match self.leases.get_mut(lease) {
                Some((ttl, ends)) => {
                    *ends = now + *ttl;
                    RegistrarAnswer::Leased(Lease { id: *lease, ttl: *ttl })
                }
                None => RegistrarAnswer::LeaseGone,
            },
            RegistrarRequest::Grant(ttl) => {
                self.granted += 1;
                let id = LeaseId(self.granted);
                self.leases.insert(id, (*ttl, now + *ttl));
                RegistrarAnswer::Leased(Lease { id, ttl: *ttl })
            }
            RegistrarRequest::WriteRecord { lease, .. } if !self.leases.contains_key(&lease.id) => {
                RegistrarAnswer::Failed("the lease is gone".to_owned())
            }
            RegistrarRequest::WriteRecord { lease, found, .. }
                if self.record.as_ref().is_some_and(|record| {
                    record.lease != lease.id
                        && Some(record.lease) != *found
                        && (record.machine.is_some() || record.lease == FOREIGN)
                }) =>
            {
                RegistrarAnswer::Failed("another has registered meanwhile".to_owned())
            }
            RegistrarRequest::WriteRecord { machine, lease, .. } => {
                self.revision += 1;
                let created = self.record.as_ref().map_or(self.revision, |record| record.created);
                self.record = Some(PaperRecord {
                    address: machine.address.clone(),
                    boot: machine.boot.clone(),
                    machine: Some(machine.clone()),
                    lease: lease.id,
                    created,
                    written: self.revision,
                });
                let id = machine.id.clone();
                let presence = Presence { machine: id, lease: *lease, created };
                RegistrarAnswer::Written { presence, revision: self.revision }
            }
        }
    }
}

impl World {
    fn start_daemon(&mut self, arguments: &[&str]) {
        let (mut address, mut ttl, mut grace) = ("192.0.2.1", "10s", "30s");
        for argument in arguments {
            match argument.split_once('=') {
                Some(("address", value)) => address = value,
                Some(("ttl", value)) => ttl = value,
                Some(("grace", value)) => grace = value,
                _ => panic!("{argument}: address, ttl or grace"),
            }
        }
        let machine = serde_json::json!({
            "id": "m1", "address": address, "runners": ["systemd"], "metadata": {"zone": "a"},
            "boot": format!("boot {}", self.boots),
        });
        let machine: Machine = serde_json::from_value(machine).unwrap();
        let registrar = Registrar::new(machine, parse_duration(ttl), self.remembered)
            .with_silence_grace(parse_duration(grace));
        self.daemon = Some(Daemon {
            registrar,
            started: self.now,
            asked: None,
            store_health: None,
            lease_health: None,
        });
        self.feed(RegistrarInput::Tick);
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap_or_else(|| panic!("no daemon was started"))
    }

    fn feed(&mut self, input: RegistrarInput) {
        let now = self.now;
        let daemon = self.daemon();
        let elapsed = now.saturating_sub(daemon.started);
        for effect in daemon.registrar.step(elapsed, input) {
            self.note(effect);
        }
    }

    fn note(&mut self, effect: RegistrarEffect) {
        let now = self.now;
        let daemon = self.daemon();
        let line = match effect {
            RegistrarEffect::Ask { request, within } => {
                assert!(daemon.asked.is_none(), "two requests at a time");
                let line = format!("{} within {}", describe(&request), show_duration(within));
                daemon.asked = Some((request, now + within));
                line
            }
            RegistrarEffect::DoubtPlacements => "doubts its placements".to_owned(),
            RegistrarEffect::RememberLease(lease) => {
                self.remembered = Some(lease);
                return;
            }
            RegistrarEffect::SetCluster(cluster) => {
                if self.cluster == Some(RememberedCluster::Known(cluster)) {
                    return;
                }
                self.cluster = Some(RememberedCluster::Known(cluster));
                format!("cluster {}", cluster.to_string().trim_start_matches('0'))
            }
            RegistrarEffect::NoteOutage(true) => "note: an outage has begun".to_owned(),
            RegistrarEffect::NoteOutage(false) => "note: no outage".to_owned(),
            RegistrarEffect::SetRegistration(registration) => match registration {
                Registration::Registered(presence) => format!(
                    "registered under lease {}, created at {}",
                    presence.lease.id.0, presence.created
                ),
                other => format!("registration: {other:?}").to_lowercase(),
            },
            RegistrarEffect::SetStoreHealth(problem) => {
                let health = problem.unwrap_or_else(|| "ok".to_owned());
                if daemon.store_health.replace(health.clone()).as_ref() == Some(&health) {
                    return;
                }
                format!("store: {health}")
            }
            RegistrarEffect::SetLeaseHealth(problem) => {
                let health = problem.map_or_else(|| "ok".to_owned(), |problem| problem.to_string());
                if daemon.lease_health.replace(health.clone()).as_ref() == Some(&health) {
                    return;
                }
                // The rest says what to do about it.
                format!("lease: {}", health.split(':').next().unwrap())
            }
            RegistrarEffect::LogRegistered(lease) => format!("log: registered, lease {}", lease.0),
            RegistrarEffect::LogLeaseGone(lease) => format!("log: lease {} is gone", lease.0),
            RegistrarEffect::LogRefused(_) => "log: cannot be registered".to_owned(),
        };
        let _ = writeln!(self.story, "{} {line}", show_duration(now));
    }

    fn answer(&mut self, answer: RegistrarAnswer) {
        self.daemon().asked = None;
        self.feed(RegistrarInput::Answer(answer));
    }

    fn carry_out_request(&mut self) -> RegistrarAnswer {
        let now = self.now;
        let asked = self.daemon().asked.as_ref().map(|(request, _)| request.clone());
        let request = asked.unwrap_or_else(|| panic!("nothing is asked for"));
        let remembered = self.cluster.unwrap_or(RememberedCluster::Nothing);
        self.store.carry_out(&request, now, remembered)
    }

    /// Lets time pass until `end`, step by step from one deadline to the next.
    fn pass(&mut self, end: Duration, store_answers: bool) {
        for _ in 0..1000 {
            let Some(daemon) = &self.daemon else {
                self.now = end;
                return;
            };
            let timer = daemon.registrar.next_deadline().map(|at| at + daemon.started);
            match (daemon.asked.as_ref().map(|(_, limit)| *limit), timer) {
                (Some(_), _) if store_answers => {
                    let answer = self.carry_out_request();
                    self.answer(answer);
                }
                (Some(limit), _) if limit <= end => {
                    self.now = self.now.max(limit);
                    self.answer(RegistrarAnswer::TimedOut);
                }
                (None, Some(timer)) if timer <= end => {
                    self.now = self.now.max(timer);
                    self.feed(RegistrarInput::Tick);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("it does not come to rest: {}", self.story);
    }

    fn show_store(&mut self) {
        self.store.expire(self.now);
        let _ = match &self.store.record {
            None => writeln!(self.story, "no record"),
            Some(record) => writeln!(
                self.story,
                "record of {} under lease {}",
                if record.address.is_empty() { "no address" } else { &record.address },
                record.lease.0
            ),
        };
    }
}

impl Player for World {
    fn carry_out(&mut self, words: &[&str], _: &str) -> String {
        let (verb, arguments) = words.split_first().unwrap();
        let asks = self.daemon.as_ref().is_some_and(|daemon| daemon.asked.is_some());
        if ["answer", "lose", "drop", "fail"].contains(verb) && !asks {
            return "nothing is asked for".to_owned();
        }
        let time = |at: usize| {
            parse_duration(arguments.get(at).unwrap_or_else(|| panic!("a time is missing")))
        };
        match *verb {
            "start" => self.start_daemon(arguments),
            "stop" => self.daemon = None,
            "reboot" => {
                self.daemon = None;
                self.remembered = None;
                self.boots += 1;
            }
            "answer" => {
                let answer = self.carry_out_request();
                if let ["after", pause] = arguments {
                    self.now += parse_duration(pause);
                }
                self.answer(answer);
            }
            "lose" => {
                self.carry_out_request();
                let limit = self.daemon().asked.as_ref().map(|(_, limit)| *limit);
                self.now = limit.unwrap_or(self.now);
                self.answer(RegistrarAnswer::TimedOut);
            }
            "drop" => {
                let limit = self.daemon().asked.as_ref().map(|(_, limit)| *limit);
                self.now = limit.unwrap_or_else(|| panic!("nothing is asked for"));
                self.answer(RegistrarAnswer::TimedOut);
            }
            "fail" => self.answer(RegistrarAnswer::Failed(arguments.join(" "))),
            "run" => self.pass(self.now + time(0), true),
            "wait" => self.pass(self.now + time(0), false),
            "engine" => {
                let engine = match arguments.split_first() {
                    Some((&"absent", _)) => ContainerEngine::Absent,
                    Some((&"up", _)) => ContainerEngine::Up,
                    Some((&"lost", why)) => ContainerEngine::Lost(why.join(" ")),
                    _ => panic!("absent, up or lost"),
                };
                self.feed(RegistrarInput::ContainerEngine(engine));
            }
            "metadata" => {
                let pairs = arguments.iter().map(|pair| pair.split_once('=').unwrap());
                let metadata = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                self.feed(RegistrarInput::Metadata(metadata));
            }
            "leave" => self.feed(RegistrarInput::Leaving(true)),
            "stay" => self.feed(RegistrarInput::Leaving(false)),
            "reported" => {
                let reported = match *arguments.first().unwrap() {
                    "nothing" => UnitsReported::NotYet,
                    lease => UnitsReported::Under(LeaseId(lease.parse().unwrap())),
                };
                self.feed(RegistrarInput::UnitsReported(reported));
            }
            "suspect" => self.feed(RegistrarInput::LeaseSuspect),
            "woken" => self.feed(RegistrarInput::Woken),
            "revoke" => {
                let lease = self.store.record.as_ref().map(|record| record.lease);
                self.store.leases.remove(&lease.unwrap());
            }
            "foreign" if arguments == ["gone"] => self.store.record = None,
            "foreign" => {
                self.store.revision += 1;
                self.store.record = Some(PaperRecord {
                    machine: None,
                    address: arguments.concat(),
                    boot: "clone".to_owned(),
                    lease: FOREIGN,
                    created: self.store.revision,
                    written: self.store.revision,
                });
            }
            "backup" => self.backup = self.store.clone(),
            "restore" => {
                let granted = self.store.granted;
                self.store = PaperStore { granted, ..self.backup.clone() };
                for (ttl, ends) in self.store.leases.values_mut() {
                    *ends = self.now + *ttl;
                }
            }
            "damage" => self.store.record.as_mut().unwrap().machine = None,
            "cluster" => {
                self.store = PaperStore {
                    cluster: Some(match arguments {
                        ["none"] => StoredCluster::Absent,
                        ["old"] => StoredCluster::Unidentified,
                        number => StoredCluster::Identified(cluster_id(number)),
                    }),
                    granted: self.store.granted,
                    ..PaperStore::default()
                };
            }
            "remember" => {
                self.cluster = Some(match arguments {
                    ["nothing"] => RememberedCluster::Nothing,
                    ["anew"] => RememberedCluster::BeginsAnew,
                    ["old"] => RememberedCluster::OlderRelease,
                    ["damaged"] => RememberedCluster::Unreadable,
                    ["idle", number] => RememberedCluster::Seen(cluster_id(&[*number])),
                    number => RememberedCluster::Known(cluster_id(number)),
                });
            }
            "store" => self.show_store(),
            "contact" => {
                let contact =
                    self.daemon.as_ref().and_then(|daemon| daemon.registrar.store_contact());
                self.story = contact.map_or("none".to_owned(), |contact| {
                    format!("since {}", show_duration(contact.began_at()))
                });
            }
            verb => panic!("{verb} is no command"),
        }
        std::mem::take(&mut self.story)
    }
}

fn cluster_id(number: &[&str]) -> ClusterId {
    ClusterId::from_number(number.concat().parse().unwrap())
}

fn describe(request: &RegistrarRequest) -> String {
    match request {
        RegistrarRequest::FindCluster => "asks for the cluster".to_owned(),
        RegistrarRequest::EstablishCluster => "gives the cluster an identity".to_owned(),
        RegistrarRequest::FindRecord => "asks for its record".to_owned(),
        RegistrarRequest::ReadTimeLeft(lease) => {
            format!("asks how much time lease {} has left", lease.0)
        }
        RegistrarRequest::KeepAlive(lease) => format!("keeps lease {} alive", lease.0),
        RegistrarRequest::Grant(ttl) => format!("asks for a lease of {}", show_duration(*ttl)),
        RegistrarRequest::WriteRecord { machine, lease, .. } => {
            let mut line = format!("writes its record under lease {}:", lease.id.0);
            for runner in &machine.runners {
                let _ = write!(line, " {}", format!("{runner:?}").to_lowercase());
            }
            for (key, value) in &machine.metadata {
                let _ = write!(line, " {key}={value}");
            }
            if machine.leaving {
                line.push_str(" leaving");
            }
            if let Some(problem) = &machine.containers_lost {
                let _ = write!(line, " lost ({problem})");
            }
            line
        }
    }
}
