//! Placements: the leader's decisions, each guarded by all it rests on.

use muster_common::decision::{Decision, Move, MoveReason, PlacesCommitted};
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::unit::UnitName;

use super::keys::Key;
use super::packing::{self, CommitPiece, PackingError, PieceOutcome};
use super::records::{PlaceRecord, encode};
use super::{CommitError, Leadership, Registry};
use crate::limits;
use crate::store::{Guard, Op};

impl Registry {
    /// Writes the moves of a plan, guarded by our leadership and by the revisions each decision rests on. Each move is
    /// written whole or not at all; moves are packed into commits, of which several are under way at once.
    ///
    /// A move that is too large for one commit (more than 62 placements) is written one decision after another up to
    /// the first conflict: better than never.
    pub async fn commit_places(
        &self,
        leadership: Leadership,
        moves: &[Move],
    ) -> Result<PlacesCommitted, CommitError> {
        self.write_moves(self.leading_guard(leadership), moves).await
    }

    /// The same, guarded besides by the leader record being as it was last written, at the revision `fence`. Whoever does not know
    /// what became of a commit writes the leader record again: then nothing of that commit can be carried out any more, and a unit that
    /// is placed elsewhere instead is placed nowhere else. [`CommitError::Fenced`] says that the record is another by now.
    pub async fn commit_fenced_places(
        &self,
        leadership: Leadership,
        fence: u64,
        moves: &[Move],
    ) -> Result<PlacesCommitted, CommitError> {
        let leading = self.leading_guard(leadership);
        if is_planted("plan-not-fenced") {
            return self.write_moves(leading, moves).await;
        }
        let unchanged = Guard::Modified { key: self.key(&Key::Leader), revision: fence };
        match self.write_moves(unchanged, moves).await {
            Err(CommitError::Deposed) if self.guard_still_holds(&leading).await? => {
                Err(CommitError::Fenced)
            }
            outcome => outcome,
        }
    }

    async fn write_moves(
        &self,
        leading: Guard,
        moves: &[Move],
    ) -> Result<PlacesCommitted, CommitError> {
        let mut pieces = Vec::new();
        let mut indexes = Vec::new();
        let mut oversize = Vec::new();
        for (index, decided) in moves.iter().enumerate() {
            let mut piece = self.begin_move(&decided.reason);
            for decision in &decided.decisions {
                self.add_decision(&mut piece, decision);
            }
            let guards: Vec<Guard> =
                std::iter::once(&leading).chain(&piece.guards).cloned().collect();
            if limits::check(&guards, &piece.ops).is_err() && decided.decisions.len() > 1 {
                oversize.push((index, decided));
            } else {
                pieces.push(piece);
                indexes.push(index);
            }
        }
        let mut committed = PlacesCommitted::default();
        let guard = Some(&leading).filter(|_| !is_planted("placed-without-lead"));
        let outcomes =
            packing::write_pieces(&self.store, guard, &pieces).await.map_err(commit_error)?;
        for (index, outcome) in indexes.into_iter().zip(outcomes) {
            add_outcome(&mut committed, index, outcome);
        }
        for (index, decided) in oversize {
            for decision in &decided.decisions {
                let mut piece = self.begin_move(&decided.reason);
                self.add_decision(&mut piece, decision);
                let outcomes = packing::write_pieces(&self.store, Some(&leading), &[piece])
                    .await
                    .map_err(commit_error)?;
                let outcome = outcomes.first().copied().unwrap_or(PieceOutcome::Conflict);
                add_outcome(&mut committed, index, outcome);
                if outcome == PieceOutcome::Conflict {
                    break;
                }
            }
        }
        committed.conflicts.sort_unstable();
        Ok(committed)
    }

    /// A move with the guard of its reason: nothing moves away from a machine for its loss once it is registered again, however late
    /// whoever leads hears of it.
    fn begin_move(&self, reason: &MoveReason) -> CommitPiece {
        let mut piece = CommitPiece::default();
        if let MoveReason::Lost { machine } = reason
            && !is_planted("moved-from-the-returned")
        {
            let key = self.key(&Key::Machine(machine.clone()));
            piece.guards.push(Guard::Created { key, revision: 0 });
        }
        piece
    }

    fn add_decision(&self, piece: &mut CommitPiece, decision: &Decision) {
        let place = |machine: &MachineId, unit: &UnitName| {
            self.key(&Key::Place(machine.clone(), unit.clone()))
        };
        let mut guard = |guard: Guard| {
            if !piece.guards.contains(&guard) {
                piece.guards.push(guard);
            }
        };
        match decision {
            Decision::Place {
                machine,
                unit,
                placement,
                unit_revision,
                machine_created,
                cordon,
            } => {
                let key = place(machine, unit);
                guard(Guard::Modified { key: key.clone(), revision: placement.revision });
                if !is_planted("placed-without-unit") {
                    guard(self.unit_unchanged(unit, *unit_revision));
                }
                if !is_planted("placed-without-machine") {
                    guard(Guard::Created {
                        key: self.key(&Key::Machine(machine.clone())),
                        revision: *machine_created,
                    });
                }
                if placement.revision == 0 && !is_planted("placed-without-cordon") {
                    let key = self.key(&Key::Cordon(machine.clone()));
                    guard(Guard::Modified { key, revision: *cordon });
                }
                let value = encode(&PlaceRecord::new(placement));
                piece.ops.push(Op::Put { key, value, lease: None });
            }
            Decision::Remove { machine, unit, revision, unit_revision, leaving } => {
                let key = place(machine, unit);
                guard(Guard::Modified { key: key.clone(), revision: *revision });
                guard(self.unit_unchanged(unit, *unit_revision));
                let as_it_goes = leaving.filter(|_| !is_planted("moved-from-the-stayer"));
                if let Some(revision) = as_it_goes {
                    let key = self.key(&Key::Machine(machine.clone()));
                    guard(Guard::Modified { key, revision });
                }
                piece.ops.push(Op::Delete { key });
            }
        }
    }

    fn unit_unchanged(&self, unit: &UnitName, revision: u64) -> Guard {
        Guard::Modified { key: self.key(&Key::Unit(unit.clone())), revision }
    }
}

fn add_outcome(committed: &mut PlacesCommitted, index: usize, outcome: PieceOutcome) {
    match outcome {
        PieceOutcome::Done { revision } => committed.revision = committed.revision.max(revision),
        PieceOutcome::Conflict => committed.conflicts.push(index),
    }
}

fn commit_error(error: PackingError) -> CommitError {
    match error {
        PackingError::Refused => CommitError::Deposed,
        PackingError::Store(error) => error.into(),
    }
}
