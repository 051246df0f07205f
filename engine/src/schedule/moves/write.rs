//! What is written to the store.
//!
//! Owns the wording of decisions: which records a decision overwrites or removes, and which revisions it rests on. Where
//! a unit goes is decided elsewhere ([`crate::schedule::pass`], [`super::handover`]).

use muster_common::decision::Decision;
use muster_common::machine::MachineId;
use muster_common::snapshot::{Handover, Placement};
use muster_common::state::DesiredState;
use muster_common::unit::FileHash;

use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl PlanPass<'_> {
    /// The decisions that leave a unit on this machine alone.
    pub(crate) fn decisions_to_be_on(&self, unit: UnitKey, machine: MachineKey) -> Vec<Decision> {
        let mut decisions = self.remove_decisions(unit, |at| at != machine);
        decisions.extend(self.place_decision(unit, machine));
        decisions
    }

    pub(crate) fn remove_decisions(
        &self,
        unit: UnitKey,
        from: impl Fn(MachineKey) -> bool,
    ) -> Vec<Decision> {
        let row = &self.index.units[unit];
        row.places
            .iter()
            .filter(|place| from(place.machine))
            .map(|place| Decision::Remove {
                machine: self.id(place.machine),
                unit: row.name.clone(),
                revision: place.placement.revision,
                unit_revision: row.record.as_ref().map_or(0, |record| record.revision),
                leaving: self.index.leaving_revision(place.machine),
            })
            .collect()
    }

    /// The decision that makes the placement say what the user wants; none when it does. It has no part in a move, but
    /// remembers where the unit was tried in vain while its machine is drained.
    pub(crate) fn place_decision(&self, unit: UnitKey, machine: MachineKey) -> Option<Decision> {
        self.place_decision_as(unit, machine, self.remembered_tries(unit, machine))
    }

    /// The same, with the part that the placement has in a move.
    pub(crate) fn place_decision_as(
        &self,
        unit: UnitKey,
        machine: MachineKey,
        handover: Handover,
    ) -> Option<Decision> {
        let file = self.index.units[unit].record.as_ref()?.file;
        self.decision_for(unit, machine, file, handover)
    }

    /// The decision that makes a placement say what the user wants, and leaves its part in a move as it is.
    pub(crate) fn update_decision(
        &self,
        unit: UnitKey,
        machine: MachineKey,
        file: FileHash,
    ) -> Option<Decision> {
        let now = self.index.units[unit].place_on(machine);
        let handover = now.map(|place| place.placement.handover.clone()).unwrap_or_default();
        self.decision_for(unit, machine, file, handover)
    }

    /// The machines on which the unit was tried in vain, from this one, as long as that tells anything: another file or another
    /// start may go better.
    pub(crate) fn remembered_tries(&self, unit: UnitKey, machine: MachineKey) -> Handover {
        let row = &self.index.units[unit];
        let kept = row.place_on(machine).zip(row.record.as_ref()).filter(|(place, record)| {
            self.index.draining.contains(&machine)
                && place.placement.file == record.file
                && place.placement.generation == record.generation
        });
        let tried = kept.map(|(place, _)| place.placement.handover.tried.clone());
        Handover { takes_over: None, tried: tried.unwrap_or_default() }
    }

    fn decision_for(
        &self,
        unit: UnitKey,
        machine: MachineKey,
        file: FileHash,
        handover: Handover,
    ) -> Option<Decision> {
        let row = &self.index.units[unit];
        let record = row.record.as_ref()?;
        let now = row.place_on(machine).map(|place| &place.placement);
        // Whatever is left on a machine when its drain ends by force is stopped there; a job is not taken from it.
        let stopped = self.index.is_forced(machine) && self.index.begun_job(unit) == Some(machine);
        let placement = Placement {
            file,
            desired: if stopped { DesiredState::Loaded } else { record.desired },
            generation: record.generation,
            handover,
            revision: now.map_or(0, |placement| placement.revision),
        };
        if now == Some(&placement) {
            return None;
        }
        Some(Decision::Place {
            machine: self.id(machine),
            unit: row.name.clone(),
            placement,
            unit_revision: record.revision,
            machine_created: self.index.machines[machine].record.as_ref().map_or(0, |m| m.created),
            cordon: self.index.machines[machine].cordon.as_ref().map_or(0, |c| c.revision),
        })
    }

    pub(crate) fn id(&self, machine: MachineKey) -> MachineId {
        self.index.machines[machine].id.clone()
    }
}
