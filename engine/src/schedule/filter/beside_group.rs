//! `MachineOf=` another unit: beside the group that this makes of them.
//!
//! Owns the reason only. A group is placed as one: every filter is asked for each member, so that the tie itself has no set of
//! machines of its own.

use muster_common::refusal::MachineReason;

use crate::schedule::index::Index;
use crate::schedule::table::{MachineKey, UnitKey};

/// The place where the rest of a unit's group is, or is about to be, and a member that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupHome {
    pub(crate) machine: MachineKey,
    pub(crate) member: UnitKey,
}

/// The reason why a machine other than the home of the unit's group does not take it: a leader of its own that is at home, or
/// else the member that is.
pub(crate) fn explain_beside_group(
    index: &Index,
    unit: UnitKey,
    machine: MachineKey,
    home: GroupHome,
) -> Option<MachineReason> {
    if home.machine == machine {
        return None;
    }
    let is_home = |name: &&_| {
        let known = index.unit_keys.get(*name);
        known.is_some_and(|leader| index.is_or_comes_to(*leader, home.machine))
    };
    let leader = index.leaders_of(unit).find(is_home);
    let leader = leader.unwrap_or(&index.units[home.member].name);
    Some(MachineReason::NotBeside { unit: leader.clone() })
}
