//! `submit`, `load`, `start`, `stop`, `unload` and `restart`: what is wanted of units is changed, then waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::StatusCode;
use muster_client::{Client, ClientError};
use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, UnitChange, UnitChanged, UnitDetail, UnitSummary,
    Units, Until, WaitFor,
};
use muster_common::machine::RunnerKind;
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;

use super::show::unit_path;
use crate::argument_error::ArgumentError;
use crate::cli::{FileArgs, NamedArgs, PlaceArgs};
use crate::dropins::DropinNote;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::output::console::Console;
use crate::output::json::{UnitOutcome, UnitResult};
use crate::pattern;
use crate::unit_words;
use crate::units::{self, LocatedUnits};
use crate::wait::{self, Waiter};

/// A command on units: its words, and what it asks for.
#[derive(Debug, Clone, Copy)]
struct Verb {
    /// The command's name.
    name: &'static str,
    /// As in "cannot be started".
    passive: &'static str,
    desired: DesiredState,
    until: Until,
    restart: bool,
}

/// Longest time for placing a unit that was started a moment ago: a leader does it within milliseconds, and one that was
/// elected a moment ago within a second.
const PLACEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two looks at it.
const PLACEMENT_CHECK_INTERVAL: Duration = Duration::from_millis(50);

const LOAD: Verb = Verb {
    name: "load",
    passive: "be loaded",
    desired: DesiredState::Loaded,
    until: Until::Loaded,
    restart: false,
};
const START: Verb = Verb {
    name: "start",
    passive: "be started",
    desired: DesiredState::Launched,
    until: Until::Launched,
    restart: false,
};
const STOP: Verb = Verb { name: "stop", passive: "be stopped", ..LOAD };
const UNLOAD: Verb = Verb {
    name: "unload",
    passive: "be unloaded",
    desired: DesiredState::Inactive,
    until: Until::Inactive,
    restart: false,
};
const RESTART: Verb = Verb { name: "restart", passive: "be restarted", restart: true, ..START };

/// Stores units.
pub(crate) async fn submit_units(
    client: &Client,
    console: &mut Console,
    args: &FileArgs,
) -> Result<ExitCode, Error> {
    let (change, named) = change_request(client, console, args, None).await?;
    let answer: ChangeAnswer = client.post_json("/v1/units", &change).await?;
    let mut printer = ChangePrinter::with_arguments(named);
    for unit in answer.units {
        let Some(unit) = printer.print_outcome(console, unit)? else { continue };
        let what = match unit.outcome {
            ChangeOutcome::Created => {
                UnitOutcome::Done { state: DesiredState::Inactive, machines: Vec::new() }
            }
            ChangeOutcome::Changed => UnitOutcome::Replaced,
            ChangeOutcome::Differs => UnitOutcome::Differs,
            _ => UnitOutcome::Unchanged,
        };
        console.add_result(UnitResult { unit: unit.name, what })?;
    }
    printer.print_hints(console);
    Ok(exit_code(printer.all_well))
}

/// Places units.
pub(crate) async fn load_units(
    client: &Client,
    console: &mut Console,
    args: &PlaceArgs,
) -> Result<ExitCode, Error> {
    place_units(client, console, args, LOAD).await
}

/// Starts units.
pub(crate) async fn start_units(
    client: &Client,
    console: &mut Console,
    args: &PlaceArgs,
) -> Result<ExitCode, Error> {
    place_units(client, console, args, START).await
}

/// Stops units. As in fleetctl one that is inactive is an error; so is one that does not exist.
pub(crate) async fn stop_units(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
) -> Result<ExitCode, Error> {
    let (names, all) = on_machines(client, console, args, STOP).await?;
    let mut waiter = Waiter::new(client, args.blocking, false);
    // Not refused where there is no room for it any more: stopping asks for none.
    let change = ChangeRequest { queue: true, ..named_change(names, STOP) };
    let printer = ChangePrinter::default();
    let reached = carry_out(client, console, &mut waiter, &change, STOP, printer).await?;
    Ok(exit_code(reached && all))
}

