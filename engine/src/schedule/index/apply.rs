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
use muster_common::unit::{FileHash, RequirementsTemplate, UnitFile, UnitName, kept_data};

use crate::machine::arrival::PlacementReport;

use super::rows::{FileRow, MachineRow, PlacedOn, UnitRow};
use super::state::Index;
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Self {
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
        index.renumber_machines();
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

    pub(crate) fn hold_machines(&mut self, machines: BTreeSet<MachineId>) {
        let changed: Vec<MachineId> = self.held.symmetric_difference(&machines).cloned().collect();
        self.held = machines;
        for id in changed {
            let held = self.held.contains(&id);
            if let Some(key) = self.machine_keys.get(&id).copied() {
                self.machines[key].held = held;
                self.mark_units_on(key);
            }
        }
    }

    fn set_machine(&mut self, id: &MachineId, record: Option<&Machine>) {
        let key = self.machine_row_for(id);
        let row = &mut self.machines[key];
        let before = mem::replace(&mut row.record, record.cloned());
        let (load, position) = (row.load, row.position);
        if record.is_some_and(|record| record.leaving) {
            self.leaving.insert(key);
        } else {
            self.leaving.remove(&key);
        }
        match (&before, record) {
            (None, None) => return,
            (None, Some(_)) => {
                self.live.insert(position);
                self.live_count += 1;
                self.rank.insert(load, position);
            }
            (Some(_), None) => {
                self.live.remove(position);
                self.live_count -= 1;
                self.rank.remove(load, position);
            }
            (Some(before), Some(after)) => {
                let same = before.metadata == after.metadata
                    && before.met_demands() == after.met_demands();
                if same && before.leaving == after.leaving {
                    return;
                }
            }
        }
        for demand in before.iter().flat_map(Machine::met_demands) {
            if let Some(machines) = self.runners.get_mut(&demand) {
                machines.remove(&key);
            }
        }
        for demand in record.into_iter().flat_map(Machine::met_demands) {
            self.runners.entry(demand).or_default().insert(key);
        }
        self.refresh_metadata(key);
        self.note_machine_change(key);
    }

    fn set_metadata(&mut self, id: &MachineId, key: &str, value: Option<&String>) {
        let machine = self.machine_row_for(id);
        let set = &mut self.machines[machine].set;
        let before = match value {
            Some(value) => set.insert(key.to_owned(), value.clone()),
            None => set.remove(key),
        };
        if before.as_ref() != value && self.is_live(machine) {
            self.refresh_metadata(machine);
            self.note_machine_change(machine);
        }
    }

    fn set_cordon(&mut self, id: &MachineId, cordon: Option<&Cordon>) {
        let key = self.machine_row_for(id);
        self.machines[key].cordon = cordon.cloned();
        self.note_cordon_change(key);
    }

    fn note_cordon_change(&mut self, key: MachineKey) {
        let row = &self.machines[key];
        let cordoned = row.cordon.is_some() || row.cordon_unreadable;
        let draining = row.cordon.as_ref().is_some_and(Cordon::is_draining);
        for (holds, machines) in [(cordoned, &mut self.cordoned), (draining, &mut self.draining)] {
            if holds {
                machines.insert(key);
            } else {
                machines.remove(&key);
            }
        }
        self.note_machine_change(key);
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

    fn note_machine_change(&mut self, key: MachineKey) {
        self.classes.mark_outdated();
        for global in self.globals.iter().copied().collect::<Vec<_>>() {
            self.mark_dirty(global);
        }
        self.mark_units_on(key);
    }

    fn set_file(&mut self, hash: FileHash, file: Option<&Arc<UnitFile>>) {
        let template =
            file.map(|file| RequirementsTemplate::parse(file).map_err(|e| e.to_string()));
        let row = self.files.entry(hash).or_insert_with(FileRow::new);
        row.template = template;
        let runners = [RunnerKind::Systemd, RunnerKind::Docker, RunnerKind::Podman].into_iter();
        let keeps = |runner: &RunnerKind| file.is_some_and(|f| kept_data(*runner, f).is_some());
        row.keeps_data = runners.filter(keeps).collect();
        let users: Vec<UnitKey> = row.users.iter().copied().collect();
        if users.is_empty() && file.is_none() {
            self.files.remove(&hash);
        }
        for unit in users {
            self.resolve_spec(unit);
        }
    }

    fn set_unit(&mut self, name: &UnitName, unit: Option<&Unit>) {
        let key = self.unit_row_for(name);
        if self.units[key].record.as_ref() == unit {
            return;
        }
        let row = &mut self.units[key];
        let wanted = row.is_wanted();
        row.record = unit.cloned();
        let changed = row.is_wanted() != wanted;
        self.mark_dirty(key);
        self.mark_replace_ties(key);
        self.choose_file(key);
        self.note_moving(key);
        if changed {
            self.mark_conflicting(key);
        }
    }

    /// Follows a machine's report on a unit; false when nothing waits for it.
    fn set_state(
        &mut self,
        id: &MachineId,
        name: &UnitName,
        state: Option<&ObservedState>,
    ) -> bool {
        let machine = self.machine_row_for(id);
        let unit = self.unit_row_for(name);
        let single = self.is_single(unit);
        let reports = &mut self.units[unit].reports;
        let at = reports.iter().position(|(at, _)| *at == machine);
        let report = state.map(PlacementReport::from_state);
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
            || row.places.iter().any(|place| self.draining.contains(&place.machine))
            || row.places.iter().any(|place| self.leaving.contains(&place.machine));
        if waited_for {
            self.mark_dirty(unit);
        }
        if changed || heard_of {
            // Who takes its place waited for that.
            self.mark_replace_ties(unit);
        }
        waited_for
    }

    fn set_place(&mut self, id: &MachineId, name: &UnitName, placement: Option<&Placement>) {
        let machine = self.machine_row_for(id);
        let unit = self.unit_row_for(name);
        let position = self.machines[machine].position;
        let machines = &self.machines;
        let found = self.units[unit]
            .places
            .binary_search_by_key(&position, |place| machines[place.machine].position);
        self.mark_dirty(unit);
        match (found, placement) {
            (Ok(at), Some(placement)) => {
                if let Some(place) = self.units[unit].places.get_mut(at) {
                    place.placement = placement.clone();
                }
            }
            (Ok(at), None) => {
                self.uncount_unit(unit, machine);
                self.units[unit].places.remove(at);
                self.machines[machine].units.remove(&unit);
                self.recheck_refused = true;
            }
            (Err(at), Some(placement)) => {
                let place = PlacedOn { machine, placement: placement.clone() };
                self.units[unit].places.insert(at, place);
                self.machines[machine].units.insert(unit);
                self.count_unit(unit, machine);
                if self.has_conflict(unit, machine, true) {
                    self.mark_units_on(machine);
                }
            }
            (Err(_), None) => {}
        }
        self.mark_replace_ties(unit);
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
            "unit" => self.count_unreadable(rest, problem.is_some()),
            "place" => {
                let unit = rest.split_once('/').map_or("", |(_, unit)| unit);
                self.count_unreadable(unit, problem.is_some());
            }
            "machine" => {
                if let Ok(id) = rest.parse() {
                    let machine = self.machine_row_for(&id);
                    self.machines[machine].unreadable = problem.is_some();
                    self.mark_units_on(machine);
                }
            }
            "cordon" => {
                if let Ok(id) = rest.parse() {
                    let machine = self.machine_row_for(&id);
                    self.machines[machine].cordon_unreadable = problem.is_some();
                    self.note_cordon_change(machine);
                }
            }
            "file" => {
                if let Ok(hash) = rest.parse::<FileHash>()
                    && let Some(row) = self.files.get(&hash)
                {
                    for unit in row.users.iter().copied().collect::<Vec<_>>() {
                        self.resolve_spec(unit);
                    }
                }
            }
            // Anything else has no part in decisions.
            _ => {}
        }
    }

    fn count_unreadable(&mut self, name: &str, unreadable: bool) {
        if let Ok(name) = name.parse() {
            let unit = self.unit_row_for(&name);
            let row = &mut self.units[unit];
            row.unreadable_records = if unreadable {
                row.unreadable_records + 1
            } else {
                row.unreadable_records.saturating_sub(1)
            };
            self.recheck_refused = true;
            self.mark_dirty(unit);
            self.mark_replace_ties(unit);
            self.mark_conflicting(unit);
        }
    }

    /// The unit's row, made if need be.
    fn unit_row_for(&mut self, name: &UnitName) -> UnitKey {
        if let Some(key) = self.unit_keys.get(name) {
            return *key;
        }
        let matched = self.patterns.matching_name(name);
        let key = self.units.insert(UnitRow::new(name.clone(), matched));
        self.unit_keys.insert(name.clone(), key);
        key
    }

    /// Forgets a unit that nothing is known of any more.
    pub(crate) fn forget_unit(&mut self, key: UnitKey) {
        let name = self.units[key].name.clone();
        self.unit_keys.remove(&name);
        self.units.release_row(key);
    }

    /// The machine's row, made if need be.
    fn machine_row_for(&mut self, id: &MachineId) -> MachineKey {
        if let Some(key) = self.machine_keys.get(id) {
            return *key;
        }
        // Where machines come and go, those that nothing names any more are forgotten when a new one comes.
        if self.machine_keys.len() > 2 * (self.live_count + 64) {
            self.forget_machines();
        }
        let key = self.insert_machine(id);
        self.renumber_machines();
        key
    }

    fn forget_machines(&mut self) {
        let Self { machine_keys, machines, .. } = self;
        machine_keys.retain(|_, key| {
            let row = &machines[*key];
            let named = row.record.is_some() || !row.set.is_empty();
            let has = !row.units.is_empty() || !row.reporting.is_empty();
            let cordoned = row.cordon.is_some() || row.cordon_unreadable;
            if !named && !has && !cordoned && !row.unreadable {
                machines.release_row(*key);
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
            cordon_unreadable: false,
            unreadable: false,
        });
        self.machine_keys.insert(id.clone(), key);
        key
    }

    /// Numbers machines in the order of their ids, and with them every set of machines. A machine that was never seen
    /// before is rare, and this costs no more than a look at each machine and at each conflict.
    fn renumber_machines(&mut self) {
        let noted = self.machines_of_globals();
        self.order = self.machine_keys.values().copied().collect();
        self.rank.clear();
        self.live.clear();
        for (key, position) in self.order.iter().zip(0u32..) {
            let row = &mut self.machines[*key];
            row.position = position;
            if row.record.is_some() {
                self.rank.insert(row.load, position);
                self.live.insert(position);
            }
        }
        let machines = &self.machines;
        self.patterns.renumber_machines(&|key| machines[key].position);
        self.renumber_global_machines(&noted);
        self.classes.mark_outdated();
    }
}
