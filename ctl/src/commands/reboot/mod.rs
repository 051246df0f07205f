//! `reboot`: slots and who holds them, and machines that are asked to reboot. The commands are locksmithctl's where it has
//! them.

mod history;
mod names;
mod requests;
mod slots;
mod status;
mod waiting;

use std::process::ExitCode;

use muster_client::Client;
use muster_common::api::reboot::Reboots;
use muster_common::reboot::Group;

use crate::cli::reboot::{RebootArgs, RebootCommand};
use crate::error::Error;
use crate::output::console::Console;

/// Carries the command out.
pub(super) async fn run(
    client: &Client,
    console: &mut Console,
    args: &RebootArgs,
) -> Result<ExitCode, Error> {
    if let (Some(group), RebootCommand::SetMax { max }) = (&args.group, &args.command) {
        return slots::set_max(client, console, group, *max).await;
    }
    let known: Reboots = client.get("/v1/reboot").await?;
    let given = args.group.as_ref();
    let meant = |machine: Option<&str>| group_meant(&known, given, machine);
    let (group, own) = match &args.command {
        RebootCommand::Lock(args) => meant(args.id.as_deref()),
        RebootCommand::Unlock { id } => meant(id.as_deref()),
        _ => meant(None),
    };
    let group = &group;
    if let Some(whose) = own.filter(|_| is_about_group(&args.command)) {
        console.print_note(format_args!("group {group}, that of {whose}; `--group` names another"));
    }
    match &args.command {
        RebootCommand::Status => status::run(console, &known, group),
        RebootCommand::Lock(args) => slots::lock_slot(client, console, &known, group, args).await,
        RebootCommand::Unlock { id } => {
            slots::unlock_slot(client, console, &known, group, id.as_deref()).await
        }
        RebootCommand::SetMax { max } => slots::set_max(client, console, group, *max).await,
        RebootCommand::History => history::run(client, console, &known, group).await,
        RebootCommand::Request(args) => {
            requests::request_reboots(client, console, &known, group, args).await
        }
        RebootCommand::Cancel(args) => {
            requests::cancel_requests(client, console, &known, group, args).await
        }
    }
}

/// Returns whether a command does something else in another group.
fn is_about_group(command: &RebootCommand) -> bool {
    match command {
        RebootCommand::Request(args) => args.machines.all,
        RebootCommand::Cancel(args) => args.all,
        _ => true,
    }
}

/// The group that is meant, and whose it is where it was not named and is not the one that everybody is in who has none of
/// its own. That is the group of the machine named, or of the one whose daemon is asked.
fn group_meant(
    known: &Reboots,
    given: Option<&Group>,
    machine: Option<&str>,
) -> (Group, Option<String>) {
    if let Some(given) = given {
        return (given.clone(), None);
    }
    let named = machine.and_then(|given| names::machine_meant(known, given).ok());
    // Somebody who is no machine of the cluster has no group of his own.
    let id = match (machine, named) {
        (Some(_), Some(id)) => id,
        _ => known.machine.clone(),
    };
    let host = known.hosts.iter().find(|host| host.machine == id);
    let own = known.group.clone().filter(|_| id == known.machine);
    let group = own.or(host.map(|host| host.status.group.clone())).unwrap_or_default();
    let whose = if id == known.machine {
        "this machine".to_owned()
    } else {
        names::machine_label(known, &id)
    };
    let whose = (!group.is_default()).then_some(whose);
    (group, whose)
}