/// Takes units off their machines. One that is inactive already is as it should be.
pub(crate) async fn unload_units(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
) -> Result<ExitCode, Error> {
    let fits = |unit: &UnitSummary| !unit.name.is_template();
    let (units, all) = known_units(client, console, args, UNLOAD, fits).await?;
    let names = units.into_iter().map(|(name, _)| name).collect();
    let mut waiter = Waiter::new(client, args.blocking, false);
    let change = named_change(names, UNLOAD);
    let printer = ChangePrinter::default();
    let reached = carry_out(client, console, &mut waiter, &change, UNLOAD, printer).await?;
    Ok(exit_code(reached && all))
}

/// Restarts units one after the other; one that fails does not keep the others from being restarted.
pub(crate) async fn restart_units(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
) -> Result<ExitCode, Error> {
    let (names, mut all_well) = on_machines(client, console, args, RESTART).await?;
    let mut waiter = Waiter::new(client, args.blocking, false);
    for name in names {
        let change = named_change(vec![name], RESTART);
        let printer = ChangePrinter::default();
        all_well &= carry_out(client, console, &mut waiter, &change, RESTART, printer).await?;
    }
    Ok(exit_code(all_well))
}

/// Submits units where needed and places them.
async fn place_units(
    client: &Client,
    console: &mut Console,
    args: &PlaceArgs,
    verb: Verb,
) -> Result<ExitCode, Error> {
    let (change, named) = change_request(client, console, &args.files, Some(verb)).await?;
    let change = ChangeRequest { queue: args.queue, ..change };
    let mut waiter = Waiter::new(client, args.files.blocking, args.queue);
    let printer = ChangePrinter::with_arguments(named);
    let reached = carry_out(client, console, &mut waiter, &change, verb, printer).await?;
    Ok(exit_code(reached))
}

/// One request for all units, then one wait for all that were accepted.
async fn carry_out(
    client: &Client,
    console: &mut Console,
    waiter: &mut Waiter<'_>,
    change: &ChangeRequest,
    verb: Verb,
    mut printer: ChangePrinter,
) -> Result<bool, Error> {
    if change.units.is_empty() {
        return Ok(true);
    }
    let answer: ChangeAnswer = client.post_json("/v1/units", change).await?;
    let mut waited = Vec::new();
    for unit in answer.units {
        let Some(unit) = printer.print_outcome(console, unit)? else { continue };
        if waiter.wants_wait() && !unit.global {
            let UnitChanged { name, generation, .. } = unit;
            waited.push(WaitFor { name, until: verb.until, generation });
        } else {
            let what = UnitOutcome::Triggered { verb: verb.name, global: unit.global };
            console.add_result(UnitResult { unit: unit.name, what })?;
        }
    }
    printer.print_hints(console);
    let reached = waiter.wait_for_units(console, waited, answer.revision).await?;
    Ok(reached && printer.all_well)
}

/// The request for units that may bring files, and the arguments of those that bring none.
async fn change_request(
    client: &Client,
    console: &Console,
    args: &FileArgs,
    verb: Option<Verb>,
) -> Result<(ChangeRequest, BTreeMap<UnitName, String>), Error> {
    // Nothing has to fit for being stored, which every unit that matches is.
    let fits = |unit: &UnitSummary| {
        verb.is_none() || !unit.name.is_template() && unit.name.unit_type().starts_by_itself()
    };
    let passive = verb.map_or("be submitted", |verb| verb.passive);
    let words = unit_words::expand_words(client, &args.units, passive, fits).await?;
    let located = units::locate_words(&words)?;
    if let Some(verb) = verb {
        let template = located.units.iter().map(|(name, _)| name).find(|name| name.is_template());
        if let Some(name) = template {
            return Err(ArgumentError::Template { name: name.clone(), verb: verb.passive }.into());
        }
    }
    let LocatedUnits { units, arguments, files, notes } = located;
    print_notes(console, &notes);
    let without = units.iter().zip(arguments).filter(|((_, file), _)| file.is_none());
    let without = without.map(|((name, _), argument)| (name.clone(), argument)).collect();
    let units = units
        .into_iter()
        .map(|(name, file)| UnitChange {
            name,
            file,
            desired: verb.map(|verb| verb.desired),
            restart: false,
        })
        .collect();
    Ok((ChangeRequest { files, units, replace: args.replace, ..ChangeRequest::default() }, without))
}

