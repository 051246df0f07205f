//! `reboot`: slots and who holds them, and machines that are asked to reboot. The commands are locksmithctl's where it has
//! them.

mod history;
mod names;
mod requests;
mod slots;
mod status;
mod waiting;

use std::process::ExitCode;

use crate::cli::reboot::{RebootArgs, RebootCommand};
use crate::client::Client;
use crate::error::Error;
use crate::output::console::Console;

/// Carries the command out.
pub(super) async fn run(
    client: &Client,
    console: &mut Console,
    args: &RebootArgs,
) -> Result<ExitCode, Error> {
    let group = &args.group;
    match &args.command {
        RebootCommand::Status => status::run(client, console, group).await,
        RebootCommand::Lock(args) => slots::lock(client, console, group, args).await,
        RebootCommand::Unlock { id } => slots::unlock(client, console, group, id.as_deref()).await,
        RebootCommand::SetMax { max } => slots::set_max(client, console, group, *max).await,
        RebootCommand::History => history::run(client, console, group).await,
        RebootCommand::Request(args) => requests::request(client, console, group, args).await,
        RebootCommand::Cancel(args) => requests::cancel(client, console, group, args).await,
    }
}
