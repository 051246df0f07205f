//! The commands, one function each: ask, wait, print. A command returns the exit code.

mod backup;
mod change;
mod completions;
mod cordon;
mod destroy;
mod drain;
mod fd_forward;
mod filter;
mod journal;
mod lists;
mod manual;
mod reboot;
mod scheduler;
mod show;
mod ssh;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use muster_client::{Client, HeaderValue, Limits, Route};
use muster_common::text::FreeText;

use crate::cli::{Cli, Command, Global};
use crate::error::Error;
use crate::output::console::Console;
use crate::request_log::RequestLog;
use crate::ssh::Settings;
use crate::tunnel::Tunnel;

/// How long a command goes on when its tunnel breaks: what has all its answers, or was interrupted, ends by itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Carries out the command: behind a tunnel, if one is wanted and the command asks a daemon.
pub(crate) async fn run(cli: Cli, console: &mut Console) -> Result<ExitCode, Error> {
    let Cli { global, command, .. } = cli;
    match &command {
        Command::FdForward { socket } => return fd_forward::run(socket).await,
        Command::Version => return verify::version(console),
        Command::Completions { shell } => return completions::print(console, *shell),
        Command::Man { directory } => return manual::write(directory),
        _ => {}
    }
    let settings = Settings {
        username: global.ssh_username.clone(),
        timeout: global.ssh_timeout,
        strict: global.strict_host_key_checking,
        known_hosts: global.known_hosts_file.clone(),
    };
    let Some(host) = &global.tunnel else {
        let client = client(&global, global.endpoint.0.iter().cloned().map(Route::from));
        return match asked(command, &global, &client, &settings, console).await? {
            Carried::Out(code) => Ok(code),
            Carried::Connection(connection) => Err(connection.make()),
        };
    };
    let endpoints = &global.endpoint.0;
    let mut tunnel = Tunnel::open(&settings, host, endpoints, global.notice(), console).await?;
    let client = client(&global, tunnel.routes());
    let carried = {
        let mut asked = std::pin::pin!(asked(command, &global, &client, &settings, console));
        tokio::select! {
            biased;
            carried = &mut asked => carried,
            broke = tunnel.broken() => match tokio::time::timeout(LAST_WORDS, asked).await {
                Ok(Err(Error::Client(_))) | Err(_) => Err(broke.into()),
                Ok(carried) => carried,
            },
        }
    };
    // Where it was broken off, what became of units before that is told as well.
    console.end_progress();
    console.finish()?;
    tunnel.close().await;
    match carried? {
        Carried::Out(code) => Ok(code),
        Carried::Connection(connection) => Err(connection.make()),
    }
}

/// A client as the command line wants it.
fn client(global: &Global, routes: impl IntoIterator<Item = Route>) -> Client {
    // The time for a request is all there is: whoever asks one daemon waits for it, however long it takes to connect.
    let limits = Limits::default().with_connect(None).with_request(global.request_timeout);
    let name = HeaderValue::from_static(concat!("musterctl/", env!("CARGO_PKG_VERSION")));
    let log = Arc::new(RequestLog { debug: global.debug });
    Client::new(routes, limits).with_header(USER_AGENT, name).with_observer(log, global.notice())
}

/// What became of a command.
enum Carried {
    /// It is done.
    Out(ExitCode),
    /// All that is left is a connection to be made, once the way to the daemon is not needed any more.
    Connection(ssh::Connection),
}

/// Carries out a command that asks a daemon.
async fn asked(
    command: Command,
    global: &Global,
    client: &Client,
    settings: &Settings,
    console: &mut Console,
) -> Result<Carried, Error> {
    if let Command::Ssh(args) = &command {
        let prepared = ssh::prepare(client, settings, global.tunnel.as_ref(), args).await;
        return prepared.map(Carried::Connection);
    }
    let ended = match command {
        Command::Submit(args) => change::submit(client, console, &args).await,
        Command::Load(args) => change::load(client, console, &args).await,
        Command::Start(args) => change::start(client, console, &args).await,
        Command::Stop(args) => change::stop(client, console, &args).await,
        Command::Unload(args) => change::unload(client, console, &args).await,
        Command::Restart(args) => change::restart(client, console, &args).await,
        Command::Destroy(args) => destroy::run(client, console, &args).await,
        Command::Cat { units } => show::cat(client, console, &units).await,
        Command::Status { units, machine, .. } => {
            show::status(client, console, &units, machine.as_deref()).await
        }
        Command::Journal(args) => journal::run(client, console, &args).await,
        Command::ListUnits(args) => lists::units(client, console, &args).await,
        Command::ListUnitFiles(args) => lists::unit_files(client, console, &args).await,
        Command::ListMachines(args) => lists::machines(client, console, &args).await,
        Command::Cordon(args) => cordon::cordon(client, console, &args).await,
        Command::Uncordon(args) => cordon::uncordon(client, console, &args).await,
        Command::Drain(args) => drain::run(client, console, &args).await,
        Command::Reboot(args) => reboot::run(client, console, &args).await,
        Command::Plan => scheduler::plan(client, console).await,
        Command::Unfreeze => scheduler::unfreeze(client).await,
        Command::Export(args) => backup::export(client, console, &args).await,
        Command::Import(args) => backup::import(client, console, &args).await,
        Command::Verify { units } => verify::run(client, console, &units).await,
        Command::Ssh(_)
        | Command::FdForward { .. }
        | Command::Version
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(ExitCode::SUCCESS),
    };
    // What became of units before a failure is told as well.
    console.finish()?;
    ended.map(Carried::Out)
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
