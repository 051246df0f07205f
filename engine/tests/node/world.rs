//! The world around one node: a runner and a disk that answer at once, and a store that a script speaks for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::lease::{Lease, LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent, Handover, Placement, Snapshot, Unreadable};
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::machine::converge::{Observed, Step};
use muster_engine::machine::job::{JobEnd, JobRun};
use muster_engine::machine::memory::{FoundLastKnown, LastKnown, NodeMemory, OwnedUnit};
use muster_engine::machine::node::{
    ChainEnd, ChainStart, Node, NodeEffect, NodeFact, NodeInput, PlannedChain, PublishAnswer,
};
use muster_engine::machine::observation::{RunnerEvent, UnitObservation};
use muster_engine::machine::registration::Registration;
use muster_engine::machine::steadiness::Steadiness;
use muster_engine::run_origin::RunOrigin;

use crate::steps::describe_step;

/// The file of most units: of a type that is believed to be up once it is started.
const TEXT: &str = "[Service]\nType=exec\nExecStart=/bin/true\n";
/// The file of a job.
const JOB: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\n\n[X-Fleet]\nJob=yes\n";
/// The same after somebody has edited it.
const EDITED_JOB: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n\n[X-Fleet]\nJob=yes\n";
/// The file of a unit that is enabled.
const INSTALLED: &str =
    "[Service]\nType=exec\nExecStart=/bin/true\n\n[Install]\nWantedBy=multi-user.target\n";

/// The cluster that the machine is registered in.
const CLUSTER: ClusterId = ClusterId::from_number(1);

/// The identity that the store holds.
#[derive(Clone, Copy)]
enum StoredIdentity {
    Same,
    Other,
    Absent,
    Damaged,
}

/// One machine and all that its node has to do with.
#[allow(clippy::struct_excessive_bools, reason = "what a script switches on and off")]
pub(crate) struct World {
    node: Node,
    now: Duration,
    owned: BTreeMap<UnitName, OwnedUnit>,
    steadiness: Steadiness,
    /// The runs of jobs, which outlive daemon and boot.
    jobs: BTreeMap<UnitName, JobRun>,
    obstacles: BTreeMap<UnitName, String>,
    runner: BTreeMap<UnitName, Observed>,
    runner_up: bool,
    store: BTreeMap<UnitName, Placement>,
    watched: bool,
    disk: Option<FoundLastKnown>,
    /// The identity that each listing of the store has besides.
    cluster: StoredIdentity,
    /// When the lease is over.
    lease_ends: Option<Duration>,
    /// What the daemon writes passes.
    trusted: bool,
    disk_full: bool,
    /// The states that the store has under our lease; `None`: it does not say.
    published: Option<BTreeMap<UnitName, ObservedState>>,
    /// The cluster is remembered.
    remembered: bool,
    chains: BTreeMap<UnitName, Vec<Step>>,
    publications: VecDeque<u64>,
    /// The things that it is told while it is busy.
    held: Option<Vec<NodeInput>>,
    said: Vec<String>,
}

fn machine() -> MachineId {
    "m1".parse().unwrap()
}

fn unit(name: &str) -> UnitName {
    format!("{name}.service").parse().unwrap()
}

fn text_of(name: &str) -> &'static str {
    if name.starts_with("job") {
        JOB
    } else if name.starts_with("boot") {
        INSTALLED
    } else {
        TEXT
    }
}

fn all_files() -> BTreeMap<FileHash, String> {
    let texts = [TEXT, JOB, EDITED_JOB, INSTALLED].into_iter();
    texts.map(|text| (FileHash::of_text(text), text.to_owned())).collect()
}

fn placements(words: &[&str]) -> BTreeMap<UnitName, Placement> {
    let placement = |words: &[&str]| {
        let (file, handover) = (FileHash::of_text(text_of(words[0])), Handover::default());
        let (desired, generation) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        (unit(words[0]), Placement { file, desired, generation, handover, revision: 0 })
    };
    words.chunks(3).map(placement).collect()
}

