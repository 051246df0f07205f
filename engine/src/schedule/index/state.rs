//! The cluster, by number.
//!
//! Owns what is known of units and machines in the form in which it is decided on: rows by number, conflicts tallied
//! per pattern, machines ranked by load. It never decides; [`super::change`] keeps it up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::cordon::Cordon;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Placement, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, Requirements, RequirementsTemplate, UnitName};

use crate::machine::arrival::Report;

use super::classes::{Asked, Classes};
use super::patterns::Patterns;
use crate::schedule::score::Rank;
use crate::schedule::table::{Bits, ClassKey, MachineKey, PatternKey, Table, UnitKey};

/// A unit: its record, its placements, or both.
#[derive(Debug, Clone)]
pub(crate) struct UnitRow {
    pub(crate) name: UnitName,
    pub(crate) record: Option<Unit>,
    /// How many of its records (the unit's own, placements) cannot be read. Such a unit is left alone: what the record
    /// says is not known, and acting without knowing could start it twice or lose it.
    pub(crate) poison: u32,
    pub(crate) spec: Spec,
    /// The file `spec` was read from: the record's, or a placement's where there is no record any more.
    pub(crate) file: Option<FileHash>,
    /// Patterns that match its name, whoever declares them.
    pub(crate) matched: Vec<PatternKey>,
    /// Placements, in the order of machine ids.
    pub(crate) places: Vec<Place>,
    /// What machines report of it, in no order.
    pub(crate) reports: Vec<(MachineKey, Report)>,
    /// Where the last plan puts it; never said of a global unit.
    pub(crate) planned: Option<MachineKey>,
    /// A global unit that a conflict keeps from a machine it is eligible for.
    pub(crate) hindered: bool,
    /// Where a global unit that others belong beside is to be, by position, as of the last pass that looked at it.
    pub(crate) ground: Bits,
    /// Whether it is on the list of units to look at.
    pub(crate) dirty: bool,
    /// The last pass that looked at it.
    pub(crate) visited: u64,
}

/// A placement of a unit.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) machine: MachineKey,
    pub(crate) placement: Placement,
}

/// What a unit asks for.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    /// It names no file: there is neither a record nor a placement.
    Absent,
    /// Its file is missing or cannot be used.
    Bad(String),
    /// It can be placed.
    Good(Good),
}

/// What a unit with a usable file asks for.
#[derive(Debug, Clone)]
pub(crate) struct Good {
    pub(crate) class: ClassKey,
    pub(crate) declares: Vec<PatternKey>,
    pub(crate) requirements: Arc<Requirements>,
    /// It may not run twice at a time: it conflicts with itself by name, keeps data on its machine,
    /// or is a job.
    pub(crate) single: bool,
}

/// A machine: registered, or named by metadata or a placement.
#[derive(Debug, Clone)]
pub(crate) struct MachineRow {
    pub(crate) id: MachineId,
    /// Its registration, while it is live.
    pub(crate) record: Option<Machine>,
    /// Metadata set at run time.
    pub(crate) set: BTreeMap<String, String>,
    /// Metadata as constraints see it; empty while the machine is absent.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Units placed on it.
    pub(crate) units: BTreeSet<UnitKey>,
    /// Units it reports on.
    pub(crate) reporting: BTreeSet<UnitKey>,
    /// Units the last plan adds.
    pub(crate) planned: Vec<UnitKey>,
    pub(crate) load: u32,
    /// Its place in the order of ids, by which sets of machines name it.
    pub(crate) position: u32,
    /// It vanished in a mass loss.
    pub(crate) held: bool,
    /// Who keeps it from taking anything new, if anyone does.
    pub(crate) cordon: Option<Cordon>,
    /// Its cordon cannot be read: whatever it says, the machine takes nothing new.
    pub(crate) cordon_poison: bool,
    /// Its registration cannot be read: there is a lease, so it is not gone.
    pub(crate) poison: bool,
}

