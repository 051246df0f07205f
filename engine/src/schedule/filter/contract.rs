//! The questions that every filter answers.
//!
//! Owns the two shapes a filter has. A filter says the same thing in several forms, because planning has to be fast and a person
//! has to be told why: a set of machines, one machine for a newcomer, one machine for a unit that is there, and a reason. That
//! the forms agree is checked ([`super::check`]).

use muster_common::refusal::MachineReason;

use crate::schedule::index::{Index, MachineDemand};
use crate::schedule::table::{Bits, MachineKey, UnitKey};

/// A filter that looks at the machine alone. Units with the same demand share a class, whose set of eligible machines is made
/// once and again only after machines changed.
pub(crate) trait MachineFilter: Sync {
    /// Takes the machines out of a set of live ones, by position, that may not have a newcomer with this demand.
    fn keep_eligible(&self, index: &Index, demand: &MachineDemand, eligible: &mut Bits);

    /// True if a unit may stay on a live machine where it is.
    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool;

    /// The reason why a live machine takes no newcomer such as this unit, if there is one.
    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason>;
}

/// A filter that looks at who is, or is about to be, on the machine.
pub(crate) trait NeighborFilter: Sync {
    /// Adds the machines to a set, by position, that may not have the unit as a newcomer. Machines where the unit is itself may be
    /// among them.
    fn add_blocked(&self, index: &Index, unit: UnitKey, blocked: &mut Bits);

    /// True if the unit may come to a machine where it is not.
    fn may_come(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool;

    /// True if the unit may stay on a machine where it is.
    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool;

    /// The reason why the unit may not come to a machine where it is not, if there is one.
    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason>;
}
