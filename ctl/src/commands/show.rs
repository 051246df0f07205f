//! `cat`, `status` and `journal`: one unit looked at closely.

use std::process::ExitCode;

use muster_common::api::v1::{UnitDetail, UnitStatus};
use muster_common::unit::UnitName;

use crate::cli::JournalArgs;
use crate::client::{Client, ClientError, escape};
use crate::error::Error;
use crate::machines::find;
use crate::output::console::Console;
use crate::output::json::{self, StatusRow};
use crate::units;

/// Prints the file of a unit as its user wrote it.
pub(crate) async fn cat(client: &Client, console: &Console, unit: &str) -> Result<ExitCode, Error> {
    let detail: UnitDetail = client.get(&path(&UnitName::from_argument(unit)?, "")).await?;
    if console.is_json() {
        console.data(&json::pretty(&detail)?)?;
    } else {
        let mut file = console.foreign();
        file.piece(detail.text.as_bytes())?;
        file.end()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the status of units, an empty line between two. A unit that cannot be shown does not keep the others from
/// being shown; it counts as 1.
pub(crate) async fn status(
    client: &Client,
    console: &Console,
    arguments: &[String],
    machine: Option<&str>,
) -> Result<ExitCode, Error> {
    let names = units::names(arguments)?;
    let query = match machine {
        Some(given) => format!("?machine={}", find(client, given).await?),
        None => String::new(),
    };
    let mut rows = Vec::new();
    let mut code = 0;
    for name in names {
        let answer: UnitStatus = match client.get(&path(&name, &format!("/status{query}"))).await {
            Ok(answer) => answer,
            // The daemon's word on this unit; without a daemon there is no word on any.
            Err(error @ ClientError::Refused { .. }) => {
                console.error(format_args!("{name}: {error}"));
                code = if code == 0 { 1 } else { code };
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        code = if code == 0 { answer.code } else { code };
        if !console.is_json() {
            let gap = if rows.is_empty() { "" } else { "\n" };
            let end = if answer.output.ends_with('\n') { "" } else { "\n" };
            console.text(&format!("{gap}{}{end}", answer.output))?;
        }
        let UnitStatus { machine, output, code } = answer;
        rows.push(StatusRow { unit: name, machine, code, output });
    }
    if console.is_json() {
        console.data(&json::pretty(&rows)?)?;
    }
    // systemctl killed by a signal has no code of its own, and a process has only one byte for it.
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Prints the journal of a unit as it comes.
pub(crate) async fn journal(
    client: &Client,
    console: &Console,
    args: &JournalArgs,
) -> Result<ExitCode, Error> {
    let name = UnitName::from_argument(&args.unit)?;
    let mode = escape(args.output.as_deref().unwrap_or("short"));
    let mut query = format!("?lines={}&follow={}&output={mode}", args.lines, args.follow);
    if let Some(given) = &args.machine {
        query.push_str("&machine=");
        query.push_str(find(client, given).await?.as_str());
    }
    let mut pieces = client.get_pieces(&path(&name, &format!("/journal{query}"))).await?;
    let mut journal = console.foreign();
    while let Some(piece) = pieces.next().await? {
        journal.piece(&piece)?;
    }
    journal.end()?;
    Ok(ExitCode::SUCCESS)
}

fn path(name: &UnitName, rest: &str) -> String {
    format!("/v1/units/{}{rest}", escape(name.as_str()))
}
