//! What is known of one unit, one machine, one file.
//!
//! Owns the rows of the tables. What follows from several of them is beside this file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::cordon::Cordon;
use muster_common::machine::{Machine, MachineId, RunnerDemand, RunnerKind};
use muster_common::snapshot::{Placement, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, Requirements, RequirementsTemplate, UnitName};

use crate::machine::arrival::PlacementReport;
use crate::schedule::table::{Bits, ClassKey, MachineKey, PatternKey, UnitKey};

/// A unit: its record, its placements, or both.
#[derive(Debug, Clone)]
pub(crate) struct UnitRow {
    pub(crate) name: UnitName,
    pub(crate) record: Option<Unit>,
    /// The number of its records (its own, placements) that cannot be read. Such a unit is left alone: what the record
    /// says is not known, and acting without knowing could start it twice or lose it.
    pub(crate) unreadable_records: u32,
    pub(crate) spec: UnitSpec,
    /// The file `spec` was read from: the record's, or a placement's where there is no record any more.
    pub(crate) file: Option<FileHash>,
    /// Patterns that match its name, whoever declares them.
    pub(crate) matched: Vec<PatternKey>,
    /// Placements, in the order of machine ids.
    pub(crate) places: Vec<PlacedOn>,
    /// Reports of machines on it, in no order.
    pub(crate) reports: Vec<(MachineKey, PlacementReport)>,
    /// The machine where the last plan puts it; never one for a global unit.
    pub(crate) planned: Option<MachineKey>,
    /// A global unit that a conflict keeps from a machine it is eligible for.
    pub(crate) partially_placed: bool,
    /// Of a global unit that others belong beside: the machines where it is to be, by position, as of the last pass that looked at it.
    pub(crate) global_machines: Bits,
    /// It is on the list of units to look at.
    pub(crate) dirty: bool,
    /// The last pass that looked at it.
    pub(crate) seen_in_pass: u64,
}

/// A placement of a unit.
#[derive(Debug, Clone)]
pub(crate) struct PlacedOn {
    pub(crate) machine: MachineKey,
    pub(crate) placement: Placement,
}

/// The requirements of a unit, as far as they can be read.
#[derive(Debug, Clone)]
pub(crate) enum UnitSpec {
    /// It names no file: there is neither a record nor a placement.
    Absent,
    /// Its file is missing or cannot be used.
    Unusable(String),
    /// It can be placed.
    Resolved(ResolvedSpec),
}

/// The requirements of a unit with a usable file.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedSpec {
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
    /// Its cordon, if anyone keeps it from taking anything new.
    pub(crate) cordon: Option<Cordon>,
    /// Its cordon cannot be read: whatever it says, the machine takes nothing new.
    pub(crate) cordon_unreadable: bool,
    /// Its registration cannot be read: there is a lease, so it is not gone.
    pub(crate) unreadable: bool,
}

/// A unit file.
#[derive(Debug, Clone)]
pub(crate) struct FileRow {
    /// Its requirements, or why it cannot be used; `None` while the store has no such file.
    pub(crate) template: Option<Result<RequirementsTemplate, String>>,
    /// The runners under which a unit made from it keeps data on its machine.
    pub(crate) keeps_data: BTreeSet<RunnerKind>,
    /// Units that are made from it.
    pub(crate) users: BTreeSet<UnitKey>,
}

impl UnitRow {
    pub(crate) fn new(name: UnitName, matched: Vec<PatternKey>) -> Self {
        Self {
            name,
            record: None,
            unreadable_records: 0,
            spec: UnitSpec::Absent,
            file: None,
            matched,
            places: Vec::new(),
            reports: Vec::new(),
            planned: None,
            partially_placed: false,
            global_machines: Bits::default(),
            dirty: false,
            seen_in_pass: 0,
        }
    }

    /// True if the user wants it on a machine.
    pub(crate) fn is_wanted(&self) -> bool {
        self.record.as_ref().is_some_and(|unit| unit.desired != DesiredState::Inactive)
            && !self.name.is_template()
    }

    pub(crate) fn spec_ok(&self) -> Option<&ResolvedSpec> {
        match &self.spec {
            UnitSpec::Resolved(spec) => Some(spec),
            UnitSpec::Absent | UnitSpec::Unusable(_) => None,
        }
    }

    pub(crate) fn requirements(&self) -> Option<&Requirements> {
        self.spec_ok().map(|spec| spec.requirements.as_ref())
    }

    pub(crate) fn is_global(&self) -> bool {
        self.requirements().is_some_and(|requirements| requirements.global)
    }

    pub(crate) fn declared_patterns(&self) -> &[PatternKey] {
        self.spec_ok().map(|spec| spec.declares.as_slice()).unwrap_or_default()
    }

    /// The files, other than its own, that machines may still run it from.
    pub(crate) fn earlier_files(&self) -> impl Iterator<Item = FileHash> + '_ {
        let placed = self.places.iter().map(|place| place.placement.file);
        let reported = self.reports.iter().filter_map(|(_, report)| report.reported_file());
        placed.chain(reported).filter(|file| self.file != Some(*file))
    }

    pub(crate) fn report_of(&self, machine: MachineKey) -> Option<&PlacementReport> {
        self.reports.iter().find(|(at, _)| *at == machine).map(|(_, report)| report)
    }

    pub(crate) fn place_on(&self, machine: MachineKey) -> Option<&PlacedOn> {
        self.places.iter().find(|place| place.machine == machine)
    }

    /// The runner that it needs: by its file, where that can be read, else by its type.
    pub(crate) fn runner_demand(&self) -> RunnerDemand {
        let asked = self.requirements().map(|asked| asked.runner_demand(&self.name));
        asked.unwrap_or_else(|| RunnerDemand::Kind(self.name.runner_kind()))
    }
}

impl FileRow {
    pub(crate) fn new() -> Self {
        Self { template: None, keeps_data: BTreeSet::new(), users: BTreeSet::new() }
    }

    /// True if a unit made from it may keep data on its machine, whichever runner it comes to there.
    pub(crate) fn may_keep_data(&self, demand: RunnerDemand) -> bool {
        demand.possible_kinds().iter().any(|kind| self.keeps_data.contains(kind))
    }
}
