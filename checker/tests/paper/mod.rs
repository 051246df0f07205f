//! A whole cluster on paper: records, machines with ledgers and runners, and the carrying out of what is placed.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_checker::{ClusterPicture, RecordPicture};
use muster_common::api::inspect::{
    ComponentReport, KnownPlacement, MachineAnswer, MachineReport, OwnedReport, RunReport,
};
use muster_common::cordon::Hold;
use muster_common::machine::{MachineId, RunnerKind};
use muster_common::reboot::{Group, Holder, HolderKind, HostStatus, Request};
use muster_common::snapshot::{Change, Handover, Leader, Placement, Unreadable};
use muster_common::state::{ActiveState, DesiredState};
use muster_common::unit::{FileHash, UnitFile, UnitName};

use crate::support::Cluster;

const PLAIN: &str = "[Service]\nExecStart=/bin/true\n";

#[derive(Default)]
pub(crate) struct PaperCluster {
    pub(crate) cluster: Cluster,
    /// Records beside those of the cluster.
    records: RecordPicture,
    machines: BTreeMap<MachineId, MachineAnswer>,
    unread: Option<String>,
    wall: u64,
}

impl PaperCluster {
    pub(crate) fn picture(&self) -> ClusterPicture {
        let records =
            RecordPicture { snapshot: self.cluster.snapshot.clone(), ..self.records.clone() };
        ClusterPicture {
            records: self.unread.is_none().then_some(records),
            unread: self.unread.clone(),
            machines: self.machines.clone(),
            wall: self.wall,
        }
    }

    /// A machine that is registered, a member, and well. The first one leads.
    pub(crate) fn add_machine(&mut self, id: &str) {
        self.cluster.join_machine(id, &[], &[RunnerKind::Systemd, RunnerKind::Docker]);
        let machine: MachineId = id.parse().unwrap();
        let leads = self.cluster.snapshot.leader.is_none();
        if leads {
            let leader = Leader { machine: machine.clone(), held: [].into() };
            self.cluster.apply(Change::Leader(Some(leader)));
        }
        let mut members = self.cluster.snapshot.members.clone();
        members.insert(machine.clone());
        self.cluster.apply(Change::Members(members));
        self.answer_well(&machine);
    }

    /// The report of a machine that is well and has nothing.
    pub(crate) fn answer_well(&mut self, machine: &MachineId) {
        let leader = self.cluster.snapshot.leader.as_ref();
        let component = |name: &str| ComponentReport {
            name: name.to_owned(),
            ok: true,
            since: 1,
            problem: None,
        };
        let report = MachineReport {
            machine: machine.clone(),
            boot: String::new(),
            version: String::new(),
            clock: 0,
            cluster: None,
            leading: leader.is_some_and(|leader| leader.machine == *machine),
            components: ["store", "lease", "runner", "placements"].map(component).into(),
            warnings: Vec::new(),
            owned: BTreeMap::new(),
            runs: BTreeMap::new(),
            unseen: None,
            last_known: Some(BTreeMap::new()),
        };
        let report = Box::new(report);
        self.machines.insert(machine.clone(), MachineAnswer::Report { report, clock_offset: 0 });
    }

    /// Registered machines do as they are asked, say so in the store, and say the same when they are asked.
    pub(crate) fn obey_placements(&mut self) {
        self.cluster.obey_placements(|_| true);
        let snapshot = &self.cluster.snapshot;
        for (machine, answer) in &mut self.machines {
            let MachineAnswer::Report { report, .. } = answer else { continue };
            if !snapshot.machines.contains_key(machine) {
                continue;
            }
            (report.owned, report.runs) = (BTreeMap::new(), BTreeMap::new());
            let mut last_known = BTreeMap::new();
            for (unit, places) in &snapshot.places {
                let Some(placement) = places.get(machine) else { continue };
                let Placement { file, generation, desired, .. } = *placement;
                let owned = OwnedReport { file, generation, desired, problem: None };
                report.owned.insert(unit.clone(), owned);
                let active = match desired {
                    DesiredState::Launched => ActiveState::Active,
                    _ => ActiveState::Inactive,
                };
                let run = RunReport { active, file: Some(file), ..RunReport::default() };
                report.runs.insert(unit.clone(), run);
                last_known.insert(unit.clone(), KnownPlacement { file, desired, generation });
            }
            report.last_known = Some(last_known);
        }
    }

