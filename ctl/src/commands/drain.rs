//! `drain`: a machine is emptied, and what becomes of each unit on it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use muster_client::{ApiRequest, Client, ClientError, ResumableRequest, escape_segment};
use muster_common::api::drain::{DrainAnswer, DrainEvent, DrainRequest};
use muster_common::cordon::{AtDeadline, DrainEnd};
use muster_common::drain::{DrainProgress, DrainStatus};
use muster_common::machine::MachineId;
use muster_common::text::clean_text;
use muster_common::unit::UnitName;
use tokio::signal::unix::{SignalKind, signal};

use crate::asking_user::asking_user;
use crate::cli::DrainArgs;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::follow::{self, Awaited, FollowEnd, Followable};
use crate::machines::find_machine;
use crate::output::console::Console;
use crate::output::{json, table};

/// Time after its deadline for which a drain is still followed. The leader notes the end of one within moments, and what it stops
/// then is mostly down in this time; what is not takes as long as its `TimeoutStopSec=` allows, and nobody has asked to
/// wait for that.
const DEADLINE_GRACE: Duration = Duration::from_secs(3);

/// A drain that is followed.
struct FollowedDrain {
    machine: MachineId,
    /// The store's revision that has the order.
    revision: u64,
    /// True if units are stopped at the deadline, so that they are waited for.
    forces: bool,
    progress: DrainProgress,
    /// The progress when it was still going on: why units did not move is known from then.
    last: DrainProgress,
    /// Units that have left; each is told once.
    left: BTreeSet<UnitName>,
    shown_trouble: Option<String>,
}

