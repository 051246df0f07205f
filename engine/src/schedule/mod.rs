//! Which unit belongs on which machine.
//!
//! Owns the placement of units: filters, rank, groups, replacements, stability, and the reasons for refusing. It never
//! writes anything: a [`Plan`] names what it rests on (revisions), and whoever commits it checks that they still hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::machine::MachineId;
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::{Change, Placement, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};

/// What is to be written so that placements are as they should be, and which units cannot be placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, in an order in which each move can stand alone.
    pub moves: Vec<Move>,
    /// Units that should be placed and cannot be; [`Scheduler::explain`] says why.
    pub refused: BTreeSet<UnitName>,
}

/// Decisions that must be written together or not at all, such as a removal here and the placement there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The unit it is about.
    pub unit: UnitName,
    /// What to write.
    pub decisions: Vec<Decision>,
}

/// One placement record to be written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The unit belongs on the machine, or what is wanted of it there has changed.
    Place {
        /// The machine.
        machine: MachineId,
        /// The unit.
        unit: UnitName,
        /// What to write. Its revision is that of the record it overwrites, 0 when there is none.
        placement: Placement,
        /// Revision of the unit's record that the decision rests on.
        unit_revision: u64,
        /// Revision that created the machine's registration that the decision rests on.
        machine_created: u64,
    },
    /// The unit does not belong on the machine.
    Remove {
        /// The machine.
        machine: MachineId,
        /// The unit.
        unit: UnitName,
        /// Revision of the placement's record.
        revision: u64,
        /// Revision of the unit's record that the decision rests on; `None` when the unit is gone.
        unit_revision: Option<u64>,
    },
}

/// A unit that might be launched; see [`Scheduler::admit`].
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name; it may be new to the cluster.
    pub name: UnitName,
    /// Its file.
    pub file: Arc<UnitFile>,
}

/// The cluster, indexed for deciding.
#[derive(Debug, Clone)]
pub struct Scheduler {
    snapshot: Snapshot,
    held: BTreeSet<MachineId>,
}

/// A full plan from nothing.
pub fn schedule(snapshot: &Snapshot) -> Plan {
    Scheduler::new(snapshot).plan()
}

impl Scheduler {
    /// Indexes a cluster.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self { snapshot: snapshot.clone(), held: BTreeSet::new() }
    }

    /// Takes one change of the cluster in. The cost is that of the change.
    pub fn apply(&mut self, change: &Change) {
        self.snapshot.apply(change.clone());
    }

    /// Machines that vanished while re-placement was frozen: their units stay where they are. Replaces what was held.
    pub fn hold(&mut self, machines: BTreeSet<MachineId>) {
        self.held = machines;
    }

    /// What is to be written now. The cost is that of what changed since the last plan; planning again before the
    /// plan has been applied gives the same plan.
    pub fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        let mut load: BTreeMap<&MachineId, usize> =
            self.snapshot.machines.keys().map(|id| (id, 0)).collect();
        for id in self.snapshot.places.values().flat_map(BTreeMap::keys) {
            if let Some(count) = load.get_mut(id) {
                *count += 1;
            }
        }
        for (name, unit) in &self.snapshot.units {
            let wanted = unit.desired != DesiredState::Inactive && !name.is_template();
            let mut decisions = Vec::new();
            let mut placed = None;
            for (machine, placement) in self.snapshot.places.get(name).into_iter().flatten() {
                let keep = wanted
                    && placed.is_none()
                    && (self.snapshot.machines.contains_key(machine)
                        || self.held.contains(machine));
                if keep {
                    placed = Some((machine, placement.revision));
                } else {
                    decisions.push(Decision::Remove {
                        machine: machine.clone(),
                        unit: name.clone(),
                        revision: placement.revision,
                        unit_revision: Some(unit.revision),
                    });
                }
            }
            if wanted {
                let target = placed.or_else(|| {
                    load.iter().min_by_key(|(id, n)| (**n, **id)).map(|(id, _)| (*id, 0))
                });
                let Some((machine, revision)) = target else {
                    plan.refused.insert(name.clone());
                    continue;
                };
                let placement = Placement {
                    file: unit.file,
                    desired: unit.desired,
                    generation: unit.generation,
                    revision,
                };
                let current = self.snapshot.places.get(name).and_then(|p| p.get(machine));
                if current != Some(&placement) {
                    decisions.push(Decision::Place {
                        machine: machine.clone(),
                        unit: name.clone(),
                        placement,
                        unit_revision: unit.revision,
                        machine_created: self
                            .snapshot
                            .machines
                            .get(machine)
                            .map_or(0, |m| m.created),
                    });
                }
                if placed.is_none()
                    && let Some(count) = load.get_mut(machine)
                {
                    *count += 1;
                }
            }
            if !decisions.is_empty() {
                plan.moves.push(Move { unit: name.clone(), decisions });
            }
        }
        for (name, places) in &self.snapshot.places {
            if !self.snapshot.units.contains_key(name) {
                let decisions = places.iter().map(|(machine, placement)| Decision::Remove {
                    machine: machine.clone(),
                    unit: name.clone(),
                    revision: placement.revision,
                    unit_revision: None,
                });
                plan.moves.push(Move { unit: name.clone(), decisions: decisions.collect() });
            }
        }
        plan
    }

    /// Why a unit is not placed, as of the last plan; `None` if it is or need not be.
    pub fn explain(&self, unit: &UnitName) -> Option<Refusal> {
        let wanted = self.snapshot.units.get(unit)?;
        if wanted.desired == DesiredState::Inactive || unit.is_template() {
            return None;
        }
        let reason = self.snapshot.machines.is_empty().then_some(UnitReason::NoMachines)?;
        Some(Refusal { unit: Some(reason), machines: Vec::new() })
    }

    /// What would become of these units were they launched now, everything else as it is: in order, each seeing those
    /// admitted before it. Only refusals are named; no trace is left.
    pub fn admit(&mut self, wanted: &[Candidate]) -> BTreeMap<UnitName, Refusal> {
        let none = self.snapshot.machines.is_empty();
        let refusal = || Refusal { unit: Some(UnitReason::NoMachines), machines: Vec::new() };
        wanted.iter().filter(|_| none).map(|c| (c.name.clone(), refusal())).collect()
    }
}
