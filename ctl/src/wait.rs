//! Waiting for units by the daemon's events.
//!
//! Owns what an event means for the command: which unit is done, which has failed, when to give up. It asks nothing of
//! units; that was done before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use muster_client::{ApiRequest, Client, ClientError, ResumableRequest};
use muster_common::api::v1::{Until, WaitEvent, WaitFor, WaitRequest};
use muster_common::machine::Machine;
use muster_common::refusal::Refusal;
use muster_common::state::{DesiredState, ObservedState};
use muster_common::text::clean_text;
use muster_common::unit::UnitName;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::BlockFlags;
use crate::error::Error;
use crate::follow::{self, Awaited, FollowEnd, Followable};
use crate::output::console::Console;
use crate::output::json::{PlacedMachine, UnitOutcome, UnitResult};
use crate::output::table;

/// Most names that a message lists before it counts the rest.
const NAMES_SHOWN: usize = 5;

/// The means of all waits of a command.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    client: &'a Client,
    waits: bool,
    limit: Option<Duration>,
    /// Refusals do not end the wait.
    queue: bool,
    /// From the first wait on. Before that Ctrl-C ends the command as it ends any other.
    interrupts: Option<Signal>,
}

/// A unit that is still waited for.
#[derive(Debug)]
struct PendingUnit {
    wait: WaitFor,
    /// The place and the state of the last event.
    status_text: String,
    /// The machine of the last event.
    machine: Option<Machine>,
}

/// The units of one wait and what has been said about them.
#[derive(Debug)]
struct WaitProgress {
    pending: BTreeMap<UnitName, PendingUnit>,
    total: usize,
    /// The revision that the daemon is to have seen before it answers.
    revision: u64,
    queue: bool,
    all_well: bool,
    shown_refusals: BTreeSet<String>,
    shown_trouble: Option<String>,
}

impl<'a> Waiter<'a> {
    /// Waits as the user wants to; with `queue`, a refusal does not end a wait.
    pub(crate) fn new(client: &'a Client, blocking: BlockFlags, queue: bool) -> Self {
        let (waits, limit) = (blocking.wants_wait(), blocking.time_limit());
        Self { client, waits, limit, queue, interrupts: None }
    }

    /// Returns whether the user wants to wait at all.
    pub(crate) fn wants_wait(&self) -> bool {
        self.waits
    }

    /// Waits until every unit is where it should be, has failed, or the time is up. Prints a result for each; returns
    /// whether all are where they should be.
    pub(crate) async fn wait_for_units(
        &mut self,
        console: &mut Console,
        units: Vec<WaitFor>,
        revision: u64,
    ) -> Result<bool, Error> {
        if units.is_empty() {
            return Ok(true);
        }
        let mut progress = WaitProgress::new(units, revision, self.queue);
        let interrupts = match &mut self.interrupts {
            Some(interrupts) => interrupts,
            none => none.insert(signal(SignalKind::interrupt()).map_err(Error::Runtime)?),
        };
        let ended =
            follow::follow_until_over(self.client, console, &mut progress, self.limit, interrupts);
        match ended.await? {
            FollowEnd::Over => {}
            FollowEnd::TimeUp => progress.give_up(console, self.limit.unwrap_or_default())?,
            FollowEnd::Interrupted => {
                let hint = "`musterctl list-units` shows how far they are";
                return Err(Error::Interrupted { what: progress.describe_pending(), hint });
            }
        }
        Ok(progress.all_well)
    }
}

impl ResumableRequest for WaitProgress {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        ApiRequest::post_json("/v1/wait", &self.wait_request())
    }
}

impl Followable for WaitProgress {
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        self.hear_of(console, data)
    }

    fn is_over(&self) -> bool {
        self.pending.is_empty()
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        self.pending.iter().map(|(name, pending)| pending.describe_awaited(name)).collect()
    }

    fn progress_line(&self) -> String {
        let done = self.total - self.pending.len();
        let next = self.pending.iter().next();
        let next = next.map(|(name, p)| format!(": {name} {}", p.status_text)).unwrap_or_default();
        format!("{done}/{}{next}", self.total)
    }
}

