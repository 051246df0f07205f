//! `reboot request` and `reboot cancel`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use muster_client::Client;
use muster_common::api::reboot::{CancelRequest, Cancelled, RebootRequest, Reboots, Requested};
use muster_common::machine::MachineId;
use muster_common::reboot::{Group, HostStatus, Phase, RebootMethod, Strategy};
use muster_common::text::clean_text;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::names::{machine_label, machine_meant};
use super::waiting::{RebootEnd, RebootWait};
use crate::asking_user::asking_user;
use crate::cli::reboot::{MachinesArgs, RequestArgs};
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::follow::{FollowEnd, Followable as _, follow_until_over};
use crate::output::console::Console;
use crate::output::{json, time};

const HINT: &str = "the requests stand; `musterctl reboot status` shows how far the machines are, `reboot cancel` takes them back";

/// An answer as it is printed as JSON, with what became of it if that was waited for.
#[derive(Serialize)]
struct RequestRow<'a> {
    #[serde(flatten)]
    answer: &'a Requested,
    /// `rebooted`, `cancelled`, or `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
}

impl<'a> RequestRow<'a> {
    fn new(answer: &'a Requested, ended: Option<&BTreeMap<MachineId, RebootEnd>>) -> Self {
        let result = ended.map(|ended| match ended.get(&answer.id) {
            Some(RebootEnd::Rebooted) => "rebooted",
            Some(RebootEnd::Cancelled) => "cancelled",
            None => "pending",
        });
        Self { answer, result }
    }
}

/// Asks machines to reboot.
pub(super) async fn request_reboots(
    client: &Client,
    console: &mut Console,
    known: &Reboots,
    group: &Group,
    args: &RequestArgs,
) -> Result<ExitCode, Error> {
    let mut answers: Vec<Requested> = Vec::new();
    for id in wanted_machines(known, group, &args.machines)? {
        let request = RebootRequest {
            id: Some(id),
            by: asking_user(),
            because: args.because.clone(),
            method: args.wanted_method(),
        };
        let answer: Requested = client.post_json("/v1/reboot/request", &request).await?;
        print_asked(console, known, &answer)?;
        answers.push(answer);
    }
    let mut ended = None;
    let mut all_well = true;
    if args.waiting.wait {
        let mut waited = RebootWait::new(known, &answers);
        all_well =
            wait_for_reboots(client, console, &mut waited, args.waiting.time_limit()).await?;
        ended = Some(waited.ended);
    }
    if console.is_json() {
        let shown = answers.iter().map(|answer| RequestRow::new(answer, ended.as_ref()));
        console.print_data(&json::pretty_json(&shown.collect::<Vec<_>>())?)?;
    }
    Ok(exit_code(all_well))
}

/// Waits until the machines have rebooted; whether all have.
async fn wait_for_reboots(
    client: &Client,
    console: &mut Console,
    waited: &mut RebootWait<'_>,
    limit: Option<Duration>,
) -> Result<bool, Error> {
    if waited.is_over() {
        return Ok(true);
    }
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    match follow_until_over(client, console, waited, limit, &mut interrupts).await? {
        FollowEnd::Over => Ok(waited.ended.values().all(|end| *end == RebootEnd::Rebooted)),
        FollowEnd::TimeUp => {
            let limit = humantime::format_duration(limit.unwrap_or_default());
            let names = waited.describe_pending();
            console.print_error(format_args!("timed out: after {limit}, {names} still waited for"));
            console.print_hint(HINT);
            Ok(false)
        }
        FollowEnd::Interrupted => {
            Err(Error::Interrupted { what: waited.describe_pending(), hint: HINT })
        }
    }
}

/// Says what was asked, and what may keep the machine from ever doing it.
fn print_asked(console: &Console, known: &Reboots, answer: &Requested) -> Result<(), Error> {
    let who = machine_label(known, &answer.id);
    if !console.is_json() {
        let line = if answer.anew {
            let how = answer.request.method.map_or("reboot", RebootMethod::as_str);
            format!("{who} is asked to {how}\n")
        } else {
            let by = match answer.request.by.as_str() {
                "" => String::new(),
                by => format!(" by {}", clean_text(by)),
            };
            let at = time::format_since(answer.request.at, time::now());
            format!("{who} has been asked to reboot already{by}, {at}\n")
        };
        console.print_text(&line)?;
    }
    match &answer.host {
        None => {
            console.print_warning(format_args!(
                "{who} has never said how far it is with reboots; its daemon may lack the reboot role"
            ));
        }
        Some(HostStatus { strategy: Strategy::Off, .. }) => {
            console.print_warning(format_args!(
                "the reboot strategy of {who} is off: it does not reboot by itself"
            ));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Takes requests back.
pub(super) async fn cancel_requests(
    client: &Client,
    console: &Console,
    known: &Reboots,
    group: &Group,
    args: &MachinesArgs,
) -> Result<ExitCode, Error> {
    let mut answers: Vec<Cancelled> = Vec::new();
    for id in wanted_machines(known, group, args)? {
        let request = CancelRequest { id: Some(id), by: asking_user() };
        let answer: Cancelled = client.post_json("/v1/reboot/cancel", &request).await?;
        let who = machine_label(known, &answer.id);
        let what =
            if answer.cancelled { "is not asked to reboot any more" } else { "was not asked" };
        if !console.is_json() {
            console.print_text(&format!("{who} {what}\n"))?;
        }
        if let Some(host) = answer.host.as_ref().filter(|host| has_begun(host)) {
            console.print_warning(format_args!("{who} is at it already: {}", host.phase));
        }
        answers.push(answer);
    }
    if console.is_json() {
        console.print_data(&json::pretty_json(&answers)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns whether a host holds its slot or is about to, so that it goes on whatever becomes of the request.
fn has_begun(host: &HostStatus) -> bool {
    (Phase::Locking..Phase::Returned).contains(&host.phase)
}

/// The machines that are meant: all hosts of the group, those that are named, or that of the daemon.
fn wanted_machines(
    known: &Reboots,
    group: &Group,
    args: &MachinesArgs,
) -> Result<Vec<MachineId>, Error> {
    if args.all {
        let hosts = known.hosts.iter().filter(|host| host.status.group == *group);
        let hosts: Vec<MachineId> = hosts.map(|host| host.machine.clone()).collect();
        return if hosts.is_empty() { Err(Error::NoHosts(group.clone())) } else { Ok(hosts) };
    }
    if args.machines.is_empty() {
        return Ok(vec![known.machine.clone()]);
    }
    args.machines.iter().map(|given| machine_meant(known, given)).collect()
}
