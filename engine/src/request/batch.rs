//! The attempts at one change while others write too.
//!
//! Owns the meaning of a conflict: somebody else has written the unit since it was looked at, so it is decided anew, some times.
//! It writes nothing: who carries the writes out comes back with what became of them.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::api::v1::{ChangeAnswer, ChangeOutcome, UnitChanged};
use muster_common::decision::{UnitWrite, UnitWritten};
use muster_common::unit::UnitName;

use super::change::{DecidedChange, ParsedChange};
use super::limits::StoreLimits;
use crate::cluster::Cluster;

/// The number of times that units which others change at the same time are decided. Each time somebody else got through, so a
/// unit that meets its fifth conflict is being fought over.
const ATTEMPTS: usize = 5;

/// One change on its way into the store.
pub struct ChangeBatch {
    change: ParsedChange,
    /// Nothing is to be written.
    dry_run: bool,
    limits: StoreLimits,
    /// Units, by index, that are not decided or not written yet.
    open: BTreeSet<usize>,
    attempts: usize,
    answers: BTreeMap<usize, UnitChanged>,
    revision: u64,
    /// The units whose writes are under way, in the order of the writes.
    writing: Vec<UnitName>,
}

/// The next step of a change.
#[derive(Debug)]
pub enum BatchStep {
    /// Write these, then tell [`ChangeBatch::on_written`].
    Write(Vec<UnitWrite>),
    /// Read the cluster as it is now, then [`ChangeBatch::decide_units`] again.
    Retry,
    /// All is done; this is the answer.
    Answer(ChangeAnswer),
    /// The store would hold more than it may, and nothing more is written. The message says what there is too much of.
    OverLimit(String),
}

impl ChangeBatch {
    /// Begins with a change of which nothing is written yet.
    pub fn new(change: ParsedChange, dry_run: bool, limits: StoreLimits) -> Self {
        Self {
            open: change.all_indexes(),
            change,
            dry_run,
            limits,
            attempts: 0,
            answers: BTreeMap::new(),
            revision: 0,
            writing: Vec::new(),
        }
    }

    /// Decides about the units that are open, on the cluster as it is now.
    pub fn decide_units(&mut self, cluster: &mut Cluster) -> BatchStep {
        debug_assert!(self.writing.is_empty(), "the last writes have not been told of");
        self.attempts += 1;
        let DecidedChange { answers, writes } = self.change.decide_units(cluster, &self.open);
        if let Some(beyond) = self.limits.units_refusal(cluster.current_snapshot(), &writes) {
            return BatchStep::OverLimit(beyond);
        }
        self.revision = self.revision.max(cluster.current_snapshot().revision);
        self.answers.extend(answers);
        if self.dry_run || writes.is_empty() {
            self.open.clear();
            return self.take_answer();
        }
        self.writing = writes.iter().map(|write| write.name.clone()).collect();
        BatchStep::Write(writes)
    }

    /// Takes note of what became of the writes, in their order.
    pub fn on_written(&mut self, written: Vec<UnitWritten>) -> BatchStep {
        debug_assert_eq!(self.writing.len(), written.len(), "each write has one result");
        let mut conflicts = BTreeSet::new();
        for (name, written) in std::mem::take(&mut self.writing).into_iter().zip(written) {
            match written {
                UnitWritten::Done { revision } => self.revision = self.revision.max(revision),
                UnitWritten::Conflict => {
                    conflicts.insert(name);
                }
            }
        }
        self.open = self.change.indexes_of(&conflicts);
        if self.open.is_empty() || self.attempts >= ATTEMPTS {
            return self.take_answer();
        }
        BatchStep::Retry
    }

    /// The answer; what is still open has failed.
    fn take_answer(&mut self) -> BatchStep {
        for index in std::mem::take(&mut self.open) {
            if let Some(answer) = self.answers.get_mut(&index) {
                let message =
                    format!("{} kept changing while it was written; try again", answer.name);
                answer.outcome = ChangeOutcome::Failed { message };
            }
        }
        let units = std::mem::take(&mut self.answers).into_values().collect();
        BatchStep::Answer(ChangeAnswer { units, revision: self.revision })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_common::api::v1::UnitChange;
    use muster_common::snapshot::Snapshot;
    use muster_common::state::DesiredState;
    use muster_common::unit::UnitFile;

    use super::*;

    fn batch() -> ChangeBatch {
        let file: UnitFile = "[Service]\nExecStart=/bin/true\n".parse().unwrap();
        let units = ["a.service", "b.service"].map(|name| UnitChange {
            name: name.parse().unwrap(),
            file: Some(file.hash()),
            desired: Some(DesiredState::Inactive),
            restart: false,
        });
        let change = muster_common::api::v1::ChangeRequest {
            files: [(file.hash(), file.text().to_owned())].into(),
            units: units.into(),
            ..Default::default()
        };
        ChangeBatch::new(ParsedChange::parse(change).unwrap(), false, StoreLimits::default())
    }

    fn cluster(revision: u64) -> Cluster {
        let mut cluster = Cluster::default();
        cluster.reset(Snapshot { revision, ..Snapshot::default() }, Duration::ZERO);
        cluster
    }

    fn written(step: BatchStep) -> Vec<String> {
        match step {
            BatchStep::Write(writes) => writes.iter().map(|w| w.name.to_string()).collect(),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn only_what_met_a_conflict_is_decided_anew() {
        let mut batch = batch();
        assert_eq!(written(batch.decide_units(&mut cluster(3))), ["a.service", "b.service"]);
        let results = vec![UnitWritten::Done { revision: 5 }, UnitWritten::Conflict];
        assert!(matches!(batch.on_written(results), BatchStep::Retry));
        assert_eq!(written(batch.decide_units(&mut cluster(6))), ["b.service"]);
        let step = batch.on_written(vec![UnitWritten::Done { revision: 7 }]);
        let BatchStep::Answer(answer) = step else { panic!("{step:?}") };
        assert_eq!(answer.revision, 7);
        assert!(answer.units.iter().all(|unit| unit.outcome == ChangeOutcome::Created));
    }

    #[test]
    fn a_unit_that_is_fought_over_fails_and_the_others_do_not() {
        let mut batch = batch();
        batch.decide_units(&mut cluster(1));
        let mut step =
            batch.on_written(vec![UnitWritten::Done { revision: 2 }, UnitWritten::Conflict]);
        for _ in 1..ATTEMPTS {
            assert!(matches!(step, BatchStep::Retry));
            batch.decide_units(&mut cluster(2));
            step = batch.on_written(vec![UnitWritten::Conflict]);
        }
        let BatchStep::Answer(answer) = step else { panic!("{step:?}") };
        assert_eq!(answer.units[0].outcome, ChangeOutcome::Created);
        let ChangeOutcome::Failed { message } = &answer.units[1].outcome else { panic!() };
        assert_eq!(message, "b.service kept changing while it was written; try again");
    }
}
