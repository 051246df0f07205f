//! What a daemon does to units: nothing on the strength of not knowing, nothing for nothing, and nothing twice.

use muster_common::state::DesiredState;
use muster_common::unit::UnitName;

use super::Findings;
use crate::facts::Facts;
use crate::units_host::HostUnit;

/// Checks a stop that a daemon asks for.
pub(crate) fn check_stop(
    facts: &Facts,
    machine: &str,
    unit: &UnitName,
    is: Option<&HostUnit>,
) -> Findings {
    let Some(place) = facts.stable_place(machine, unit) else { return Findings::new() };
    let runs = is.is_some_and(|is| is.active.is_up() && is.running == Some(place.file));
    if place.desired == DesiredState::Launched && runs {
        let text = format!("{machine} stops {unit}, which has been wanted there all the time");
        return vec![("stopped-for-nothing", text)];
    }
    Findings::new()
}

/// Checks that a job is begun once.
pub(crate) fn check_job(facts: &mut Facts, unit: &UnitName, generation: u64) -> Findings {
    let times = facts.count_start(unit, generation);
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
    if let Some(place) = facts.stable_place(machine, unit)
        && place.generation == generation
        && is.is_some_and(|is| {
            is.active.is_up() && is.running == Some(place.file) && is.generation == generation
        })
    {
        let text = format!("{machine} starts {unit} again, which runs as it should");
        found.push(("restarted-for-nothing", text));
    }
    // What was moved away while the machine was off is not for it to start, whatever lies on its disk. One that was cut off before
    // it went cannot know.
    if let (Some(condition), Some((removed, None))) = (facts.machines.get(machine), history.last())
        && (condition.went_off..condition.booted).contains(removed)
    {
        let text = format!(
            "{machine} starts {unit} from its disk, which was taken from it at {removed}, while it was off"
        );
        found.push(("started-from-the-past", text));
    }
    found
}