/// Says what there is to say of drop-ins.
fn print_notes(console: &Console, notes: &[DropinNote]) {
    for note in notes {
        match note {
            DropinNote::Merged { .. } => console.print_note(note),
            DropinNote::Unused { .. } => console.print_warning(note),
        }
    }
}

/// The request for units that are known.
fn named_change(names: Vec<UnitName>, verb: Verb) -> ChangeRequest {
    let units = names
        .into_iter()
        .map(|name| UnitChange {
            name,
            file: None,
            desired: Some(verb.desired),
            restart: verb.restart,
        })
        .collect();
    ChangeRequest { units, ..ChangeRequest::default() }
}

/// The units named that exist, and whether all do. The daemon is asked first, because a change would make an instance of
/// its template, which is not what stopping one means. Of what a pattern matches, those are meant that `fits`.
async fn known_units(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
    verb: Verb,
    fits: impl Fn(&UnitSummary) -> bool,
) -> Result<(Vec<(UnitName, UnitSummary)>, bool), Error> {
    pattern::first_pattern(&args.units)?;
    let answer: Units = client.get("/v1/units").await?;
    let words = pattern::stand_for(&answer.units, &args.units, verb.passive, fits)?;
    let names = unit_words::names_of(&words)?;
    let mut units: BTreeMap<UnitName, UnitSummary> =
        answer.units.into_iter().map(|unit| (unit.name.clone(), unit)).collect();
    let mut known = Vec::with_capacity(names.len());
    let mut all = true;
    for name in names {
        if let Some(unit) = units.remove(&name) {
            known.push((name, unit));
        } else {
            all = false;
            let mut given = args.units.iter();
            let hint = given
                .find(|given| UnitName::from_argument(given).is_ok_and(|given| given == name))
                .and_then(|given| units::type_hint(given));
            print_impossible(console, name, verb, "it does not exist", hint)?;
        }
    }
    Ok((known, all))
}

/// Returns whether a unit has a machine, though that may not have done anything about it yet.
fn has_machine(unit: &UnitSummary) -> bool {
    unit.global || unit.current != DesiredState::Inactive || !unit.machines.is_empty()
}

