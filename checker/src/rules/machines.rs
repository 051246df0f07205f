//! Machines: whether they answer, as whom, from which store, and how their daemons fare.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::api::inspect::MachineAnswer;
use muster_common::machine::MachineId;

use crate::picture::{ClusterPicture, RecordPicture};
use crate::violation::Violation;

/// Milliseconds that a clock may be off: several times what is lost on the way to a busy machine and back.
const CLOCK_TOLERANCE: u64 = 5_000;

/// Each machine carries out what this store says.
pub(super) fn check_stores(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    for (machine, report) in picture.all_reports() {
        if let (Some(known), Some(store)) = (report.cluster, records.cluster)
            && known != store
        {
            found.push(Violation::OtherCluster { machine: machine.clone(), known, store });
        }
    }
}

/// Whoever answers for a machine is that machine, in the boot that it registered from, and every machine has an address of its own.
pub(super) fn check_registrations(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    let registered = &records.snapshot.machines;
    for (machine, report) in picture.all_reports() {
        if report.machine != *machine {
            let answers = report.machine.clone();
            found.push(Violation::OtherMachineAnswers { machine: machine.clone(), answers });
            continue;
        }
        let Some(record) = registered.get(machine) else {
            let registers = report.components.iter().any(|component| component.name == "lease");
            if registers && !records.is_unreadable(&format!("machine/{machine}")) {
                found.push(Violation::MachineUnregistered { machine: machine.clone() });
            }
            continue;
        };
        let told = !record.boot.is_empty() && !report.boot.is_empty();
        if told && record.boot != report.boot {
            found.push(Violation::MachineTwice {
                machine: machine.clone(),
                registered: record.boot.clone(),
                answers: report.boot.clone(),
            });
        }
    }
    let mut at: BTreeMap<&str, BTreeSet<MachineId>> = BTreeMap::new();
    for (machine, record) in registered {
        if let Some(api) = &record.api {
            at.entry(api).or_default().insert(machine.clone());
        }
    }
    for (api, machines) in at.into_iter().filter(|(_, machines)| machines.len() > 1) {
        found.push(Violation::AddressTwice { api: api.to_owned(), machines });
    }
    let versions = registered.values().map(|record| record.version.clone());
    let versions: BTreeSet<String> = versions.filter(|version| !version.is_empty()).collect();
    if versions.len() > 1 {
        found.push(Violation::VersionMixed { versions });
    }
}

/// Each machine answers and says that it is well; its clock is right.
pub(super) fn check_health(picture: &ClusterPicture, found: &mut Vec<Violation>) {
    if let Some(problem) = &picture.unread {
        found.push(Violation::StoreUnread { problem: problem.clone() });
    }
    for (machine, answer) in &picture.machines {
        let machine = machine.clone();
        let (report, clock_offset) = match answer {
            MachineAnswer::Silent { problem } => {
                found.push(Violation::MachineSilent { machine, problem: problem.clone() });
                continue;
            }
            MachineAnswer::Unasked { problem } => {
                found.push(Violation::MachineUnasked { machine, problem: problem.clone() });
                continue;
            }
            MachineAnswer::Report { report, clock_offset } => (report, *clock_offset),
        };
        for component in report.components.iter().filter(|component| !component.ok) {
            let problem = component.problem.clone().unwrap_or_else(|| "not ready yet".to_owned());
            let (machine, component) = (machine.clone(), component.name.clone());
            found.push(Violation::ComponentFailed { machine, component, problem });
        }
        if let Some(problem) = &report.unseen {
            let (machine, problem) = (machine.clone(), problem.clone());
            found.push(Violation::RunnerUnseen { machine, problem });
        }
        let warnings = report.warnings.iter().cloned();
        found.extend(warnings.map(|problem| Violation::StoreWarning { problem }));
        if clock_offset.unsigned_abs() > CLOCK_TOLERANCE {
            found.push(Violation::ClockOff { machine, milliseconds: clock_offset });
        }
    }
}
