//! What runs on machines, and what they remember, against what is placed there.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::api::inspect::{KnownPlacement, MachineReport};
use muster_common::machine::MachineId;
use muster_common::snapshot::Placement;
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::single::is_single;

use crate::picture::{ClusterPicture, RecordPicture};
use crate::violation::Violation;

/// A unit that may not run twice at a time is up on one registered machine at the most. What a machine still runs that was lost,
/// or cut off, nobody can say. A machine's own word counts before its states in the store.
pub(super) fn check_single_units(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    let snapshot = &records.snapshot;
    let mut up: BTreeMap<&UnitName, BTreeMap<&MachineId, FileHash>> = BTreeMap::new();
    for machine in snapshot.machines.keys() {
        let Some(report) = picture.report_of(machine).filter(|report| report.unseen.is_none())
        else {
            continue;
        };
        let runs = report.runs.iter().filter(|(_, run)| !run.active.is_down() && !run.foreign);
        for (unit, file) in runs.filter_map(|(unit, run)| Some((unit, run.file?))) {
            up.entry(unit).or_default().insert(machine, file);
        }
    }
    for (unit, reports) in &snapshot.states {
        for (machine, state) in reports.iter().filter(|(_, state)| !state.active.is_down()) {
            let seen = picture.report_of(machine).is_some_and(|report| report.unseen.is_none());
            if let Some(file) = state.file.filter(|_| !seen)
                && snapshot.machines.contains_key(machine)
            {
                up.entry(unit).or_default().insert(machine, file);
            }
        }
    }
    for (unit, machines) in up.into_iter().filter(|(_, machines)| machines.len() > 1) {
        // By the files that run, not by the one that is wanted: a file can be replaced while a unit moves.
        let may_not =
            |file: &FileHash| snapshot.files.get(file).is_some_and(|file| is_single(unit, file));
        if machines.values().all(may_not) {
            let machines = machines.into_keys().cloned().collect();
            found.push(Violation::RunsTwice { unit: unit.clone(), machines });
        }
    }
}

/// Each machine runs and keeps the units that are placed there, and no others.
pub(super) fn check_runs(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    let mut placed: BTreeMap<&MachineId, BTreeMap<&UnitName, &Placement>> = BTreeMap::new();
    for (unit, places) in &records.snapshot.places {
        for (machine, placement) in places {
            placed.entry(machine).or_default().insert(unit, placement);
        }
    }
    let nothing = BTreeMap::new();
    for (machine, report) in picture.all_reports() {
        let placed = placed.get(machine).unwrap_or(&nothing);
        let look = MachineLook { machine, report, placed, records };
        look.check_units(found);
        look.check_last_known(found);
    }
}

/// One machine's report beside what is placed there.
struct MachineLook<'a> {
    machine: &'a MachineId,
    report: &'a MachineReport,
    placed: &'a BTreeMap<&'a UnitName, &'a Placement>,
    records: &'a RecordPicture,
}

impl MachineLook<'_> {
    fn check_units(&self, found: &mut Vec<Violation>) {
        let known: BTreeSet<&UnitName> =
            self.report.owned.keys().chain(self.report.runs.keys()).collect();
        for unit in known {
            let machine = self.machine.clone();
            let run = self.report.runs.get(unit).filter(|run| !run.foreign);
            let up = run.filter(|run| !run.active.is_down());
            let is_owned = self.report.owned.contains_key(unit);
            let Some(placement) = self.placed.get(unit) else {
                if self.is_unreadable(unit) {
                    continue;
                }
                // Without a file of ours it is somebody else's, whatever its name.
                match up.filter(|run| is_owned || run.file.is_some()) {
                    Some(run) => {
                        let active = run.active.clone();
                        found.push(Violation::RunsUnplaced { unit: unit.clone(), machine, active });
                    }
                    None if is_owned => {
                        found.push(Violation::OwnedUnplaced { unit: unit.clone(), machine });
                    }
                    None => {}
                }
                continue;
            };
            let lies = up.and_then(|run| run.file);
            if placement.desired == DesiredState::Launched
                && lies.is_some_and(|file| file != placement.file)
            {
                found.push(Violation::OldTextRuns { unit: unit.clone(), machine });
            }
        }
    }

    fn check_last_known(&self, found: &mut Vec<Violation>) {
        let Some(known) = &self.report.last_known else { return };
        let is_same = |unit: &UnitName, known: &KnownPlacement| {
            self.placed.get(unit).is_some_and(|placement| {
                let KnownPlacement { file, desired, generation } = known;
                (*file, *desired, *generation)
                    == (placement.file, placement.desired, placement.generation)
            })
        };
        let units: BTreeSet<&UnitName> = known.keys().chain(self.placed.keys().copied()).collect();
        for unit in units {
            let differs = known.get(unit).is_none_or(|known| !is_same(unit, known));
            if differs && !self.is_unreadable(unit) {
                let (unit, machine) = (unit.clone(), self.machine.clone());
                found.push(Violation::LastKnownDiffers { unit, machine });
            }
        }
    }

    /// The placement is there and cannot be read, so that the machine leaves the unit as it is.
    fn is_unreadable(&self, unit: &UnitName) -> bool {
        self.records.is_unreadable(&format!("place/{}/{unit}", self.machine))
    }
}
