//! After the last fault everything converges.
//!
//! Owns what must be true of the whole cluster once it has had the time for it: everybody registered and well, every wanted unit
//! placed, running and reported, and nothing left of the others.

use std::collections::BTreeMap;

use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::UnitName;
use muster_engine::machine::job::END_UNKNOWN;

use crate::facts::{Facts, WantedUnit};
use crate::host_unit::HostUnit;
use crate::invariants::{Findings, promises, reboots};
use crate::machine::Machine;
use crate::plan::engines::is_container;
use crate::plan::shape::{Shape, UnitKind, UnitShape};

/// Finds what has not converged.
pub(crate) fn check_calm(facts: &Facts, machines: &[Machine], shape: &Shape) -> Findings {
    let mut found = Findings::new();
    check_leader(facts, &mut found);
    for machine in machines {
        check_machine(facts, machine, &mut found);
    }
    found.extend(reboots::check_holders(facts));
    if !found.is_empty() {
        return found;
    }
    let places = facts.current_places();
    for unit in shape.units.iter().filter(|unit| !facts.is_by_hand(&unit.name)) {
        found.extend(promises::check_unit(facts, &unit.name));
        check_placed(facts, &places, unit, (shape, machines.len()), &mut found);
        for machine in machines {
            let place = places.get(&unit.name).and_then(|homes| homes.get(&machine.machine_name()));
            check_running(facts, machine, &unit.name, place, &mut found);
        }
    }
    check_spread(facts, &places, shape, machines.len(), &mut found);
    found
}

fn check_leader(facts: &Facts, found: &mut Findings) {
    if facts.find_record("leader").is_none() {
        found.push(("nobody-leads", "nobody leads".to_owned()));
    }
    let held = facts.held_machines();
    if !held.is_empty() {
        found.push(("still-frozen", format!("units of {held:?} are still held")));
    }
}

fn check_machine(facts: &Facts, machine: &Machine, found: &mut Findings) {
    let name = machine.machine_name();
    let Some(daemon) = &machine.daemon else {
        return found.push(("no-daemon", format!("{name} has no daemon")));
    };
    if facts.find_record(&format!("machine/{name}")).is_none() {
        found.push(("not-registered", format!("{name} is not registered")));
    }
    if !facts.current_members().contains(&name) {
        found.push(("not-a-member", format!("{name} would be missed by nobody")));
    }
    let status = daemon.health.status();
    for (part, health) in status.required_components().filter(|(_, health)| !health.ok) {
        let problem = health.problem.clone().unwrap_or_default();
        found.push(("not-well", format!("{name} is not well: {part}: {problem}")));
    }
    if !status.reported {
        found.push(("not-reported", format!("{name} has not reported its units")));
    }
}

fn check_placed(
    facts: &Facts,
    places: &BTreeMap<UnitName, BTreeMap<String, WantedUnit>>,
    unit: &UnitShape,
    (shape, machines): (&Shape, usize),
    found: &mut Findings,
) {
    let name = &unit.name;
    let wanted = facts.wanted_unit(name).filter(|wanted| wanted.desired != DesiredState::Inactive);
    let none = BTreeMap::new();
    let homes = places.get(name).unwrap_or(&none);
    let Some(wanted) = wanted else {
        if !homes.is_empty() {
            let homes: Vec<&String> = homes.keys().collect();
            found.push((
                "placed-unwanted",
                format!("{name} is not wanted, and placed on {homes:?}"),
            ));
        }
        return;
    };
    let expected = match unit.kind {
        UnitKind::Global if is_container(name) => {
            shape.engines.as_ref().map_or(0, |engines| engines.list_machines().count())
        }
        UnitKind::Global => machines,
        // What starts another unit goes where that is, and nowhere without it.
        UnitKind::Spread | UnitKind::Timer | UnitKind::Socket => homes.len().min(1),
        _ => 1,
    };
    let right = homes.values().all(|place| *place == wanted);
    if homes.len() != expected || !right {
        let text = format!("{name} is wanted as {wanted:?} and placed as {homes:?}");
        found.push(("not-placed", text));
    }
}

/// As many of those that conflict as there are machines.
fn check_spread(
    facts: &Facts,
    places: &BTreeMap<UnitName, BTreeMap<String, WantedUnit>>,
    shape: &Shape,
    machines: usize,
    found: &mut Findings,
) {
    let spread = || shape.units.iter().filter(|unit| unit.kind == UnitKind::Spread);
    let is_wanted = |unit: &&UnitShape| {
        facts.wanted_unit(&unit.name).is_some_and(|wanted| wanted.desired != DesiredState::Inactive)
    };
    // What stands in the way of one that nobody can read is not known.
    if spread().any(|unit| facts.is_by_hand(&unit.name)) {
        return;
    }
    let wanted = spread().filter(is_wanted).count();
    let placed = spread().filter(|unit| places.contains_key(&unit.name)).count();
    if placed != wanted.min(machines) {
        let text = format!("{placed} of {wanted} that conflict are placed on {machines} machines");
        found.push(("not-spread", text));
    }
}