impl Default for World {
    fn default() -> Self {
        Self {
            node: Node::new(machine(), Duration::ZERO),
            now: Duration::ZERO,
            owned: BTreeMap::new(),
            steadiness: Steadiness::default(),
            jobs: BTreeMap::new(),
            obstacles: BTreeMap::new(),
            runner: BTreeMap::new(),
            runner_up: false,
            store: BTreeMap::new(),
            watched: false,
            disk: None,
            cluster: StoredIdentity::Same,
            lease_ends: None,
            trusted: true,
            disk_full: false,
            published: Some(BTreeMap::new()),
            remembered: false,
            chains: BTreeMap::new(),
            publications: VecDeque::new(),
            held: None,
            said: Vec::new(),
        }
    }
}

impl World {
    /// Plays one line of a script and says what the node does.
    pub(crate) fn play_line(&mut self, words: &[&str]) -> Vec<String> {
        match words {
            ["registered", lease] => {
                let lease =
                    Lease { id: LeaseId(lease.parse().unwrap()), ttl: Duration::from_secs(10) };
                let presence = Presence { machine: machine(), lease, created: 1 };
                self.feed(NodeInput::Registration(Registration::Registered(presence)));
            }
            ["lapse"] => self.lease_ends = Some(self.now),
            ["renewed"] => self.lease_ends = None,
            ["pending"] => self.feed(NodeInput::Registration(Registration::Pending)),
            ["refused"] => self.feed(NodeInput::Registration(Registration::Refused)),
            ["unreachable"] => self.feed(NodeInput::Registration(Registration::Unreachable)),
            ["store", wanted @ ..] => self.store = placements(wanted),
            ["place", wanted @ ..] => {
                for (unit, place) in placements(wanted) {
                    self.store.insert(unit.clone(), place.clone());
                    self.send_change(Change::Place(machine(), unit, Some(place)));
                }
            }
            ["edit", name] => {
                let place = self.store.get_mut(&unit(name)).unwrap();
                place.file = FileHash::of_text(EDITED_JOB);
                let place = place.clone();
                self.send_change(Change::Place(machine(), unit(name), Some(place)));
            }
            ["unplace", name] => {
                self.store.remove(&unit(name));
                self.send_change(Change::Place(machine(), unit(name), None));
            }
            ["damage", name] => {
                let key = format!("place/m1/{}", unit(name));
                let record = Unreadable { key: key.clone(), problem: "damaged".to_owned() };
                self.send_change(Change::Unreadable(key, Some(record)));
            }
            ["repair", name] => {
                self.send_change(Change::Unreadable(format!("place/m1/{}", unit(name)), None));
            }
            ["lost"] => {
                let problem = "no answer".to_owned();
                self.feed(NodeInput::Placements(ClusterEvent::Lost { problem }));
            }
            ["disk", "full"] => self.disk_full = true,
            ["disk", "free"] => self.disk_full = false,
            ["disk", wanted @ ..] => {
                let known = LastKnown { places: placements(wanted), files: all_files() };
                let (is_newest, outage_noted, ordered) = (true, false, false);
                self.disk = Some(FoundLastKnown { known, is_newest, outage_noted, ordered });
            }
            ["note", "outage"] => self.on_disk(|found| found.outage_noted = true),
            ["note", "none"] => self.on_disk(|found| found.outage_noted = false),
            ["order"] => self.on_disk(|found| found.ordered = true),
            ["rot"] => self.on_disk(|found| found.is_newest = false),
            ["cluster", identity] => self.cluster = stored_identity(identity),
            ["reset", wanted @ ..] => {
                self.store = placements(wanted);
                let reset = self.reset_event();
                self.feed(reset);
            }
            ["runner", "busy"] => self.runner_up = false,
            ["runner", "free"] => self.runner_up = true,
            ["runner", line] => {
                self.runner_up = *line == "up";
                let lost = RunnerEvent::Lost { problem: "cut".to_owned() };
                let event = if self.runner_up { RunnerEvent::Relist } else { lost };
                self.feed(NodeInput::Runner(event));
            }
            ["see", name, active] => self.change_unit(&unit(name), (*active).into(), ""),
            ["begun", name] => {
                self.runner.entry(unit(name)).or_default().origin = RunOrigin::Others;
                self.change_unit(&unit(name), ActiveState::Active, "by-hand");
            }
            ["obstacle", name] => drop(self.obstacles.remove(&unit(name))),
            ["obstacle", name, text @ ..] => {
                self.obstacles.insert(unit(name), text.join(" "));
            }
            ["foreign", name] => {
                let seen = self.runner.entry(unit(name)).or_default();
                "loaded".clone_into(&mut seen.load);
                (seen.foreign, seen.active) = (true, ActiveState::Active);
            }
            ["end", name, end] => self.end_chain(&unit(name), end),
            ["answer", answer] => {
                let Some(number) = self.publications.pop_front() else {
                    return vec!["there is nothing to answer".to_owned()];
                };
                let answer = match *answer {
                    "taken" => PublishAnswer::Taken,
                    "gone" => PublishAnswer::NotRegistered,
                    _ => PublishAnswer::Unknown,
                };
                self.feed(NodeInput::Published { number, answer });
            }
            ["reboot"] => {
                self.owned.clear();
                self.runner.clear();
                self.begin_anew();
            }
            ["restart"] => self.begin_anew(),
            ["wait", seconds] => self.pass_time(Duration::from_secs_f64(seconds.parse().unwrap())),
            ["states", "unreadable"] => self.published = None,
            ["states", names @ ..] => {
                let state = |name: &&str| {
                    let state = serde_json::json!({"load": "loaded", "active": "active", "sub": "running",
                        "generation": 1, "desired": "launched"});
                    (unit(name), serde_json::from_value(state).unwrap())
                };
                self.published = Some(names.iter().map(state).collect());
            }
            ["hold"] => self.held = Some(Vec::new()),
            ["hear"] => {
                let held = self.held.take().unwrap();
                self.feed_all(held);
            }
            ["leave"] => self.feed(NodeInput::Leaving(true)),
            ["stay"] => self.feed(NodeInput::Leaving(false)),
            ["release", name] => self.feed(NodeInput::Released(unit(name))),
            ["close"] => self.feed(NodeInput::Close),
            words => panic!("{words:?}"),
        }
        std::mem::take(&mut self.said)
    }