/// Moves the units of a machine elsewhere, and waits for that.
pub(crate) async fn run(
    client: &Client,
    console: &mut Console,
    args: &DrainArgs,
) -> Result<ExitCode, Error> {
    let machine = find_machine(client, &args.machine).await?;
    let request = DrainRequest {
        by: asking_user(),
        reason: args.reason.clone().unwrap_or_default(),
        deadline: args.deadline.map(|limit| limit.as_secs() + u64::from(limit.subsec_nanos() > 0)),
        then: if args.force { AtDeadline::Force } else { AtDeadline::GiveUp },
        dry_run: args.dry_run,
    };
    let path = format!("/v1/machines/{}/drain", escape_segment(machine.as_str()));
    let DrainAnswer { progress, revision } = client.post_json(&path, &request).await?;
    if args.dry_run {
        return print_rehearsal(console, &progress);
    }
    if args.no_block {
        if console.is_json() {
            console.print_data(&json::pretty_json(&progress)?)?;
        } else {
            let text = format!("{}... is being drained\n", machine.short_id());
            console.print_text(&text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let forces = args.force;
    let left = BTreeSet::new();
    let last = progress.clone();
    let mut drain =
        FollowedDrain { machine, revision, forces, progress, last, left, shown_trouble: None };
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let limit = args.deadline.map(|deadline| deadline.saturating_add(DEADLINE_GRACE));
    match follow::follow_until_over(client, console, &mut drain, limit, &mut interrupts).await? {
        FollowEnd::Over | FollowEnd::TimeUp => drain.print_ending(console),
        FollowEnd::Interrupted => Err(Error::DrainInterrupted(drain.machine.short_id().to_owned())),
    }
}

/// Prints what would become of each unit.
fn print_rehearsal(console: &Console, progress: &DrainProgress) -> Result<ExitCode, Error> {
    let movable = progress.stuck_units().next().is_none();
    if console.is_json() {
        console.print_data(&json::pretty_json(progress)?)?;
        return Ok(exit_code(movable));
    }
    let mut text = String::new();
    for (name, status) in &progress.units {
        let line = match status {
            DrainStatus::Global => format!("{name} stays: it is global"),
            status if status.is_on_its_way() => format!("{name} {status}"),
            status => format!("{name} cannot move: {}", indent_status(status)),
        };
        text.push_str(&line);
        text.push('\n');
    }
    console.print_text(&text)?;
    Ok(exit_code(movable))
}

impl ResumableRequest for FollowedDrain {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        let (machine, revision) = (escape_segment(self.machine.as_str()), self.revision);
        Ok(ApiRequest::get(format!("/v1/machines/{machine}/drain/events?revision={revision}")))
    }
}

impl Followable for FollowedDrain {
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        // A later daemon may have events that this client does not know; they are not for it.
        let Ok(event) = serde_json::from_str::<DrainEvent>(data) else { return Ok(()) };
        match event {
            DrainEvent::Progress { progress } => {
                if progress.is_draining() {
                    self.last.clone_from(&progress);
                }
                let before = std::mem::replace(&mut self.progress, progress);
                for (name, status) in before.units {
                    // It left while nobody was there to tell of it.
                    if !self.progress.units.contains_key(&name) && !self.left.contains(&name) {
                        let to = match status {
                            DrainStatus::Moving { to } => format!("moved to {}...", to.short_id()),
                            _ => "left".to_owned(),
                        };
                        self.print_moved(console, name, &to)?;
                    }
                }
            }
            DrainEvent::Left { name, to } => {
                let to = match to {
                    Some(to) => {
                        format!("moved to {}", table::machine_name(&to.id, &to.address, false))
                    }
                    None => "stopped, and is on no machine now".to_owned(),
                };
                self.print_moved(console, name, &to)?;
            }
            DrainEvent::Degraded { message } if self.shown_trouble.as_ref() != Some(&message) => {
                console.print_warning(format_args!("{}; still waiting", clean_text(&message)));
                self.shown_trouble = Some(message);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether nothing moves any more, or will by itself; or the drain has ended: what is still being stopped takes its time.
    fn is_over(&self) -> bool {
        let progress = &self.progress;
        if progress.is_done() {
            return true;
        }
        if !progress.is_draining() && progress.drain_end() != Some(DrainEnd::Forced) {
            return true;
        }
        let waits_for_force = self.forces && progress.is_draining();
        progress.is_at_rest() && !waits_for_force
    }

    fn progress_line(&self) -> String {
        let left = self.progress.units.values().filter(|status| status.is_left()).count();
        let moved = self.left.len();
        let next = self.progress.units.iter().find(|(_, status)| status.is_on_its_way());
        let next = next.map(|(name, status)| format!(": {name} {status}")).unwrap_or_default();
        format!("{moved}/{}{next}", moved + left)
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        let short = self.machine.short_id();
        let left = self.progress.units.iter().filter(|(_, status)| status.is_left());
        let waits = |(name, status): (&UnitName, &DrainStatus)| {
            let (sentence, machine) = match status {
                DrainStatus::Moving { to } => {
                    let to_short = to.short_id();
                    let sentence = format!(
                        "{name} is to leave {short}...: {to_short}... has not reported that it is up there"
                    );
                    (sentence, to)
                }
                DrainStatus::Stopping => {
                    let sentence = format!(
                        "{name} is to leave {short}...: it is being stopped, and {short}... has not reported that it is down"
                    );
                    (sentence, &self.machine)
                }
                status => (
                    format!("{name} is to leave {short}...: {}", indent_status(status)),
                    &self.machine,
                ),
            };
            Awaited { sentence, machine: Some(machine.clone()) }
        };
        left.map(waits).collect()
    }
}

impl FollowedDrain {
    fn print_moved(&mut self, console: &Console, name: UnitName, to: &str) -> Result<(), Error> {
        if !console.is_json() {
            console.print_text(&format!("{name} {to}\n"))?;
        }
        self.left.insert(name);
        Ok(())
    }

    /// Prints what has become of it in the end.
    fn print_ending(&self, console: &Console) -> Result<ExitCode, Error> {
        let short = self.machine.short_id();
        if console.is_json() {
            console.print_data(&json::pretty_json(&self.progress)?)?;
        }
        if self.progress.is_done() {
            if !console.is_json() {
                console.print_text(&format!("{short}... is drained\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let ended = self.progress.drain_end();
        for (name, status) in &self.progress.units {
            match status {
                DrainStatus::Stopping => {
                    console
                        .print_error(format_args!("{name} is still being stopped on {short}..."));
                }
                DrainStatus::Moving { to } => {
                    let to = to.short_id();
                    console.print_error(format_args!("{name} is not up on {to}... yet"));
                }
                DrainStatus::Queued { .. } => {
                    console.print_error(format_args!("{name} has not begun to move"));
                }
                _ => {}
            }
        }
        for (name, status) in self.progress.stuck_units() {
            match (status, self.last.units.get(name)) {
                (DrainStatus::Stays, Some(last)) if last.is_on_its_way() && ended.is_some() => {
                    console.print_error(format_args!("{name} was not up elsewhere in time"));
                }
                (DrainStatus::Stays, Some(last)) if last.is_left() && !last.is_on_its_way() => {
                    console
                        .print_error(format_args!("{name} cannot move: {}", indent_status(last)));
                }
                (DrainStatus::Stays, _) => {}
                (status, _) => {
                    console
                        .print_error(format_args!("{name} cannot move: {}", indent_status(status)));
                }
            }
        }
        match ended {
            Some(DrainEnd::GaveUp) => {
                console.print_error(format_args!("the drain of {short}... was given up at its deadline"));
            }
            Some(DrainEnd::Forced) => {
                console.print_error(format_args!(
                    "the deadline of the drain of {short}... has passed, and what was left is being stopped"
                ));
                console.print_hint("`TimeoutStopSec=` of a unit says how long its stop may take");
            }
            _ if !self.progress.is_draining() => {
                console.print_error(format_args!("the drain of {short}... was called off"));
            }
            _ if !self.progress.is_at_rest() => {
                console.print_error(format_args!(
                    "the deadline of the drain of {short}... has passed, and the leader has not ended it yet"
                ));
                console.print_hint("`musterctl list-machines` shows who leads; `musterctl uncordon` calls it off");
            }
            _ => console.print_hint(format_args!(
                "{short}... goes on being drained, should that change; `musterctl uncordon` calls it off"
            )),
        }
        Ok(ExitCode::FAILURE)
    }
}

/// One line as it is, several below.
fn indent_status(status: &DrainStatus) -> String {
    let text = status.to_string();
    if matches!(status, DrainStatus::Stuck { refusal } if refusal.unit.is_none()) {
        return format!("no other machine takes it\n  {}", text.replace('\n', "\n  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use muster_common::cordon::{Cordon, CordonHolder, Drain as Ordered, Hold};

    use super::*;

    fn drain(ended: Option<DrainEnd>, then: AtDeadline, status: DrainStatus) -> FollowedDrain {
        let machine: MachineId = "m1".parse().unwrap();
        let order = Ordered { began: 1, deadline: Some(5), then, ended };
        let hold = Hold { drain: Some(order), ..Hold::default() };
        let cordon = Cordon { holds: [(CordonHolder::Person, hold)].into(), revision: 0 };
        let units = [("a.service".parse().unwrap(), status)].into();
        let progress = DrainProgress { machine: machine.clone(), cordon: Some(cordon), units };
        FollowedDrain {
            machine,
            revision: 1,
            forces: then == AtDeadline::Force,
            last: progress.clone(),
            progress,
            left: BTreeSet::new(),
            shown_trouble: None,
        }
    }

    #[tokio::test]
    async fn a_drain_whose_stream_falls_silent_does_not_hang() {
        let drain = drain(None, AtDeadline::GiveUp, DrainStatus::Stopping);
        let problem = crate::follow::tests::on_a_silent_stream(drain).await;
        assert!(problem.ends_with("has said nothing for 35s"), "{problem}");
    }

    #[test]
    fn a_drain_that_was_given_up_is_over_though_a_unit_takes_its_time_to_stop() {
        for (ended, then, status, over) in [
            (None, AtDeadline::GiveUp, DrainStatus::Stopping, false),
            (Some(DrainEnd::GaveUp), AtDeadline::GiveUp, DrainStatus::Stopping, true),
            (Some(DrainEnd::GaveUp), AtDeadline::GiveUp, DrainStatus::Stays, true),
            // What is stopped at the deadline has a moment more, which the caller limits.
            (Some(DrainEnd::Forced), AtDeadline::Force, DrainStatus::Stopping, false),
            (None, AtDeadline::Force, DrainStatus::Pinned, false),
        ] {
            assert_eq!(drain(ended, then, status.clone()).is_over(), over, "{ended:?} {status:?}");
        }
    }
}