/// True if what a daemon tells of a container is no other state than the engine's. Why one is down, and that one is about to be made,
/// the engine does not know.
fn is_told(state: &ObservedState, is: &HostUnit) -> bool {
    is.active.is_down() && !state.active.is_up()
}

fn check_running(
    facts: &Facts,
    machine: &Machine,
    unit: &UnitName,
    place: Option<&WantedUnit>,
    found: &mut Findings,
) {
    let name = machine.machine_name();
    let is = machine.find_unit(unit);
    let state = facts.find_record(&format!("state/{name}/{unit}"));
    let state =
        state.and_then(|record| serde_json::from_slice::<ObservedState>(&record.value).ok());
    let Some(place) = place else {
        // What runs without a file of ours, and was started by others, was the host's own.
        let is_ours = |is: &&HostUnit| is.file.is_some() || !is.active.is_down() && !is.by_others;
        if let Some(is) = is.as_ref().filter(is_ours) {
            found.push(("left-behind", format!("{unit} is left on {name}: {}", is.active)));
        }
        // One that is being stopped is reported until it is down, and a container until its engine has removed it, which may take long; its
        // file goes after that, and that it does is seen above.
        let is_removed =
            |is: &HostUnit| is.active.is_down() && !(is_container(unit) && is.file.is_some());
        if state.is_some() && is.as_ref().is_none_or(is_removed) {
            found.push(("state-of-nothing", format!("{name} still reports {unit}")));
        }
        return;
    };
    // A job that was begun is not begun again, whatever has become of it.
    // What systemd or its engine was asked for and did not answer counts as begun, whether it was or not (decision 0012).
    let says_begun =
        |state: &ObservedState| state.problem.as_deref().is_some_and(|it| it == END_UNKNOWN);
    let may_be_begun = state.as_ref().is_some_and(|it| is_container(unit) || says_begun(it));
    let is_done = unit.as_str().starts_with("job")
        && (may_be_begun || facts.was_started(unit, place.generation));
    let Some(is) = is else {
        if is_done {
            return;
        }
        return found.push(("not-there", format!("{name} has nothing of {unit}")));
    };
    // A job that is not begun again keeps the text that it ran from.
    if is.file != Some(place.file) && !is_done {
        found.push(("wrong-file", format!("{name} has another file of {unit}")));
    }
    // What systemd or a person has started in the meantime runs as it was asked to, and is not started once more for it; be it from
    // a text that a person has put there, or that the host had under that name for a time. Neither is what was started for a later wish, which a restored store has
    // taken back.
    let is_hosts_own = || {
        let history = facts.place_history(&name, unit);
        let is_ours = |running| history.iter().flat_map(|(_, it)| it).any(|it| it.file == running);
        is.running.is_some_and(|running| !is_ours(running))
    };
    let runs = is.active == ActiveState::Active
        && (is.running == Some(place.file) || is_hosts_own())
        && (is.generation >= place.generation || is.by_others);
    // What a timer starts is on its way now and then.
    let flaps = unit.as_str().starts_with("tick");
    let has_ended = is_done || flaps || is.ended && is.generation <= place.generation;
    if place.desired == DesiredState::Launched && !runs && !has_ended {
        let text = format!("{name} does not run {unit}: {is:?} of {place:?}");
        found.push(("not-running", text));
    }
    // What starts a unit that is to be loaded, a timer or a person, may.
    if place.desired == DesiredState::Loaded && !is.active.is_down() && !is.by_others {
        found.push(("runs-unwanted", format!("{name} runs {unit}, which is to be loaded only")));
    }
    // What a start that is under way carries out is told when it has ended: a job of systemd's waits for others of its, and a
    // container for its image. So is what waits for a stop or a removal of before, another's that it conflicts with included. That they
    // end is seen by `not-running`.
    let waits = unit.as_str().starts_with("spread@") && machine.notes.is_conflict_under_way();
    let settled = is.active.is_settled() && !machine.notes.is_under_way(unit) && !waits;
    let told = state.as_ref().is_some_and(|state| {
        let is_same = state.active == is.active || is_container(unit) && is_told(state, &is);
        is_same && (!settled || state.generation == place.generation)
    });
    if !told && !flaps {
        let says = state.map(|state| (state.active, state.generation, state.file));
        let text = format!(
            "{name} says of {unit}, which is {}, something else: {says:?} of {is:?}",
            is.active
        );
        found.push(("state-stale", text));
    }
}
