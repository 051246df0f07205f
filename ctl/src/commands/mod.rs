//! The commands, one function each: ask, wait, print. A command returns the exit code.

mod backup;
mod change;
mod completions;
mod cordon;
mod destroy;
mod doctor;
mod drain;
mod fd_forward;
mod filter;
mod forget;
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

use crate::cli::{Cli, Command, Global};
use crate::error::Error;
use crate::output::console::Console;
use crate::request_log::RequestLog;
use crate::ssh::SshOptions;
use crate::tunnel::Tunnel;
use http::header::USER_AGENT;
use muster_client::{Client, HeaderValue, Limits, Route};

/// Time for which a command goes on when its tunnel breaks: what has all its answers, or was interrupted, ends by itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Carries out the command: behind a tunnel, if one is wanted and the command asks a daemon.
pub(crate) async fn run(cli: Cli, console: &mut Console) -> Result<ExitCode, Error> {
    let Cli { global, command, .. } = cli;
    match &command {
        Command::FdForward { socket } => return fd_forward::run(socket).await,
        Command::Version => return verify::print_version(console),
        Command::Completions { shell } => return completions::print_completions(console, *shell),
        Command::Man { directory } => return manual::write_manual(directory),
        _ => {}
    }
    let settings = SshOptions {
        username: global.ssh_username.clone(),
        timeout: global.ssh_timeout,
        strict: global.strict_host_key_checking,
        known_hosts: global.known_hosts_file.clone(),
    };
    let Some(host) = &global.tunnel else {
        let client = build_client(&global, global.endpoint.0.iter().cloned().map(Route::from));
        return match run_asking(command, &global, &client, &settings, console).await? {
            CommandEnd::Code(code) => Ok(code),
            CommandEnd::Connection(connection) => Err(connection.become_ssh()),
        };
    };
    let endpoints = &global.endpoint.0;
    let mut tunnel =
        Tunnel::open(&settings, host, endpoints, global.notice_limit(), console).await?;
    let client = build_client(&global, tunnel.routes_through());
    let carried = {
        let mut asked = std::pin::pin!(run_asking(command, &global, &client, &settings, console));
        tokio::select! {
            biased;
            carried = &mut asked => carried,
            broke = tunnel.wait_until_broken() => match tokio::time::timeout(LAST_WORDS, asked).await {
                Ok(Err(Error::Client(_))) | Err(_) => Err(broke.into()),
                Ok(carried) => carried,
            },
        }
    };
    // Where it was broken off, what became of units before that is told as well.
    console.end_progress();
    console.print_results()?;
    tunnel.close().await;
    match carried? {
        CommandEnd::Code(code) => Ok(code),
        CommandEnd::Connection(connection) => Err(connection.become_ssh()),
    }
}

/// A client as the command line wants it.
fn build_client(global: &Global, routes: impl IntoIterator<Item = Route>) -> Client {
    // The time for a request is all there is: whoever asks one daemon waits for it, however long it takes to connect.
    let limits = Limits::default().with_connect(None).with_request(global.request_timeout);
    let name = HeaderValue::from_static(concat!("musterctl/", env!("CARGO_PKG_VERSION")));
    let log = Arc::new(RequestLog { debug: global.debug });
    Client::new(routes, limits)
        .with_header(USER_AGENT, name)
        .with_observer(log, global.notice_limit())
}

/// The end of a command.
enum CommandEnd {
    /// It is done.
    Code(ExitCode),
    /// All that is left is a connection to be made, once the way to the daemon is not needed any more.
    Connection(ssh::SshConnection),
}

/// Carries out a command that asks a daemon.
async fn run_asking(
    command: Command,
    global: &Global,
    client: &Client,
    settings: &SshOptions,
    console: &mut Console,
) -> Result<CommandEnd, Error> {
    if let Command::Ssh(args) = &command {
        let prepared =
            ssh::prepare_connection(client, settings, global.tunnel.as_ref(), args).await;
        return prepared.map(CommandEnd::Connection);
    }
    let ended = match command {
        Command::Submit(args) => change::submit_units(client, console, &args).await,
        Command::Load(args) => change::load_units(client, console, &args).await,
        Command::Start(args) => change::start_units(client, console, &args).await,
        Command::Stop(args) => change::stop_units(client, console, &args).await,
        Command::Unload(args) => change::unload_units(client, console, &args).await,
        Command::Restart(args) => change::restart_units(client, console, &args).await,
        Command::Destroy(args) => destroy::run(client, console, &args).await,
        Command::Cat { units } => show::print_files(client, console, &units).await,
        Command::Status { units, machine, .. } => {
            show::print_status(client, console, &units, machine.as_deref()).await
        }
        Command::Journal(args) => journal::run(client, console, &args).await,
        Command::ListUnits(args) => lists::list_units(client, console, &args).await,
        Command::ListUnitFiles(args) => lists::list_unit_files(client, console, &args).await,
        Command::ListMachines(args) => lists::list_machines(client, console, &args).await,
        Command::Cordon(args) => cordon::cordon_machine(client, console, &args).await,
        Command::Uncordon(args) => cordon::uncordon_machine(client, console, &args).await,
        Command::Drain(args) => drain::run(client, console, &args).await,
        Command::Forget(args) => forget::forget_machine(client, console, &args).await,
        Command::Reboot(args) => reboot::run(client, console, &args).await,
        Command::Doctor(args) => doctor::run(client, console, &args).await,
        Command::Plan => scheduler::print_plan(client, console).await,
        Command::Unfreeze => scheduler::unfreeze_engine(client).await,
        Command::Export(args) => backup::export_records(client, console, &args).await,
        Command::Import(args) => backup::import_records(client, console, &args).await,
        Command::Verify { units } => verify::run(client, console, &units).await,
        Command::Ssh(_)
        | Command::FdForward { .. }
        | Command::Version
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(ExitCode::SUCCESS),
    };
    // What became of units before a failure is told as well.
    console.print_results()?;
    ended.map(CommandEnd::Code)
}
