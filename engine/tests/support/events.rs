//! What happens to a cluster, and what is asked of the outcome: shared by the properties.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::cordon::DrainEnd;
use muster_common::machine::{MachineId, RunnerKind};
use muster_common::snapshot::Change;
use muster_common::state::DesiredState;
use muster_common::unit::{Requirements, UnitName, kept_data};
use proptest::prelude::*;

use super::Cluster;

pub(crate) const MACHINES: [&str; 5] = ["a", "b", "c", "d", "e"];
pub(crate) const UNITS: [&str; 9] = [
    "db.service",
    "web@1.service",
    "web@2.service",
    "web@3.service",
    "side.service",
    "side@1.service",
    "log.service",
    "node.service",
    "box.container",
];
pub(crate) const OPTIONS: [&str; 17] = [
    "Description=plain",
    "Conflicts=web@*",
    "Conflicts=*",
    "Conflicts=db.service",
    "MachineMetadata=disk=ssd",
    "MachineMetadata=disk=ssd\nMachineMetadata=disk=hdd\nMachineMetadata=zone=x",
    "MachineID=b",
    "MachineOf=db.service",
    "MachineOf=side.service",
    "MachineOf=web@1.service\nConflicts=log*",
    "MachineOf=node.service",
    "MachineOf=node.service\nMachineOf=db.service",
    "MachineOf=log.service\nConflicts=web@*",
    "Global=true",
    "Global=true\nMachineMetadata=disk=ssd\nConflicts=side*",
    "MachineMetadata=disk=ssd\n[Service]\nStateDirectory=x\n[Container]\nVolume=/x",
    "MachineOf=db.service\n[Service]\nStateDirectory=x\n[Container]\nVolume=x.volume:/x",
];
pub(crate) const REPLACING: [&str; 6] = [
    "Replaces=db.service",
    "Replaces=web@1.service",
    "Replaces=log.service",
    "Replaces=web@*",
    "Replaces=s* d?.service",
    "Replaces=side.service\n[Service]\nStateDirectory=x\n[Container]\nVolume=/x",
];

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Join { machine: usize, disk: Option<bool>, zone: bool, docker: bool },
    Lose(usize),
    Set(usize, bool),
    Unset(usize),
    Want { unit: usize, file: usize, desired: DesiredState },
    Again(usize, DesiredState),
    Destroy(usize),
    Write,
    Drain(usize),
    End(usize, bool),
    Uncordon(usize),
    Obey(u16),
    Fail(usize, usize),
}

pub(crate) fn any_event(options: usize) -> impl Strategy<Value = Event> {
    let machine = 0..MACHINES.len();
    let unit = 0..UNITS.len();
    let desired = prop_oneof![
        1 => Just(DesiredState::Inactive),
        2 => Just(DesiredState::Loaded),
        6 => Just(DesiredState::Launched),
    ];
    prop_oneof![
        4 => (machine.clone(), any::<Option<bool>>(), any::<bool>(), any::<bool>())
            .prop_map(|(machine, disk, zone, docker)| Event::Join { machine, disk, zone, docker }),
        1 => machine.clone().prop_map(Event::Lose),
        1 => (machine.clone(), any::<bool>()).prop_map(|(m, ssd)| Event::Set(m, ssd)),
        1 => machine.prop_map(Event::Unset),
        8 => (unit.clone(), 0..options, desired.clone())
            .prop_map(|(unit, file, desired)| Event::Want { unit, file, desired }),
        2 => (unit.clone(), desired).prop_map(|(unit, desired)| Event::Again(unit, desired)),
        1 => unit.prop_map(Event::Destroy),
        4 => Just(Event::Write),
    ]
}

pub(crate) fn any_events(options: usize) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(options), 1..50)
}

/// The same, with machines that are drained and that report what they do.
pub(crate) fn with_drains(options: usize) -> impl Strategy<Value = Vec<Event>> {
    let machine = 0..MACHINES.len();
    let event = prop_oneof![
        8 => any_event(options),
        2 => machine.clone().prop_map(Event::Drain),
        1 => (machine.clone(), any::<bool>()).prop_map(|(m, forced)| Event::End(m, forced)),
        1 => machine.clone().prop_map(Event::Uncordon),
        5 => any::<u16>().prop_map(Event::Obey),
        1 => (machine, 0..UNITS.len()).prop_map(|(m, u)| Event::Fail(m, u)),
        3 => Just(Event::Write),
    ];
    prop::collection::vec(event, 1..60)
}

pub(crate) const PLAIN: usize = OPTIONS.len();
pub(crate) const ALL: usize = OPTIONS.len() + REPLACING.len();

