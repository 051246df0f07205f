//! `reboot history`.

use std::process::ExitCode;

use muster_client::{Client, escape_segment};
use muster_common::api::reboot::{History, Reboots};
use muster_common::reboot::{Group, HistoryEntry, PhaseSpan};

use super::names::{existing_slots, holder_label};
use crate::error::Error;
use crate::output::console::Console;
use crate::output::{json, table, time};

/// Lists the last slots that were freed, the newest first.
pub(super) async fn run(
    client: &Client,
    console: &Console,
    known: &Reboots,
    group: &Group,
) -> Result<ExitCode, Error> {
    existing_slots(known, group)?;
    let path = format!("/v1/reboot/history?group={}", escape_segment(group.as_str()));
    let history: History = client.get(&path).await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&history)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let legend = ["MACHINE", "TAKEN", "FREED", "HELD", "OUTCOME", "WHY", "PHASES"];
    let mut rows = vec![legend.map(str::to_owned).to_vec()];
    rows.extend(history.entries.iter().map(|entry| history_row(known, entry)));
    console.print_text(&table::lay_out(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn history_row(known: &Reboots, entry: &HistoryEntry) -> Vec<String> {
    let all = |texts: Vec<String>, between: &str| table::or_dash(&texts.join(between));
    let why = entry.due.iter().map(ToString::to_string).collect();
    let phase = |span: &PhaseSpan| format!("{} {}", span.phase, time::format_lasting(span.seconds));
    vec![
        holder_label(known, &entry.id),
        time::format_moment(entry.taken),
        time::format_moment(entry.freed),
        time::format_lasting(entry.freed.saturating_sub(entry.taken)),
        entry.outcome.to_string(),
        all(why, "; "),
        all(entry.phases.iter().map(phase).collect(), ", "),
    ]
}
