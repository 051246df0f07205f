//! What a daemon does to units: nothing on the strength of not knowing, nothing for nothing, and nothing twice.

use muster_common::state::DesiredState;
use muster_common::unit::UnitName;

use super::Findings;
use crate::conditions::RETURN;
use crate::facts::Facts;
use crate::host_unit::HostUnit;

/// Checks a stop that a daemon asks for.
pub(crate) fn check_stop(
    facts: &Facts,
    machine: &str,
    unit: &UnitName,
    is: Option<&HostUnit>,
) -> Findings {
    let Some(place) = facts.stable_place(machine, unit) else { return Findings::new() };
    let runs = is.is_some_and(|is| {
        is.active.is_up() && (is.running, is.file) == (Some(place.file), Some(place.file))
    });
    if place.desired == DesiredState::Launched && runs {
        let text = format!("{machine} stops {unit}, which has been wanted there all the time");
        return vec![("stopped-for-nothing", text)];
    }
    Findings::new()
}

/// Checks that a job is begun once. Excepted is what decision 0029 admits: a backup was put back that was made after somebody had asked
/// for the start and before any machine was told, and the next one that is told is another.
pub(crate) fn check_job(
    facts: &mut Facts,
    machine: &str,
    unit: &UnitName,
    generation: u64,
) -> Findings {
    let times = facts.count_start(machine, unit, generation);
    if times > 1 && unit.as_str().starts_with("job") {
        let text = format!("{unit} is begun {times} times at generation {generation}");
        return vec![("job-begun-twice", text)];
    }
    Findings::new()
}

/// Checks a start, or a restart, that a daemon asks for.
pub(crate) fn check_start(
    facts: &Facts,
    machine: &str,
    unit: &UnitName,
    generation: u64,
    is: Option<&HostUnit>,
) -> Findings {
    let history = facts.place_history(machine, unit);
    let placed = history
        .iter()
        .flat_map(|(_, place)| place)
        .any(|place| place.generation == generation && place.desired == DesiredState::Launched);
    if !placed {
        let text = format!(
            "{machine} starts {unit} at generation {generation}, which was never wanted there"
        );
        return vec![("started-unplaced", text)];
    }
    let mut found = Findings::new();
    // The answer to its first start was lost with the engine, and a start of what runs changes nothing.
    let is_engine_back = unit.as_str().ends_with(".container")
        && facts.machines.get(machine).is_some_and(|condition| {
            condition.engine_since.is_none_or(|since| since + RETURN > facts.now)
        });
    if let Some(place) = facts.stable_place(machine, unit)
        && place.generation == generation
        && !is_engine_back
        && is.is_some_and(|is| {
            is.active.is_up()
                && (is.running, is.file) == (Some(place.file), Some(place.file))
                && is.generation == generation
        })
    {
        let text = format!("{machine} starts {unit} again, which runs as it should");
        found.push(("restarted-for-nothing", text));
    }
    // What was moved away while the machine was off is not for it to start, whatever lies on its disk. Excepted is what decision 0016
    // admits, and no more: its lease had run out without a word from the store before it went, which its note says, and nothing was
    // heard since. That no note is there while anybody counts on the machine is a check of its own, below.
    if let (Some(condition), Some((removed, None))) = (facts.machines.get(machine), history.last())
        && (condition.went_off..condition.booted).contains(removed)
        && !condition.booted_in_outage
    {
        let text = format!(
            "{machine} starts {unit} from its disk, which was taken from it at {removed}, while it was off"
        );
        found.push(("started-from-the-past", text));
    }
    found
}

/// Checks that a machine which asks for a lease, or for more of it, has no note that the store is away: whoever sees the lease counts on
/// the machine, and what moves when it goes then must not be started from its disk. One that is on its way down has asked for the
/// last time before it notes anything, and what was asked may be sent once more. And what was on its way as the lease ran out may be
/// sent in the moment of the note: once is by chance, twice is not.
pub(crate) fn check_note(facts: &mut Facts, machine: &str, has_note: bool) -> Findings {
    let now = facts.now;
    let condition = facts.machines.entry(machine.to_owned()).or_default();
    let before = std::mem::replace(&mut condition.asked_with_note, has_note.then_some(now));
    if !has_note || before.is_none_or(|before| before == now) {
        return Findings::new();
    }
    let text = format!("{machine} asks to be counted on while it notes that the store is away");
    vec![("note-kept", text)]
}