/// A unit file.
#[derive(Debug, Clone)]
pub(crate) struct FileRow {
    /// What it asks for, or why it cannot be used; `None` while the store has no such file.
    pub(crate) template: Option<Result<RequirementsTemplate, String>>,
    /// The runners under which a unit made from it keeps data on its machine.
    pub(crate) keeps_data: BTreeSet<RunnerKind>,
    /// Units that are made from it.
    pub(crate) users: BTreeSet<UnitKey>,
}

/// The cluster.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) units: Table<UnitKey, UnitRow>,
    pub(crate) machines: Table<MachineKey, MachineRow>,
    pub(crate) unit_keys: BTreeMap<UnitName, UnitKey>,
    pub(crate) machine_keys: BTreeMap<MachineId, MachineKey>,
    /// Machines by position.
    pub(crate) order: Vec<MachineKey>,
    pub(crate) files: BTreeMap<FileHash, FileRow>,
    pub(crate) patterns: Patterns,
    pub(crate) classes: Classes,
    pub(crate) rank: Rank,
    /// Live machines by metadata key and value.
    pub(crate) metadata: BTreeMap<String, BTreeMap<String, BTreeSet<MachineKey>>>,
    /// Live machines by runner.
    pub(crate) runners: BTreeMap<RunnerKind, BTreeSet<MachineKey>>,
    /// Machines that take nothing new.
    pub(crate) cordoned: BTreeSet<MachineKey>,
    /// Machines whose units are to move away.
    pub(crate) draining: BTreeSet<MachineKey>,
    /// Units on their way from one machine to another, with two placements or, for those that may not run twice, none.
    pub(crate) moving: BTreeSet<UnitKey>,
    /// Units by the leader their `MachineOf=` names, known or not.
    pub(crate) followers: BTreeMap<UnitName, BTreeSet<UnitKey>>,
    /// Units by the unit their `Replaces=` names, known or not.
    pub(crate) replacers: BTreeMap<UnitName, BTreeSet<UnitKey>>,
    /// Units whose `Replaces=` has patterns.
    pub(crate) pattern_replacers: BTreeSet<UnitKey>,
    /// Global units.
    pub(crate) globals: BTreeSet<UnitKey>,
    /// What is wrong with records that cannot be read, by key.
    pub(crate) unreadable: BTreeMap<String, String>,
    pub(crate) held: BTreeSet<MachineId>,
    /// How many machines are live.
    pub(crate) live: usize,
    /// Units to look at in the next plan, each once.
    pub(crate) dirty: Vec<UnitKey>,
    /// Something happened that may make room for a unit that was refused.
    pub(crate) stirred: bool,
    /// What a pass has put where is counted just now.
    pub(crate) tentative: bool,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            units: Table::new(),
            machines: Table::new(),
            unit_keys: BTreeMap::new(),
            machine_keys: BTreeMap::new(),
            order: Vec::new(),
            files: BTreeMap::new(),
            patterns: Patterns::new(),
            classes: Classes::new(),
            rank: Rank::default(),
            metadata: BTreeMap::new(),
            runners: BTreeMap::new(),
            cordoned: BTreeSet::new(),
            draining: BTreeSet::new(),
            moving: BTreeSet::new(),
            followers: BTreeMap::new(),
            replacers: BTreeMap::new(),
            pattern_replacers: BTreeSet::new(),
            globals: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            held: BTreeSet::new(),
            live: 0,
            dirty: Vec::new(),
            stirred: false,
            tentative: false,
        }
    }

    /// Puts a unit on the list of those to look at.
    pub(crate) fn touch(&mut self, unit: UnitKey) {
        let row = &mut self.units[unit];
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(unit);
        }
    }

    pub(crate) fn is_live(&self, machine: MachineKey) -> bool {
        self.machines[machine].record.is_some()
    }

    /// Whether the machine is absent in a way that must not move its units.
    pub(crate) fn is_held(&self, machine: MachineKey) -> bool {
        let row = &self.machines[machine];
        row.record.is_none() && (row.held || row.poison)
    }

    /// Machines that meet what the class asks and may take something new, runner included.
    pub(crate) fn eligible(&mut self, class: ClassKey) -> &Bits {
        let Self { classes, machines, metadata, runners, machine_keys, cordoned, .. } = self;
        classes.refresh(class, |asked| {
            let set = |keys: &BTreeSet<MachineKey>| -> Bits {
                keys.iter().map(|key| machines[*key].position).collect()
            };
            let mut eligible = runners.get(&asked.runner).map(set).unwrap_or_default();
            if let Some(id) = &asked.machine_id {
                let from = id.parse::<MachineId>().ok();
                let named = from.iter().flat_map(|from| machine_keys.range(from.clone()..));
                let named = named.take_while(|(known, _)| known.as_str().starts_with(id.as_str()));
                let named = named.filter(|(known, _)| known.goes_by(id));
                eligible.intersect(&named.map(|(_, key)| machines[*key].position).collect());
            }
            for (key, values) in &asked.metadata {
                let mut meets = Bits::default();
                if let Some(known) = metadata.get(key) {
                    for machines in values.iter().filter_map(|value| known.get(value)) {
                        meets.unite(&set(machines));
                    }
                }
                eligible.intersect(&meets);
            }
            for key in cordoned.iter() {
                eligible.remove(machines[*key].position);
            }
            eligible
        });
        self.classes.eligible(class)
    }

    /// Counts a unit on a machine, in the machine's load and in the conflicts it takes part in.
    pub(crate) fn occupy(&mut self, unit: UnitKey, machine: MachineKey) {
        let Self { units, machines, patterns, rank, .. } = self;
        let row = &mut machines[machine];
        if row.record.is_some() {
            rank.remove(row.load, row.position);
            rank.insert(row.load + 1, row.position);
        }
        row.load += 1;
        let position = row.position;
        for key in &units[unit].matched {
            patterns.get_mut(*key).matching.add(machine, position);
        }
        self.declare(unit, machine);
    }

    /// Takes back an [`Self::occupy`].
    pub(crate) fn vacate(&mut self, unit: UnitKey, machine: MachineKey) {
        let Self { units, machines, patterns, rank, .. } = self;
        let row = &mut machines[machine];
        if row.record.is_some() {
            rank.remove(row.load, row.position);
            rank.insert(row.load - 1, row.position);
        }
        row.load -= 1;
        let position = row.position;
        for key in &units[unit].matched {
            patterns.get_mut(*key).matching.take(machine, position);
        }
        self.undeclare(unit, machine);
    }

    /// Counts what a unit declares on a machine, without the unit itself.
    pub(crate) fn declare(&mut self, unit: UnitKey, machine: MachineKey) {
        let position = self.machines[machine].position;
        for key in self.units[unit].declares() {
            self.patterns.get_mut(*key).declaring.add(machine, position);
        }
    }

    /// Takes back a [`Self::declare`].
    pub(crate) fn undeclare(&mut self, unit: UnitKey, machine: MachineKey) {
        let position = self.machines[machine].position;
        for key in self.units[unit].declares() {
            self.patterns.get_mut(*key).declaring.take(machine, position);
        }
    }

    /// Adds the machines where the unit meets a conflict, counting itself where it is.
    pub(crate) fn blocked(&self, unit: UnitKey, blocked: &mut Bits) {
        let row = &self.units[unit];
        for key in row.declares() {
            blocked.unite(self.patterns.get(*key).matching.bits());
        }
        for key in &row.matched {
            blocked.unite(self.patterns.get(*key).declaring.bits());
        }
    }

    /// Whether a machine has another unit that conflicts with this one. `there`: the unit itself is counted there.
    pub(crate) fn crowded(&self, unit: UnitKey, machine: MachineKey, there: bool) -> bool {
        let row = &self.units[unit];
        // A unit that matches its own pattern counts itself once, where it is, on either side.
        let own = |other: &[PatternKey], key: &PatternKey| u32::from(there && other.contains(key));
        row.declares()
            .iter()
            .any(|key| self.patterns.get(*key).matching.on(machine) > own(&row.matched, key))
            || row
                .matched
                .iter()
                .any(|key| self.patterns.get(*key).declaring.on(machine) > own(row.declares(), key))
    }

    /// The pattern by which two units conflict, and which of them declares it.
    pub(crate) fn conflict(&self, one: UnitKey, other: UnitKey) -> Option<(PatternKey, UnitKey)> {
        let declared_by = |declarer: UnitKey, matching: UnitKey| {
            let matched = &self.units[matching].matched;
            let declares = self.units[declarer].declares();
            declares.iter().find(|key| matched.contains(key)).map(|key| (*key, declarer))
        };
        if one == other {
            return None;
        }
        declared_by(one, other).or_else(|| declared_by(other, one))
    }

    /// Whether a unit may not run twice at a time: by its file, or by an earlier one that a machine may still run it from. What
    /// an earlier one said is not known once the store has forgotten it, which it does when no unit names it; then it may have
    /// kept data.
    pub(crate) fn is_single(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let Some(good) = row.good() else { return false };
        let may_keep = |file: FileHash| {
            let known = self.files.get(&file).filter(|file| file.template.is_some());
            known.is_none_or(|file| file.keeps_data.contains(&row.runner()))
        };
        // A global one is meant to run on every machine.
        good.single || (!good.requirements.global && row.earlier_files().any(may_keep))
    }

    /// Whether a live machine has the metadata and the id that a class asks for. The runner is not looked at: one that
    /// is missing for a moment, because it restarts, is no reason for a unit to leave.
    pub(crate) fn suits(&self, asked: &Asked, machine: MachineKey) -> bool {
        let row = &self.machines[machine];
        row.record.is_some()
            && asked.machine_id.as_deref().is_none_or(|id| row.id.goes_by(id))
            && asked.metadata.iter().all(|(key, values)| {
                row.metadata.get(key).is_some_and(|value| values.contains(value))
            })
    }
}

