//! The filters in their order, asked as one.
//!
//! Owns which filters there are and which reason comes first. A new filter is a file beside this one and a line in a list here;
//! the reason that it gives is a variant of [`MachineReason`].

use muster_common::refusal::MachineReason;

use super::beside_global::BesideGlobal;
use super::beside_group::{GroupHome, explain_beside_group};
use super::conflicts::Conflicts;
use super::contract::{MachineFilter, NeighborFilter};
use super::machine_id::NamedMachine;
use super::metadata::Metadata;
use super::ready::Ready;
use super::replaces::Replaces;
use super::runner::Runner;
use crate::schedule::index::Index;
use crate::schedule::table::{Bits, ClassKey, MachineKey, UnitKey};

/// Filters that look at the machine alone.
const MACHINE_FILTERS: [&dyn MachineFilter; 4] = [&Ready, &Runner, &NamedMachine, &Metadata];

/// Filters that look for those whom a unit has to be beside.
const TIE_FILTERS: [&dyn NeighborFilter; 1] = [&BesideGlobal];

/// Filters that look for those from whom a unit has to be apart.
const APART_FILTERS: [&dyn NeighborFilter; 2] = [&Conflicts, &Replaces];

fn neighbor_filters() -> impl Iterator<Item = &'static dyn NeighborFilter> {
    TIE_FILTERS.into_iter().chain(APART_FILTERS)
}

impl Index {
    /// The live machines, by position, that alone may have a newcomer of a class.
    pub(crate) fn eligible_machines(&mut self, class: ClassKey) -> &Bits {
        if self.classes.is_outdated(class) {
            let demand = self.classes.demand_of(class);
            let mut eligible = self.live.clone();
            for filter in MACHINE_FILTERS {
                filter.keep_eligible(self, demand, &mut eligible);
            }
            self.classes.set_eligible(class, eligible);
        }
        self.classes.eligible_machines(class)
    }

    /// Adds the machines to a set, by position, where others keep a newcomer away. Those where the unit is itself may be among
    /// them.
    pub(crate) fn add_blocked(&self, unit: UnitKey, blocked: &mut Bits) {
        for filter in neighbor_filters() {
            filter.add_blocked(self, unit, blocked);
        }
    }

    /// True if a unit may come to a machine where it is not.
    pub(crate) fn may_come(&mut self, unit: UnitKey, machine: MachineKey) -> bool {
        self.is_eligible(unit, machine)
            && neighbor_filters().all(|filter| filter.may_come(self, unit, machine))
    }

    /// True if a unit may come to a machine where it is not, were those gone from there that make room for it.
    pub(crate) fn may_take_place(&mut self, unit: UnitKey, machine: MachineKey) -> bool {
        // The last says that it makes room for nobody there itself.
        self.is_eligible(unit, machine)
            && TIE_FILTERS.into_iter().all(|filter| filter.may_come(self, unit, machine))
            && Conflicts.may_come(self, unit, machine)
            && Replaces.may_stay(self, unit, machine)
    }

    fn is_eligible(&mut self, unit: UnitKey, machine: MachineKey) -> bool {
        let Some(class) = self.units[unit].spec_ok().map(|spec| spec.class) else { return false };
        let position = self.machines[machine].position;
        self.eligible_machines(class).contains(position)
    }

    /// True if a unit that is on a machine may stay there.
    pub(crate) fn may_stay(&self, unit: UnitKey, machine: MachineKey) -> bool {
        self.units[unit].spec_ok().is_some()
            && self.is_live(machine)
            && MACHINE_FILTERS.into_iter().all(|filter| filter.may_stay(self, unit, machine))
            && neighbor_filters().all(|filter| filter.may_stay(self, unit, machine))
    }

    /// The first reason why a live machine may not have a unit as a newcomer, if there is one. `home`: where the rest of its group
    /// is.
    pub(crate) fn explain_machine(
        &self,
        unit: UnitKey,
        machine: MachineKey,
        home: Option<GroupHome>,
    ) -> Option<MachineReason> {
        let explain =
            |filter: &'static dyn NeighborFilter| filter.explain_refusal(self, unit, machine);
        MACHINE_FILTERS
            .into_iter()
            .find_map(|filter| filter.explain_refusal(self, unit, machine))
            .or_else(|| TIE_FILTERS.into_iter().find_map(explain))
            .or_else(|| explain_beside_group(self, unit, machine, home?))
            .or_else(|| APART_FILTERS.into_iter().find_map(explain))
    }
}
