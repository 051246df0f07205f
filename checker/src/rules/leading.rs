//! Who leads, and who belongs to the cluster.

use std::collections::BTreeSet;

use muster_common::machine::MachineId;

use crate::picture::{ClusterPicture, RecordPicture};
use crate::violation::Violation;

/// One daemon leads, knows of it, and is registered; the members are those that are registered.
pub(super) fn check_leader(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    let snapshot = &records.snapshot;
    let leading = picture.all_reports().filter(|(_, report)| report.leading);
    let leading: BTreeSet<MachineId> = leading.map(|(machine, _)| machine.clone()).collect();
    if leading.len() > 1 {
        found.push(Violation::LeadsTwice { machines: leading });
    }
    let Some(leader) = &snapshot.leader else {
        if !snapshot.machines.is_empty() && !records.is_unreadable("leader") {
            found.push(Violation::LeaderMissing);
        }
        return;
    };
    let machine = leader.machine.clone();
    if !snapshot.machines.contains_key(&machine)
        && !records.is_unreadable(&format!("machine/{machine}"))
    {
        found.push(Violation::LeaderWithoutLease { machine });
    } else if picture.report_of(&machine).is_some_and(|report| !report.leading) {
        found.push(Violation::LeaderUnaware { machine });
    }
    let missing = |machine: &&MachineId| !snapshot.machines.contains_key(*machine);
    let held: BTreeSet<MachineId> = leader.held.iter().filter(missing).cloned().collect();
    for machine in snapshot.members.iter().filter(missing) {
        if !held.contains(machine) && !records.is_unreadable(&format!("machine/{machine}")) {
            found.push(Violation::MemberMissing { machine: machine.clone() });
        }
    }
    if !held.is_empty() {
        found.push(Violation::Frozen { machines: held });
    }
    if !records.is_unreadable("members") {
        for machine in snapshot.machines.keys() {
            if !snapshot.members.contains(machine) {
                found.push(Violation::MemberUnlisted { machine: machine.clone() });
            }
        }
    }
}
