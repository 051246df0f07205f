//! Placements that no plan would make.
//!
//! Owns the rules that hold for every placement at every moment, also while a plan is half written. Each asks what a placement was
//! made from, not what the unit has become since: a user who replaces a file makes yesterday's placements wrong, not unsafe.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::machine::MachineId;
use muster_common::snapshot::{Placement, Snapshot, home_placements};
use muster_common::unit::{FileHash, Requirements, UnitName};

use crate::picture::RecordPicture;
use crate::violation::Violation;

/// No template is placed, nothing that is not global has two homes, and no two units that conflict come together.
pub(super) fn check_placements(records: &RecordPicture, found: &mut Vec<Violation>) {
    let snapshot = &records.snapshot;
    for (unit, places) in &snapshot.places {
        if unit.is_template() {
            found.extend(places.keys().map(|machine| Violation::TemplatePlaced {
                unit: unit.clone(),
                machine: machine.clone(),
            }));
        }
        let homes = home_placements(places).filter(|(_, placement)| {
            requirements_of(snapshot, unit, placement.file).is_some_and(|asked| !asked.global)
        });
        let machines: BTreeSet<MachineId> = homes.map(|(machine, _)| machine.clone()).collect();
        if machines.len() > 1 {
            found.push(Violation::PlacedTwice { unit: unit.clone(), machines });
        }
    }
    check_conflicts(snapshot, found);
}

/// The requirements of a unit made from a file; `None` where that cannot be told.
pub(super) fn requirements_of(
    snapshot: &Snapshot,
    unit: &UnitName,
    file: FileHash,
) -> Option<Requirements> {
    Requirements::from_file(unit, snapshot.files.get(&file)?).ok()
}

/// A unit on a machine whose placement was written after the last change of its record, and says the same.
struct Neighbor<'a> {
    unit: &'a UnitName,
    asked: Requirements,
    /// Revision of the unit's record.
    wanted_at: u64,
    /// Revision of the placement.
    placed_at: u64,
}

/// Looks at each pair on each machine. Both placements have to be newer than both records: whoever wrote the later one knew what
/// both ask for. A job stays where it was begun, whatever its neighbors have become.
fn check_conflicts(snapshot: &Snapshot, found: &mut Vec<Violation>) {
    let mut by_machine: BTreeMap<&MachineId, Vec<Neighbor<'_>>> = BTreeMap::new();
    for (unit, places) in &snapshot.places {
        let Some(record) = snapshot.units.get(unit) else { continue };
        let current = |placement: &Placement| {
            placement.file == record.file && placement.revision > record.revision
        };
        for (machine, placement) in places.iter().filter(|(_, placement)| current(placement)) {
            let Some(asked) = requirements_of(snapshot, unit, placement.file) else { continue };
            let (wanted_at, placed_at) = (record.revision, placement.revision);
            let neighbor = Neighbor { unit, asked, wanted_at, placed_at };
            by_machine.entry(machine).or_default().push(neighbor);
        }
    }
    for (machine, neighbors) in by_machine {
        // Most units ask for no distance, so that few pairs are looked at.
        for one in neighbors.iter().filter(|one| !one.asked.conflicts.is_empty()) {
            for other in neighbors.iter().filter(|other| other.unit != one.unit) {
                let matching =
                    one.asked.conflicts.iter().find(|glob| glob.matches_name(other.unit.as_str()));
                let known = one.wanted_at.max(other.wanted_at);
                let is_late = one.placed_at.min(other.placed_at) > known;
                let is_job = one.asked.job || other.asked.job;
                if let Some(pattern) = matching.filter(|_| is_late && !is_job) {
                    found.push(Violation::ConflictTogether {
                        unit: one.unit.clone(),
                        with: other.unit.clone(),
                        pattern: pattern.as_str().to_owned(),
                        machine: machine.clone(),
                    });
                }
            }
        }
    }
}
