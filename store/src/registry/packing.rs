//! Many small changes in few commits.
//!
//! A [`CommitPiece`] is written together or not at all. Pieces are packed into commits in their order, as many as fit, and
//! several commits are under way at once. Of a commit that meets a conflict nothing is written, so it is taken apart
//! until the pieces that conflict stand alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;

use crate::limits;
use crate::store::{
    CommitOutcome, Guard, KeyValue, MAX_GUARDS, MAX_OPERATIONS, MAX_REQUEST_BYTES, Op, Range,
    Store, StoreError,
};

/// Commits under way at once. More than a few do not make etcd faster, and each may be a megabyte.
const UNDER_WAY: usize = 4;

/// Most bytes of a pack: the guard of the cluster's identity comes besides.
const MAX_PACKED_BYTES: usize = MAX_REQUEST_BYTES - 1024;

/// Guards and operations that belong together.
#[derive(Debug, Clone, Default)]
pub(super) struct CommitPiece {
    pub(super) guards: Vec<Guard>,
    pub(super) ops: Vec<Op>,
}

/// The outcome of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceOutcome {
    Done { revision: u64 },
    Conflict,
}

impl PieceOutcome {
    /// True if it is written.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

/// Why pieces were not written.
#[derive(Debug)]
pub(super) enum PackingError {
    /// The guard of all of them does not hold.
    Refused,
    Store(StoreError),
}

impl From<StoreError> for PackingError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One commit in the making. What several pieces have in common is in it once.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) members: Vec<usize>,
    pub(super) guards: Vec<Guard>,
    pub(super) ops: Vec<Op>,
    known: HashSet<Guard>,
    written: HashMap<String, usize>,
    bytes: usize,
}

impl Pack {
    fn new(common: Option<&Guard>) -> Self {
        let mut pack = Self::default();
        pack.add_guards(common);
        pack
    }

    fn add_guards<'a>(&mut self, guards: impl IntoIterator<Item = &'a Guard>) {
        for guard in guards {
            if self.known.insert(guard.clone()) {
                self.bytes += guard.request_bytes();
                self.guards.push(guard.clone());
            }
        }
    }

    /// Adds a piece if it fits. A pack of nothing takes any piece: one that is too large is for the store to refuse.
    fn add_piece(&mut self, index: usize, piece: &CommitPiece) -> bool {
        let guards: Vec<&Guard> =
            piece.guards.iter().filter(|g| !self.known.contains(*g)).collect();
        let mut ops = Vec::new();
        for op in &piece.ops {
            match self.written.get(op.key()).and_then(|at| self.ops.get(*at)) {
                None => ops.push(op),
                Some(same) if same == op => {}
                Some(_) => return false,
            }
        }
        let bytes =
            guards.iter().map(|g| g.request_bytes()).chain(ops.iter().map(|op| op.request_bytes()));
        let bytes = self.bytes.saturating_add(bytes.sum());
        let fits = self.guards.len() + guards.len() <= MAX_GUARDS
            && self.ops.len() + ops.len() <= MAX_OPERATIONS
            && bytes <= MAX_PACKED_BYTES;
        if !fits && !self.members.is_empty() {
            return false;
        }
        for op in ops {
            self.written.insert(op.key().to_owned(), self.ops.len());
            self.ops.push(op.clone());
        }
        self.add_guards(&piece.guards);
        self.bytes = bytes;
        self.members.push(index);
        true
    }
}

/// Packs pieces, by their indexes, in order.
pub(super) fn pack_pieces(
    common: Option<&Guard>,
    pieces: &[CommitPiece],
    members: &[usize],
) -> Vec<Pack> {
    let mut packs = Vec::new();
    let mut last = Pack::new(common);
    for index in members {
        let Some(piece) = pieces.get(*index) else { continue };
        if !last.add_piece(*index, piece) {
            packs.push(std::mem::replace(&mut last, Pack::new(common)));
            last.add_piece(*index, piece);
        }
    }
    if !last.members.is_empty() {
        packs.push(last);
    }
    // A piece that is too large stands alone, and is for the store to refuse.
    let is_sound =
        |pack: &Pack| pack.members.len() == 1 || limits::check(&pack.guards, &pack.ops).is_ok();
    debug_assert!(packs.iter().all(is_sound), "a pack is larger than a commit");
    packs
}

