//! `reboot lock`, `unlock` and `set-max`.

use std::process::ExitCode;

use http::StatusCode;
use muster_common::api::reboot::{
    LockRequest, Locked, MaxRequest, MaxSet, Reboots, Slots, UnlockRequest, Unlocked,
};
use muster_common::reboot::Group;

use super::names::{existing, holder_meant, holder_shown};
use crate::cli::reboot::LockArgs;
use crate::client::{Client, ClientError};
use crate::commands::user;
use crate::error::Error;
use crate::output::console::Console;
use crate::output::{json, time};

/// Takes a slot by hand.
pub(super) async fn lock(
    client: &Client,
    console: &mut Console,
    group: &Group,
    args: &LockArgs,
) -> Result<ExitCode, Error> {
    let known: Reboots = client.get("/v1/reboot").await?;
    existing(&known, group)?;
    let id = args.id.as_deref().map(|given| holder_meant(&known, None, given)).transpose()?;
    let request = LockRequest { group: group.clone(), id, by: user() };
    let answer = client.post::<_, Locked>("/v1/reboot/lock", &request).await;
    let locked = match answer {
        Ok(locked) => locked,
        Err(ClientError::Refused { status: StatusCode::CONFLICT, message }) => {
            console.error(message);
            console.hint("`musterctl reboot status` shows who holds a slot and since when");
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    if console.is_json() {
        console.data(&json::pretty(&locked)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let who = holder_shown(&known, &locked.id);
    let line = if locked.anew {
        format!("{who} holds a slot of group {group}\n")
    } else {
        let since = time::since(locked.since, time::now());
        format!("{who} holds a slot of group {group} already, since {since}\n")
    };
    console.data(line.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Frees a slot by hand. Fails when nobody of that id holds one, as locksmithctl does: it is most likely misspelt.
pub(super) async fn unlock(
    client: &Client,
    console: &Console,
    group: &Group,
    given: Option<&str>,
) -> Result<ExitCode, Error> {
    let known: Reboots = client.get("/v1/reboot").await?;
    let slots = existing(&known, group)?;
    let id = given.map(|given| holder_meant(&known, slots, given)).transpose()?;
    let request = UnlockRequest { group: group.clone(), id, by: user() };
    let unlocked: Unlocked = client.post("/v1/reboot/unlock", &request).await?;
    if console.is_json() {
        console.data(&json::pretty(&unlocked)?)?;
    }
    let who = holder_shown(&known, &unlocked.id);
    let Some(holder) = &unlocked.freed else {
        console.error(format_args!("{who} holds no slot of group {group}"));
        console.hint("`musterctl reboot status` shows who does");
        return Ok(ExitCode::FAILURE);
    };
    if !console.is_json() {
        let held = time::since(holder.since, time::now());
        let line = format!("{who} holds no slot of group {group} any more; it did since {held}\n");
        console.data(line.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets how many slots a group has.
///
/// The lines are those of locksmithctl's documentation, `Old: 1` and `New: 4`, which scripts were written by; its sources
/// print `Old-Max:` and `Max:`.
pub(super) async fn set_max(
    client: &Client,
    console: &Console,
    group: &Group,
    max: Slots,
) -> Result<ExitCode, Error> {
    let request = MaxRequest { group: group.clone(), max, by: user() };
    let set: MaxSet = client.post("/v1/reboot/max", &request).await?;
    if console.is_json() {
        console.data(&json::pretty(&set)?)?;
    } else {
        console.data(format!("Old: {}\nNew: {}\n", set.old, set.new).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
