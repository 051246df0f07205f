//! `cordon` and `uncordon`: whether a machine takes anything new.

use std::process::ExitCode;

use muster_client::{Client, escape_segment};
use muster_common::api::cordon::{CordonAnswer, CordonRequest, UncordonRequest};

use crate::asking_user::asking_user;
use crate::cli::{CordonArgs, UncordonArgs};
use crate::error::Error;
use crate::machines::find_machine;
use crate::output::console::Console;
use crate::output::json;

/// Keeps a machine from taking anything new.
pub(crate) async fn cordon_machine(
    client: &Client,
    console: &Console,
    args: &CordonArgs,
) -> Result<ExitCode, Error> {
    let machine = find_machine(client, &args.machine).await?;
    let request =
        CordonRequest { by: asking_user(), reason: args.reason.clone().unwrap_or_default() };
    let path = format!("/v1/machines/{}/cordon", escape_segment(machine.as_str()));
    let answer: CordonAnswer = client.post_json(&path, &request).await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&answer)?)?;
    } else {
        console.print_text(&format!("{}... takes nothing new\n", machine.short_id()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes a cordon back. Fails when the machine is still cordoned after that.
pub(crate) async fn uncordon_machine(
    client: &Client,
    console: &Console,
    args: &UncordonArgs,
) -> Result<ExitCode, Error> {
    let machine = find_machine(client, &args.machine).await?;
    let path = format!("/v1/machines/{}/uncordon", escape_segment(machine.as_str()));
    let answer: CordonAnswer = client.post_json(&path, &UncordonRequest { all: args.all }).await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&answer)?)?;
    }
    let Some(cordon) = &answer.cordon else {
        if !console.is_json() {
            console.print_text(&format!("{}... takes units again\n", machine.short_id()))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    console.print_error(format_args!("{}... is still cordoned {cordon}", machine.short_id()));
    console.print_hint("`--all` takes back what others hold too");
    Ok(ExitCode::FAILURE)
}
