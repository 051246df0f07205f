//! Which unit and which machines a violation is about.
//!
//! Owns the one place where that is looked up, for lists and for whoever compares two looks.

use std::collections::BTreeSet;

use muster_common::machine::MachineId;
use muster_common::unit::UnitName;

use super::Violation;

impl Violation {
    /// True if it is the one that an earlier look has found: it is of the same kind and about the same, whatever else has
    /// changed about it.
    pub fn is_same_as(&self, earlier: &Self) -> bool {
        let about = |violation: &Self| (violation.unit().cloned(), violation.machines());
        let is_about_some = self.unit().is_some() || !self.machines().is_empty();
        self.as_word() == earlier.as_word()
            && if is_about_some { about(self) == about(earlier) } else { self == earlier }
    }

    /// The unit that it is about, if it is about one.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::PlacedTwice { unit, .. }
            | Self::RunsTwice { unit, .. }
            | Self::TemplatePlaced { unit, .. }
            | Self::ConflictTogether { unit, .. }
            | Self::FileMissing { unit, .. }
            | Self::UnitUnplaced { unit, .. }
            | Self::GlobalMissing { unit, .. }
            | Self::PlacementWithoutMachine { unit, .. }
            | Self::PlacementUnwanted { unit, .. }
            | Self::PlacementOutdated { unit, .. }
            | Self::PlacementUnsuitable { unit, .. }
            | Self::MoveUnfinished { unit, .. }
            | Self::StateOfNobody { unit, .. }
            | Self::StateMissing { unit, .. }
            | Self::NotCarriedOut { unit, .. }
            | Self::StaleState { unit, .. }
            | Self::RunsUnplaced { unit, .. }
            | Self::OwnedUnplaced { unit, .. }
            | Self::OldTextRuns { unit, .. }
            | Self::LastKnownDiffers { unit, .. }
            | Self::UnitWaits { unit, .. }
            | Self::UnitFailed { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// The machines that it is about.
    pub fn machines(&self) -> BTreeSet<MachineId> {
        match self {
            Self::TemplatePlaced { machine, .. }
            | Self::ConflictTogether { machine, .. }
            | Self::OtherCluster { machine, .. }
            | Self::LeaderWithoutLease { machine, .. }
            | Self::LeaderUnaware { machine, .. }
            | Self::MemberMissing { machine, .. }
            | Self::MemberUnlisted { machine, .. }
            | Self::GlobalMissing { machine, .. }
            | Self::PlacementWithoutMachine { machine, .. }
            | Self::PlacementUnwanted { machine, .. }
            | Self::PlacementOutdated { machine, .. }
            | Self::PlacementUnsuitable { machine, .. }
            | Self::MoveUnfinished { machine, .. }
            | Self::StateOfNobody { machine, .. }
            | Self::StateWithoutMachine { machine, .. }
            | Self::StateMissing { machine, .. }
            | Self::NotCarriedOut { machine, .. }
            | Self::StaleState { machine, .. }
            | Self::MachineSilent { machine, .. }
            | Self::MachineUnregistered { machine, .. }
            | Self::MachineTwice { machine, .. }
            | Self::OtherMachineAnswers { machine, .. }
            | Self::ComponentFailed { machine, .. }
            | Self::RunnerUnseen { machine, .. }
            | Self::RunsUnplaced { machine, .. }
            | Self::OwnedUnplaced { machine, .. }
            | Self::OldTextRuns { machine, .. }
            | Self::LastKnownDiffers { machine, .. }
            | Self::UnitFailed { machine, .. }
            | Self::CordonOfNobody { machine, .. }
            | Self::MetadataOfNobody { machine, .. }
            | Self::RebootOfNobody { machine, .. }
            | Self::MachineUnasked { machine, .. }
            | Self::ClockOff { machine, .. } => BTreeSet::from([machine.clone()]),
            Self::PlacedTwice { machines, .. }
            | Self::RunsTwice { machines, .. }
            | Self::LeadsTwice { machines, .. }
            | Self::Frozen { machines, .. }
            | Self::AddressTwice { machines, .. } => machines.clone(),
            _ => BTreeSet::new(),
        }
    }
}
