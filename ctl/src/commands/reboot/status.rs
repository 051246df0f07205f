//! `reboot status`.

use std::fmt::Write as _;
use std::process::ExitCode;

use muster_common::api::reboot::{GroupSlots, RebootHost, RebootWish, Reboots};
use muster_common::machine::MachineId;
use muster_common::reboot::{
    DueReason, Group, Holder, HolderKind, HostStatus, Phase, Request, WaitReason,
};
use muster_common::snapshot::Unreadable;
use serde::Serialize;

use super::names::{existing_slots, holder_label, machine_label};
use crate::error::Error;
use crate::output::console::Console;
use crate::output::{json, table, time};

/// The JSON form: one group, with all that belongs to it.
#[derive(Serialize)]
struct GroupStatus<'a> {
    group: &'a Group,
    max: u32,
    available: u32,
    holders: &'a [Holder],
    hosts: Vec<&'a RebootHost>,
    requests: Vec<&'a RebootWish>,
    /// The names of all groups there are.
    groups: Vec<&'a Group>,
    #[serde(skip_serializing_if = "<[Unreadable]>::is_empty")]
    unreadable: &'a [Unreadable],
}

/// Shows the slots of a group and how far its hosts are.
pub(super) fn run(console: &Console, known: &Reboots, group: &Group) -> Result<ExitCode, Error> {
    let Some(slots) = existing_slots(known, group)? else {
        let key = format!("reboot/{group}");
        let record = known.unreadable.iter().find(|record| record.key == key);
        return Err(Error::Record(
            record
                .map_or(key.clone(), |record| format!("{key} cannot be read: {}", record.problem)),
        ));
    };
    let hosts = known.hosts.iter().filter(|host| host.status.group == *group);
    let hosts: Vec<&RebootHost> = hosts.collect();
    let requests: Vec<&RebootWish> =
        known.requests.iter().filter(|wish| is_of(known, group, &wish.machine)).collect();
    if console.is_json() {
        let shown = GroupStatus {
            group,
            max: slots.max,
            available: slots.available,
            holders: &slots.holders,
            hosts,
            requests,
            groups: known.groups.iter().map(|slots| &slots.name).collect(),
            unreadable: &known.unreadable,
        };
        console.print_data(&json::pretty_json(&shown)?)?;
    } else {
        let mut text = locksmith_lines(slots);
        let rows = status_rows(known, slots, &hosts, &requests, time::now());
        if !rows.is_empty() {
            let legend = ["HOST", "SLOT SINCE", "PHASE", "PHASE SINCE", "WHY"];
            let legend = legend.map(str::to_owned).to_vec();
            let table: Vec<Vec<String>> = std::iter::once(legend).chain(rows).collect();
            let _ = write!(text, "\n{}", table::lay_out(&table));
        }
        console.print_text(&text)?;
    }
    for record in &known.unreadable {
        console.print_warning(format_args!(
            "the record {} cannot be read: {}",
            record.key, record.problem
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns whether a request is shown with a group: its host's, or `default` while the host has not said which is its.
fn is_of(known: &Reboots, group: &Group, machine: &MachineId) -> bool {
    let host = known.hosts.iter().find(|host| host.machine == *machine);
    host.map_or(group.is_default(), |host| host.status.group == *group)
}

/// The lines that locksmithctl prints, to the letter: scripts read them.
fn locksmith_lines(slots: &GroupSlots) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", slots.available, slots.max);
    if !slots.holders.is_empty() {
        text.push_str("\nMACHINE ID\n");
    }
    for holder in &slots.holders {
        let _ = writeln!(text, "{}", holder.id);
    }
    text
}

/// Returns a row for each: who holds a slot, then who is about to, then who was asked to and says nothing.
fn status_rows(
    known: &Reboots,
    slots: &GroupSlots,
    hosts: &[&RebootHost],
    requests: &[&RebootWish],
    now: u64,
) -> Vec<Vec<String>> {
    let holds =
        |host: &RebootHost| slots.holders.iter().any(|h| h.id.as_str() == host.machine.as_str());
    let asked = |id: &MachineId| requests.iter().find(|wish| wish.machine == *id);
    let holders = slots.holders.iter().map(|holder| {
        let host = hosts.iter().find(|host| host.machine.as_str() == holder.id.as_str());
        let (phase, since, why) = match host {
            Some(host) => phase_cells(&host.status, now),
            None => ("-".to_owned(), "-".to_owned(), holder_remark(holder.kind)),
        };
        // A host that is gone keeps its slot: that has to be seen.
        let away = holder.kind == HolderKind::Host && !is_here(known, holder);
        let why = match (away, why.as_str()) {
            (false, _) => why,
            (true, "-") => "it is not registered now".to_owned(),
            (true, why) => format!("it is not registered now; {why}"),
        };
        vec![
            holder_label(known, &holder.id),
            time::format_since(holder.since, now),
            phase,
            since,
            why,
        ]
    });
    let due = hosts.iter().filter(|host| !holds(host)).filter(|host| {
        !matches!(host.status.phase, Phase::Idle | Phase::Unknown) || asked(&host.machine).is_some()
    });
    let due = due.map(|host| {
        let (phase, since, mut why) = phase_cells(&host.status, now);
        if let (Phase::Idle, Some(wish)) = (host.status.phase, asked(&host.machine)) {
            why = wish_told(wish);
        }
        vec![machine_label(known, &host.machine), "-".to_owned(), phase, since, why]
    });
    let silent = requests
        .iter()
        .filter(|wish| !hosts.iter().any(|host| host.machine == wish.machine))
        .map(|wish| {
            let why = format!("{}; it never said how far it is", wish_told(wish));
            let none = || "-".to_owned();
            vec![machine_label(known, &wish.machine), none(), none(), none(), why]
        });
    holders.chain(due).chain(silent).collect()
}

fn is_here(known: &Reboots, holder: &Holder) -> bool {
    known.machines.iter().any(|machine| machine.id.as_str() == holder.id.as_str())
}

/// Returns the remark on a holder that tells nothing of itself.
fn holder_remark(kind: HolderKind) -> String {
    match kind {
        HolderKind::FleetLock => "a FleetLock client".to_owned(),
        HolderKind::Person => "taken by hand".to_owned(),
        _ => "-".to_owned(),
    }
}

fn wish_told(wish: &RebootWish) -> String {
    let Request { by, at, because, method } = wish.request.clone();
    DueReason::Requested { by, at, because, method }.to_string()
}

/// A host's phase, since when, and why it does not go on, or why its reboot is due.
fn phase_cells(status: &HostStatus, now: u64) -> (String, String, String) {
    let waits: Vec<String> = status.waits.iter().map(|wait| wait_text(wait, now)).collect();
    let due: Vec<String> = status.due.iter().map(ToString::to_string).collect();
    let why = if waits.is_empty() { due } else { waits };
    (
        status.phase.to_string(),
        time::format_since(status.since, now),
        table::or_dash(&why.join("; ")),
    )
}

/// Returns the reason why a host waits, and until when.
pub(super) fn wait_text(wait: &WaitReason, now: u64) -> String {
    match wait.ends_at() {
        Some(until) => format!("{wait}, until {}", time::format_since(until, now)),
        None => wait.to_string(),
    }
}
