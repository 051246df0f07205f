//! What a unit's `[X-Fleet]` section asks of the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use super::{Glob, UnitName};

/// The requirements of one unit, specifiers expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `MachineID=`: only this machine, as written (it may be unknown to the cluster).
    pub machine_id: Option<String>,
    /// `MachineOf=`: only where these units are placed.
    pub machine_of: BTreeSet<UnitName>,
    /// `MachineMetadata=`: for each key, the values that will do.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// `Conflicts=`: never beside units whose name matches.
    pub conflicts: Vec<Glob>,
    /// `Global=`: on every machine that metadata and conflicts allow.
    pub global: bool,
    /// `Replaces=`: the units that make room for this one.
    pub replaces: BTreeSet<UnitName>,
}

/// An `[X-Fleet]` section that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[X-Fleet] {option}: {problem}")]
pub struct RequirementsError {
    /// Line of the unit file's text, from 1; 0 when it came without text.
    pub line: usize,
    /// The option at fault, as written.
    pub option: String,
    /// What is wrong with it.
    pub problem: String,
}
