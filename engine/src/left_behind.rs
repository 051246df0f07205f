//! Data that a unit would leave behind when it moves.
//!
//! Owns the answer to whether somebody who submits a unit has to be told so: the unit keeps data on its machine, and more than
//! one machine could take it. It never decides where a unit goes; that such a unit is stopped before it starts elsewhere is
//! [`crate::schedule`]'s.
//!
//! Machines count as the cluster knows them now, cordoned ones and missing ones included: a cordon is taken back, and a machine
//! returns. A unit that `MachineID=` names a machine for stays there, and so does one whose `MachineMetadata=` a single machine
//! has. What is tied to such a unit by `MachineOf=` stays with it. A global unit has data on every machine and moves from none.

use std::collections::BTreeSet;

use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::unit::{
    KeptData, Requirements, UnitFile, UnitName, kept_data, runner_demand_of,
};

/// The data that a unit made from this file keeps on its machine, if it may move to another.
pub fn left_behind(snapshot: &Snapshot, name: &UnitName, file: &UnitFile) -> Option<KeptData> {
    let demand = runner_demand_of(name, file);
    let kept = demand.possible_kinds().into_iter().find_map(|kind| kept_data(kind, file))?;
    let own = Requirements::from_file(name, file).ok().filter(|own| !own.global)?;
    let ties = tied_requirements(snapshot, own);
    if ties.iter().any(|asked| asked.machine_id.is_some()) {
        return None;
    }
    let by_metadata = ties.iter().any(|asked| !asked.metadata.is_empty());
    let live = snapshot.machines.iter().filter(|(id, machine)| {
        let metadata = snapshot.metadata_of(id);
        let meets = |asked: &Requirements| {
            let mut wanted = asked.metadata.iter();
            wanted.all(|(key, values)| metadata.get(key).is_some_and(|v| values.contains(v)))
        };
        machine.met_demands().contains(&demand) && ties.iter().all(meets)
    });
    let live: BTreeSet<&MachineId> = live.map(|(id, _)| id).collect();
    // What a missing machine has is not known.
    let missing = snapshot.members.iter().filter(|id| !snapshot.machines.contains_key(*id));
    let missing = if by_metadata { 0 } else { missing.count() };
    (live.len() + missing > 1).then_some(kept)
}

/// The demands on a unit's machine by the unit and by all that it is tied to.
fn tied_requirements(snapshot: &Snapshot, own: Requirements) -> Vec<Requirements> {
    let mut ties = vec![own];
    let mut seen: BTreeSet<UnitName> = BTreeSet::new();
    let mut next = 0;
    while let Some(asked) = ties.get(next) {
        let leaders: Vec<UnitName> = asked.machine_of.iter().cloned().collect();
        next += 1;
        for leader in leaders {
            let unit = snapshot.units.get(&leader);
            let file = unit.and_then(|unit| snapshot.files.get(&unit.file));
            if seen.insert(leader.clone())
                && let Some(asked) =
                    file.and_then(|file| Requirements::from_file(&leader, file).ok())
            {
                ties.push(asked);
            }
        }
    }
    ties
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_common::machine::{Machine, RunnerKind};
    use muster_common::snapshot::{Change, Unit};
    use muster_common::state::DesiredState;

    use super::*;

    const DB: &str = "[Service]\nStateDirectory=db\n";

    fn cluster_of(machines: &[(&str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (id, disk) in machines {
            let id: MachineId = id.parse().unwrap();
            let machine = Machine {
                metadata: [("disk".to_owned(), (*disk).to_owned())].into(),
                runners: [RunnerKind::Systemd].into(),
                id: id.clone(),
                host: String::new(),
                address: String::new(),
                api: None,
                version: String::new(),
                container_runner: None,
                containers_lost: None,
                leaving: false,
                boot: String::new(),
                created: 1,
                revision: 1,
            };
            snapshot.apply(Change::Machine(id, Some(machine)));
        }
        snapshot
    }

    fn submit_unit(snapshot: &mut Snapshot, name: &str, text: &str) {
        let name: UnitName = name.parse().unwrap();
        let file: UnitFile = text.parse().unwrap();
        let hash = file.hash();
        snapshot.apply(Change::File(hash, Some(Arc::new(file))));
        let desired = DesiredState::Launched;
        let unit = Unit { name: name.clone(), file: hash, desired, generation: 1, revision: 1 };
        snapshot.apply(Change::Unit(name, Some(unit)));
    }

    fn warning_for(snapshot: &Snapshot, name: &str, text: &str) -> Option<String> {
        let kept = left_behind(snapshot, &name.parse().unwrap(), &text.parse().unwrap())?;
        Some(format!("line {}: {}", kept.line, kept.what))
    }

    #[test]
    fn a_unit_that_could_be_elsewhere_leaves_its_data() {
        let two = cluster_of(&[("a", "ssd"), ("b", "ssd")]);
        let state = Some("line 2: [Service] StateDirectory=db".to_owned());
        assert_eq!(warning_for(&two, "db.service", DB), state);
        assert_eq!(warning_for(&two, "db@.service", DB), state);
        assert_eq!(warning_for(&two, "web.service", "[Service]\nExecStart=/a\n"), None);
        let both = format!("{DB}[X-Fleet]\nMachineMetadata=disk=ssd\n");
        assert_eq!(warning_for(&two, "db.service", &both), state);
    }

    #[test]
    fn a_unit_that_stays_does_not() {
        let two = cluster_of(&[("a", "ssd"), ("b", "hdd")]);
        for tie in
            ["MachineID=a", "MachineMetadata=disk=ssd", "MachineMetadata=disk=none", "Global=yes"]
        {
            assert_eq!(
                warning_for(&two, "db.service", &format!("{DB}[X-Fleet]\n{tie}\n")),
                None,
                "{tie}"
            );
        }
        assert_eq!(warning_for(&cluster_of(&[("a", "ssd")]), "db.service", DB), None);
        // Nobody there runs containers.
        assert_eq!(warning_for(&two, "db.container", "[Container]\nImage=a\nVolume=/a\n"), None);
    }

    #[test]
    fn a_missing_machine_may_return() {
        let mut one = cluster_of(&[("a", "ssd")]);
        one.apply(Change::Members(["a".parse().unwrap(), "b".parse().unwrap()].into()));
        assert!(warning_for(&one, "db.service", DB).is_some());
        let tied = format!("{DB}[X-Fleet]\nMachineMetadata=disk=ssd\n");
        assert_eq!(warning_for(&one, "db.service", &tied), None);
    }

    #[test]
    fn what_follows_a_unit_that_stays_stays() {
        let mut two = cluster_of(&[("a", "ssd"), ("b", "hdd")]);
        let follower = format!("{DB}[X-Fleet]\nMachineOf=lead.service\n");
        assert!(warning_for(&two, "db.service", &follower).is_some());
        submit_unit(&mut two, "lead.service", "[X-Fleet]\nMachineOf=first.service\n");
        submit_unit(&mut two, "first.service", "[X-Fleet]\nMachineOf=lead.service\nMachineID=b\n");
        assert_eq!(warning_for(&two, "db.service", &follower), None);
    }
}
