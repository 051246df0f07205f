//! `reboot lock`, `unlock` and `set-max`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::StatusCode;
use muster_client::{Client, ClientError};
use muster_common::api::reboot::{
    LockRequest, Locked, MaxRequest, MaxSet, Reboots, Slots, UnlockRequest, Unlocked,
};
use muster_common::reboot::Group;
use tokio::signal::unix::{SignalKind, signal};

use super::names::{existing_slots, holder_label, holder_meant};
use super::waiting::SlotWait;
use crate::asking_user::asking_user;
use crate::cli::reboot::LockArgs;
use crate::error::Error;
use crate::follow::{self, FollowEnd, follow_until_over};
use crate::output::console::Console;
use crate::output::{json, time};

/// Takes a slot by hand.
pub(super) async fn lock_slot(
    client: &Client,
    console: &mut Console,
    known: &Reboots,
    group: &Group,
    args: &LockArgs,
) -> Result<ExitCode, Error> {
    existing_slots(known, group)?;
    let id = args.id.as_deref().map(|given| holder_meant(known, None, given)).transpose()?;
    let request = LockRequest { group: group.clone(), id, by: asking_user() };
    let locked = if args.waiting.wait {
        lock_when_free(client, console, known, &request, args.waiting.time_limit()).await?
    } else {
        lock_now(client, console, &request).await?
    };
    let Some(locked) = locked else { return Ok(ExitCode::FAILURE) };
    if console.is_json() {
        console.print_data(&json::pretty_json(&locked)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let who = holder_label(known, &locked.id);
    let line = if locked.anew {
        format!("{who} holds a slot of group {group}\n")
    } else {
        let since = time::format_since(locked.since, time::now());
        format!("{who} holds a slot of group {group} already, since {since}\n")
    };
    console.print_text(&line)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a slot now; `None` when there is none.
async fn lock_now(
    client: &Client,
    console: &Console,
    request: &LockRequest,
) -> Result<Option<Locked>, Error> {
    match client.post_json("/v1/reboot/lock", request).await {
        Err(ClientError::Refused { status: StatusCode::CONFLICT, message, .. }) => {
            console.print_error(message);
            console.print_hint(
                "`musterctl reboot status` shows who holds a slot and since when; `--wait` waits for one",
            );
            Ok(None)
        }
        answer => Ok(Some(answer?)),
    }
}

/// Takes a slot as soon as there is one; `None` when the time is up. Whoever is refused asks again when the daemon says
/// that one is free: others may have been faster.
async fn lock_when_free(
    client: &Client,
    console: &mut Console,
    known: &Reboots,
    request: &LockRequest,
    limit: Option<Duration>,
) -> Result<Option<Locked>, Error> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let begun = Instant::now();
    let mut backoff = follow::new_backoff();
    let what = format!("a slot of group {}", request.group);
    loop {
        match client.post_json("/v1/reboot/lock", request).await {
            Ok(locked) => return Ok(Some(locked)),
            Err(ClientError::Refused { status: StatusCode::CONFLICT, .. }) => {}
            // A daemon that is away is waited for below; asking it twice is safe.
            Err(error) if error.is_transient() => tokio::time::sleep(backoff.next_pause()).await,
            Err(error) => return Err(error.into()),
        }
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        let mut waited = SlotWait::new(known, &request.group, request.id.as_ref());
        match follow_until_over(client, console, &mut waited, left, &mut interrupts).await? {
            FollowEnd::Over => {}
            FollowEnd::TimeUp => {
                let limit = humantime::format_duration(limit.unwrap_or_default());
                console.print_error(format_args!(
                    "timed out: after {limit}, {what} is still waited for"
                ));
                console
                    .print_hint("`musterctl reboot status` shows who holds a slot and since when");
                return Ok(None);
            }
            FollowEnd::Interrupted => {
                let hint = "nothing was taken; `musterctl reboot status` shows who holds a slot";
                return Err(Error::Interrupted { what: format!("{what} is"), hint });
            }
        }
    }
}

/// Frees a slot by hand. Fails when nobody of that id holds one, as locksmithctl does: it is most likely misspelt.
pub(super) async fn unlock_slot(
    client: &Client,
    console: &Console,
    known: &Reboots,
    group: &Group,
    given: Option<&str>,
) -> Result<ExitCode, Error> {
    let slots = existing_slots(known, group)?;
    let id = given.map(|given| holder_meant(known, slots, given)).transpose()?;
    let request = UnlockRequest { group: group.clone(), id, by: asking_user() };
    let unlocked: Unlocked = client.post_json("/v1/reboot/unlock", &request).await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&unlocked)?)?;
    }
    let who = holder_label(known, &unlocked.id);
    let Some(holder) = &unlocked.freed else {
        console.print_error(format_args!("{who} holds no slot of group {group}"));
        console.print_hint("`musterctl reboot status` shows who does");
        return Ok(ExitCode::FAILURE);
    };
    if !console.is_json() {
        let held = time::format_since(holder.since, time::now());
        let line = format!("{who} holds no slot of group {group} any more; it did since {held}\n");
        console.print_text(&line)?;
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
    let request = MaxRequest { group: group.clone(), max, by: asking_user() };
    let set: MaxSet = client.post_json("/v1/reboot/max", &request).await?;
    if console.is_json() {
        console.print_data(&json::pretty_json(&set)?)?;
    } else {
        console.print_text(&format!("Old: {}\nNew: {}\n", set.old, set.new))?;
    }
    Ok(ExitCode::SUCCESS)
}
