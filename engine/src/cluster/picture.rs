//! The cluster as one picture that follows the store.
//!
//! Owns the snapshot together with what is derived from it: the scheduler that explains and rehearses, its plan, and the
//! memory of units that were launched a moment ago. It keeps them in step with every change; it never reads the store and
//! never writes, and what its scheduler plans is only ever shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::drain::DrainProgress;
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::refusal::Refusal;
use muster_common::snapshot::{Change, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;

use super::recent_stops::RecentStops;
use super::{drain, lists};
use crate::schedule::{Candidate, Plan, Scheduler};

/// The cluster, and what the engine thinks of it.
#[derive(Default)]
pub struct Cluster {
    snapshot: Snapshot,
    planner: Option<Planner>,
    stops: RecentStops,
    lost: Option<String>,
}

struct Planner {
    scheduler: Scheduler,
    /// The plan for the snapshot as it is; absent since the last change.
    plan: Option<Plan>,
}

/// The picture's place in the course of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PicturePosition {
    /// Revision of the snapshot; 0 before the first.
    pub revision: u64,
    /// Why the store cannot be reached, while it cannot.
    pub lost: Option<String>,
}

impl Cluster {
    /// The cluster as it is known now.
    pub fn current_snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The picture's place in the course of the store.
    pub fn current_position(&self) -> PicturePosition {
        PicturePosition { revision: self.snapshot.revision, lost: self.lost.clone() }
    }

    /// Why the store cannot be reached, while it cannot.
    pub fn store_problem(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Begins anew with a snapshot. It may be an older one: an etcd restored from a backup begins at an older revision.
    pub fn reset(&mut self, snapshot: Snapshot, now: Duration) {
        let launched = self.launched_among(self.snapshot.units.keys().cloned());
        self.snapshot = snapshot;
        self.planner = None;
        self.lost = None;
        self.note_stops(launched, now);
    }

    /// Replaces the snapshot by one that was read beside the watch, unless the watch has gone beyond it; says whether it did. One that
    /// is behind what the picture had `before` it was read is of a store that was restored, and counts all the same.
    pub fn install_snapshot(&mut self, snapshot: Snapshot, before: u64, now: Duration) -> bool {
        let restored = snapshot.revision < before && !is_planted("restored-store-not-shown");
        let newer = snapshot.revision >= self.snapshot.revision;
        if newer || restored {
            self.reset(snapshot, now);
        }
        newer
    }

    /// Applies the changes that lead to a revision. Those of a revision that the snapshot has already are passed over: a reader
    /// may have fetched it.
    pub fn apply(&mut self, revision: u64, changes: Vec<Change>, now: Duration) {
        self.lost = None;
        if revision <= self.snapshot.revision {
            return;
        }
        let launched = self.launched_among(changes.iter().filter_map(reported_unit));
        for change in changes {
            if let Some(planner) = &mut self.planner
                && planner.scheduler.apply(&change)
            {
                planner.plan = None;
            }
            self.snapshot.apply(change);
        }
        self.snapshot.revision = revision;
        if let Some(planner) = &mut self.planner {
            let held = self.snapshot.leader.as_ref().map(|l| l.held.clone());
            planner.scheduler.hold_machines(held.unwrap_or_default());
        }
        self.note_stops(launched, now);
    }

    /// The watch has lost the store: the picture stays as it is, and says so, until the next event.
    pub fn mark_lost(&mut self, problem: String) {
        self.lost = Some(problem);
    }

    /// True if a unit that is loaded now counts as launched still in fleet's API; see [`RecentStops`].
    pub fn was_launched(&mut self, unit: &UnitName, now: Duration) -> bool {
        self.stops.shows_launched(unit, now)
    }

    /// Those of some units that are launched.
    fn launched_among(&self, units: impl Iterator<Item = UnitName>) -> BTreeSet<UnitName> {
        let launched =
            |unit: &UnitName| lists::current_state(&self.snapshot, unit) == DesiredState::Launched;
        units.filter(launched).collect()
    }

    /// Remembers which of the units that were launched are loaded by now.
    fn note_stops(&mut self, launched: BTreeSet<UnitName>, now: Duration) {
        for unit in launched {
            let wanted = self.snapshot.units.get(&unit).map(|unit| unit.desired);
            if wanted == Some(DesiredState::Loaded)
                && lists::current_state(&self.snapshot, &unit) == DesiredState::Loaded
            {
                self.stops.record_stop(&unit, now);
            }
        }
    }

    /// The plan that the engine would carry out next.
    pub fn plan(&mut self) -> &Plan {
        let planner = planner_for(&mut self.planner, &self.snapshot);
        planner.plan.get_or_insert_with(|| {
            let plan = planner.scheduler.plan();
            debug_assert!(
                is_plan_of(&plan, &self.snapshot),
                "the scheduler lost step with the cluster"
            );
            plan
        })
    }

    /// Why a unit is not placed, if it should be and no machine takes it.
    pub fn explain_refusal(&mut self, unit: &UnitName) -> Option<Refusal> {
        if !self.plan().refused.contains(unit) {
            return None;
        }
        self.planner.as_ref()?.scheduler.explain_refusal(unit)
    }

    /// The progress of a machine's drain.
    pub fn drain_progress(&mut self, machine: &MachineId) -> DrainProgress {
        let planner = planner_for(&mut self.planner, &self.snapshot);
        drain::drain_progress_by(&self.snapshot, machine, &mut planner.scheduler)
    }

    /// The account of a machine's units as it would be were it drained now.
    pub fn rehearse_drain(&mut self, machine: &MachineId) -> DrainProgress {
        let planner = planner_for(&mut self.planner, &self.snapshot);
        drain::rehearse_drain(&self.snapshot, machine, &planner.scheduler)
    }

    /// Which of these units, launched now in this order, no machine would take.
    pub fn admit_candidates(&mut self, wanted: &[Candidate]) -> BTreeMap<UnitName, Refusal> {
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        planner_for(&mut self.planner, &self.snapshot).scheduler.admit_candidates(wanted)
    }
}

fn planner_for<'a>(slot: &'a mut Option<Planner>, snapshot: &Snapshot) -> &'a mut Planner {
    slot.get_or_insert_with(|| Planner { scheduler: drain::scheduler_of(snapshot), plan: None })
}

/// Most units of a cluster whose plans are compared: a full plan of more takes tests too long.
const MAX_COMPARED: usize = 500;

/// A scheduler that has followed every change plans what one would that sees the cluster for the first time.
fn is_plan_of(plan: &Plan, snapshot: &Snapshot) -> bool {
    snapshot.units.len() > MAX_COMPARED || *plan == drain::scheduler_of(snapshot).plan()
}

/// The unit that a change is a report on.
fn reported_unit(change: &Change) -> Option<UnitName> {
    match change {
        Change::State(_, unit, _) => Some(unit.clone()),
        _ => None,
    }
}
