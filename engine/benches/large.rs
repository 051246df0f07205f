//! Large clusters to measure with.

#![allow(dead_code, unreachable_pub, reason = "the bench and the example each use their part")]
#![allow(clippy::unwrap_used, reason = "the clusters are made here and known to be right")]

use std::sync::Arc;

use muster_common::decision::Decision;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Change, Snapshot, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::schedule::{Plan, schedule};

/// Units in families of this many instances of one template.
const FAMILY: usize = 100;

/// A cluster in which nothing is placed; in every `conflicts`-th family (0: none) the instances keep apart.
pub fn large_cluster(machines: usize, units: usize, conflicts: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..machines {
        let id: MachineId = format!("{number:032x}").parse().unwrap();
        let machine = Machine {
            id: id.clone(),
            host: String::new(),
            address: String::new(),
            api: None,
            metadata: [("zone".to_owned(), format!("z{}", number % 5))].into(),
            version: String::new(),
            runners: [RunnerKind::Systemd].into(),
            container_runner: None,
            containers_lost: None,
            leaving: false,
            boot: String::new(),
            created: 1,
            revision: 1,
        };
        snapshot.machines.insert(id, machine);
    }
    for number in 0..units {
        let family = number / FAMILY;
        let apart = conflicts > 0 && family.is_multiple_of(conflicts);
        let file = unit_file(family, apart);
        let hash = file.hash();
        snapshot.files.entry(hash).or_insert_with(|| Arc::new(file));
        let name: UnitName = format!("family{family}@{}.service", number % FAMILY).parse().unwrap();
        snapshot.units.insert(name.clone(), unit_record(name, hash, 1));
    }
    snapshot
}

fn unit_file(family: usize, apart: bool) -> UnitFile {
    let fleet = if apart { "[X-Fleet]\nConflicts=%p@*\n" } else { "" };
    format!("[Service]\nExecStart=/bin/sleep {family}\n{fleet}").parse().unwrap()
}

fn unit_record(name: UnitName, file: FileHash, generation: u64) -> Unit {
    Unit { name, file, desired: DesiredState::Launched, generation, revision: generation }
}

/// The same cluster with everything placed.
pub fn placed_cluster(mut snapshot: Snapshot) -> Snapshot {
    let plan = schedule(&snapshot);
    assert!(plan.refused.is_empty(), "every unit of a measured cluster finds a machine");
    for change in plan_changes(&plan) {
        snapshot.apply(change);
    }
    snapshot
}

/// The changes that come of writing a plan.
pub fn plan_changes(plan: &Plan) -> Vec<Change> {
    let decisions = plan.moves.iter().flat_map(|step| &step.decisions);
    decisions
        .map(|decision| match decision {
            Decision::Place { machine, unit, placement, .. } => {
                let mut placement = placement.clone();
                placement.revision += 1;
                Change::Place(machine.clone(), unit.clone(), Some(placement))
            }
            Decision::Remove { machine, unit, .. } => {
                Change::Place(machine.clone(), unit.clone(), None)
            }
        })
        .collect()
}

/// A unit that was not there before, of an existing family.
pub fn new_unit(snapshot: &Snapshot, number: usize) -> Change {
    let any = snapshot.units.values().next().unwrap();
    let name: UnitName = format!("family0@new{number}.service").parse().unwrap();
    Change::Unit(name.clone(), Some(unit_record(name, any.file, 1)))
}
