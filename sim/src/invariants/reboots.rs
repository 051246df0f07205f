//! Reboots: no grant takes a group above its slots, and no machine goes down without one.

use muster_common::reboot::{HostStatus, Phase, Semaphore};
use muster_store::KeyChange;

use super::Findings;
use crate::facts::Facts;
use crate::machine::PREFIX;
use crate::plan::shape::Shape;

/// Checks the slots that have changed, and takes note of them.
pub(crate) fn check_slots(facts: &mut Facts, changes: &[KeyChange]) -> Findings {
    let mut found = Findings::new();
    for change in changes {
        let group = change.key().strip_prefix(PREFIX).and_then(|key| key.strip_prefix("reboot/"));
        let Some(group) = group else { continue };
        let is = match change {
            KeyChange::Put(record) => serde_json::from_slice::<Semaphore>(&record.value).ok(),
            KeyChange::Delete { .. } => None,
        };
        let is = is.unwrap_or_default();
        let was = facts.slots.insert(group.to_owned(), is.clone()).unwrap_or_default();
        let (before, now) = (was.holders.len(), is.holders.len());
        if now > before && now > usize::try_from(is.max).unwrap_or(usize::MAX) {
            let text = format!("{now} hold slots of {group}, which has {}", is.max);
            found.push(("slots-above-max", text));
        }
        for holder in &is.holders {
            let times = is.holders.iter().filter(|other| other.id == holder.id).count();
            let known = Shape::machine_number(holder.id.as_str())
                .is_some_and(|_| facts.machines.contains_key(holder.id.as_str()));
            if times > 1 || !known {
                let text = format!("{} holds {times} slots of {group}", holder.id);
                found.push(("slot-of-nobody", text));
            }
        }
    }
    found
}

/// Finds slots of machines that have nothing to do with a reboot: they are to be given back.
pub(crate) fn check_holders(facts: &Facts) -> Findings {
    let mut found = Findings::new();
    for holder in facts.slots.values().flat_map(|slots| &slots.holders) {
        let status = facts.find_record(&format!("reboot-host/{}", holder.id));
        let status = status.and_then(|record| serde_json::from_slice(&record.value).ok());
        let phase = status.map_or(Phase::Idle, |status: HostStatus| status.phase);
        if phase == Phase::Idle {
            let text = format!("{} holds a slot, and nothing is done for it", holder.id);
            found.push(("slot-kept", text));
        }
    }
    found
}

/// Checks that a machine which goes down for a reboot of its own holds a slot.
pub(crate) fn check_reboot(facts: &Facts, machine: usize) -> Findings {
    let name = Shape::machine_name(machine);
    let mut holders = facts.slots.values().flat_map(|slots| &slots.holders);
    if holders.any(|holder| holder.id.as_str() == name) {
        return Findings::new();
    }
    vec![("rebooted-without-slot", format!("{name} reboots and holds no slot"))]
}
