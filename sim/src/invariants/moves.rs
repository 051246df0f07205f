//! Nothing moves in or after an outage, and machines that vanish together are not moved away from.

use std::collections::BTreeSet;

use muster_common::unit::{UnitName, UnitType};
use muster_store::KeyChange;

use super::Findings;
use crate::conditions::RETURN;
use crate::fact_entries::Condition;
use crate::facts::{Facts, parse_place};
use crate::machine::PREFIX;
use crate::moment::Micros;

/// Checks what one commit has changed, with the facts after it.
pub(crate) fn check_moves(facts: &Facts, changes: &[KeyChange], ttl: Micros) -> Findings {
    let mut found = Findings::new();
    let put: BTreeSet<UnitName> = changes
        .iter()
        .filter(|change| matches!(change, KeyChange::Put(_)))
        .filter_map(|change| Some(parse_place(change.key().strip_prefix(PREFIX)?)?.1))
        .collect();
    for change in changes {
        let KeyChange::Delete { key } = change else { continue };
        let Some((machine, unit)) = key.strip_prefix(PREFIX).and_then(parse_place) else {
            continue;
        };
        // Those that conflict with others may have to make room for them, and what starts another unit follows it.
        let follows = matches!(unit.unit_type(), UnitType::Timer | UnitType::Socket);
        let may_yield = unit.as_str().starts_with("spread@") || follows;
        // A move that came to nothing is taken back: the unit stays where it was placed all the time.
        let was_elsewhere = changes.iter().any(|change| {
            let home = change.key().strip_prefix(PREFIX).and_then(parse_place);
            let of_it = home.filter(|(other, of)| *other != machine && *of == unit);
            of_it.is_some_and(|(other, _)| facts.was_placed_before(other, &unit))
        });
        if !put.contains(&unit) || facts.wanted_unit(&unit).is_none() || may_yield || was_elsewhere
        {
            continue;
        }
        if let Some((word, why)) = find_fault(facts, machine, ttl) {
            found.push((word, format!("{unit} moves away from {machine}, {why}")));
        }
    }
    found
}

/// True if the registration of a machine that has ended just now was to end: it had been away for long enough, while the store was there.
pub(crate) fn is_loss_right(facts: &Facts, machine: &str, ttl: Micros) -> bool {
    find_fault(facts, machine, ttl).is_none()
}

/// True if half of the machines are lost, or silent for so long that half of any lease of theirs is over, some of these among them: whoever
/// is asked after their leases sees no more (decision 0003). A message that was on its way when the line was cut has been heard as well.
fn are_half_gone(facts: &Facts, machines: &BTreeSet<String>, lease: Micros) -> bool {
    let is_gone = |machine: &String| {
        let registered = facts.find_record(&format!("machine/{machine}")).is_some();
        let condition = facts.machines.get(machine);
        // Whoever has said goodbye is missed by nobody.
        if condition.is_some_and(|it| it.has_left) {
            return false;
        }
        let silent = condition.and_then(|it| Some(it.silent_since?.max(it.heard_at)));
        !registered || silent.is_some_and(|since| since + Micros(lease.0 / 2) <= facts.now)
    };
    let gone = machines.iter().filter(|machine| is_gone(machine)).count();
    gone >= 2 && gone * 2 >= facts.machines.len()
}

/// The lease of a machine of this time to live: shorter than that (decision 0001).
fn lease_of(ttl: Micros) -> Micros {
    Micros((ttl.0 * 6 / 10).max(Micros::from_secs(2).0))
}

