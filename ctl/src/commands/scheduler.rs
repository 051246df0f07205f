//! `plan` and `unfreeze`: a look at what the scheduler is about to do, and the one switch it has.

use std::fmt::Write as _;
use std::process::ExitCode;

use muster_client::Client;
use muster_common::api::plan::Plan;
use muster_common::text::clean_text;

use crate::error::Error;
use crate::output::console::Console;
use crate::output::json;

/// Prints the plan: a sentence for each move, then a paragraph for each unit that no machine can take.
pub(crate) async fn print_plan(client: &Client, console: &Console) -> Result<ExitCode, Error> {
    let plan: Plan = client.get("/v1/plan").await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&plan)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for sentence in plan.to_sentences() {
        let _ = writeln!(text, "{}", clean_text(&sentence));
    }
    for (unit, refusal) in &plan.refusals {
        let reasons = refusal.to_string().replace('\n', "\n  ");
        let _ = writeln!(text, "{unit} cannot be placed:\n  {reasons}");
    }
    if text.is_empty() {
        text.push_str("nothing to do\n");
    }
    console.print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets units be placed anew.
pub(crate) async fn unfreeze_engine(client: &Client) -> Result<ExitCode, Error> {
    client.post_empty("/v1/unfreeze").await?;
    Ok(ExitCode::SUCCESS)
}
