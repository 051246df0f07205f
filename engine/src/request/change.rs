//! The units that a user's request makes.
//!
//! Owns the rules by which a [`ChangeRequest`] becomes records to write and results to answer: which file counts, when a
//! generation rises, when nothing is to be done, and what is refused at the door. Pure: it looks at the cluster and
//! writes nothing; who carries the writes out comes back with those that met a conflict.
//!
//! | asked for | the unit is | becomes |
//! | --- | --- | --- |
//! | launched | not launched | launched, generation raised |
//! | launched | launched; running, starting, or waiting for a machine | unchanged |
//! | launched | launched; failed or ended | generation raised |
//! | launched, with another file that replaces | any | launched, generation raised |
//! | restart | any | launched, generation raised |
//! | loaded, inactive | any | that, generation kept |
//! | nothing | any | as it is; a new unit: inactive |
//!
//! A new unit's generation is above whatever machines still report of an earlier unit of that name, so that an old
//! report never passes for a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::api::v1::{ChangeOutcome, ChangeRequest, UnitChange, UnitChanged};
use muster_common::decision::UnitWrite;
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::Snapshot;
use muster_common::unit::{FileHash, ParseError, UnitFile, UnitName};

use super::pass::ChangePass;
use crate::cluster::Cluster;
use crate::schedule::Candidate;

/// A change whose files have been read.
pub struct ParsedChange {
    /// The files that came with it, by their hash; those that cannot be read with what is wrong with them.
    pub(super) files: BTreeMap<FileHash, Result<Arc<UnitFile>, ParseError>>,
    units: Vec<UnitChange>,
    /// True if a stored file that differs is replaced.
    pub(super) replace: bool,
    /// True if a start that no machine can take now is kept.
    pub(super) queue: bool,
}

/// The writes and the answers that a change comes to.
#[derive(Debug, Default)]
pub struct DecidedChange {
    /// Answers by the index of the unit in the request.
    pub answers: BTreeMap<usize, UnitChanged>,
    /// One write for each unit that changes, by name.
    pub writes: Vec<UnitWrite>,
}

impl ParsedChange {
    /// Reads the files of a change. A file that cannot be read is no error here: it is one of the units that name it.
    ///
    /// # Errors
    ///
    /// A text stands under a hash that is not its own.
    pub fn parse(change: ChangeRequest) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (hash, text) in change.files {
            if FileHash::of_text(&text) != hash {
                return Err(format!("files: the text under {hash} has another hash"));
            }
            files.insert(hash, UnitFile::parse(text.as_bytes()).map(Arc::new));
        }
        Ok(Self { files, units: change.units, replace: change.replace, queue: change.queue })
    }

    /// A change of one unit with a file that has been read already: a stored file is replaced, and a start is queued if need be.
    pub fn of_file(file: Option<Arc<UnitFile>>, mut unit: UnitChange) -> Self {
        let file = file.map(|file| (file.hash(), Ok(file)));
        unit.file = file.as_ref().map(|(hash, _)| *hash);
        Self { files: file.into_iter().collect(), units: vec![unit], replace: true, queue: true }
    }

    /// The indexes of all its units.
    pub fn all_indexes(&self) -> BTreeSet<usize> {
        (0..self.units.len()).collect()
    }

    /// The indexes of the units of these names.
    pub fn indexes_of(&self, names: &BTreeSet<UnitName>) -> BTreeSet<usize> {
        let named = self.units.iter().enumerate().filter(|(_, unit)| names.contains(&unit.name));
        named.map(|(index, _)| index).collect()
    }

    /// Decides about the units at these indexes, in order, each seeing what became of those before it.
    pub fn decide_units(&self, cluster: &mut Cluster, indexes: &BTreeSet<usize>) -> DecidedChange {
        let (decided, candidates) = self.decide_with(cluster.snapshot(), indexes, &BTreeMap::new());
        let mut refused = cluster.admit_candidates(&candidates);
        // One that is being stopped still starts when it has ended: there is nothing to choose otherwise, only to wait for.
        refused.retain(|_, refusal| !matches!(refusal.unit, Some(UnitReason::StillRunning { .. })));
        if refused.is_empty() {
            return decided;
        }
        self.decide_with(cluster.snapshot(), indexes, &refused).0
    }

    /// One pass, given what no machine takes.
    fn decide_with(
        &self,
        snapshot: &Snapshot,
        indexes: &BTreeSet<usize>,
        refused: &BTreeMap<UnitName, Refusal>,
    ) -> (DecidedChange, Vec<Candidate>) {
        let mut pass = ChangePass::new(self, snapshot, refused);
        let mut answers = BTreeMap::new();
        for (index, unit) in self.units.iter().enumerate().filter(|(i, _)| indexes.contains(i)) {
            let answer = pass.decide_unit(unit).unwrap_or_else(|message| UnitChanged {
                name: unit.name.clone(),
                outcome: ChangeOutcome::Failed { message },
                global: false,
                generation: pass.generation_of(&unit.name),
                was: pass.desired_of(&unit.name),
                warnings: Vec::new(),
            });
            answers.insert(index, answer);
        }
        let (writes, candidates) = pass.into_writes();
        (DecidedChange { answers, writes }, candidates)
    }
}
