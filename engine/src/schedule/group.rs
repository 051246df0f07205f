//! `MachineOf=`: units that belong beside one another.
//!
//! Owns who is tied to whom, and whether the tie can hold at all. A unit that names a leader follows it; leaders and
//! followers form a group, which is placed as one. A tie to a unit that is not to be placed, or that leads in a circle,
//! cannot hold: such a follower is refused and does not hinder the rest. A global unit leads nobody, as it is on many machines:
//! see [`super::filter`].

use std::collections::{BTreeMap, BTreeSet};

use muster_common::machine::MachineId;
use muster_common::refusal::UnitReason;
use muster_common::unit::UnitName;

use super::index::Index;
use super::table::{MachineKey, UnitKey};

/// Units that are placed as one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// Leaders before their followers, otherwise by name.
    pub(crate) members: Vec<UnitKey>,
    /// Leaders that are placed but cannot be decided on, because a record of theirs cannot be read: the others go
    /// where these are.
    pub(crate) fixed: Vec<UnitKey>,
}

/// Units tied together, sorted out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Component {
    pub(crate) groups: Vec<Group>,
    /// Units whose tie cannot hold.
    pub(crate) refused: Vec<UnitKey>,
}

impl Index {
    /// Every unit tied to this one, directly or not, but by a global one.
    fn tied_units(&self, unit: UnitKey) -> BTreeMap<UnitName, UnitKey> {
        let mut found = BTreeMap::new();
        let mut next = vec![unit];
        while let Some(unit) = next.pop() {
            if self.is_global_leader(unit) {
                continue;
            }
            if found.insert(self.units[unit].name.clone(), unit).is_none() {
                next.extend(self.leaders_of(unit).filter_map(|name| self.unit_keys.get(name)));
                next.extend(self.followers_of(unit));
            }
        }
        found
    }

    /// Sorts out the units tied to this one, itself included.
    pub(crate) fn tied_component(&self, unit: UnitKey) -> Component {
        let tied = self.tied_units(unit);
        let candidates: BTreeMap<&UnitName, UnitKey> = tied
            .iter()
            .map(|(name, key)| (name, *key))
            .filter(|(_, k)| self.is_placeable(*k))
            .collect();

        // Leaders first: a unit is ready when each of its leaders is known to be sound.
        let mut open: BTreeMap<UnitKey, usize> = BTreeMap::new();
        let mut ready: BTreeSet<(&UnitName, UnitKey)> = BTreeSet::new();
        let mut fixed: BTreeSet<UnitKey> = BTreeSet::new();
        for (name, key) in &candidates {
            let mut waits = 0;
            for leader in self.leaders_of(*key) {
                match self.unit_keys.get(leader) {
                    Some(leader) if self.is_fixed(*leader) => {
                        fixed.insert(*leader);
                    }
                    Some(leader) if self.is_global_leader(*leader) => {}
                    // A leader that can never be sound is waited for in vain.
                    _ => waits += 1,
                }
            }
            open.insert(*key, waits);
            if waits == 0 {
                ready.insert((name, *key));
            }
        }
        let mut sound: Vec<UnitKey> = Vec::new();
        while let Some((_, key)) = ready.pop_first() {
            sound.push(key);
            for follower in self.followers_of(key) {
                if let Some(waits) = open.get_mut(&follower) {
                    *waits -= 1;
                    if *waits == 0 {
                        ready.insert((&self.units[follower].name, follower));
                    }
                }
            }
        }

        if !fixed.is_empty() {
            self.refuse_torn(&mut sound);
        }
        let known: BTreeSet<UnitKey> = sound.iter().copied().collect();
        let refused = candidates.values().copied().filter(|key| !known.contains(key)).collect();
        Component { groups: self.split_into_groups(&sound, &fixed), refused }
    }

    /// Refuses those who follow a leader that stays where it is, and another that stays elsewhere, or is elsewhere and does
    /// not follow it: what runs is not moved for a tie of others. `sound` has leaders before their followers.
    fn refuse_torn(&self, sound: &mut Vec<UnitKey>) {
        let mut free: BTreeSet<UnitKey> = BTreeSet::new();
        let mut bound: BTreeMap<UnitKey, BTreeSet<MachineKey>> = BTreeMap::new();
        let live = |unit: UnitKey| {
            let places = self.units[unit].places.iter().map(|place| place.machine);
            places.filter(|machine| self.is_live(*machine)).collect::<BTreeSet<MachineKey>>()
        };
        sound.retain(|unit| {
            let leaders =
                self.leaders_of(*unit).filter_map(|name| self.unit_keys.get(name).copied());
            let leaders: Vec<UnitKey> =
                leaders.filter(|leader| !self.is_global_leader(*leader)).collect();
            let mut to: Option<BTreeSet<MachineKey>> = None;
            let mut apart = Vec::new();
            for leader in &leaders {
                let ties = if self.is_fixed(*leader) {
                    Some(live(*leader))
                } else {
                    bound.get(leader).cloned()
                };
                match ties {
                    Some(ties) => match &mut to {
                        Some(to) => to.retain(|machine| ties.contains(machine)),
                        None => to = Some(ties),
                    },
                    None if free.contains(leader) => {
                        apart.extend(Some(live(*leader)).filter(|on| !on.is_empty()));
                    }
                    // A leader that was refused takes its followers with it.
                    None => return false,
                }
            }
            match to {
                None => {
                    free.insert(*unit);
                    true
                }
                Some(to) if !to.is_empty() && apart.iter().all(|on| !on.is_disjoint(&to)) => {
                    bound.insert(*unit, to);
                    true
                }
                Some(_) => false,
            }
        });
    }