impl PendingUnit {
    /// Returns what it is waited for, where it stands, and whose word is missing.
    fn describe_awaited(&self, unit: &UnitName) -> Awaited {
        let (goal, word) = match self.wait.until {
            Until::Launched => ("up", "that it is up or has failed"),
            Until::Loaded => ("loaded", "that it is loaded and not running"),
            Until::Inactive => ("off its machine", "that it has it no more"),
            Until::Gone => ("gone", "that it has it no more"),
        };
        let sentence = match &self.machine {
            Some(machine) => {
                let place = table::machine_name(&machine.id, &machine.address, false);
                let status_text = &self.status_text;
                format!("{unit} is to be {goal}: {status_text}; {place} has not reported {word}")
            }
            None => format!("{unit} is to be {goal}: {}", self.status_text),
        };
        Awaited { sentence, machine: self.machine.as_ref().map(|machine| machine.id.clone()) }
    }
}

impl WaitProgress {
    fn new(units: Vec<WaitFor>, revision: u64, queue: bool) -> Self {
        let pending: BTreeMap<_, _> = units
            .into_iter()
            .map(|wait| {
                let status_text = "nothing heard yet".to_owned();
                (wait.name.clone(), PendingUnit { wait, status_text, machine: None })
            })
            .collect();
        let total = pending.len();
        Self {
            pending,
            total,
            revision,
            queue,
            all_well: true,
            shown_refusals: BTreeSet::new(),
            shown_trouble: None,
        }
    }

    fn wait_request(&self) -> WaitRequest {
        let units = self.pending.values().map(|p| p.wait.clone()).collect();
        WaitRequest { units, revision: self.revision }
    }

    fn describe_pending(&self) -> String {
        let mut text = self
            .pending
            .iter()
            .take(NAMES_SHOWN)
            .map(|(name, pending)| format!("{name} ({})", pending.status_text))
            .collect::<Vec<_>>()
            .join(", ");
        let rest = self.pending.len().saturating_sub(NAMES_SHOWN);
        if rest > 0 {
            let _ = write!(text, " and {rest} more");
        }
        let verb = if self.pending.len() == 1 { "is" } else { "are" };
        format!("{text} {verb}")
    }

    fn hear_of(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        // A later daemon may have events that this client does not know; they are not for it.
        let Ok(event) = serde_json::from_str::<WaitEvent>(data) else { return Ok(()) };
        if !matches!(event, WaitEvent::Degraded { .. }) {
            self.shown_trouble = None;
        }
        match event {
            WaitEvent::Progress { name, machine, state } => {
                let status_text = describe_state(machine.as_ref(), state.as_ref());
                self.note_progress(&name, status_text, machine);
            }
            WaitEvent::Done { name, machines, remarks } => {
                let Some(pending) = self.pending.remove(&name) else { return Ok(()) };
                let until = pending.wait.until;
                let placed = matches!(until, Until::Loaded | Until::Launched);
                if placed && machines.is_empty() {
                    self.all_well = false;
                    print_vanished(console, name)?;
                } else {
                    let places = machines.iter().map(PlacedMachine::from).collect();
                    for machine in &machines {
                        let Some(remark) = remarks.get(&machine.id) else { continue };
                        let place = table::machine_name(&machine.id, &machine.address, false);
                        console.print_warning(format_args!(
                            "{name} does not run on {place}: {}",
                            clean_text(remark)
                        ));
                    }
                    console.add_result(result_of_reached(name, until, places))?;
                }
            }
            WaitEvent::Refused { name, refusal } if self.queue => {
                self.note_progress(&name, "no machine takes it".to_owned(), None);
                let text = format!("{name} waits: {}", refusal_text(&refusal));
                if self.shown_refusals.insert(text.clone()) {
                    console.print_warning(text);
                }
            }
            WaitEvent::Refused { name, refusal } => {
                let Some(_) = self.pending.remove(&name) else { return Ok(()) };
                self.all_well = false;
                print_refusal(console, name, refusal)?;
            }
            WaitEvent::Failed { name, machine, state, log } => {
                let Some(_) = self.pending.remove(&name) else { return Ok(()) };
                self.all_well = false;
                print_failed(console, name, &machine, &state, log)?;
            }
            WaitEvent::Overtaken { name, desired } => {
                let Some(pending) = self.pending.remove(&name) else { return Ok(()) };
                self.all_well = false;
                print_overtaken(console, name, pending.wait.until, desired)?;
            }
            WaitEvent::Degraded { message } if self.shown_trouble.as_ref() != Some(&message) => {
                console.print_warning(format_args!("{}; still waiting", clean_text(&message)));
                self.shown_trouble = Some(message);
            }
            _ => {}
        }
        Ok(())
    }