    /// The leader and the machines take turns until nothing is left to do; files that nobody names go.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            // What was moved leaves its old home when the new one has reported it.
            self.obey_placements();
            let plan = self.cluster.plan();
            if plan.moves.is_empty() {
                break;
            }
            self.cluster.write_plan(&plan);
        }
        let units = self.cluster.snapshot.units.values();
        let named: Vec<FileHash> = units.map(|unit| unit.file).collect();
        for file in self.cluster.snapshot.files.keys().copied().collect::<Vec<_>>() {
            if !named.contains(&file) {
                self.cluster.apply(Change::File(file, None));
            }
        }
    }

    /// Machines that are registered are the members and are well, one of them leads, and the cluster settles.
    pub(crate) fn come_to_rest(&mut self) {
        let machines: Vec<MachineId> = self.cluster.snapshot.machines.keys().cloned().collect();
        let leader = machines.first();
        let leader = leader.map(|id| Leader { machine: id.clone(), held: [].into() });
        self.cluster.apply(Change::Leader(leader));
        self.cluster.apply(Change::Members(machines.iter().cloned().collect()));
        self.machines.clear();
        for machine in &machines {
            self.answer_well(machine);
        }
        self.settle();
    }

    pub(crate) fn carry_out(&mut self, words: &[&str], body: &str) {
        match *words {
            ["cluster", ref ids @ ..] => ids.iter().for_each(|id| self.add_machine(id)),
            ["launch", ref units @ ..] => self.want_units(units, body, DesiredState::Launched),
            ["load", ref units @ ..] => self.want_units(units, body, DesiredState::Loaded),
            ["unload", ref units @ ..] => self.want_units(units, body, DesiredState::Inactive),
            ["destroy", ref units @ ..] => {
                for unit in units {
                    self.cluster.destroy_unit(unit);
                }
            }
            ["settle"] => self.settle(),
            ["obey"] => self.obey_placements(),
            ["lose", ref ids @ ..] => ids.iter().for_each(|id| self.lose_machine(id)),
            ["leave", ref ids @ ..] => {
                for id in ids {
                    self.lose_machine(id);
                    let mut members = self.cluster.snapshot.members.clone();
                    members.remove(&machine(id));
                    self.cluster.apply(Change::Members(members));
                }
            }
            ["place", name, "on", id] => {
                let record = self.cluster.snapshot.units[&unit(name)].clone();
                let placement = Placement {
                    file: record.file,
                    desired: DesiredState::Launched,
                    generation: record.generation,
                    handover: Handover::default(),
                    revision: self.cluster.snapshot.revision + 1,
                };
                self.cluster.apply(Change::Place(machine(id), unit(name), Some(placement)));
            }
            ["unplace", name, "on", id] => {
                self.cluster.apply(Change::Place(machine(id), unit(name), None));
            }
            ["state", name, "on", id, active, ref rest @ ..] => {
                let (name, id) = (unit(name), machine(id));
                let mut state =
                    self.cluster.snapshot.states[&name].values().next().unwrap().clone();
                state.active = active.into();
                state.generation = rest.first().map_or(state.generation, |g| g.parse().unwrap());
                self.cluster.apply(Change::State(id, name, Some(state)));
            }
            ["silence", name, "on", id] => {
                self.cluster.apply(Change::State(machine(id), unit(name), None));
            }
            ["run", name, "on", id, active, ref rest @ ..] => {
                let of = unit(rest.first().unwrap_or(&name));
                let file = self.cluster.snapshot.units.get(&of).map(|unit| unit.file);
                let active = ActiveState::from(active);
                let run = RunReport { active, file, ..RunReport::default() };
                self.report_mut(id).runs.insert(unit(name), run);
            }
            ["owned", name, "on", id] => {
                let (generation, desired) = (1, DesiredState::Launched);
                let file = FileHash::of_text(PLAIN);
                let owned = OwnedReport { file, generation, desired, problem: None };
                self.report_mut(id).owned.insert(unit(name), owned);
            }
            ["known", name, "on", id, generation] => {
                let (file, desired) = (FileHash::of_text(PLAIN), DesiredState::Launched);
                let generation = generation.parse().unwrap();
                let known = KnownPlacement { file, desired, generation };
                let last_known = self.report_mut(id).last_known.get_or_insert_default();
                last_known.insert(unit(name), known);
            }
            ["report", id, field, ref value @ ..] => self.set_reported(id, field, &value.join(" ")),
            ["register", id, field, value] => {
                let mut record = self.cluster.snapshot.machines[&machine(id)].clone();
                match field {
                    "boot" => value.clone_into(&mut record.boot),
                    "version" => value.clone_into(&mut record.version),
                    "api" => record.api = Some(value.to_owned()),
                    _ => panic!("{field}?"),
                }
                self.cluster.apply(Change::Machine(machine(id), Some(record)));
            }
            ["answers", id] => self.answer_well(&machine(id)),
            ["silent", id] => {
                let problem = "connection refused".to_owned();
                self.machines.insert(machine(id), MachineAnswer::Silent { problem });
            }
            ["unasked", id] => {
                let problem = "its daemon listens on no network address".to_owned();
                self.machines.insert(machine(id), MachineAnswer::Unasked { problem });
            }
            ["record", field, ref value @ ..] => self.set_record(field, value, body),
            ["slots", group, max] => self.slots_of(group).max = max.parse().unwrap(),
            ["slot", group, holder, ref rest @ ..] => {
                let since = rest.iter().find_map(|word| word.strip_prefix("since="));
                let kind =
                    if rest.contains(&"person") { HolderKind::Person } else { HolderKind::Host };
                let since = since.map_or(0, |since| since.parse().unwrap());
                let holder = Holder { id: holder.parse().unwrap(), kind, since };
                self.slots_of(group).holders.push(holder);
            }
            ["host", id] => {
                self.records.hosts.insert(machine(id), HostStatus::default());
            }
            ["request", id] => {
                let request = Request { by: "ann".to_owned(), at: 0, because: None, method: None };
                self.records.requests.insert(machine(id), request);
            }
            ["unread", ref problem @ ..] => self.unread = Some(problem.join(" ")),
            ["wall", seconds] => self.wall = seconds.parse().unwrap(),
            _ => panic!("{words:?}?"),
        }
    }

    fn want_units(&mut self, units: &[&str], body: &str, desired: DesiredState) {
        for name in units {
            let known = self.cluster.snapshot.units.contains_key(&unit(name));
            let text = if body.is_empty() { (!known).then_some(PLAIN) } else { Some(body) };
            self.cluster.write_unit(name, text, desired);
        }
    }

    /// Its lease ends, and what it has said with it.
    fn lose_machine(&mut self, id: &str) {
        self.cluster.lose_machine(id);
        for name in self.cluster.snapshot.states.keys().cloned().collect::<Vec<_>>() {
            self.cluster.withdraw_report(&name, &machine(id));
        }
        self.machines.remove(&machine(id));
    }

    fn set_reported(&mut self, id: &str, field: &str, value: &str) {
        if field == "clock" {
            let Some(MachineAnswer::Report { clock_offset, .. }) =
                self.machines.get_mut(&machine(id))
            else {
                panic!("{id} makes no report");
            };
            *clock_offset = value.parse().unwrap();
            return;
        }
        let report = self.report_mut(id);
        match field {
            "id" => report.machine = machine(value),
            "boot" => value.clone_into(&mut report.boot),
            "cluster" => report.cluster = Some(value.repeat(32).parse().unwrap()),
            "leading" => report.leading = value.parse().unwrap(),
            "warning" => report.warnings.push(value.to_owned()),
            "unseen" => {
                report.unseen = Some(value.to_owned());
                report.runs.clear();
            }
            "component" => {
                let (name, problem) = value.split_once(' ').unwrap();
                let component = report.components.iter_mut().find(|c| c.name == name).unwrap();
                (component.ok, component.problem) = (false, Some(problem.to_owned()));
            }
            _ => panic!("{field}?"),
        }
    }

    fn set_record(&mut self, field: &str, value: &[&str], body: &str) {
        match (field, value) {
            ("leader", ["nobody"]) => self.cluster.apply(Change::Leader(None)),
            ("leader", [id]) => {
                let leader = Leader { machine: machine(id), held: [].into() };
                self.cluster.apply(Change::Leader(Some(leader)));
            }
            ("held", ids) => {
                let held = ids.iter().map(|id| machine(id)).collect();
                let leader = self.cluster.snapshot.leader.clone().unwrap();
                self.cluster.scheduler.hold_machines(ids.iter().map(|id| machine(id)).collect());
                self.cluster.apply(Change::Leader(Some(Leader { held, ..leader })));
            }
            ("nomember", [id]) => {
                let mut members = self.cluster.snapshot.members.clone();
                members.remove(&machine(id));
                self.cluster.apply(Change::Members(members));
            }
            ("cluster", [digit]) => self.records.cluster = Some(digit.repeat(32).parse().unwrap()),
            ("unreadable", [key]) => {
                let key = (*key).to_owned();
                if let Some(name) = key.strip_prefix("unit/") {
                    self.cluster.apply(Change::Unit(unit(name), None));
                }
                let record = Unreadable { key: key.clone(), problem: "it is no JSON".to_owned() };
                self.cluster.apply(Change::Unreadable(key, Some(record)));
            }
            ("unleased", [key]) => drop(self.records.unleased.insert((*key).to_owned())),
            ("warning", words) => self.records.warnings.push(words.join(" ")),
            ("cordon", [id]) => self.cluster.set_cordon(id, "person", Some(Hold::default())),
            ("drain", [id]) => self.cluster.order_drain(id, "person", None),
            ("metadata", [id]) => {
                let change = Change::Metadata(machine(id), "disk".into(), Some("ssd".into()));
                self.cluster.apply(change);
            }
            ("losefile", [name]) => {
                let file = self.cluster.snapshot.units[&unit(name)].file;
                self.cluster.apply(Change::File(file, None));
            }
            ("file", []) => {
                let file: UnitFile = body.parse().unwrap();
                self.cluster.apply(Change::File(file.hash(), Some(Arc::new(file))));
            }
            _ => panic!("{field} {value:?}?"),
        }
    }

    fn report_mut(&mut self, id: &str) -> &mut MachineReport {
        match self.machines.get_mut(&machine(id)) {
            Some(MachineAnswer::Report { report, .. }) => report,
            _ => panic!("{id} makes no report"),
        }
    }

    fn slots_of(&mut self, group: &str) -> &mut muster_common::reboot::Semaphore {
        let group: Group = group.parse().unwrap();
        self.records.groups.entry(group).or_default()
    }
}

fn machine(id: &str) -> MachineId {
    id.parse().unwrap()
}

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}
