//! Why a unit is not placed.
//!
//! Owns the account given to people: each machine with the first filter that refused it, in the order of [`super::filter`]. It is
//! made only when asked for, since ten thousand refused units on a
//! thousand machines have ten million reasons. It never decides: what it tells is how the last pass decided.

use muster_common::refusal::{MachineReason, MachineRefusal, Refusal, UnitReason};

use super::filter::GroupHome;
use super::group::Group;
use super::index::{Index, UnitSpec};
use super::table::{MachineKey, UnitKey};

impl Index {
    /// Why a unit is not placed, given that it is not.
    pub(crate) fn explain_unit(&self, unit: UnitKey) -> Option<Refusal> {
        let row = &self.units[unit];
        if !row.is_wanted() {
            return None;
        }
        let whole = |reason| Some(Refusal::from_unit_reason(reason));
        if row.unreadable_records > 0 {
            return whole(UnitReason::FileUnreadable { problem: self.unreadable_problem(unit) });
        }
        if let UnitSpec::Unusable(problem) = &row.spec {
            return whole(UnitReason::FileUnreadable { problem: problem.clone() });
        }
        if let Some(reason) = self.held_by(unit) {
            return whole(reason);
        }
        let mut group = Group { members: vec![unit], fixed: Vec::new() };
        if self.is_tied(unit) && !row.is_global() {
            let component = self.tied_component(unit);
            if let Some(reason) = self.tie_problem(unit, &component) {
                return whole(reason);
            }
            let mut groups = component.groups.into_iter();
            group = groups.find(|group| group.members.contains(&unit)).unwrap_or(group);
            if let Some(reason) = group.members.iter().find_map(|unit| self.held_by(*unit)) {
                return whole(reason);
            }
        }
        if let Some(machine) = group.members.iter().find_map(|unit| self.lingering_machine(*unit)) {
            return whole(UnitReason::StillRunning { machine: self.machines[machine].id.clone() });
        }
        if self.live_count == 0 {
            return whole(UnitReason::NoMachines);
        }
        if let Some(id) = row.requirements().and_then(|r| r.machine_id.as_deref())
            && !self.order.iter().any(|m| self.is_live(*m) && self.machines[*m].id.goes_by(id))
        {
            return whole(UnitReason::MachineUnknown { machine: id.to_owned() });
        }
        if let Some(with) = self.find_contradicting(unit, &group) {
            return whole(UnitReason::GroupContradiction { with: self.units[with].name.clone() });
        }
        let home = self.home_of_others(unit, &group);
        let live = self.order.iter().copied().filter(|machine| self.is_live(*machine));
        let machines = live
            .filter_map(|machine| {
                let reason = self.find_reason(machine, unit, &group, home)?;
                Some(MachineRefusal { machine: self.machines[machine].id.clone(), reason })
            })
            .collect();
        Some(Refusal { unit: None, machines })
    }

    /// Why a unit does not move away from a machine that is drained, given that it does not.
    pub(crate) fn explain_leaving(&self, unit: UnitKey, from: MachineKey) -> Refusal {
        let mut group = Group { members: vec![unit], fixed: Vec::new() };
        if self.is_tied(unit) {
            let mut groups = self.tied_component(unit).groups.into_iter();
            group = groups.find(|group| group.members.contains(&unit)).unwrap_or(group);
        }
        if let Some(reason) = group.members.iter().find_map(|unit| self.held_by(*unit)) {
            return Refusal::from_unit_reason(reason);
        }
        if let Some(fixed) = group.fixed.first() {
            let unit = self.units[*fixed].name.clone();
            return Refusal::from_unit_reason(UnitReason::LeaderUnreadable { unit });
        }
        let here = |unit: &UnitKey| self.units[*unit].place_on(from).is_some();
        group.members.retain(here);
        let tried = self.tried_machines(&group.members, from);
        let others = self.order.iter().copied().filter(|machine| *machine != from);
        let machines: Vec<MachineRefusal> = others
            .filter(|machine| self.is_live(*machine))
            .map(|machine| {
                let id = self.machines[machine].id.clone();
                let reason = match tried.get(&id) {
                    Some(problem) => MachineReason::NotStarted { problem: (*problem).clone() },
                    None => self
                        .find_reason(machine, unit, &group, None)
                        .or_else(|| self.has_yet_to_stop(machine, &group))
                        .unwrap_or(MachineReason::NotTried),
                };
                MachineRefusal { machine: id, reason }
            })
            .collect();
        if machines.is_empty() {
            return Refusal::from_unit_reason(UnitReason::NoOtherMachine);
        }
        Refusal { unit: None, machines }
    }

    fn has_yet_to_stop(&self, machine: MachineKey, group: &Group) -> Option<MachineReason> {
        let known = group.members.iter().any(|u| self.units[*u].report_of(machine).is_some());
        known.then_some(MachineReason::NotGone)
    }

    /// Why a unit has to stay on a machine that is absent.
    fn held_by(&self, unit: UnitKey) -> Option<UnitReason> {
        let held = self.units[unit].places.iter().find(|place| self.is_held(place.machine))?;
        let machine = &self.machines[held.machine];
        if machine.held {
            return Some(UnitReason::Frozen);
        }
        let key = format!("machine/{}", machine.id);
        let problem = self.unreadable.get(&key).cloned().unwrap_or_default();
        Some(UnitReason::FileUnreadable {
            problem: format!("its machine's record {key}: {problem}"),
        })
    }

    /// The place where the rest of the group is, or is about to be.
    fn home_of_others(&self, unit: UnitKey, group: &Group) -> Option<GroupHome> {
        let live = |member: UnitKey| {
            let row = &self.units[member];
            let places =
                row.planned.into_iter().chain(row.places.iter().map(|place| place.machine));
            places
                .filter(|machine| self.is_live(*machine))
                .map(move |machine| GroupHome { machine, member })
        };
        // As in the pass: of the places of one that cannot be decided on, the one where any of the group is.
        let fixed = || group.fixed.iter().copied().filter(|other| *other != unit).flat_map(live);
        let here =
            |member: &UnitKey| fixed().find(|home| self.is_or_comes_to(*member, home.machine));
        let home = group.members.iter().find_map(here);
        home.or_else(|| fixed().next()).or_else(|| {
            let members = group.members.iter().copied().filter(|other| *other != unit);
            members.flat_map(live).next()
        })
    }

    /// A member of the group that this unit can never be beside.
    fn find_contradicting(&self, unit: UnitKey, group: &Group) -> Option<UnitKey> {
        let mut others = group.members.iter().copied().filter(|other| *other != unit);
        others
            .clone()
            .find(|other| self.find_contradiction(&[unit, *other]).is_some())
            .or_else(|| others.find(|other| self.find_contradiction(&[*other, unit]).is_some()))
            .or_else(|| {
                // Two others that exclude each other exclude all that belong beside both.
                let pair = self.find_contradiction(&group.members).map(|(one, _)| one);
                pair.filter(|_| self.home_of_others(unit, group).is_none())
            })
    }

    /// The first reason a machine refuses a unit for, if it does: its own, or that of another of its group.
    fn find_reason(
        &self,
        machine: MachineKey,
        unit: UnitKey,
        group: &Group,
        home: Option<GroupHome>,
    ) -> Option<MachineReason> {
        if let Some(reason) = self.explain_machine(unit, machine, home) {
            return Some(reason);
        }
        group.members.iter().filter(|other| **other != unit).find_map(|other| {
            let because = Box::new(self.explain_machine(*other, machine, None)?);
            Some(MachineReason::Group { unit: self.units[*other].name.clone(), because })
        })
    }
}