/// The moment from which on a machine that is well holds its lease: it has come to a member that answers it, and has been registered for a
/// moment. Who comes back while the store has no room registers after that.
fn well_from(facts: &Facts, condition: &Condition, lease: Micros) -> Micros {
    let since = condition.since.max(condition.registered);
    let lacked_room = facts.last_full.filter(|(began, _)| *began <= condition.since);
    let since = lacked_room.map_or(since, |(_, ended)| since.max(ended.unwrap_or(facts.now)));
    if facts.ways_sound_since.is_some_and(|sound| sound <= since) {
        return since + RETURN;
    }
    // Members that are silent are each waited for in turn, for as long as a keepalive may take, and anew after an election that is too short
    // to end a lease.
    let election = facts.last_outage.filter(|(began, end)| *end - *began < Micros(lease.0 * 2 / 3));
    let since = election.map_or(since, |(_, ended)| since.max(ended));
    since + RETURN + Micros(lease.0 / 5 * 3)
}

fn find_fault(facts: &Facts, machine: &str, ttl: Micros) -> Option<(&'static str, String)> {
    if facts.was_cordoned(machine) || facts.machines.get(machine)?.has_left {
        return None;
    }
    let together = facts.cut_together.iter().find(|(machines, from, to)| {
        machines.contains(machine)
            && facts.now >= *from
            && facts.now < *to + ttl
            // One that was away before is lost for itself.
            && facts.machines.get(machine).is_some_and(|c| c.is_well || c.since + RETURN >= *from)
            && are_half_gone(facts, machines, lease_of(ttl))
    });
    if let Some((machines, _, _)) = together {
        return Some(("moved-in-mass", format!("which was cut off with {machines:?}")));
    }
    let condition = facts.machines.get(machine)?;
    // It was lost as it should be, and has not been registered since: its units may move whenever somebody finds the time.
    if condition.lost_rightly == Some(true) {
        return None;
    }
    // A lease that was ended by force is as lost as another, and its machine as well as before.
    if condition.set_back.is_some_and(|at| at + ttl + RETURN > facts.now) {
        return None;
    }
    // A daemon that has booted waits for the lease of the boot before, which somebody else may hold who has its id: until it is registered
    // it is away since it went off.
    let is_back = condition.is_well && condition.registered >= condition.booted;
    let went_off = condition.went_off.min(condition.away_before);
    let is_unheard = condition.registered < condition.unheard_since;
    let since = match condition.is_well {
        true if !is_back => went_off,
        false if is_unheard => condition.since.min(condition.unheard_since),
        _ => condition.since,
    };
    let outage = facts.last_outage.filter(|(_, end)| *end >= since);
    // Each silent member is waited for in turn, and with most of them silent a late message on the way to the last costs the lease.
    let lease = lease_of(ttl);
    let narrow = condition.narrow_since.filter(|since| *since + lease + RETURN >= facts.now);
    let since = narrow.filter(|_| is_back).unwrap_or(since);
    if is_back && narrow.is_none() {
        let began = outage.map_or(facts.now, |(began, _)| began);
        let was_well = well_from(facts, condition, lease) < began;
        let why = || format!("which has been well since {}", condition.since);
        return was_well.then(|| ("moved-from-the-well", why()));
    }
    // It is away: for how long, while the store was there to notice? It is so since nothing of it reaches the store, though that may have
    // been put down to the store at first; and an outage that nobody's lease can end in is none (decision 0017).
    let silent = condition.silent_since.and(condition.faint_since);
    let since = silent.map_or(since, |silent| silent.min(since));
    let long = outage.filter(|(began, end)| *end - *began >= Micros(lease.0 * 2 / 3));
    let unnoticed = long.map_or(Micros::ZERO, |(began, end)| end - began.max(since));
    // What was asked of members that were silent right before, all but a few, may have cost it the renewals of a lease.
    let was_narrow = condition.narrow_until + RETURN >= since;
    let since = if was_narrow { since - lease.min(since) } else { since };
    let away = facts.now - since - unnoticed;
    // Its last renewal may be a third of the lease ago, and some of the rest is lost to clocks and messages.
    let least = Micros(lease.0 / 2);
    (away < least).then(|| ("moved-too-soon", format!("which has been away for {away} only")))
}
