//! Keeps the index up to date.
//!
//! Owns what each change of the cluster touches: which rows it alters, and which units have to be looked at again. A
//! unit that no change has touched is where the last plan left it, and needs no look.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use muster_common::cordon::Cordon;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Change, Placement, Snapshot, Unit};
use muster_common::state::ObservedState;
use muster_common::unit::{
    FileHash, Requirements, RequirementsTemplate, UnitFile, UnitName, kept_data,
};

use crate::machine::arrival::Report;

use super::state::{FileRow, Index, MachineRow, Place, UnitRow};
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut index = Self::new();
        let places = snapshot.places.values().flat_map(BTreeMap::keys);
        let ids: BTreeSet<&MachineId> = snapshot
            .machines
            .keys()
            .chain(snapshot.metadata.keys())
            .chain(snapshot.cordons.keys())
            .chain(places)
            .chain(snapshot.states.values().flat_map(BTreeMap::keys))
            .collect();
        for id in ids {
            index.insert_machine(id);
        }
        index.reposition();
        for (id, set) in &snapshot.metadata {
            for (key, value) in set {
                index.set_metadata(id, key, Some(value));
            }
        }
        for (id, cordon) in &snapshot.cordons {
            index.set_cordon(id, Some(cordon));
        }
        for (id, machine) in &snapshot.machines {
            index.set_machine(id, Some(machine));
        }
        for (key, problem) in &snapshot.unreadable {
            index.set_unreadable(key, Some(&problem.problem));
        }
        for (hash, file) in &snapshot.files {
            index.set_file(*hash, Some(file));
        }
        for (name, unit) in &snapshot.units {
            index.set_unit(name, Some(unit));
        }
        for (name, places) in &snapshot.places {
            for (id, placement) in places {
                index.set_place(id, name, Some(placement));
            }
        }
        for (name, states) in &snapshot.states {
            for (id, state) in states {
                index.set_state(id, name, Some(state));
            }
        }
        index
    }

    /// Takes a change in; false when no plan can come out otherwise for it.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Machine(id, record) => self.set_machine(id, record.as_ref()),
            Change::Metadata(id, key, value) => self.set_metadata(id, key, value.as_ref()),
            Change::Cordon(id, cordon) => self.set_cordon(id, cordon.as_ref()),
            Change::File(hash, file) => self.set_file(*hash, file.as_ref()),
            Change::Unit(name, unit) => self.set_unit(name, unit.as_ref()),
            Change::Place(id, name, placement) => self.set_place(id, name, placement.as_ref()),
            Change::Unreadable(key, record) => {
                self.set_unreadable(key, record.as_ref().map(|r| &r.problem));
            }
            Change::State(id, name, state) => return self.set_state(id, name, state.as_ref()),
            // Who leads and who is missed have no part in where a unit belongs.
            Change::Leader(_) | Change::Members(_) => {}
        }
        true
    }

    pub(crate) fn hold(&mut self, machines: BTreeSet<MachineId>) {
        let changed: Vec<MachineId> = self.held.symmetric_difference(&machines).cloned().collect();
        self.held = machines;
        for id in changed {
            let held = self.held.contains(&id);
            if let Some(key) = self.machine_keys.get(&id).copied() {
                self.machines[key].held = held;
                self.touch_units_on(key);
            }
        }
    }

    fn set_machine(&mut self, id: &MachineId, record: Option<&Machine>) {
        let key = self.machine(id);
        let row = &mut self.machines[key];
        let before = mem::replace(&mut row.record, record.cloned());
        let (load, position) = (row.load, row.position);
        match (&before, record) {
            (None, None) => return,
            (None, Some(_)) => {
                self.live += 1;
                self.rank.insert(load, position);
            }
            (Some(_), None) => {
                self.live -= 1;
                self.rank.remove(load, position);
            }
            (Some(before), Some(after)) => {
                if before.metadata == after.metadata && before.runners == after.runners {
                    return;
                }
            }
        }
        for runner in before.iter().flat_map(|machine| &machine.runners) {
            if let Some(machines) = self.runners.get_mut(runner) {
                machines.remove(&key);
            }
        }
        for runner in record.iter().flat_map(|machine| &machine.runners) {
            self.runners.entry(*runner).or_default().insert(key);
        }
        self.refresh_metadata(key);
        self.machine_changed(key);
    }

    fn set_metadata(&mut self, id: &MachineId, key: &str, value: Option<&String>) {
        let machine = self.machine(id);
        let set = &mut self.machines[machine].set;
        let before = match value {
            Some(value) => set.insert(key.to_owned(), value.clone()),
            None => set.remove(key),
        };
        if before.as_ref() != value && self.is_live(machine) {
            self.refresh_metadata(machine);
            self.machine_changed(machine);
        }
    }

    fn set_cordon(&mut self, id: &MachineId, cordon: Option<&Cordon>) {
        let key = self.machine(id);
        self.machines[key].cordon = cordon.cloned();
        self.cordon_changed(key);
    }

    fn cordon_changed(&mut self, key: MachineKey) {
        let row = &self.machines[key];
        let cordoned = row.cordon.is_some() || row.cordon_poison;
        let draining = row.cordon.as_ref().is_some_and(Cordon::is_draining);
        for (holds, machines) in [(cordoned, &mut self.cordoned), (draining, &mut self.draining)] {
            if holds {
                machines.insert(key);
            } else {
                machines.remove(&key);
            }
        }
        self.machine_changed(key);
    }

    /// Brings what constraints see in line with what is configured and what was set at run time.
    fn refresh_metadata(&mut self, key: MachineKey) {
        let row = &mut self.machines[key];
        let mut metadata = BTreeMap::new();
        if let Some(machine) = &row.record {
            metadata.clone_from(&machine.metadata);
            metadata.extend(row.set.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        let before = mem::replace(&mut row.metadata, metadata);
        for (name, value) in before {
            if let Some(values) = self.metadata.get_mut(&name) {
                if let Some(machines) = values.get_mut(&value) {
                    machines.remove(&key);
                    if machines.is_empty() {
                        values.remove(&value);
                    }
                }
                if values.is_empty() {
                    self.metadata.remove(&name);
                }
            }
        }
        for (name, value) in &self.machines[key].metadata {
            let values = self.metadata.entry(name.clone()).or_default();
            values.entry(value.clone()).or_default().insert(key);
        }
    }

    fn machine_changed(&mut self, key: MachineKey) {
        self.classes.outdate();
        for global in self.globals.iter().copied().collect::<Vec<_>>() {
            self.touch(global);
        }
        self.touch_units_on(key);
    }

    pub(crate) fn touch_units_on(&mut self, key: MachineKey) {
        self.stirred = true;
        for unit in self.machines[key].units.iter().copied().collect::<Vec<_>>() {
            self.touch(unit);
        }
    }

    fn set_file(&mut self, hash: FileHash, file: Option<&Arc<UnitFile>>) {
        let template =
            file.map(|file| RequirementsTemplate::parse(file).map_err(|e| e.to_string()));
        let row = self.files.entry(hash).or_insert_with(FileRow::new);
        row.template = template;
        let runners = [RunnerKind::Systemd, RunnerKind::Docker].into_iter();
        let keeps = |runner: &RunnerKind| file.is_some_and(|f| kept_data(*runner, f).is_some());
        row.keeps_data = runners.filter(keeps).collect();
        let users: Vec<UnitKey> = row.users.iter().copied().collect();
        if users.is_empty() && file.is_none() {
            self.files.remove(&hash);
        }
        for unit in users {
            self.specify(unit);
        }
    }

    fn set_unit(&mut self, name: &UnitName, unit: Option<&Unit>) {
        let key = self.unit(name);
        if self.units[key].record.as_ref() == unit {
            return;
        }
        let row = &mut self.units[key];
        let wanted = row.is_wanted();
        row.record = unit.cloned();
        let changed = row.is_wanted() != wanted;
        self.touch(key);
        self.touch_replaced(key);
        self.choose_file(key);
        self.note_moving(key);
        if changed {
            self.touch_crowded(key);
        }
    }

    /// Whether a unit is to go from where it meets a conflict depends on whether the other one stays: when that changes,
    /// all on its machines have to be looked at too.
    fn touch_crowded(&mut self, unit: UnitKey) {
        let machines: Vec<MachineKey> =
            self.units[unit].places.iter().map(|place| place.machine).collect();
        for machine in machines {
            if self.crowded(unit, machine, true) {
                self.touch_units_on(machine);
            }
        }
    }

    /// Follows a machine's report on a unit; false when nothing waits for it.
    fn set_state(
        &mut self,
        id: &MachineId,
        name: &UnitName,
        state: Option<&ObservedState>,
    ) -> bool {
        let machine = self.machine(id);
        let unit = self.unit(name);
        let single = self.is_single(unit);
        let reports = &mut self.units[unit].reports;
        let at = reports.iter().position(|(at, _)| *at == machine);
        let report = state.map(Report::of);
        let first = at.is_none() && report.is_some();
        match (at.and_then(|at| reports.get_mut(at)), report) {
            (Some((_, before)), Some(report)) if *before == report => return false,
            (Some((_, before)), Some(report)) => *before = report,
            (Some(_), None) => {
                reports.retain(|(at, _)| *at != machine);
                self.machines[machine].reporting.remove(&unit);
            }
            (None, Some(report)) => {
                reports.push((machine, report));
                self.machines[machine].reporting.insert(unit);
            }
            (None, None) => {}
        }
        let waited_for = self.moving.contains(&unit);
        self.note_moving(unit);
        // What a machine runs it from may have been all that forbade it to run twice.
        let changed = single != self.is_single(unit);
        let heard_of = first && self.is_single(unit);
        let row = &self.units[unit];
        let waited_for = waited_for
            || changed
            || heard_of
            || self.moving.contains(&unit)
            || row.places.is_empty()
            || row.places.iter().any(|place| self.draining.contains(&place.machine));
        if waited_for {
            self.touch(unit);
        }
        if changed || heard_of {
            // Who takes its place waited for that.
            self.touch_replaced(unit);
        }
        waited_for
    }

    /// Notes whether a unit is on its way from one machine to another.
    pub(crate) fn note_moving(&mut self, unit: UnitKey) {
        let row = &self.units[unit];
        let two = || row.places.iter().any(|p| p.placement.handover.takes_over.is_some());
        let none = || {
            let ending = row.places.is_empty() && !row.reports.is_empty() && row.is_wanted();
            ending && self.is_single(unit)
        };
        if two() || none() {
            self.moving.insert(unit);
        } else if self.moving.remove(&unit) {
            self.stirred = true;
        }
    }

    fn set_place(&mut self, id: &MachineId, name: &UnitName, placement: Option<&Placement>) {
        let machine = self.machine(id);
        let unit = self.unit(name);
        let position = self.machines[machine].position;
        let machines = &self.machines;
        let found = self.units[unit]
            .places
            .binary_search_by_key(&position, |place| machines[place.machine].position);
        self.touch(unit);
        match (found, placement) {
            (Ok(at), Some(placement)) => {
                if let Some(place) = self.units[unit].places.get_mut(at) {
                    place.placement = placement.clone();
                }
            }
            (Ok(at), None) => {
                self.vacate(unit, machine);
                self.units[unit].places.remove(at);
                self.machines[machine].units.remove(&unit);
                self.stirred = true;
            }
            (Err(at), Some(placement)) => {
                let place = Place { machine, placement: placement.clone() };
                self.units[unit].places.insert(at, place);
                self.machines[machine].units.insert(unit);
                self.occupy(unit, machine);
                if self.crowded(unit, machine, true) {
                    self.touch_units_on(machine);
                }
            }
            (Err(_), None) => {}
        }
        self.touch_replaced(unit);
        self.choose_file(unit);
        self.note_moving(unit);
    }

    fn set_unreadable(&mut self, key: &str, problem: Option<&String>) {
        let before = match problem {
            Some(problem) => self.unreadable.insert(key.to_owned(), problem.clone()),
            None => self.unreadable.remove(key),
        };
        if before.is_some() == problem.is_some() {
            return;
        }
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        match kind {
            "unit" => self.poison(rest, problem.is_some()),
            "place" => {
                let unit = rest.split_once('/').map_or("", |(_, unit)| unit);
                self.poison(unit, problem.is_some());
            }
            "machine" => {
                if let Ok(id) = rest.parse() {
                    let machine = self.machine(&id);
                    self.machines[machine].poison = problem.is_some();
                    self.touch_units_on(machine);
                }
            }
            "cordon" => {
                if let Ok(id) = rest.parse() {
                    let machine = self.machine(&id);
                    self.machines[machine].cordon_poison = problem.is_some();
                    self.cordon_changed(machine);
                }
            }
            "file" => {
                if let Ok(hash) = rest.parse::<FileHash>()
                    && let Some(row) = self.files.get(&hash)
                {
                    for unit in row.users.iter().copied().collect::<Vec<_>>() {
                        self.specify(unit);
                    }
                }
            }
            // Anything else has no part in decisions.
            _ => {}
        }
    }

    fn poison(&mut self, name: &str, poisoned: bool) {
        if let Ok(name) = name.parse() {
            let unit = self.unit(&name);
            let row = &mut self.units[unit];
            row.poison = if poisoned { row.poison + 1 } else { row.poison.saturating_sub(1) };
            self.stirred = true;
            self.touch(unit);
            self.touch_replaced(unit);
            self.touch_crowded(unit);
        }
    }

    /// The unit's row, made if need be.
    fn unit(&mut self, name: &UnitName) -> UnitKey {
        if let Some(key) = self.unit_keys.get(name) {
            return *key;
        }
        let matched = self.patterns.matching(name);
        let key = self.units.insert(UnitRow::new(name.clone(), matched));
        self.unit_keys.insert(name.clone(), key);
        key
    }

    /// Forgets a unit that nothing is known of any more.
    pub(crate) fn retire(&mut self, key: UnitKey) {
        let name = self.units[key].name.clone();
        self.unit_keys.remove(&name);
        self.units.release(key);
    }

    /// The machine's row, made if need be.
    fn machine(&mut self, id: &MachineId) -> MachineKey {
        if let Some(key) = self.machine_keys.get(id) {
            return *key;
        }
        // Where machines come and go, those that nothing names any more are forgotten when a new one comes.
        if self.machine_keys.len() > 2 * (self.live + 64) {
            self.forget_machines();
        }
        let key = self.insert_machine(id);
        self.reposition();
        key
    }

    fn forget_machines(&mut self) {
        let Self { machine_keys, machines, .. } = self;
        machine_keys.retain(|_, key| {
            let row = &machines[*key];
            let named = row.record.is_some() || !row.set.is_empty();
            let has = !row.units.is_empty() || !row.reporting.is_empty();
            let cordoned = row.cordon.is_some() || row.cordon_poison;
            if !named && !has && !cordoned && !row.poison {
                machines.release(*key);
                return false;
            }
            true
        });
    }

    fn insert_machine(&mut self, id: &MachineId) -> MachineKey {
        let key = self.machines.insert(MachineRow {
            id: id.clone(),
            record: None,
            set: BTreeMap::new(),
            metadata: BTreeMap::new(),
            units: BTreeSet::new(),
            reporting: BTreeSet::new(),
            planned: Vec::new(),
            load: 0,
            position: 0,
            held: self.held.contains(id),
            cordon: None,
            cordon_poison: false,
            poison: false,
        });
        self.machine_keys.insert(id.clone(), key);
        key
    }

    /// Numbers machines in the order of their ids, and with them every set of machines. A machine that was never seen
    /// before is rare, and this costs no more than a look at each machine and at each conflict.
    fn reposition(&mut self) {
        let grounds = self.ground_machines();
        self.order = self.machine_keys.values().copied().collect();
        self.rank.clear();
        for (key, position) in self.order.iter().zip(0u32..) {
            let row = &mut self.machines[*key];
            row.position = position;
            if row.record.is_some() {
                self.rank.insert(row.load, position);
            }
        }
        let machines = &self.machines;
        self.patterns.reposition(&|key| machines[key].position);
        self.reposition_grounds(&grounds);
        self.classes.outdate();
    }

    /// Units tied to this one by `Replaces=`, in either direction, have to be looked at too.
    pub(crate) fn touch_replaced(&mut self, unit: UnitKey) {
        if !self.has_replacers() {
            return;
        }
        let mut tied = self.named_replaced(unit);
        tied.extend(self.named_replacers(unit));
        if !tied.is_empty() {
            self.stirred = true;
        }
        for unit in tied {
            self.touch(unit);
        }
    }

    /// Whether one unit replaces another depends on all that lie on a way between the two: when a unit on the way gets
    /// another file, the ends have to be looked at too.
    pub(crate) fn touch_circles(&mut self, unit: UnitKey) {
        let replaces = |row: &UnitRow| row.requirements().is_some_and(Requirements::replaces_any);
        if !replaces(&self.units[unit]) {
            return;
        }
        let mut found: BTreeSet<UnitKey> = BTreeSet::new();
        let mut next = vec![unit];
        while let Some(unit) = next.pop() {
            if found.insert(unit) {
                next.extend(self.named_replaced(unit));
                next.extend(self.named_replacers(unit));
            }
        }
        for unit in found {
            self.touch(unit);
        }
    }
}

impl FileRow {
    pub(crate) fn new() -> Self {
        Self { template: None, keeps_data: BTreeSet::new(), users: BTreeSet::new() }
    }
}
