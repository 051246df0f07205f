//! A look at the whole cluster: this machine's own word, that of every other one, and all records.
//!
//! Owns the asking of many machines at once and its limits. What is wrong with the picture is for whoever asked to find.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt as _;
use http::StatusCode;
use muster_common::api::inspect::{
    ClusterRecords, ComponentReport, MachineAnswer, MachineReport, MachineReports,
};
use muster_common::machine::{Machine, MachineId};
use muster_runtime::{Instant, timeout, timeout_at};

use super::elsewhere::read_json;
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::net::peer::PeerError;
use crate::net::quota::Caller;
use crate::stdx::errors::error_chain;

/// Machines that are asked at once: a connection each, out of the daemon's own descriptors. A thousand machines that answer within
/// a tenth of a second take two.
const ASKED_AT_ONCE: usize = 64;

/// The time for one machine: a second more than its runner may take.
const MACHINE_LIMIT: Duration = Duration::from_secs(3);

/// The time for all of them: less than `musterctl` waits for an answer by default. Time enough for a hundred and fifty that are
/// silent.
const ALL_LIMIT: Duration = Duration::from_secs(8);

/// The time for the last picture: it is there, or will not come while the store is away.
const PICTURE_LIMIT: Duration = Duration::from_millis(500);

/// The time for the store to tell which machines are registered. Those of the last picture are asked when it does not.
const STORE_LIMIT: Duration = Duration::from_secs(3);

/// Most bytes of a machine's report: ten thousand units, at some hundred bytes each in three lists.
const REPORT_BYTES: usize = 8 * 1024 * 1024;

/// The path at which a machine tells of itself.
const OWN_PATH: &str = "/v1/inspect/machine";

/// This machine's own word.
pub(super) async fn show_machine(
    State(app): State<App>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let _turn = app.wait_for_ticket(&app.client_quotas().processes, caller).await?;
    Ok(json(StatusCode::OK, &own_report(&app).await))
}

/// Every machine's. Those that are registered are found in what is known, however old that is: when the store is away they can be
/// asked all the same.
pub(super) async fn show_machines(
    State(app): State<App>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let _turn = app.wait_for_ticket(&app.client_quotas().processes, caller).await?;
    let deadline = Instant::now() + ALL_LIMIT;
    let known = match timeout(STORE_LIMIT, app.view.fresh_reader()).await {
        Ok(Ok(reader)) => reader.read(|snapshot| snapshot.machines.clone()),
        _ => known_machines(&app).await,
    };
    let others = known.into_values().filter(|machine| machine.id != app.machine);
    let asking = others.map(|machine| {
        let app = app.clone();
        async move {
            let answer = timeout_at(deadline, ask_machine(&app, &machine)).await;
            let answer = answer.unwrap_or_else(|_| MachineAnswer::Silent {
                problem: "there was no time left to ask it".to_owned(),
            });
            (machine.id, answer)
        }
    });
    let asking = futures::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect();
    let (mut machines, report): (BTreeMap<MachineId, MachineAnswer>, _) =
        tokio::join!(asking, own_report(&app));
    let report = Box::new(report);
    machines.insert(app.machine.clone(), MachineAnswer::Report { report, clock_offset: 0 });
    Ok(json(StatusCode::OK, &MachineReports { machines }))
}

/// All records, read anew: a follower that has gone astray is not to hide what is there.
pub(super) async fn show_records(State(app): State<App>) -> Result<Response, ApiError> {
    let read = app.registry.read_cluster().await?;
    // One that cannot be read is among the unreadable records.
    let cluster = app.registry.cluster_identity().await.ok().flatten();
    let records = ClusterRecords {
        cluster,
        groups: read.reboots.groups,
        hosts: read.reboots.hosts,
        requests: read.reboots.requests,
        unleased: read.unleased,
        warnings: app.registry.store_warnings(),
        ..ClusterRecords::from(&read.snapshot)
    };
    Ok(json(StatusCode::OK, &records))
}

/// The machines of the last picture that there was.
async fn known_machines(app: &App) -> BTreeMap<MachineId, Machine> {
    match timeout(PICTURE_LIMIT, app.view.reader_at_least(0)).await {
        Ok(Ok(reader)) => reader.read(|snapshot| snapshot.machines.clone()),
        _ => BTreeMap::new(),
    }
}

async fn own_report(app: &App) -> MachineReport {
    let status = app.health.status();
    let components = status.required_components().map(|(name, part)| ComponentReport {
        name: name.to_owned(),
        ok: part.ok,
        since: part.since,
        problem: part.problem.clone(),
    });
    let seen = app.health.see_units().await;
    MachineReport {
        machine: app.machine.clone(),
        boot: seen.boot,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        clock: app.wall.unix_seconds() * 1000,
        cluster: seen.cluster,
        leading: status.leading,
        components: components.collect(),
        warnings: app.registry.store_warnings(),
        owned: seen.owned,
        runs: seen.runs,
        unseen: seen.unseen,
        last_known: seen.last_known,
    }
}

/// Asks one machine. Its clock is taken to have shown the middle of the time that the answer took.
async fn ask_machine(app: &App, machine: &Machine) -> MachineAnswer {
    let asked = app.wall.unix_seconds();
    let answered = timeout(MACHINE_LIMIT, fetch_report(app, machine)).await;
    match answered {
        Ok(Ok(report)) if report.clock == 0 => {
            MachineAnswer::Report { report: Box::new(report), clock_offset: 0 }
        }
        Ok(Ok(report)) => {
            let middle = (asked + app.wall.unix_seconds()) * 1000 / 2;
            let clock_offset = i64::try_from(i128::from(report.clock) - i128::from(middle));
            let clock_offset = clock_offset.unwrap_or(i64::MAX);
            MachineAnswer::Report { report: Box::new(report), clock_offset }
        }
        Ok(Err(answer)) => answer,
        Err(_) => MachineAnswer::Silent {
            problem: format!("no answer within {} s", MACHINE_LIMIT.as_secs()),
        },
    }
}

async fn fetch_report(app: &App, machine: &Machine) -> Result<MachineReport, MachineAnswer> {
    let silent = |problem: String| MachineAnswer::Silent { problem };
    let answer = app.peers.ask_daemon(machine, OWN_PATH).await.map_err(|error| match error {
        PeerError::NoAddress { .. } => MachineAnswer::Unasked { problem: error_chain(&error) },
        error => silent(error_chain(&error)),
    })?;
    match answer.status() {
        StatusCode::OK => {}
        // A release before this one has no such path.
        StatusCode::NOT_FOUND => {
            let problem = "its daemon is older and tells nothing of itself".to_owned();
            return Err(MachineAnswer::Unasked { problem });
        }
        status => return Err(silent(format!("it answers with status {}", status.as_u16()))),
    }
    let report = read_json(answer.into_body(), REPORT_BYTES).await;
    report.ok_or_else(|| silent("what answers sent no report such as a daemon sends".to_owned()))
}