/// Returns whether a unit that waits for a machine gets one in the moment that placing it takes.
async fn gets_machine(client: &Client, name: &UnitName) -> Result<bool, Error> {
    let until = Instant::now() + PLACEMENT_TIMEOUT;
    loop {
        let unit: UnitDetail = match client.get(&unit_path(name, "")).await {
            Ok(unit) => unit,
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if has_machine(&unit.unit) {
            return Ok(true);
        }
        let waits = unit.unit.desired != DesiredState::Inactive && unit.refusal.is_none();
        if !waits || Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(PLACEMENT_CHECK_INTERVAL).await;
    }
}

/// The units named that exist and are on their way to a machine or on one, and whether all are.
async fn on_machines(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
    verb: Verb,
) -> Result<(Vec<UnitName>, bool), Error> {
    // One that waits for a machine would run once it has one, so that a pattern means it too.
    let fits = |unit: &UnitSummary| {
        !unit.name.is_template() && (has_machine(unit) || unit.desired != DesiredState::Inactive)
    };
    let (units, mut all) = known_units(client, console, args, verb, fits).await?;
    let mut names = Vec::with_capacity(units.len());
    for (name, unit) in units {
        let waits = !unit.name.is_template() && unit.desired != DesiredState::Inactive;
        if has_machine(&unit) || waits && gets_machine(client, &name).await? {
            names.push(name);
            continue;
        }
        all = false;
        let hint = (unit.desired != DesiredState::Inactive)
            .then(|| format!("it waits for a machine; `musterctl unload {name}` takes it back"));
        print_impossible(console, name, verb, "it is inactive", hint)?;
    }
    Ok((names, all))
}

fn print_impossible(
    console: &mut Console,
    unit: UnitName,
    verb: Verb,
    why: &str,
    hint: Option<String>,
) -> Result<(), Error> {
    let message = format!("{unit} cannot {}: {why}", verb.passive);
    console.print_error(&message);
    if let Some(hint) = hint {
        console.print_hint(hint);
    }
    console
        .add_result(UnitResult { unit, what: UnitOutcome::Failed { message, log: Vec::new() } })?;
    Ok(())
}

/// Prints the outcomes of a change: hints are given once, after the last unit.
#[derive(Debug)]
struct ChangePrinter {
    all_well: bool,
    differs: bool,
    refused: bool,
    /// The runners that a machine would have to have to take what was refused.
    missing_runners: BTreeSet<RunnerKind>,
    /// The arguments that named units without bringing a file.
    without_file: BTreeMap<UnitName, String>,
}

impl Default for ChangePrinter {
    fn default() -> Self {
        Self::with_arguments(BTreeMap::new())
    }
}

impl ChangePrinter {
    /// Nothing yet, of units some of which were named without a file.
    fn with_arguments(without_file: BTreeMap<UnitName, String>) -> Self {
        Self {
            all_well: true,
            differs: false,
            refused: false,
            missing_runners: BTreeSet::new(),
            without_file,
        }
    }

    /// Returns what a unit is to be told that nobody knows and that came without a file.
    fn missing_file(&self, unit: &UnitChanged) -> Option<ArgumentError> {
        let ChangeOutcome::Failed { message } = &unit.outcome else { return None };
        // Other things may be wrong with a unit that has no generation, such as a record that cannot be read.
        let unknown =
            unit.generation == 0 && unit.was.is_none() && message.contains(" is not known");
        let argument = self.without_file.get(&unit.name).filter(|_| unknown)?;
        Some(units::no_file(argument, &unit.name))
    }

    /// Prints what was wrong with one unit; gives it back when its change was carried out.
    fn print_outcome(
        &mut self,
        console: &mut Console,
        unit: UnitChanged,
    ) -> Result<Option<UnitChanged>, Error> {
        for warning in &unit.warnings {
            console.print_warning(warning);
        }
        if let Some(missing) = self.missing_file(&unit) {
            self.all_well = false;
            console.print_error(&missing);
            if let Some(hint) = missing.way_out() {
                console.print_hint(hint);
            }
            let what = UnitOutcome::Failed { message: missing.to_string(), log: Vec::new() };
            console.add_result(UnitResult { unit: unit.name, what })?;
            return Ok(None);
        }
        match unit.outcome {
            ChangeOutcome::Refused { refusal } => {
                self.all_well = false;
                self.refused = true;
                if refusal.misses_runner(RunnerKind::Podman) {
                    self.missing_runners.insert(RunnerKind::Podman);
                }
                wait::print_refusal(console, unit.name, refusal)?;
                Ok(None)
            }
            ChangeOutcome::Failed { message } => {
                self.all_well = false;
                // The message names the file, which mostly is the unit.
                if message.contains(unit.name.as_str()) {
                    console.print_error(&message);
                } else {
                    console.print_error(format_args!("{}: {message}", unit.name));
                }
                let what = UnitOutcome::Failed { message, log: Vec::new() };
                console.add_result(UnitResult { unit: unit.name, what })?;
                Ok(None)
            }
            ChangeOutcome::Differs => {
                self.differs = true;
                console.print_warning(format_args!(
                    "{}: the cluster has another file of it, which was kept",
                    unit.name
                ));
                Ok(Some(unit))
            }
            _ => Ok(Some(unit)),
        }
    }

    fn print_hints(&self, console: &Console) {
        if self.differs {
            console.print_hint("`--replace` puts the local file in its place");
        }
        if self.missing_runners.contains(&RunnerKind::Podman) {
            console.print_hint(
                "a machine has Podman for units once Podman 4.4 or later (5.0 for pods) is installed and musterd restarted there",
            );
        }
        if self.refused {
            console.print_hint("`--queue` keeps units waiting for a machine that can take them");
        }
    }
}
