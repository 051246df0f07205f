//! Machines and holders as people name them, and as they are shown.
//!
//! Owns which id a person means. It asks nothing.

use muster_common::api::reboot::{GroupSlots, Reboots};
use muster_common::machine::{Machine, MachineId};
use muster_common::reboot::{Group, HolderId};

use crate::error::Error;
use crate::machines::{Candidate, MachineMatch, match_candidates, resolve_machine};
use crate::output::table;

/// All machines that there are or that ever said how far they are.
fn known_machines(known: &Reboots) -> impl Iterator<Item = Candidate<'_>> {
    let silent = known.hosts.iter().map(|host| &host.machine);
    let silent = silent.chain(known.requests.iter().map(|wish| &wish.machine));
    let absent = silent.filter(|id| find_registered(known, id).is_none());
    known
        .machines
        .iter()
        .map(Candidate::from)
        .chain(absent.map(|id| Candidate::with_id_only(id.as_str())))
}

fn find_registered<'a>(known: &'a Reboots, id: &MachineId) -> Option<&'a Machine> {
    known.machines.iter().find(|machine| machine.id == *id)
}

/// The machine that a person means.
pub(super) fn machine_meant(known: &Reboots, given: &str) -> Result<MachineId, Error> {
    resolve_machine(given, known_machines(known))
}

/// The slots of a group that exists. `None`: there is one, but its record cannot be read; the daemon says more of it.
pub(super) fn existing_slots<'a>(
    known: &'a Reboots,
    group: &Group,
) -> Result<Option<&'a GroupSlots>, Error> {
    let slots = known.groups.iter().find(|slots| slots.name == *group);
    let key = format!("reboot/{group}");
    if slots.is_none() && !known.unreadable.iter().any(|record| record.key == key) {
        let names: Vec<&str> = known.groups.iter().map(|slots| slots.name.as_str()).collect();
        return Err(Error::Group { group: group.clone(), groups: names.join(", ") });
    }
    Ok(slots)
}

/// The holder that a person means: a machine, somebody who holds one of these slots, or the text itself.
pub(super) fn holder_meant(
    known: &Reboots,
    slots: Option<&GroupSlots>,
    given: &str,
) -> Result<HolderId, Error> {
    let holders = slots.into_iter().flat_map(|slots| &slots.holders);
    let holders = holders.map(|holder| Candidate::with_id_only(holder.id.as_str()));
    let id = match match_candidates(given, known_machines(known).chain(holders)) {
        MachineMatch::One(id) => id,
        MachineMatch::Nobody => given.to_owned(),
        MachineMatch::Several(many) => return Err(Error::ambiguous_machine(given, many)),
    };
    id.parse().map_err(Error::Holder)
}

/// A machine as tables show it.
pub(super) fn machine_label(known: &Reboots, id: &MachineId) -> String {
    let address = find_registered(known, id).map_or("", |machine| machine.address.as_str());
    table::machine_name(id, address, false)
}

/// A holder as tables show it: a machine's id in short, any other as it is.
pub(super) fn holder_label(known: &Reboots, id: &HolderId) -> String {
    let machines = known.machines.iter().map(|machine| &machine.id);
    let mut machines = machines.chain(known.hosts.iter().map(|host| &host.machine));
    match machines.find(|machine| machine.as_str() == id.as_str()) {
        Some(machine) => machine_label(known, machine),
        None => id.to_string(),
    }
}
