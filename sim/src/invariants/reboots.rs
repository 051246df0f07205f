//! Reboots: no grant takes a group above its slots, no machine goes down without one or before it is empty, and no two replicas are away
//! at once.

use muster_common::reboot::{HostStatus, Phase, Semaphore};
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;
use muster_store::KeyChange;

use super::Findings;
use crate::facts::Facts;
use crate::machine::PREFIX;
use crate::moment::Micros;
use crate::plan::engines::is_container;
use crate::plan::shape::Shape;

/// Checks the slots that have changed, and takes note of them.
pub(crate) fn check_slots(facts: &mut Facts, changes: &[KeyChange]) -> Findings {
    let mut found = Findings::new();
    for change in changes {
        let group = change.key().strip_prefix(PREFIX).and_then(|key| key.strip_prefix("reboot/"));
        let Some(group) = group else { continue };
        let is = match change {
            KeyChange::Put(record) => serde_json::from_slice::<Semaphore>(&record.value).ok(),
            KeyChange::Delete { .. } => None,
        };
        let is = is.unwrap_or_default();
        let was = facts.slots.insert(group.to_owned(), is.clone()).unwrap_or_default();
        // One that was given back and is taken again is no longer that of the backup.
        facts.restored_slots.retain(|(of, id)| {
            of != group || is.holders.iter().any(|holder| holder.id.as_str() == id)
        });
        let (before, now) = (was.holders.len(), is.holders.len());
        if now > before && now > usize::try_from(is.max).unwrap_or(usize::MAX) {
            let text = format!("{now} hold slots of {group}, which has {}", is.max);
            found.push(("slots-above-max", text));
        }
        for holder in &is.holders {
            let times = is.holders.iter().filter(|other| other.id == holder.id).count();
            let known = Shape::machine_number(holder.id.as_str())
                .is_some_and(|_| facts.machines.contains_key(holder.id.as_str()));
            if times > 1 || !known {
                let text = format!("{} holds {times} slots of {group}", holder.id);
                found.push(("slot-of-nobody", text));
            }
        }
    }
    found
}

/// Finds slots of machines that have nothing to do with a reboot: they are to be given back.
///
/// A slot that came back with a backup was given back in a history that is no more. Its machine cannot tell it from one that a person
/// has taken on its behalf, so it is for a person to give it back, as docs/operations.md says of a store that was restored.
pub(crate) fn check_holders(facts: &Facts) -> Findings {
    let mut found = Findings::new();
    let held = facts
        .slots
        .iter()
        .flat_map(|(group, slots)| slots.holders.iter().map(move |holder| (group, holder)));
    for (group, holder) in held {
        if facts.restored_slots.contains(&(group.clone(), holder.id.to_string())) {
            continue;
        }
        let status = facts.find_record(&format!("reboot-host/{}", holder.id));
        let status = status.and_then(|record| serde_json::from_slice(&record.value).ok());
        let phase = status.map_or(Phase::Idle, |status: HostStatus| status.phase);
        if phase == Phase::Idle {
            let text = format!("{} holds a slot, and nothing is done for it", holder.id);
            found.push(("slot-kept", text));
        }
    }
    found
}

/// Checks that a machine may go down for a reboot of its own, and takes note of what goes down with it.
pub(crate) fn check_reboot(facts: &mut Facts, shape: &Shape, machine: usize) -> Findings {
    let name = Shape::machine_name(machine);
    let mut found = check_slot(facts, &name);
    // Where starts fail a drain may come to nothing, and then the machine goes down at its deadline all the same.
    if shape.failing_per_mille == 0 {
        found.extend(check_drained(facts, shape, &name));
    }
    found.extend(check_replicas(facts, &name));
    found
}

