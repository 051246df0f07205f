//! `verify`: whether the cluster has stored what local files say.

use std::process::ExitCode;

use http::StatusCode;
use muster_client::{Client, ClientError, escape_segment};
use muster_common::api::v1::UnitDetail;

use crate::cli;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::output::console::Console;
use crate::output::json;
use crate::pattern::UnitArgument;
use crate::unit_words;
use crate::units;

/// The outcome of a comparison, in JSON.
#[derive(serde::Serialize)]
struct VerifiedFile {
    unit: String,
    /// `same`, `differs` or `unknown`.
    result: &'static str,
    /// The first line that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// Compares each file with the stored one of its unit.
pub(crate) async fn run(
    client: &Client,
    console: &Console,
    arguments: &[String],
) -> Result<ExitCode, Error> {
    // A pattern stands for stored units, each of which has its file here if it has one.
    let words = unit_words::expand_words(client, arguments, "be compared", |_| true).await?;
    let arguments: Vec<String> = words.iter().map(UnitArgument::as_argument).collect();
    let located = units::locate_units(&arguments)?;
    let mut rows = Vec::new();
    let mut all_same = true;
    for ((name, hash), argument) in located.units.iter().zip(&located.arguments) {
        let Some(local) = hash.and_then(|hash| located.files.get(&hash)) else {
            return Err(units::no_file(argument, name).into());
        };
        let path = format!("/v1/units/{}", escape_segment(name.as_str()));
        let (result, line) = match client.get::<UnitDetail>(&path).await {
            Ok(stored) if stored.text == *local => ("same", None),
            Ok(stored) => ("differs", Some(first_difference(local, &stored.text))),
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => ("unknown", None),
            Err(error) => return Err(error.into()),
        };
        all_same &= result == "same";
        match (result, line) {
            ("same", _) if !console.is_json() => {
                console.print_text(&format!("Unit {name} is stored as in the local file\n"))?;
            }
            ("differs", Some(line)) => console.print_error(format_args!(
                "{name}: the cluster has another file of it; line {line} is the first that differs"
            )),
            ("unknown", _) => {
                console.print_error(format_args!("{name} is not stored in the cluster"));
            }
            _ => {}
        }
        rows.push(VerifiedFile { unit: name.to_string(), result, line });
    }
    if console.is_json() {
        console.print_data(&json::pretty_json(&rows)?)?;
    }
    Ok(exit_code(all_same))
}

/// The number of the first line in which two texts differ, from 1.
fn first_difference(one: &str, other: &str) -> usize {
    let same = one.split('\n').zip(other.split('\n')).take_while(|(a, b)| a == b);
    same.count() + 1
}

/// Prints the version, as fleetctl did.
pub(crate) fn print_version(console: &Console) -> Result<ExitCode, Error> {
    let version = env!("CARGO_PKG_VERSION");
    if console.is_json() {
        console.print_data(&json::pretty_json(&serde_json::json!({ "version": version }))?)?;
    } else {
        console.print_text(&format!("{} version {version}\n", cli::NAME))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_line_that_differs_is_counted_from_one() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("a\n", "a\nb\n"), 2);
        assert_eq!(first_difference("x", "y"), 1);
        assert_eq!(first_difference("a\n", "a"), 2);
    }
}
