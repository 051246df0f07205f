//! Records that contradict one another, and records that nobody needs.

use std::collections::BTreeSet;

use muster_common::unit::FileHash;

use crate::picture::RecordPicture;
use crate::violation::Violation;

/// Each unit has its file; records that hang on a lease have one; every record can be read.
pub(super) fn check_records(records: &RecordPicture, found: &mut Vec<Violation>) {
    let snapshot = &records.snapshot;
    for (name, unit) in &snapshot.units {
        // A unit and its file are written together, and a file goes when no unit names it.
        let key = format!("file/{}", unit.file);
        if !snapshot.files.contains_key(&unit.file) && !records.is_unreadable(&key) {
            found.push(Violation::FileMissing { unit: name.clone(), file: unit.file });
        }
    }
    for key in &records.unleased {
        found.push(Violation::RecordWithoutLease { key: key.clone() });
    }
    for record in snapshot.unreadable.values() {
        let (key, problem) = (record.key.clone(), record.problem.clone());
        found.push(Violation::RecordUnreadable { key, problem });
    }
}

/// Records about what is not there any more.
pub(super) fn check_leftovers(records: &RecordPicture, found: &mut Vec<Violation>) {
    let snapshot = &records.snapshot;
    let named: BTreeSet<FileHash> = snapshot.units.values().map(|unit| unit.file).collect();
    let unknown = snapshot.unreadable.keys().any(|key| key.starts_with("unit/"));
    if !unknown {
        let files = snapshot.files.keys().filter(|file| !named.contains(file));
        found.extend(files.map(|file| Violation::FileOfNobody { file: *file }));
    }
    // A machine whose registration cannot be read is there all the same.
    let is_gone = |machine: &&muster_common::machine::MachineId| {
        !records.is_known(machine) && !records.is_unreadable(&format!("machine/{machine}"))
    };
    for machine in snapshot.cordons.keys().filter(is_gone) {
        // The hosts that are on their way through a reboot are cordoned, and have taken their leave.
        if !records.hosts.contains_key(machine) {
            found.push(Violation::CordonOfNobody { machine: machine.clone() });
        }
    }
    for machine in snapshot.metadata.keys().filter(is_gone) {
        found.push(Violation::MetadataOfNobody { machine: machine.clone() });
    }
    found.extend(
        records.warnings.iter().map(|problem| Violation::StoreWarning { problem: problem.clone() }),
    );
}
