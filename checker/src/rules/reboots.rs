//! Slots of rolling reboots, and records about hosts that are gone.

use std::collections::BTreeSet;

use muster_common::machine::MachineId;
use muster_common::reboot::{Holder, HolderKind};

use crate::picture::RecordPicture;
use crate::violation::Violation;

/// Seconds for which a slot may be held without a word: the slowest hosts take minutes to come back from a reboot, and a drain has
/// a limit of its own.
const LONG: u64 = 3600;

/// Nobody holds two slots of a group, or one for long, and no more are held than there are.
pub(super) fn check_slots(records: &RecordPicture, wall: u64, found: &mut Vec<Violation>) {
    for (group, semaphore) in &records.groups {
        let mut seen = BTreeSet::new();
        for holder in &semaphore.holders {
            if !seen.insert(&holder.id) {
                let holder = holder.id.clone();
                found.push(Violation::SlotTwice { group: group.clone(), holder });
            }
            let held = wall.saturating_sub(holder.since);
            if holder.since > 0 && held >= LONG {
                let (group, id) = (group.clone(), holder.id.clone());
                found.push(Violation::HeldForLong { group, holder: id, hours: held / 3600 });
            }
            if is_of_nobody(records, holder) {
                let (group, id) = (group.clone(), holder.id.clone());
                found.push(Violation::SlotOfNobody { group, holder: id });
            }
        }
        // One that is lowered below its holders evicts nobody, so that this is no proof of a grant too many.
        let (holders, max) = (semaphore.holders.len(), semaphore.max);
        if holders > usize::try_from(max).unwrap_or(usize::MAX) {
            found.push(Violation::SlotsAboveMax { group: group.clone(), holders, max });
        }
    }
}

/// A host of Muster that neither registers nor has ever said how far it is.
fn is_of_nobody(records: &RecordPicture, holder: &Holder) -> bool {
    let machine: Option<MachineId> = holder.id.as_str().parse().ok();
    holder.kind == HolderKind::Host
        && machine.is_none_or(|machine| {
            !records.is_known(&machine) && !records.hosts.contains_key(&machine)
        })
}

/// Records about the reboots of machines that neither belong to the cluster nor hold a slot.
pub(super) fn check_leftovers(records: &RecordPicture, found: &mut Vec<Violation>) {
    let holds_slot = |machine: &MachineId| {
        let mut holders = records.groups.values().flat_map(|group| &group.holders);
        holders.any(|holder| holder.id.as_str() == machine.as_str())
    };
    let is_gone = |machine: &MachineId| !records.is_known(machine) && !holds_slot(machine);
    for machine in records.hosts.keys().filter(|machine| is_gone(machine)) {
        let key = format!("reboot-host/{machine}");
        found.push(Violation::RebootOfNobody { machine: machine.clone(), key });
    }
    for machine in records.requests.keys().filter(|machine| is_gone(machine)) {
        let key = format!("reboot-request/{machine}");
        found.push(Violation::RebootOfNobody { machine: machine.clone(), key });
    }
}