    fn note_progress(&mut self, name: &UnitName, status_text: String, machine: Option<Machine>) {
        if let Some(pending) = self.pending.get_mut(name) {
            pending.status_text = status_text;
            pending.machine = machine;
        }
    }

    fn give_up(&mut self, console: &mut Console, limit: Duration) -> Result<(), Error> {
        self.all_well = false;
        let limit = humantime::format_duration(limit);
        console.print_error(format_args!(
            "timed out: after {limit}, {} still waited for",
            self.describe_pending()
        ));
        console
            .print_hint("what was requested stays so; `musterctl list-units` shows how far it is");
        for (unit, pending) in std::mem::take(&mut self.pending) {
            console.add_result(UnitResult {
                unit,
                what: UnitOutcome::Pending { message: pending.status_text },
            })?;
        }
        Ok(())
    }
}

fn result_of_reached(unit: UnitName, until: Until, machines: Vec<PlacedMachine>) -> UnitResult {
    let done = |state| UnitOutcome::Done { state, machines };
    let what = match until {
        Until::Launched => done(DesiredState::Launched),
        Until::Loaded => done(DesiredState::Loaded),
        Until::Inactive => {
            UnitOutcome::Done { state: DesiredState::Inactive, machines: Vec::new() }
        }
        Until::Gone => UnitOutcome::Destroyed,
    };
    UnitResult { unit, what }
}

fn describe_state(machine: Option<&Machine>, state: Option<&ObservedState>) -> String {
    let Some(machine) = machine else { return "not placed".to_owned() };
    let place = table::machine_name(&machine.id, &machine.address, false);
    match state {
        Some(state) if state.remark.is_empty() => {
            format!("{}/{} on {place}", state.active, state.sub)
        }
        Some(state) => format!("{}/{} on {place}, {}", state.active, state.sub, state.remark),
        None => format!("on {place}"),
    }
}

/// Says that no machine takes a unit.
pub(crate) fn print_refusal(
    console: &mut Console,
    unit: UnitName,
    refusal: Refusal,
) -> Result<(), Error> {
    console.print_error(format_args!("{unit}: {}", refusal_text(&refusal)));
    console
        .add_result(UnitResult { unit, what: UnitOutcome::Refused { refusal } })
        .map_err(Error::Output)
}

/// A refusal in words: one line for a reason that holds everywhere, one for each machine otherwise.
fn refusal_text(refusal: &Refusal) -> String {
    if refusal.unit.is_some() {
        return format!("no machine can take it: {refusal}");
    }
    let reasons = refusal.to_string().replace('\n', "\n  ");
    format!("no machine can take it now\n  {reasons}")
}

/// A unit that is to be on a machine and is done without one exists no longer.
fn print_vanished(console: &mut Console, unit: UnitName) -> Result<(), Error> {
    let message = "was destroyed meanwhile".to_owned();
    console.print_error(format_args!("{unit} {message}"));
    let what = UnitOutcome::Failed { message, log: Vec::new() };
    console.add_result(UnitResult { unit, what }).map_err(Error::Output)
}

/// Somebody else has asked for something else while this command waited.
fn print_overtaken(
    console: &mut Console,
    unit: UnitName,
    until: Until,
    desired: DesiredState,
) -> Result<(), Error> {
    let message = match (until, desired) {
        (Until::Gone, _) => "was submitted again meanwhile".to_owned(),
        (_, DesiredState::Launched) => "was started meanwhile".to_owned(),
        (Until::Launched, DesiredState::Loaded) => "was stopped meanwhile".to_owned(),
        (_, DesiredState::Loaded) => "was loaded meanwhile".to_owned(),
        (_, DesiredState::Inactive) => "was unloaded meanwhile".to_owned(),
    };
    console.print_error(format_args!("{unit} {message}"));
    console
        .print_hint("somebody else asked for that; `musterctl list-units` shows what became of it");
    let what = UnitOutcome::Failed { message, log: Vec::new() };
    console.add_result(UnitResult { unit, what }).map_err(Error::Output)
}

