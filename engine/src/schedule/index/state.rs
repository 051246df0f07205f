//! The cluster, by number.
//!
//! Owns the tables and the indexes over them: rows by number, conflicts tallied per pattern, machines ranked by load. They are kept up
//! to date beside this file.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::machine::{MachineId, RunnerDemand};
use muster_common::unit::{FileHash, UnitName};

use super::classes::Classes;
use super::patterns::Patterns;
use super::rows::{FileRow, MachineRow, UnitRow};
use crate::schedule::score::LeastUnits;
use crate::schedule::table::{Bits, MachineKey, Table, UnitKey};

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
    pub(crate) rank: LeastUnits,
    /// Live machines by metadata key and value.
    pub(crate) metadata: BTreeMap<String, BTreeMap<String, BTreeSet<MachineKey>>>,
    /// Live machines by the demands for runners that they meet.
    pub(crate) runners: BTreeMap<RunnerDemand, BTreeSet<MachineKey>>,
    /// Machines that take nothing new.
    pub(crate) cordoned: BTreeSet<MachineKey>,
    /// Machines that go down.
    pub(crate) leaving: BTreeSet<MachineKey>,
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
    /// Records that cannot be read, by key, with what is wrong.
    pub(crate) unreadable: BTreeMap<String, String>,
    pub(crate) held: BTreeSet<MachineId>,
    /// Machines that are live, by position.
    pub(crate) live: Bits,
    /// The number of live machines.
    pub(crate) live_count: usize,
    /// Units to look at in the next plan, each once.
    pub(crate) dirty: Vec<UnitKey>,
    /// Something happened that may make room for a unit that was refused.
    pub(crate) recheck_refused: bool,
    /// Changes since the indexes were last compared with the rows; counted in builds with debug assertions.
    pub(crate) unchecked_changes: usize,
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
            rank: LeastUnits::default(),
            metadata: BTreeMap::new(),
            runners: BTreeMap::new(),
            cordoned: BTreeSet::new(),
            leaving: BTreeSet::new(),
            draining: BTreeSet::new(),
            moving: BTreeSet::new(),
            followers: BTreeMap::new(),
            replacers: BTreeMap::new(),
            pattern_replacers: BTreeSet::new(),
            globals: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            held: BTreeSet::new(),
            live: Bits::default(),
            live_count: 0,
            dirty: Vec::new(),
            recheck_refused: false,
            unchecked_changes: 0,
        }
    }
}