/// Checks that no two of those that conflict are away at once because of reboots: whoever has given its slot back has its replica up
/// again. Where several slots are given out several hosts may be down at once, by the will of whoever gave them out.
fn check_replicas(facts: &mut Facts, name: &str) -> Findings {
    let here: Vec<UnitName> = facts
        .current_places()
        .into_iter()
        .filter(|(unit, homes)| unit.as_str().starts_with("spread@") && homes.contains_key(name))
        .map(|(unit, _)| unit)
        .filter(|unit| facts.is_reported_active(name, unit))
        .collect();
    let mut found = Findings::new();
    if let Some(unit) = here.first() {
        for (away, (host, since)) in &facts.away_for_reboot {
            if host != name && !here.contains(away) && is_still_away(facts, away, host, *since) {
                let text = format!(
                    "{unit} goes down with {name} while {away} is away since the reboot of {host} at {since}"
                );
                found.push(("replicas-at-once", text));
            }
        }
    }
    let now = facts.now;
    facts.away_for_reboot.extend(here.into_iter().map(|unit| (unit, (name.to_owned(), now))));
    found
}

/// True if a unit that went down with its host for a reboot has not been up since, although it is wanted there as before, and the
/// host has given its slot back.
fn is_still_away(facts: &Facts, unit: &UnitName, host: &str, since: Micros) -> bool {
    let mut holders = facts.slots.values().flat_map(|slots| &slots.holders);
    let holds = holders.any(|holder| holder.id.as_str() == host);
    let is_there = facts.place_history(host, unit).last().is_some_and(|(at, place)| {
        *at < since && place.as_ref().is_some_and(|is| is.desired == DesiredState::Launched)
    });
    is_there && !holds && !facts.was_restored_since(since) && !facts.was_up_since(unit, host, since)
}

/// Longer than the drain is given time for, with a slow start and a slow stop.
const LONG: Micros = Micros::from_secs(60);

/// Checks that what can run elsewhere has left a machine before it goes down, where nothing stood in its way for longer than it may take.
fn check_drained(facts: &Facts, shape: &Shape, name: &str) -> Findings {
    let long = |since: Micros| since + LONG <= facts.now;
    let others = || facts.machines.iter().filter(|(other, _)| *other != name);
    let is_free = others().next().is_some()
        && others().all(|(other, condition)| {
            condition.is_well && long(condition.since) && !facts.was_cordoned(other)
        });
    // Nobody can write an order to drain beside what nobody can read.
    let is_orderable = !facts.is_record_by_hand(&format!("cordon/{name}"));
    if !is_free
        || !is_orderable
        || !facts.store_sound_for(LONG)
        || !facts.held_machines().is_empty()
    {
        return Findings::new();
    }
    let mut found = Findings::new();
    for (unit, homes) in facts.current_places() {
        let settled = |at: Micros| long(at) && facts.is_reported_active(name, &unit);
        let since = facts.place_history(name, &unit).last().map(|(at, _)| *at);
        let is_left = homes.contains_key(name) && unit.as_str().starts_with("plain");
        let may_stay = facts.is_by_hand(&unit)
            || is_container(&unit) && !could_move_containers(facts, shape, name);
        if is_left && !may_stay && since.is_some_and(settled) {
            found.push((
                "rebooted-undrained",
                format!("{unit} goes down with {name}, which reboots"),
            ));
        }
    }
    found
}

/// True if a container could have left a machine in the time that a drain is given: another one has an engine as well, all engines have
/// worked for long, and none is of those that fail calls or take longer than a whole drain for one.
fn could_move_containers(facts: &Facts, shape: &Shape, name: &str) -> bool {
    let Some(engines) = &shape.engines else { return false };
    let is_steady = (engines.failing_per_mille, engines.slow_per_mille) == (0, 0);
    let machines = || engines.list_machines().map(Shape::machine_name);
    let works = |machine: String| {
        let since = facts.machines.get(&machine).and_then(|condition| condition.engine_since);
        since.is_some_and(|since| since + LONG <= facts.now)
    };
    is_steady && machines().any(|machine| machine != name) && machines().all(works)
}

/// Checks that a machine which goes down for a reboot of its own holds a slot.
fn check_slot(facts: &Facts, name: &str) -> Findings {
    let mut holders = facts.slots.values().flat_map(|slots| &slots.holders);
    if holders.any(|holder| holder.id.as_str() == name) {
        return Findings::new();
    }
    vec![("rebooted-without-slot", format!("{name} reboots and holds no slot"))]
}