pub(crate) fn apply_event(cluster: &mut Cluster, event: &Event) {
    let disk = |ssd: bool| if ssd { "ssd" } else { "hdd" };
    match event {
        Event::Join { machine, disk: kind, zone, docker } => {
            let mut metadata = Vec::new();
            metadata.extend(kind.map(|ssd| ("disk", disk(ssd))));
            if *zone {
                metadata.push(("zone", "x"));
            }
            let docker = docker.then_some(RunnerKind::Docker);
            let runners: Vec<_> = docker.into_iter().chain([RunnerKind::Systemd]).collect();
            cluster.join_machine(MACHINES[*machine], &metadata, &runners);
        }
        Event::Lose(machine) => cluster.lose_machine(MACHINES[*machine]),
        Event::Set(machine, ssd) => {
            let id = MACHINES[*machine].parse().unwrap();
            let value = Some(disk(*ssd).to_owned());
            cluster.apply(Change::Metadata(id, "disk".to_owned(), value));
        }
        Event::Unset(machine) => {
            let id = MACHINES[*machine].parse().unwrap();
            cluster.apply(Change::Metadata(id, "disk".to_owned(), None));
        }
        Event::Want { unit, file, desired } => {
            let option = OPTIONS.iter().chain(&REPLACING).nth(*file).unwrap();
            cluster.write_unit(
                UNITS[*unit],
                Some(&format!("[X-Fleet]\n{}", known_options(option))),
                *desired,
            );
        }
        Event::Again(unit, desired) => {
            if cluster.snapshot.units.contains_key(&UNITS[*unit].parse::<UnitName>().unwrap()) {
                cluster.write_unit(UNITS[*unit], None, *desired);
            }
        }
        Event::Destroy(unit) => cluster.destroy_unit(UNITS[*unit]),
        Event::Write => {
            let plan = cluster.plan();
            cluster.write_plan(&plan);
        }
        Event::Drain(machine) => cluster.order_drain(MACHINES[*machine], "person", None),
        Event::End(machine, forced) => {
            let end = if *forced { DrainEnd::Forced } else { DrainEnd::GaveUp };
            cluster.order_drain(MACHINES[*machine], "person", Some(end));
        }
        Event::Uncordon(machine) => cluster.set_cordon(MACHINES[*machine], "person", None),
        Event::Obey(units) => {
            cluster.obey_placements(|name| {
                let number = UNITS.iter().position(|unit| *unit == name.as_str()).unwrap();
                units & (1 << number) != 0
            });
        }
        Event::Fail(machine, unit) => {
            let (name, id) = (UNITS[*unit].parse().unwrap(), MACHINES[*machine].parse().unwrap());
            let places = cluster.snapshot.places.get::<UnitName>(&name);
            if places.is_some_and(|places| places.contains_key::<MachineId>(&id)) {
                cluster.report_state(UNITS[*unit], MACHINES[*machine], "failed", "failed");
            }
        }
    }
}

/// An option that asks for nothing is not of this section.
pub(crate) fn known_options(option: &str) -> String {
    if option.starts_with("Description") {
        format!("\n[Unit]\n{option}\n")
    } else {
        format!("{option}\n")
    }
}

pub(crate) fn made_by(events: &[Event]) -> Cluster {
    let mut cluster = Cluster::new();
    for event in events {
        apply_event(&mut cluster, event);
    }
    cluster
}

/// Wanted units that are placed on live machines, with what they ask for.
pub(crate) fn placed_units(
    cluster: &Cluster,
) -> BTreeMap<UnitName, (Requirements, BTreeSet<MachineId>)> {
    let snapshot = &cluster.snapshot;
    let mut placed = BTreeMap::new();
    for (name, unit) in &snapshot.units {
        // A file that cannot be used asks for nothing; what was placed before it came stays.
        let asked = Requirements::from_file(name, &snapshot.files[&unit.file]).unwrap_or_default();
        let on: BTreeSet<MachineId> = snapshot
            .places
            .get(name)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|id| snapshot.machines.contains_key(id))
            .cloned()
            .collect();
        placed.insert(name.clone(), (asked, on));
    }
    placed
}

pub(crate) fn is_usable(cluster: &Cluster, name: &UnitName) -> bool {
    let file = &cluster.snapshot.files[&cluster.snapshot.units[name].file];
    Requirements::from_file(name, file).is_ok()
}

/// Whether a unit may not run twice at a time: it keeps data on its machine, or conflicts with itself by name.
pub(crate) fn is_single(cluster: &Cluster, name: &UnitName) -> bool {
    let file = &cluster.snapshot.files[&cluster.snapshot.units[name].file];
    Requirements::from_file(name, file).is_ok_and(|asked| {
        let own = asked.conflicts.iter().any(|glob| glob.as_str() == name.as_str());
        !asked.global && (own || kept_data(name.runner_kind(), file).is_some())
    })
}

pub(crate) fn meets_requirements(cluster: &Cluster, asked: &Requirements, id: &MachineId) -> bool {
    let metadata = cluster.snapshot.metadata_of(id);
    asked.machine_id.as_deref().is_none_or(|wanted| wanted == id.as_str())
        && asked
            .metadata
            .iter()
            .all(|(key, values)| metadata.get(key).is_some_and(|value| values.contains(value)))
}

pub(crate) fn are_in_conflict(
    placed: &BTreeMap<UnitName, (Requirements, BTreeSet<MachineId>)>,
    one: &UnitName,
    other: &UnitName,
) -> bool {
    let declares = |one: &UnitName, other: &UnitName| {
        placed[one].0.conflicts.iter().any(|glob| glob.matches_name(other.as_str()))
    };
    one != other && (declares(one, other) || declares(other, one))
}