impl UnitRow {
    pub(crate) fn new(name: UnitName, matched: Vec<PatternKey>) -> Self {
        Self {
            name,
            record: None,
            poison: 0,
            spec: Spec::Absent,
            file: None,
            matched,
            places: Vec::new(),
            reports: Vec::new(),
            planned: None,
            hindered: false,
            ground: Bits::default(),
            dirty: false,
            visited: 0,
        }
    }

    /// Whether the user wants it on a machine.
    pub(crate) fn is_wanted(&self) -> bool {
        self.record.as_ref().is_some_and(|unit| unit.desired != DesiredState::Inactive)
            && !self.name.is_template()
    }

    pub(crate) fn good(&self) -> Option<&Good> {
        match &self.spec {
            Spec::Good(good) => Some(good),
            Spec::Absent | Spec::Bad(_) => None,
        }
    }

    pub(crate) fn requirements(&self) -> Option<&Requirements> {
        self.good().map(|good| good.requirements.as_ref())
    }

    pub(crate) fn is_global(&self) -> bool {
        self.requirements().is_some_and(|requirements| requirements.global)
    }

    pub(crate) fn declares(&self) -> &[PatternKey] {
        self.good().map(|good| good.declares.as_slice()).unwrap_or_default()
    }

    /// The files, other than its own, that machines may still run it from.
    pub(crate) fn earlier_files(&self) -> impl Iterator<Item = FileHash> + '_ {
        let placed = self.places.iter().map(|place| place.placement.file);
        let reported = self.reports.iter().filter_map(|(_, report)| report.file());
        placed.chain(reported).filter(|file| self.file != Some(*file))
    }

    pub(crate) fn report_of(&self, machine: MachineKey) -> Option<&Report> {
        self.reports.iter().find(|(at, _)| *at == machine).map(|(_, report)| report)
    }

    pub(crate) fn place_on(&self, machine: MachineKey) -> Option<&Place> {
        self.places.iter().find(|place| place.machine == machine)
    }

    /// What can run a unit of its type.
    pub(crate) fn runner(&self) -> RunnerKind {
        self.name.runner()
    }
}