    /// Parts the sound units of a component into groups: a unit that was refused ties nothing together.
    fn split_into_groups(&self, sound: &[UnitKey], fixed: &BTreeSet<UnitKey>) -> Vec<Group> {
        let known: BTreeSet<UnitKey> = sound.iter().chain(fixed).copied().collect();
        let mut group_of: BTreeMap<UnitKey, usize> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for start in sound {
            if group_of.contains_key(start) {
                continue;
            }
            let number = groups.len();
            let mut next = vec![*start];
            while let Some(unit) = next.pop() {
                if !known.contains(&unit) || group_of.insert(unit, number).is_some() {
                    continue;
                }
                next.extend(self.leaders_of(unit).filter_map(|name| self.unit_keys.get(name)));
                next.extend(self.followers_of(unit));
            }
            groups.push(Group::default());
        }
        let mut fixed: Vec<UnitKey> = fixed.iter().copied().collect();
        fixed.sort_by_key(|unit| &self.units[*unit].name);
        for (units, is_fixed) in [(sound.to_vec(), false), (fixed, true)] {
            for unit in units {
                if let Some(group) = group_of.get(&unit).and_then(|number| groups.get_mut(*number))
                {
                    if is_fixed {
                        group.fixed.push(unit);
                    } else {
                        group.members.push(unit);
                    }
                }
            }
        }
        groups
    }

    /// Why a unit that its component refuses is refused.
    pub(crate) fn tie_problem(&self, unit: UnitKey, component: &Component) -> Option<UnitReason> {
        if let Some(through) = self.find_circle(unit) {
            return Some(UnitReason::MachineOfCircle { through });
        }
        for name in self.leaders_of(unit) {
            let not_placed = || Some(UnitReason::MachineOfNotPlaced { unit: name.clone() });
            let Some(leader) = self.unit_keys.get(name) else { return not_placed() };
            if self.is_global_leader(*leader) {
                continue;
            }
            if (!self.is_placeable(*leader) && !self.is_fixed(*leader))
                || component.refused.contains(leader)
            {
                return not_placed();
            }
        }
        component.refused.contains(&unit).then(|| self.unreadable_leader(unit)).flatten()
    }

    /// The leader, of the unit itself or of one that leads it, that stays where it is and holds those who follow it there.
    fn unreadable_leader(&self, unit: UnitKey) -> Option<UnitReason> {
        let mut seen = BTreeSet::from([unit]);
        let mut next = vec![unit];
        while let Some(unit) = next.pop() {
            for (name, leader) in self
                .leaders_of(unit)
                .filter_map(|name| self.unit_keys.get(name).map(|key| (name, *key)))
            {
                if self.is_fixed(leader) {
                    return Some(UnitReason::LeaderUnreadable { unit: name.clone() });
                }
                if seen.insert(leader) {
                    next.push(leader);
                }
            }
        }
        None
    }

    /// The way from a unit through its leaders back to itself.
    fn find_circle(&self, unit: UnitKey) -> Option<Vec<UnitName>> {
        let mut came_from: BTreeMap<UnitKey, UnitKey> = BTreeMap::new();
        let mut next = vec![unit];
        while let Some(at) = next.pop() {
            for leader in self.leaders_of(at).filter_map(|name| self.unit_keys.get(name)) {
                if *leader == unit {
                    let mut through = vec![self.units[unit].name.clone()];
                    let mut back = at;
                    while back != unit {
                        through.push(self.units[back].name.clone());
                        back = *came_from.get(&back)?;
                    }
                    through.push(self.units[unit].name.clone());
                    through.reverse();
                    return Some(through);
                }
                if self.is_placeable(*leader) && !came_from.contains_key(leader) {
                    came_from.insert(*leader, at);
                    next.push(*leader);
                }
            }
        }
        None
    }

    /// Two members that can never be on one machine: the first found, for each order of the two.
    pub(crate) fn find_contradiction(&self, members: &[UnitKey]) -> Option<(UnitKey, UnitKey)> {
        let asked = |unit: UnitKey| {
            self.units[unit]
                .requirements()
                .and_then(|r| r.machine_id.as_deref())
                .map(|id| (unit, id))
        };
        let mut ids = members.iter().filter_map(|unit| asked(*unit));
        // The beginning of an id and that id may well be one machine.
        let begins =
            |one: &str, other: &str| one.len() == MachineId::SHORT && other.starts_with(one);
        let exclude =
            |one: &str, other: &str| one != other && !begins(one, other) && !begins(other, one);
        if let Some((first, id)) = ids.next()
            && let Some((other, _)) = ids.find(|(_, other)| exclude(id, other))
        {
            return Some((first, other));
        }
        for one in members {
            let replaces = self.units[*one].requirements().filter(|r| r.replaces_any());
            if self.units[*one].declared_patterns().is_empty() && replaces.is_none() {
                continue;
            }
            for other in members {
                let name = &self.units[*other].name;
                if self.conflict_between(*one, *other).is_some()
                    || replaces.is_some_and(|r| one != other && r.replaces_unit(name))
                {
                    return Some((*one, *other));
                }
            }
        }
        None
    }
}
