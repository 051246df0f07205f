//! What follows from the rows of one unit or one machine.
//!
//! Owns the words in which decisions speak of units and machines: live, held, placeable, a job that was begun.

use muster_common::cordon::Cordon;
use muster_common::probe::is_planted;
use muster_common::snapshot::Unit;
use muster_common::state::DesiredState;
use muster_common::unit::FileHash;

use super::classes::MachineDemand;
use super::rows::PlacedOn;
use super::state::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl Index {
    pub(crate) fn is_live(&self, machine: MachineKey) -> bool {
        self.machines[machine].record.is_some()
    }

    /// True if the machine is absent in a way that must not move its units.
    pub(crate) fn is_held(&self, machine: MachineKey) -> bool {
        let row = &self.machines[machine];
        row.record.is_none() && (row.held || row.unreadable)
    }

    /// True if nothing of a unit is left on a machine that goes down, though it is placed there: the machine begins nothing any more, and
    /// takes back what it has said of a unit once that has ended.
    pub(crate) fn is_released(&self, unit: UnitKey, machine: MachineKey) -> bool {
        self.leaving.contains(&machine)
            && self.units[unit].report_of(machine).is_none()
            && !is_planted("leaving-host-keeps-units")
    }

    /// The revision of a machine's registration, if that says that it goes down.
    pub(crate) fn leaving_revision(&self, machine: MachineKey) -> Option<u64> {
        let record = self.machines[machine].record.as_ref()?;
        record.leaving.then_some(record.revision)
    }

    /// True if units have to leave a machine even if no other takes them.
    pub(crate) fn is_forced(&self, machine: MachineKey) -> bool {
        self.machines[machine].cordon.as_ref().is_some_and(Cordon::is_forced)
    }

    /// True if a unit may not run twice at a time: by its file, or by an earlier one that a machine may still run it from. What
    /// an earlier one said is not known once the store has forgotten it, which it does when no unit names it; then it may have
    /// kept data.
    pub(crate) fn is_single(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let Some(good) = row.spec_ok() else { return false };
        let may_keep = |file: FileHash| {
            let known = self.files.get(&file).filter(|file| file.template.is_some());
            known.is_none_or(|file| file.may_keep_data(row.runner_demand()))
        };
        // A global one is meant to run on every machine.
        good.single || (!good.requirements.global && row.earlier_files().any(may_keep))
    }

    /// True if a unit can be decided on: wanted on one machine, and understood.
    pub(crate) fn is_placeable(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        row.is_wanted()
            && row.unreadable_records == 0
            && row.spec_ok().is_some()
            && !row.is_global()
            && self.begun_job(unit).is_none()
    }

    /// The machine where a job may have been begun: it was told to, for the start that is wanted now. Nobody but that machine knows
    /// whether it was, so it is told to no other.
    pub(crate) fn begun_job(&self, unit: UnitKey) -> Option<MachineKey> {
        let row = &self.units[unit];
        let launched = |unit: &&Unit| unit.desired == DesiredState::Launched;
        let record = row.record.as_ref().filter(launched)?;
        row.requirements().filter(|asked| asked.job)?;
        let here = |place: &&PlacedOn| place.placement.generation == record.generation;
        row.places.iter().find(here).map(|place| place.machine)
    }

    /// True if a unit cannot be decided on but is on a live machine and stays there.
    pub(crate) fn is_fixed(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let stays = row.spec_ok().is_none() || self.begun_job(unit).is_some();
        (row.unreadable_records > 0 || (row.is_wanted() && stays))
            && row.places.iter().any(|place| self.is_live(place.machine))
    }

    /// True if a unit is one of those that are on every machine that takes them, and can be decided on.
    pub(crate) fn is_global_leader(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        row.is_wanted() && row.unreadable_records == 0 && row.is_global()
    }

    /// Which record of a unit cannot be read, and why.
    pub(crate) fn unreadable_problem(&self, unit: UnitKey) -> String {
        let name = self.units[unit].name.as_str();
        let of_unit = |key: &str| {
            key.strip_prefix("unit/") == Some(name)
                || key
                    .strip_prefix("place/")
                    .and_then(|rest| rest.split_once('/'))
                    .is_some_and(|(_, unit)| unit == name)
        };
        let found = self.unreadable.iter().find(|(key, _)| of_unit(key));
        found.map(|(key, problem)| format!("its record {key}: {problem}")).unwrap_or_default()
    }

    /// The demand of a unit with a usable file on a machine.
    pub(crate) fn demand_of(&self, unit: UnitKey) -> Option<&MachineDemand> {
        Some(self.classes.demand_of(self.units[unit].spec_ok()?.class))
    }

    /// The machines as a set of positions.
    pub(crate) fn positions_of<'a>(
        &self,
        machines: impl IntoIterator<Item = &'a MachineKey>,
    ) -> Bits {
        machines.into_iter().map(|machine| self.machines[*machine].position).collect()
    }

    /// The machines where a unit is, or will be once the plan at hand is applied.
    pub(crate) fn current_and_planned(
        &self,
        unit: UnitKey,
    ) -> impl Iterator<Item = MachineKey> + '_ {
        let row = &self.units[unit];
        row.places.iter().map(|place| place.machine).chain(row.planned)
    }

    /// True if a unit is on a machine, or will be once the plan at hand is applied.
    pub(crate) fn is_or_comes_to(&self, unit: UnitKey, machine: MachineKey) -> bool {
        let row = &self.units[unit];
        row.planned == Some(machine) || row.place_on(machine).is_some()
    }
}
