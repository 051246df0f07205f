//! `forget`: a machine that is gone for good.

use std::process::ExitCode;

use muster_client::{Client, escape_segment};
use muster_common::api::forget::ForgetAnswer;
use muster_common::machine::MachineId;
use serde_json::json;

use crate::cli::ForgetArgs;
use crate::error::Error;
use crate::machines::find_machine;
use crate::output::console::Console;
use crate::output::json::pretty_json;

/// Forgets a machine. One that no list shows any more is known by its whole id.
pub(crate) async fn forget_machine(
    client: &Client,
    console: &Console,
    args: &ForgetArgs,
) -> Result<ExitCode, Error> {
    let machine = match find_machine(client, &args.machine).await {
        Ok(machine) => machine,
        Err(error) => args.machine.parse::<MachineId>().map_err(|_| error)?,
    };
    let path = format!("/v1/machines/{}/forget", escape_segment(machine.as_str()));
    let answer: ForgetAnswer = client.post_json(&path, &json!({})).await?;
    if console.is_json() {
        console.print_data(&pretty_json(&answer)?)?;
    } else {
        console.print_text(&format!("{}... is forgotten\n", machine.short_id()))?;
    }
    Ok(ExitCode::SUCCESS)
}
