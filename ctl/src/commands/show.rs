//! `cat` and `status`: units looked at closely.

use std::process::ExitCode;

use http::StatusCode;
use muster_client::{Client, ClientError, escape_segment};
use muster_common::api::v1::{UnitDetail, UnitStatus, UnitSummary};
use muster_common::unit::UnitName;

use crate::error::Error;
use crate::exit_code::exit_code;
use crate::machines::find_machine;
use crate::output::console::Console;
use crate::output::json::{self, StatusRow};
use crate::unit_words;
use crate::units;

/// Prints the files of units as their users wrote them; of several, each below a line that names it.
pub(crate) async fn print_files(
    client: &Client,
    console: &Console,
    arguments: &[String],
) -> Result<ExitCode, Error> {
    let words = unit_words::expand_words(client, arguments, "be shown", |_| true).await?;
    let names = unit_words::names_of(&words)?;
    let mut all = true;
    let mut details = Vec::new();
    for name in &names {
        let detail: UnitDetail = match client.get(&unit_path(name, "")).await {
            Ok(detail) => detail,
            Err(error @ ClientError::Refused { .. }) => {
                all = false;
                print_refused(console, arguments, name, &error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !console.is_json() {
            let gap = if details.is_empty() { "" } else { "\n" };
            let head = if names.len() > 1 { format!("{gap}# {name}\n") } else { String::new() };
            let mut file = console.foreign_stream();
            file.write_piece(format!("{head}{}", detail.text).as_bytes())?;
            file.end()?;
        }
        details.push(detail);
    }
    if console.is_json() {
        match (names.len(), details.as_slice()) {
            (1, [only]) => console.print_data(&json::pretty_json(only)?)?,
            (1, _) => {}
            _ => console.print_data(&json::pretty_json(&details)?)?,
        }
    }
    Ok(exit_code(all))
}

/// Says what the daemon refused to show of a unit.
fn print_refused(console: &Console, arguments: &[String], name: &UnitName, error: &ClientError) {
    let message = error.to_string();
    // The message mostly names the unit.
    if message.contains(name.as_str()) {
        console.print_error(message);
    } else {
        console.print_error(format_args!("{name}: {message}"));
    }
    let missing = matches!(error, ClientError::Refused { status: StatusCode::NOT_FOUND, .. });
    let mut given = arguments.iter().filter(|_| missing);
    let given = given.find(|word| UnitName::from_argument(word).is_ok_and(|named| named == *name));
    if let Some(hint) = given.and_then(|word| units::type_hint(word)) {
        console.print_hint(hint);
    }
}

/// Prints the status of units, an empty line between two. A unit that cannot be shown does not keep the others from
/// being shown; it counts as 1.
pub(crate) async fn print_status(
    client: &Client,
    console: &Console,
    arguments: &[String],
    machine: Option<&str>,
) -> Result<ExitCode, Error> {
    let fits = |unit: &UnitSummary| !unit.name.is_template() && !unit.machines.is_empty();
    let words =
        unit_words::expand_words(client, arguments, "be shown: none is on a machine", fits).await?;
    let names = unit_words::names_of(&words)?;
    let query = match machine {
        Some(given) => format!("?machine={}", find_machine(client, given).await?),
        None => String::new(),
    };
    let mut rows = Vec::new();
    let mut code = 0;
    for name in names {
        let answer: UnitStatus =
            match client.get(&unit_path(&name, &format!("/status{query}"))).await {
                Ok(answer) => answer,
                // The daemon's word on this unit; without a daemon there is no word on any.
                Err(error @ ClientError::Refused { .. }) => {
                    print_refused(console, arguments, &name, &error);
                    code = if code == 0 { 1 } else { code };
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
        code = if code == 0 { answer.code } else { code };
        if !console.is_json() {
            let gap = if rows.is_empty() { "" } else { "\n" };
            let end = if answer.output.ends_with('\n') { "" } else { "\n" };
            console.print_text(&format!("{gap}{}{end}", answer.output))?;
        }
        let UnitStatus { machine, output, code } = answer;
        rows.push(StatusRow { unit: name, machine, code, output });
    }
    if console.is_json() {
        console.print_data(&json::pretty_json(&rows)?)?;
    }
    // systemctl killed by a signal has no code of its own, and a process has only one byte for it.
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

pub(super) fn unit_path(name: &UnitName, rest: &str) -> String {
    format!("/v1/units/{}{rest}", escape_segment(name.as_str()))
}
