//! The units that a user's request makes.
//!
//! Owns the rules by which a [`ParsedChange`] becomes records to write and results to answer: which file counts, when a
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

use muster_common::api::v1::{ChangeOutcome, UnitChanged};
use muster_common::decision::UnitWrite;
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::Snapshot;
use muster_common::unit::UnitName;

pub use super::parsed_change::ParsedChange;
use super::pass::ChangePass;
use crate::cluster::Cluster;
use crate::schedule::Candidate;

/// The writes and the answers that a change comes to.
#[derive(Debug, Default)]
pub struct DecidedChange {
    /// Answers by the index of the unit in the request.
    pub answers: BTreeMap<usize, UnitChanged>,
    /// One write for each unit that changes, by name.
    pub writes: Vec<UnitWrite>,
}

impl ParsedChange {
    /// Decides about the units at these indexes, in order, each seeing what became of those before it.
    pub fn decide_units(&self, cluster: &mut Cluster, indexes: &BTreeSet<usize>) -> DecidedChange {
        let (decided, candidates) =
            self.decide_with(cluster.current_snapshot(), indexes, &BTreeMap::new());
        let mut refused = cluster.admit_candidates(&candidates);
        // One that is being stopped still starts when it has ended: there is nothing to choose otherwise, only to wait for.
        refused.retain(|_, refusal| !matches!(refusal.unit, Some(UnitReason::StillRunning { .. })));
        if refused.is_empty() {
            return decided;
        }
        self.decide_with(cluster.current_snapshot(), indexes, &refused).0
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
