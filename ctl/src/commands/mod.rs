//! The commands, one function each: ask, wait, print. A command returns the exit code.

mod backup;
mod change;
mod completions;
mod cordon;
mod destroy;
mod drain;
mod lists;
mod manual;
mod reboot;
mod scheduler;
mod show;

use std::process::ExitCode;

use muster_common::text::FreeText;

use crate::cli::{Cli, Command, Global};
use crate::client::Client;
use crate::error::Error;
use crate::output::console::Console;

/// Carries out the command.
pub(crate) async fn run(cli: Cli, console: &mut Console) -> Result<ExitCode, Error> {
    let Global { endpoint, request_timeout, debug, .. } = cli.global;
    let client = Client::new(endpoint, request_timeout, debug);
    let ended = match cli.command {
        Command::Submit(args) => change::submit(&client, console, &args).await,
        Command::Load(args) => change::load(&client, console, &args).await,
        Command::Start(args) => change::start(&client, console, &args).await,
        Command::Stop(args) => change::stop(&client, console, &args).await,
        Command::Unload(args) => change::unload(&client, console, &args).await,
        Command::Restart(args) => change::restart(&client, console, &args).await,
        Command::Destroy(args) => destroy::run(&client, console, &args).await,
        Command::Cat { unit } => show::cat(&client, console, &unit).await,
        Command::Status { units, machine } => {
            show::status(&client, console, &units, machine.as_deref()).await
        }
        Command::Journal(args) => show::journal(&client, console, &args).await,
        Command::ListUnits(args) => lists::units(&client, console, &args).await,
        Command::ListUnitFiles(args) => lists::unit_files(&client, console, &args).await,
        Command::ListMachines(args) => lists::machines(&client, console, &args).await,
        Command::Cordon(args) => cordon::cordon(&client, console, &args).await,
        Command::Uncordon(args) => cordon::uncordon(&client, console, &args).await,
        Command::Drain(args) => drain::run(&client, console, &args).await,
        Command::Reboot(args) => reboot::run(&client, console, &args).await,
        Command::Plan => scheduler::plan(&client, console).await,
        Command::Unfreeze => scheduler::unfreeze(&client).await,
        Command::Export(args) => backup::export(&client, console, &args).await,
        Command::Import(args) => backup::import(&client, console, &args).await,
        Command::Completions { shell } => completions::print(console, shell),
        Command::Man { directory } => manual::write(&directory),
    };
    // What became of units before a failure is told as well.
    console.finish()?;
    ended
}

/// Who asks, as far as the environment says. Nobody typed it, so it is made to fit rather than refused.
fn user() -> FreeText {
    let named = ["SUDO_USER", "USER"].into_iter().filter_map(|name| std::env::var(name).ok());
    FreeText::fitted(&named.into_iter().find(|name| !name.is_empty()).unwrap_or_default())
}

/// 0 if all went well, 1 otherwise.
fn exit_code(all_well: bool) -> ExitCode {
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
