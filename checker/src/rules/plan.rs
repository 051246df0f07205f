//! What a leader would still do.
//!
//! Owns the comparison of the placements with a plan made afresh: a cluster is as it should be when its plan is empty.

use muster_common::decision::{Decision, Move, MoveReason};
use muster_engine::schedule::Scheduler;

use super::placements::requirements_of;
use crate::picture::RecordPicture;
use crate::violation::Violation;

/// Each decision of the plan is one that has not been taken, and each refusal a unit that waits.
pub(super) fn check_plan(records: &RecordPicture, found: &mut Vec<Violation>) {
    let snapshot = &records.snapshot;
    let mut scheduler = Scheduler::new(snapshot);
    let held = snapshot.leader.as_ref().map(|leader| leader.held.clone());
    scheduler.hold_machines(held.unwrap_or_default());
    let plan = scheduler.plan();
    for planned in &plan.moves {
        found.extend(planned.decisions.iter().map(|decision| untaken(records, planned, decision)));
    }
    for unit in &plan.refused {
        let refusal = scheduler.explain_refusal(unit).map(|refusal| refusal.to_string());
        let refusal = refusal.unwrap_or_default();
        found.push(Violation::UnitWaits { unit: unit.clone(), refusal });
    }
}

fn untaken(records: &RecordPicture, planned: &Move, decision: &Decision) -> Violation {
    let snapshot = &records.snapshot;
    let (unit, machine) = (decision.unit().clone(), decision.machine().clone());
    let is_global = || {
        let record = snapshot.units.get(&unit);
        let asked = record.and_then(|record| requirements_of(snapshot, &unit, record.file));
        asked.is_some_and(|asked| asked.global)
    };
    match &planned.reason {
        MoveReason::Place if is_global() => Violation::GlobalMissing { unit, machine },
        MoveReason::Place => Violation::UnitUnplaced { unit },
        MoveReason::NotWanted => Violation::PlacementUnwanted { unit, machine },
        MoveReason::Update => Violation::PlacementOutdated { unit, machine },
        MoveReason::Lost { machine } => {
            Violation::PlacementWithoutMachine { unit, machine: machine.clone() }
        }
        MoveReason::Unsuitable { machine } => {
            Violation::PlacementUnsuitable { unit, machine: machine.clone() }
        }
        MoveReason::Drain { machine } | MoveReason::CallBack { machine } => {
            Violation::MoveUnfinished { unit, machine: machine.clone() }
        }
        _ => Violation::PlacementUnsuitable { unit, machine },
    }
}
