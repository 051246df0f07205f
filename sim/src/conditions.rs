//! The conditions of machines, as the checks see them.
//!
//! Owns what is known of each: whether it is well and since when, whether it is heard, whether it has said goodbye. It judges nothing.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::facts::Facts;
use crate::moment::Micros;

/// A moment that is too short for a daemon to be heard in: it asks again half a second after it has failed, over a line that has to be
/// made anew.
const BREATH: Micros = Micros::from_secs(1);

/// The time that a machine that was away has to be taken note of again: an attempt to register may wait three seconds for an answer that was
/// lost before it was back, and rests for half a second before the next.
pub(crate) const RETURN: Micros = Micros::from_secs(4);

/// The part of the record of the members that is looked at.
#[derive(Debug, Default, Deserialize)]
struct Members {
    machines: BTreeSet<String>,
}

impl Facts {
    /// A machine's registration has come, or has ended: rightly so, or not.
    pub(crate) fn note_registration(&mut self, machine: &str, lost_rightly: Option<bool>) {
        let condition = self.machines.entry(machine.to_owned()).or_default();
        condition.lost_rightly = lost_rightly;
        if lost_rightly.is_none() {
            condition.registered = self.now;
        }
    }

    /// Sets whether a machine is well. One that was well for a moment in which nobody can be sure to be heard has been away all the time.
    pub(crate) fn set_condition(&mut self, machine: &str, is_well: bool) {
        let condition = self.machines.entry(machine.to_owned()).or_default();
        if condition.is_well != is_well {
            condition.is_well = is_well;
            let well_for = self.now - condition.since;
            let since = std::mem::replace(&mut condition.since, self.now);
            if is_well {
                condition.away_before = since;
            } else if well_for < RETURN {
                condition.since = condition.away_before;
            }
        }
    }

    /// Sets whether a machine has a container engine that works.
    pub(crate) fn set_engine(&mut self, machine: &str, works: bool) {
        let condition = self.machines.entry(machine.to_owned()).or_default();
        condition.engine_since = condition.engine_since.or(Some(self.now)).filter(|_| works);
    }

    /// Sets whether a machine has a way to the store through fewer than half of the members.
    pub(crate) fn set_narrow_way(&mut self, machine: &str, is_narrow: bool) {
        let now = self.now;
        if let Some(condition) = self.machines.get_mut(machine) {
            if condition.narrow_since.is_some() {
                condition.narrow_until = now;
            }
            condition.narrow_since = condition.narrow_since.or(Some(now)).filter(|_| is_narrow);
        }
    }

    /// A member that stood still goes on, and answers what it was asked before it hears what has become of its leader: whoever is cut off
    /// has been answered by then.
    pub(crate) fn note_answers(&mut self) {
        let now = self.now;
        for condition in self.machines.values_mut() {
            condition.cut_since = condition.cut_since.map(|since| since.max(now));
        }
    }

    /// A machine's lease was ended by force: it is as if it had been away until now.
    pub(crate) fn note_setback(&mut self, machine: &str) {
        if let Some(condition) = self.machines.get_mut(machine) {
            condition.since = self.now;
            condition.set_back = Some(self.now);
        }
    }

    /// A machine says goodbye.
    pub(crate) fn note_farewell(&mut self, machine: &str) {
        let condition = self.machines.entry(machine.to_owned()).or_default();
        // One that nobody hears has said nothing, and takes back nothing that it has said before it registered again.
        condition.has_left |= condition.is_well;
        condition.parting_since = Some(self.now);
    }

    /// A record of the members has taken the place of another: who says goodbye and is out of it has been heard.
    pub(crate) fn note_members(&mut self, before: Option<&[u8]>, now: &[u8]) {
        let members = |value: &[u8]| serde_json::from_slice::<Members>(value).unwrap_or_default();
        let (before, now) = (before.map(members).unwrap_or_default(), members(now));
        for machine in before.machines.difference(&now.machines) {
            if let Some(condition) = self.machines.get_mut(machine) {
                condition.has_left |= condition.parting_since.is_some();
            }
        }
    }

    /// A machine that goes down ends its own lease.
    pub(crate) fn note_own_end(&mut self, machine: &str) {
        self.machines.entry(machine.to_owned()).or_default().has_left = true;
    }

    /// A machine goes off. After a boot in which it was never registered it has been off all the time, to whoever leads.
    pub(crate) fn note_end_of_boot(&mut self, machine: &str) {
        let condition = self.machines.entry(machine.to_owned()).or_default();
        condition.went_off = self.now;
        if condition.registered >= condition.booted {
            condition.unheard_since = self.now;
        }
    }

    /// A message of a machine has come to a member: one that was on its way when the line was cut, perhaps.
    pub(crate) fn note_message(&mut self, machine: &str) {
        let now = self.now;
        if let Some(condition) = self.machines.get_mut(machine) {
            condition.heard_at = now;
        }
    }

    /// The machines that the record of the members names.
    pub(crate) fn current_members(&self) -> BTreeSet<String> {
        let members = self.find_record("members").map(|record| &record.value);
        let members: Option<Members> = members.and_then(|value| serde_json::from_slice(value).ok());
        members.unwrap_or_default().machines
    }

    /// Sets whether nothing of a machine reaches the store, and whether its daemon knows nothing of the store.
    pub(crate) fn set_silence(&mut self, machine: &str, is_silent: bool, is_cut: bool) {
        let now = self.now;
        let condition = self.machines.entry(machine.to_owned()).or_default();
        let was_silent = condition.silent_since.is_some();
        if is_silent && !was_silent && condition.heard_since + BREATH <= now {
            condition.faint_since = None;
        }
        if was_silent && !is_silent {
            condition.heard_since = now;
        }
        condition.silent_since = condition.silent_since.or(Some(now)).filter(|_| is_silent);
        condition.faint_since = condition.faint_since.or(condition.silent_since);
        condition.cut_since = condition.cut_since.or(Some(now)).filter(|_| is_cut);
    }
}