    fn begin_anew(&mut self) {
        self.node = Node::new(machine(), self.now);
        self.steadiness = Steadiness::default();
        self.chains.clear();
        self.publications.clear();
        (self.runner_up, self.watched) = (false, false);
        for unit in self.owned.values_mut() {
            (unit.begun, unit.unsure) = (false, false);
        }
    }

    fn on_disk(&mut self, change: impl FnOnce(&mut FoundLastKnown)) {
        change(self.disk.as_mut().unwrap());
    }

    fn reset_event(&self) -> NodeInput {
        let places = self.store.iter();
        let places =
            places.map(|(unit, place)| (unit.clone(), [(machine(), place.clone())].into()));
        let mut snapshot = Snapshot { places: places.collect(), ..Snapshot::default() };
        match self.cluster {
            StoredIdentity::Same => snapshot.cluster = Some(CLUSTER),
            StoredIdentity::Other => snapshot.cluster = Some(ClusterId::from_number(2)),
            StoredIdentity::Absent => {}
            StoredIdentity::Damaged => {
                let (key, problem) = ("cluster".to_owned(), "damaged".to_owned());
                snapshot.unreadable.insert(key.clone(), Unreadable { key, problem });
            }
        }
        NodeInput::Placements(ClusterEvent::Reset(Box::new(snapshot)))
    }

    fn send_change(&mut self, change: Change) {
        let event = ClusterEvent::Changes { revision: 1, changes: vec![change] };
        if self.watched {
            self.feed(NodeInput::Placements(event));
        }
    }