fn print_failed(
    console: &mut Console,
    unit: UnitName,
    machine: &Machine,
    state: &ObservedState,
    log: Vec<String>,
) -> Result<(), Error> {
    let place = table::machine_name(&machine.id, &machine.address, false);
    let mut message = format!("failed on {place}: {}/{}", state.active, state.sub);
    let reason = state.problem.as_deref().unwrap_or(&state.remark);
    if !reason.is_empty() {
        let _ = write!(message, ", {}", clean_text(reason));
    }
    let mut text = format!("{unit} {message}");
    for line in &log {
        let _ = write!(text, "\n  {}", clean_text(line));
    }
    console.print_error(text);
    console.print_hint(format_args!(
        "`musterctl status {unit}` and `musterctl journal {unit}` show more"
    ));
    console
        .add_result(UnitResult { unit, what: UnitOutcome::Failed { message, log } })
        .map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::output::console::Format;

    /// Two units that are waited for, and what is known of them after some events.
    fn after(queue: bool, events: &[Value]) -> WaitProgress {
        let unit = |name: &str| WaitFor {
            name: name.parse().unwrap(),
            until: Until::Launched,
            generation: 1,
        };
        let mut progress = WaitProgress::new(vec![unit("a.service"), unit("b.service")], 1, queue);
        let mut console = Console::new(Format::Json);
        for event in events {
            progress.hear_of(&mut console, &event.to_string()).unwrap();
        }
        progress
    }

    fn state(active: &str, sub: &str, remark: &str) -> Value {
        json!({
            "load": "loaded", "active": active, "sub": sub, "hash": "", "generation": 1,
            "desired": "launched", "since": 0, "invocation": "", "remark": remark,
        })
    }

    fn machine() -> Value {
        json!({"id": "1".repeat(32), "address": "10.0.0.1"})
    }

    #[tokio::test]
    async fn a_start_whose_stream_falls_silent_does_not_hang() {
        let problem = crate::follow::tests::on_a_silent_stream(after(false, &[])).await;
        assert!(problem.ends_with("has said nothing for 35s"), "{problem}");
    }

    #[test]
    fn what_is_waited_for_is_named_with_how_far_it_is() {
        let update = |name: &str, state: Value| json!({"event": "progress", "name": name, "machine": machine(), "state": state});
        assert_eq!(
            after(false, &[]).describe_pending(),
            "a.service (nothing heard yet), b.service (nothing heard yet) are"
        );
        let fetching = "fetching the image web:1: 30% of 10 MB";
        let progress = after(
            false,
            &[
                update("a.service", state("activating", "start-pre", fetching)),
                json!({"event": "progress", "name": "b.service"}),
            ],
        );
        assert_eq!(
            progress.describe_pending(),
            "a.service (activating/start-pre on 11111111.../10.0.0.1, fetching the image web:1: 30% of 10 MB), \
             b.service (not placed) are"
        );
        let done = json!({"event": "done", "name": "b.service", "machines": [machine()]});
        let progress = after(false, &[update("a.service", state("activating", "start", "")), done]);
        assert_eq!(
            progress.describe_pending(),
            "a.service (activating/start on 11111111.../10.0.0.1) is"
        );
    }

    #[test]
    fn what_is_queued_and_refused_is_waited_for() {
        let refusal = json!({"unit": null, "machines": []});
        let refused = json!({"event": "refused", "name": "a.service", "refusal": refusal});
        let progress = after(true, &[refused.clone(), refused.clone()]);
        assert_eq!(
            progress.describe_pending(),
            "a.service (no machine takes it), b.service (nothing heard yet) are"
        );
        assert!(after(false, &[refused]).describe_pending().starts_with("b.service"));
    }
}