/// Writes pieces, each guarded by its own guards and by the common one. The outcomes are in the order of the pieces.
/// After an error some pieces may be written and others not.
pub(super) async fn write_pieces(
    store: &Arc<dyn Store>,
    common: Option<&Guard>,
    pieces: &[CommitPiece],
) -> Result<Vec<PieceOutcome>, PackingError> {
    let mut outcomes = vec![PieceOutcome::Conflict; pieces.len()];
    let all: Vec<usize> = (0..pieces.len()).collect();
    let mut packs = pack_pieces(common, pieces, &all);
    while !packs.is_empty() {
        let commits = packs.into_iter().map(|pack| async {
            let Pack { members, guards, ops, .. } = pack;
            (members, store.commit(guards, ops).await)
        });
        // Every commit is seen to its end, even after one has failed: giving one up leaves its outcome unknown.
        let done: Vec<_> = futures::stream::iter(commits).buffered(UNDER_WAY).collect().await;
        packs = Vec::new();
        let mut conflict = false;
        for (members, commit) in done {
            match commit? {
                CommitOutcome::Done { revision } => {
                    for index in members {
                        if let Some(outcome) = outcomes.get_mut(index) {
                            *outcome = PieceOutcome::Done { revision };
                        }
                    }
                }
                CommitOutcome::Conflict { .. } => {
                    conflict = true;
                    let (left, right) = members.split_at(members.len() / 2);
                    if !left.is_empty() {
                        packs.extend(pack_pieces(common, pieces, left));
                        packs.extend(pack_pieces(common, pieces, right));
                    }
                }
            }
        }
        if let Some(guard) = common.filter(|_| conflict)
            && !guard_holds(store, guard).await?
        {
            return Err(PackingError::Refused);
        }
    }
    Ok(outcomes)
}

/// True if a guard holds now.
pub(super) async fn guard_holds(store: &Arc<dyn Store>, guard: &Guard) -> Result<bool, StoreError> {
    let listing = store.read(Range::Key(guard.key().to_owned())).await?;
    let found = listing.entries.first();
    let revision_by = |of: fn(&KeyValue) -> u64| found.map_or(0, of);
    Ok(match guard {
        Guard::Modified { revision, .. } => revision_by(|r| r.mod_revision) == *revision,
        Guard::Created { revision, .. } => revision_by(|r| r.create_revision) == *revision,
        Guard::Exists { .. } => found.is_some(),
        Guard::Holds { value, .. } => found.is_some_and(|r| r.value == *value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(unit: usize, file: usize, bytes: usize) -> CommitPiece {
        let put = |key: String, value: Vec<u8>| Op::Put { key, value: value.into(), lease: None };
        CommitPiece {
            guards: vec![Guard::Modified { key: format!("unit/{unit}"), revision: 1 }],
            ops: vec![
                put(format!("file/{file}"), vec![0; bytes]),
                put(format!("unit/{unit}"), vec![1]),
            ],
        }
    }

    #[test]
    fn a_thousand_instances_of_one_template_fit_into_eight_commits_that_hold_its_file_once_each() {
        let pieces: Vec<CommitPiece> = (0..1000).map(|unit| piece(unit, 0, 500)).collect();
        let packs = pack_pieces(None, &pieces, &(0..1000).collect::<Vec<_>>());
        assert_eq!(packs.len(), 8);
        for pack in packs {
            let files = pack.ops.iter().filter(|op| op.key().starts_with("file/")).count();
            assert_eq!((pack.ops.len() - files, files), (pack.members.len(), 1));
        }
    }

    proptest! {
        #[test]
        fn packs_hold_every_piece_in_order_and_pass_the_stores_check(
            sizes in proptest::collection::vec((0..20_usize, 0..300_000_usize), 0..300),
            with_common in any::<bool>(),
        ) {
            // One file has one content.
            let pieces: Vec<CommitPiece> = sizes.iter().enumerate()
                .map(|(unit, (file, _))| piece(unit, *file, sizes[*file % sizes.len()].1))
                .collect();
            let common = with_common.then(|| Guard::Exists { key: "leader".to_owned() });
            let all: Vec<usize> = (0..pieces.len()).collect();
            let packs = pack_pieces(common.as_ref(), &pieces, &all);
            let members: Vec<usize> = packs.iter().flat_map(|p| p.members.clone()).collect();
            prop_assert_eq!(members, all);
            for pack in &packs {
                prop_assert!(crate::limits::check(&pack.guards, &pack.ops).is_ok());
                prop_assert!(common.iter().all(|guard| pack.guards.contains(guard)));
                for index in &pack.members {
                    prop_assert!(pieces[*index].ops.iter().all(|op| pack.ops.contains(op)));
                    prop_assert!(pieces[*index].guards.iter().all(|g| pack.guards.contains(g)));
                }
            }
        }
    }
}
