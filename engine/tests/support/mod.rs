//! A cluster on paper: a snapshot, the scheduler that follows it, and what writing a plan does to both.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

pub(crate) mod events;

use std::sync::Arc;

use muster_common::cordon::{AtDeadline, CordonHolder, Drain, DrainEnd, Hold};
use muster_common::decision::Decision;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Change, Placement, Snapshot, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::schedule::{Plan, Scheduler};

pub(crate) struct Cluster {
    pub(crate) snapshot: Snapshot,
    pub(crate) scheduler: Scheduler,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let snapshot = Snapshot::default();
        let scheduler = Scheduler::new(&snapshot);
        Self { snapshot, scheduler }
    }

    /// A change reaches the snapshot and the scheduler alike, under a revision of its own.
    pub(crate) fn apply(&mut self, change: Change) {
        self.scheduler.apply(&change);
        self.snapshot.apply(change);
        self.snapshot.revision += 1;
    }

    pub(crate) fn join_machine(
        &mut self,
        id: &str,
        metadata: &[(&str, &str)],
        runners: &[RunnerKind],
    ) {
        let id: MachineId = id.parse().unwrap();
        let machine = Machine {
            id: id.clone(),
            host: String::new(),
            address: String::new(),
            api: None,
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            version: String::new(),
            runners: runners.iter().copied().collect(),
            container_runner: None,
            containers_lost: None,
            leaving: false,
            boot: String::new(),
            created: self.snapshot.revision + 1,
            revision: self.snapshot.revision + 1,
        };
        self.apply(Change::Machine(id, Some(machine)));
    }

    /// The machine has Podman run what names nobody.
    #[allow(dead_code, reason = "of scripts alone")]
    pub(crate) fn prefer_podman(&mut self, id: &str) {
        let id: MachineId = id.parse().unwrap();
        let container_runner = Some(RunnerKind::Podman);
        let machine = self.snapshot.machines[&id].clone();
        self.apply(Change::Machine(id, Some(Machine { container_runner, ..machine })));
    }

    /// The machine says that it goes down.
    pub(crate) fn leave_machine(&mut self, id: &str) {
        let id: MachineId = id.parse().unwrap();
        let machine = self.snapshot.machines[&id].clone();
        self.apply(Change::Machine(id, Some(Machine { leaving: true, ..machine })));
    }

    /// It takes back what it has said of a unit.
    pub(crate) fn withdraw_state(&mut self, name: &str, id: &str) {
        let (name, id): (UnitName, MachineId) = (name.parse().unwrap(), id.parse().unwrap());
        self.apply(Change::State(id, name, None));
    }

    pub(crate) fn lose_machine(&mut self, id: &str) {
        self.apply(Change::Machine(id.parse().unwrap(), None));
    }

    /// Stores a unit; without a text it keeps its file. A launch raises the generation.
    pub(crate) fn write_unit(&mut self, name: &str, text: Option<&str>, desired: DesiredState) {
        let name: UnitName = name.parse().unwrap();
        let before = self.snapshot.units.get(&name).cloned();
        let file = if let Some(text) = text {
            let file: UnitFile = text.parse().unwrap();
            let hash = file.hash();
            self.apply(Change::File(hash, Some(Arc::new(file))));
            hash
        } else {
            before.as_ref().expect("a unit without a text is known").file
        };
        let generation =
            before.map_or(0, |unit| unit.generation) + u64::from(desired == DesiredState::Launched);
        let revision = self.snapshot.revision + 1;
        let unit = Unit { name: name.clone(), file, desired, generation, revision };
        self.apply(Change::Unit(name, Some(unit)));
    }

    /// A holder's part in a machine's cordon; `None` takes it back.
    pub(crate) fn set_cordon(&mut self, id: &str, holder: &str, hold: Option<Hold>) {
        let id: MachineId = id.parse().unwrap();
        let holder = CordonHolder::from(holder.to_owned());
        let mut cordon = self.snapshot.cordons.get(&id).cloned().unwrap_or_default();
        match hold {
            Some(hold) => cordon.holds.insert(holder, hold),
            None => cordon.holds.remove(&holder),
        };
        cordon.revision = self.snapshot.revision + 1;
        let record = (!cordon.holds.is_empty()).then_some(cordon);
        self.apply(Change::Cordon(id, record));
    }

    /// A holder's order to empty a machine, under way or at its end.
    pub(crate) fn order_drain(&mut self, id: &str, holder: &str, ended: Option<DrainEnd>) {
        let then = AtDeadline::default();
        let drain = Drain { began: 0, deadline: None, then, ended };
        self.set_cordon(id, holder, Some(Hold { drain: Some(drain), ..Hold::default() }));
    }

    /// A machine's report on a unit that it was asked to run, as of the last it was asked.
    pub(crate) fn report_state(&mut self, name: &str, id: &str, active: &str, sub: &str) {
        let (name, id): (UnitName, MachineId) = (name.parse().unwrap(), id.parse().unwrap());
        let places = &self.snapshot.places;
        let placement = places.get(&name).and_then(|places| places.get(&id));
        let placement = placement.expect("it is placed there").clone();
        self.publish_report(id, name, &placement, active, sub);
    }

    fn publish_report(
        &mut self,
        id: MachineId,
        name: UnitName,
        asked: &Placement,
        active: &str,
        sub: &str,
    ) {
        let state = ObservedState {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.to_owned(),
            file: Some(asked.file),
            hash: String::new(),
            generation: asked.generation,
            desired: asked.desired,
            since: 0,
            invocation: String::new(),
            problem: None,
            remark: String::new(),
        };
        self.apply(Change::State(id, name, Some(state)));
    }

    /// A machine reports a unit no more.
    pub(crate) fn withdraw_report(&mut self, name: &UnitName, id: &MachineId) {
        self.apply(Change::State(id.clone(), name.clone(), None));
    }

    /// Live machines do what is asked of them with some units: what is launched runs, what is not wanted is gone.
    pub(crate) fn obey_placements(&mut self, concerns: impl Fn(&UnitName) -> bool) {
        let states = self.snapshot.states.clone();
        for (name, reports) in states {
            for id in reports.into_keys() {
                let places = self.snapshot.places.get(&name);
                let placed = places.is_some_and(|places| places.contains_key(&id));
                let live = self.snapshot.machines.contains_key(&id);
                if !live || (!placed && concerns(&name)) {
                    self.apply(Change::State(id, name.clone(), None));
                }
            }
        }
        for (name, places) in self.snapshot.places.clone() {
            for (id, asked) in places {
                if concerns(&name) && self.snapshot.machines.contains_key(&id) {
                    let (active, sub) = match asked.desired {
                        DesiredState::Launched => ("active", "running"),
                        _ => ("inactive", "dead"),
                    };
                    self.publish_report(id, name.clone(), &asked, active, sub);
                }
            }
        }
    }

    pub(crate) fn destroy_unit(&mut self, name: &str) {
        self.apply(Change::Unit(name.parse().unwrap(), None));
    }

    /// Plans, and holds the scheduler to its word: planning again says the same, and so does one made from nothing.
    pub(crate) fn plan(&mut self) -> Plan {
        let plan = self.scheduler.plan();
        assert_eq!(plan, self.scheduler.plan(), "planning twice");
        plan
    }

    /// Writes a plan as the leader does, each decision guarded by the revisions it rests on.
    pub(crate) fn write_plan(&mut self, plan: &Plan) {
        for decision in plan.moves.iter().flat_map(|m| &m.decisions) {
            self.write_one(decision);
        }
    }

    fn write_one(&mut self, decision: &Decision) {
        let revision_of = |snapshot: &Snapshot, unit: &UnitName| {
            snapshot.units.get(unit).map_or(0, |unit| unit.revision)
        };
        match decision {
            Decision::Place {
                machine,
                unit,
                placement,
                unit_revision,
                machine_created,
                cordon,
            } => {
                let known = self.snapshot.cordons.get(machine).map_or(0, |c| c.revision);
                assert_eq!(*cordon, known, "{unit} on {machine}");
                let live = self.snapshot.machines.get(machine).expect("the machine is live");
                assert_eq!(*machine_created, live.created, "{unit} on {machine}");
                assert_eq!(*unit_revision, revision_of(&self.snapshot, unit), "{unit}");
                let before = self.snapshot.places.get(unit).and_then(|p| p.get(machine));
                assert_eq!(placement.revision, before.map_or(0, |p| p.revision), "{unit}");
                let mut placement = placement.clone();
                placement.revision = self.snapshot.revision + 1;
                self.apply(Change::Place(machine.clone(), unit.clone(), Some(placement)));
            }
            Decision::Remove { machine, unit, revision, unit_revision, leaving } => {
                assert_eq!(*unit_revision, revision_of(&self.snapshot, unit), "{unit}");
                let before = self.snapshot.places.get(unit).and_then(|p| p.get(machine));
                assert_eq!(Some(*revision), before.map(|p| p.revision), "{unit} on {machine}");
                let source = self.snapshot.machines.get(machine).filter(|machine| machine.leaving);
                assert_eq!(*leaving, source.map(|source| source.revision), "{unit} on {machine}");
                self.apply(Change::Place(machine.clone(), unit.clone(), None));
            }
        }
    }

    /// Plans and writes until nothing is left to do; a plan that never ends would be a quarrel between its rules.
    pub(crate) fn write_until_settled(&mut self) -> Plan {
        for _ in 0..20 {
            let plan = self.plan();
            if plan.moves.is_empty() {
                return plan;
            }
            self.write_plan(&plan);
        }
        panic!("planning does not come to rest: {:?}", self.plan().moves);
    }
}
