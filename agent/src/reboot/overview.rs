//! The overview of reboots: the records of the store, as the contract has them.
//!
//! Owns what belongs to a group. Pure: it reads nothing and decides nothing.

use muster_common::api::reboot::{GroupSlots, RebootHost, RebootWish, Reboots};
use muster_common::machine::MachineId;
use muster_common::reboot::Group;
use muster_store::RebootRecords;

/// There is no group of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no reboot group {0}")]
pub struct UnknownGroup(pub Group);

/// All that is known, or what is known of one group, as the daemon of `machine` tells it. A group whose record cannot be
/// read is there, among the unreadable records.
pub fn reboots_overview(
    machine: &MachineId,
    records: &RebootRecords,
    group: Option<&Group>,
) -> Result<Reboots, UnknownGroup> {
    if let Some(group) = group
        && !records.groups.contains_key(group)
        && !records.unreadable.iter().any(|record| record.key == format!("reboot/{group}"))
    {
        return Err(UnknownGroup(group.clone()));
    }
    let wanted = |name: &Group| group.is_none_or(|group| group == name);
    let group_of = |machine: &MachineId| records.hosts.get(machine).map(|host| &host.group);
    let groups = records.groups.iter().filter(|(name, _)| wanted(name));
    let hosts = records.hosts.iter().filter(|(_, status)| wanted(&status.group));
    let requests = records.requests.iter().filter(|(id, _)| group_of(id).is_none_or(wanted));
    Ok(Reboots {
        machine: machine.clone(),
        group: None,
        revision: records.revision,
        groups: groups.map(|(name, slots)| GroupSlots::new(name.clone(), slots.clone())).collect(),
        hosts: hosts
            .map(|(id, status)| RebootHost { machine: id.clone(), status: status.clone() })
            .collect(),
        requests: requests
            .map(|(id, request)| RebootWish { machine: id.clone(), request: request.clone() })
            .collect(),
        unreadable: records.unreadable.clone(),
        machines: Vec::new(),
    })
}