    fn change_unit(&mut self, unit: &UnitName, active: ActiveState, run: &str) {
        self.runner.entry(unit.clone()).or_default().active = active.clone();
        let (unit, sub, invocation, remark) =
            (unit.clone(), String::new(), run.to_owned(), String::new());
        self.feed(NodeInput::Runner(RunnerEvent::Changed {
            unit,
            active,
            sub,
            invocation,
            since: 1,
            remark,
        }));
    }

    /// Lets time pass, from deadline to deadline.
    fn pass_time(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.node.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(NodeInput::Tick);
        }
        self.now = end;
    }

    fn feed(&mut self, input: NodeInput) {
        match &mut self.held {
            Some(held) => held.push(input),
            None => self.feed_all(vec![input]),
        }
    }

    fn feed_all(&mut self, mut inputs: Vec<NodeInput>) {
        while !inputs.is_empty() {
            let mut memory = NodeMemory {
                lease_ends: self.lease_ends,
                cluster: Some(CLUSTER),
                owned: &self.owned,
                jobs: &self.jobs,
                steadiness: &mut self.steadiness,
            };
            let effects = self.node.step(self.now, 1_000, &mut memory, std::mem::take(&mut inputs));
            for effect in effects {
                self.carry_out(effect, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, effect: NodeEffect, inputs: &mut Vec<NodeInput>) {
        match effect {
            NodeEffect::ReadStates => {
                inputs.push(NodeInput::StatesRead(self.published.clone()));
            }
            NodeEffect::WatchPlacements => {
                self.watched = true;
                inputs.push(self.reset_event());
            }
            NodeEffect::TrustStore(trusted) => self.trusted = trusted,
            NodeEffect::RememberCluster => {
                if !self.remembered {
                    self.said.push("remember the cluster".to_owned());
                }
                self.remembered = true;
            }
            NodeEffect::StopWatching => self.watched = false,
            NodeEffect::ReadLastKnown => {
                inputs.push(NodeInput::LastKnownRead(self.disk.clone()));
            }
            NodeEffect::SavePlacements(known) => {
                let units: Vec<&str> = known.places.keys().map(UnitName::as_str).collect();
                let full = if self.disk_full { ", and the disk is full" } else { "" };
                self.said.push(format!("save [{}]{full}", units.join(", ")));
                if !self.disk_full {
                    let (is_newest, outage_noted, ordered) = (true, false, false);
                    self.disk = Some(FoundLastKnown { known, is_newest, outage_noted, ordered });
                }
                inputs.push(NodeInput::PlacementsSaved(!self.disk_full));
            }
            NodeEffect::Observe(units) => {
                let observe = |unit: &UnitName| {
                    let known = self.runner.get(unit).cloned();
                    let nothing =
                        || Observed { load: "not-found".to_owned(), ..Observed::default() };
                    let observed = known.unwrap_or_else(nothing);
                    UnitObservation { observed, ..UnitObservation::default() }
                };
                let seen = units.iter().map(|unit| (unit.clone(), observe(unit)));
                inputs.push(NodeInput::Observed(self.runner_up.then(|| seen.collect())));
            }
            NodeEffect::ReadFiles(missing) => {
                let texts = all_files();
                let read = |hash: &FileHash| Arc::<UnitFile>::new(texts[hash].parse().unwrap());
                let files = missing.into_iter().map(|hash| (hash, Ok(read(&hash))));
                inputs.push(NodeInput::FilesRead(Some(files.collect())));
            }
            NodeEffect::SettleJobs(jobs) => {
                for job in jobs {
                    self.said.push(format!("{} was carried out before", job.unit));
                    let mut owned = OwnedUnit::new(job.file);
                    (owned.owned.generation, owned.owned.desired) = (job.generation, job.desired);
                    self.owned.insert(job.unit, owned);
                }
                inputs.push(NodeInput::JobsSettled(BTreeMap::new()));
            }
            NodeEffect::FindObstacles(units) => {
                let units = units.into_iter().map(|(unit, _)| unit);
                let obstacles = units.filter_map(|unit| self.obstacles.get_key_value(&unit));
                let obstacles = obstacles.map(|(unit, text)| (unit.clone(), text.clone()));
                inputs.push(NodeInput::ObstaclesFound(obstacles.collect()));
            }
            NodeEffect::NoteJobEnd { unit, end } => {
                let word = if end == JobEnd::Succeeded { "well" } else { "badly" };
                self.said.push(format!("note that {unit} has ended {word}"));
                if let Some(run) = self.jobs.get_mut(&unit) {
                    run.end = Some(end);
                }
            }
            NodeEffect::ForgetJobRuns(units) => self.jobs.retain(|unit, _| !units.contains(unit)),
            NodeEffect::CheckFirstMoments(_) => {}
            NodeEffect::BeginChains(batch) => {
                for (phase, chains) in [("first", batch.removals), ("then", batch.others)] {
                    for chain in chains {
                        inputs.push(self.begin_chain(phase, chain));
                    }
                }
            }
            NodeEffect::Supersede(unit) => {
                self.said.push(format!("supersede {unit}"));
                self.end_superseded(&unit, inputs);
            }
            NodeEffect::Publish { number, states, .. } => {
                self.publications.push_back(number);
                for update in states {
                    let state = update.state.as_ref().map_or("nothing".to_owned(), described);
                    self.said.push(format!("publish {}: {state}", update.unit));
                }
            }
            NodeEffect::SuspectLease => self.said.push("suspect the lease".to_owned()),
            NodeEffect::Report(fact) => self.note_fact(fact),
        }
    }

    fn note_fact(&mut self, fact: NodeFact) {
        let said = match fact {
            NodeFact::PlacementsKnown | NodeFact::RunnerFound | NodeFact::OwnedUnits(_) => return,
            NodeFact::PlacementsUnknown(problem) => format!("placements not known: {problem}"),
            NodeFact::UsingLastKnown(units) => format!("last known placements: {units}"),
            NodeFact::LastKnownWithheld(units) => {
                format!("last known placements withheld: {units}")
            }
            NodeFact::ForeignPlacements if self.trusted => {
                "writes pass to another store".to_owned()
            }
            NodeFact::ForeignPlacements => "the placements are not ours".to_owned(),
            NodeFact::PlacementUnreadable(unit) => format!("unreadable: {unit}"),
            NodeFact::UnitRefused { unit, .. } => format!("refuse {unit}"),
            NodeFact::RunnerLost(problem) => format!("runner lost: {problem}"),
            NodeFact::Reported(reported) => format!("everything reported: {reported}"),
            NodeFact::Parting(None) => "does not go".to_owned(),
            NodeFact::Parting(Some(lease)) => {
                format!("may say under lease {} that it goes", lease.0)
            }
        };
        self.said.push(said);
    }

    /// Takes the steps that wait for nothing at once, as the executor does.
    fn begin_chain(&mut self, phase: &str, chain: PlannedChain) -> NodeInput {
        let words: Vec<String> =
            chain.steps.iter().map(|step| describe_step(step, |_| String::new())).collect();
        self.said.push(format!("{phase} {}: {}", chain.unit, words.join(", ")));
        let is_quick = |step: &Step| {
            matches!(step, Step::Write { .. } | Step::Adopt { .. } | Step::Settle { .. })
        };
        let quick = chain.steps.iter().take_while(|step| is_quick(step)).count();
        let mut steps = chain.steps;
        let rest = steps.split_off(quick);
        for step in &steps {
            self.take_step(&chain.unit, step);
        }
        let prepared = if rest.is_empty() { ChainStart::Complete } else { ChainStart::Begun };
        if !rest.is_empty() {
            let is_start = |step: &Step| matches!(step, Step::Start { .. });
            let starts = rest.iter().any(|s| is_start(s) || matches!(s, Step::Restart { .. }));
            if let Some(owned) = self.owned.get_mut(&chain.unit).filter(|_| starts) {
                owned.begun = true;
                if let Some(Step::Start { generation }) = rest.iter().find(|s| is_start(s)) {
                    (owned.owned.generation, owned.owned.desired) =
                        (*generation, DesiredState::Inactive);
                }
            }
            if let Some(owned) = self.owned.get_mut(&chain.unit) {
                owned.owned.stopping |= rest.contains(&Step::Stop);
            }
            if let Some(run) = begun_run(&rest).filter(|_| chain.job) {
                self.said.push(format!("note that {} begins", chain.unit));
                self.jobs.insert(chain.unit.clone(), run);
            }
            self.chains.insert(chain.unit.clone(), rest);
        }
        NodeInput::ChainPrepared { unit: chain.unit, prepared }
    }

    /// The effect of one step on what runs and what is remembered.
    fn take_step(&mut self, unit: &UnitName, step: &Step) {
        let seen = self.runner.entry(unit.clone()).or_default();
        match step {
            Step::Write { file } | Step::Adopt { file } => {
                let owned = self.owned.entry(unit.clone()).or_insert_with(|| OwnedUnit::new(*file));
                owned.owned.file = *file;
                seen.file = Some(*file);
                "loaded".clone_into(&mut seen.load);
            }
            Step::Settle { generation, desired } => {
                if let Some(owned) = self.owned.get_mut(unit) {
                    (owned.owned.generation, owned.owned.desired) = (*generation, *desired);
                    (owned.begun, owned.unsure) = (false, false);
                    owned.owned.stopping = false;
                }
            }
            Step::Start { .. } | Step::Restart { .. } => seen.active = ActiveState::Active,
            Step::Stop => seen.active = ActiveState::Inactive,
            Step::Remove => {
                self.owned.remove(unit);
                self.runner.remove(unit);
            }
            _ => {}
        }
    }

    fn end_chain(&mut self, unit: &UnitName, end: &str) {
        let Some(steps) = self.chains.remove(unit) else {
            self.said.push("no chain is on its way".to_owned());
            return;
        };
        let end = match end {
            "done" => ChainEnd::Done,
            "held" => ChainEnd::Held,
            _ => ChainEnd::Dropped,
        };
        if end == ChainEnd::Done {
            let before = self.runner.get(unit).map(|seen| seen.active.clone());
            for step in &steps {
                self.take_step(unit, step);
            }
            let after = self.runner.get(unit).map(|seen| seen.active.clone());
            if let Some(active) = after.filter(|_| self.runner.contains_key(unit))
                && before.as_ref() != Some(&active)
            {
                self.change_unit(unit, active, "");
            }
        }
        self.leave_start(unit, end);
        self.feed(NodeInput::ChainEnded { unit: unit.clone(), end });
    }

    fn end_superseded(&mut self, unit: &UnitName, inputs: &mut Vec<NodeInput>) {
        self.chains.remove(unit);
        self.leave_start(unit, ChainEnd::Superseded);
        inputs.push(NodeInput::ChainEnded { unit: unit.clone(), end: ChainEnd::Superseded });
    }

    fn leave_start(&mut self, unit: &UnitName, end: ChainEnd) {
        let left = self.owned.get_mut(unit).filter(|_| end.leaves_start_unsure());
        if let Some(owned) = left {
            (owned.begun, owned.unsure) = (false, owned.begun);
        }
    }
}

/// The run that a job's steps begin, if they begin one.
fn begun_run(steps: &[Step]) -> Option<JobRun> {
    let starts = |step: &Step| matches!(step, Step::Start { .. } | Step::Restart { .. });
    let settled = steps.iter().find_map(|step| match step {
        Step::Settle { generation, .. } => Some(*generation),
        _ => None,
    });
    settled.filter(|_| steps.iter().any(starts)).map(|generation| JobRun { generation, end: None })
}

fn stored_identity(word: &str) -> StoredIdentity {
    match word {
        "same" => StoredIdentity::Same,
        "other" => StoredIdentity::Other,
        "absent" => StoredIdentity::Absent,
        "damaged" => StoredIdentity::Damaged,
        word => panic!("{word}"),
    }
}

fn described(state: &ObservedState) -> String {
    let problem = state.problem.as_ref().map_or(String::new(), |problem| format!(" ({problem})"));
    format!("{} {} {}{problem}", state.active.as_str(), state.desired, state.generation)
}
