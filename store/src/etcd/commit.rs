//! Commits, and what became of one that was not answered.
//!
//! A commit that got no answer may have been carried out, or may yet be: a paused member carries out what waits in its
//! socket once it goes on. It is sent again, and that is sound for these reasons:
//!
//! - A commit that guards a key by its `mod_revision` and writes that key (it is *pinned*) can be carried out once only,
//!   because it breaks its own guard. If the repetition meets a conflict, the history of the key tells why: the write
//!   that followed the guarded revision is ours, and the commit is done, or another's, and ours never was nor will be.
//!   Values of records that several may write hold a number of the write (see the registry's records), and the others
//!   live under their writer's own lease or are guarded by leadership, so "ours" means ours.
//! - A commit without guards writes the same once or twice, and one that was given up may overtake a later one. The registry makes
//!   none.
//! - A commit guarded by other keys than it writes is done if its records are found as it wrote them. If not, its
//!   outcome stays unknown and the caller is told so.
//!
//! A pinned creation (guard: revision 0) that was carried out, removed by someone else and repeated within the same
//! call creates the record again. That is the order "removed, then created", which a caller must reckon with anyway.

use std::collections::BTreeSet;

use muster_common::probe::is_planted;
use muster_runtime::sleep;

use super::connection::Connection;
use super::error::EtcdError;
use super::protocol::{PageQuery, TransactionOutcome};
use crate::limits;
use crate::store::{CommitOutcome, Guard, KeyValue, LeaseId, Op, Range, StoreError};

/// How many versions of a key are looked through for our write.
const HISTORY: usize = 32;

/// Largest answer with one record: what a client takes by itself. A record has at most the bytes of a commit.
const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Carries out a commit that has passed [`limits::check`].
pub(super) async fn commit(
    connection: &Connection,
    guards: &[Guard],
    ops: &[Op],
) -> Result<CommitOutcome, StoreError> {
    let during = limits::describe(ops);
    let lease = ops.iter().find_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Delete { .. } => None,
    });
    let ambiguous = |error: &EtcdError| StoreError::Ambiguous {
        during: during.clone(),
        source: Some(error.to_string().into()),
    };
    let mut pauses = connection.retry_pauses();
    let mut unanswered: Option<EtcdError> = None;
    loop {
        let sent = connection
            .call_once(|member| async move { member.send_transaction(guards, ops).await })
            .await;
        let error = match sent {
            Ok(TransactionOutcome { revision, succeeded }) => {
                return match (succeeded, &unanswered) {
                    (true, _) => Ok(CommitOutcome::Done { revision }),
                    (false, None) => Ok(CommitOutcome::Conflict { revision }),
                    (false, Some(error)) => {
                        match resolve_outcome(connection, guards, ops, revision).await {
                            Ok(Some(outcome)) => Ok(outcome),
                            Ok(None) | Err(_) => Err(ambiguous(error)),
                        }
                    }
                };
            }
            Err(error) => error,
        };
        if !error.is_passing() {
            // This try had no effect, but one before it may have had.
            return Err(match &unanswered {
                Some(earlier) => ambiguous(earlier),
                None => error.into_store_error(&during, lease),
            });
        }
        let failed = if error.is_certain() {
            error.into_store_error(&during, lease)
        } else {
            let failed = ambiguous(&error);
            unanswered = Some(error);
            failed
        };
        match pauses.next() {
            Some(pause) => sleep(pause).await,
            None => {
                return Err(unanswered.as_ref().map_or(failed, ambiguous));
            }
        }
    }
}

/// Finds out whether an unanswered commit was carried out, after its repetition met a conflict. `None`: it cannot be
/// told.
async fn resolve_outcome(
    connection: &Connection,
    guards: &[Guard],
    ops: &[Op],
    conflict: u64,
) -> Result<Option<CommitOutcome>, EtcdError> {
    let refused = Some(CommitOutcome::Conflict { revision: conflict });
    for op in ops {
        let pinned = guards.iter().find_map(|guard| match guard {
            Guard::Modified { key, revision } if key == op.key() => Some(*revision),
            _ => None,
        });
        let Some(pinned) = pinned else { continue };
        let found = get(connection, op.key(), 0).await?;
        return Ok(match (op, found) {
            // Removed: by us, if all else of the commit is there as well, or by another who wanted the same.
            (Op::Delete { key }, None) => match find_written(connection, ops).await? {
                Some(0) => Some(find_removal(connection, key, pinned, conflict).await?),
                found => found.map(|revision| CommitOutcome::Done { revision }),
            },
            // It is as it was, or never was: another guard failed, and a revision once passed does not come back.
            (_, found) if found.as_ref().map_or(0, |r| r.mod_revision) == pinned => refused,
            (Op::Delete { .. }, Some(found)) if found.create_revision <= pinned => refused,
            (Op::Put { value, lease, .. }, Some(found)) => {
                match find_successor(connection, found, pinned).await? {
                    Some(next) if next.value == *value && next.lease == *lease => {
                        Some(CommitOutcome::Done { revision: next.mod_revision })
                    }
                    Some(_) => refused,
                    None => None,
                }
            }
            _ => None,
        });
    }
    let written = find_written(connection, ops).await?.filter(|revision| *revision > 0);
    Ok(written.map(|revision| CommitOutcome::Done { revision }))
}

/// The outcome of the removal of a record that was last written at the revision `pinned` and is gone, after a conflict with it at a
/// revision: what became of the record next is looked for between the two, for whoever is told of a revision waits until he has seen
/// it. The store's present one would not do: it may be of a key that concerns nobody here, and would be waited for in vain. Where
/// the history is not there any more the revision stays unknown.
async fn find_removal(
    connection: &Connection,
    key: &str,
    pinned: u64,
    conflict: u64,
) -> Result<CommitOutcome, EtcdError> {
    // It was as pinned at `before`, and was not at `after`.
    let (mut before, mut after) = (pinned, conflict);
    while after.saturating_sub(before) > 1 {
        let middle = before.midpoint(after);
        match get(connection, key, middle).await {
            Ok(Some(found)) if found.mod_revision == pinned => before = middle,
            Ok(_) => after = middle,
            Err(EtcdError::Compacted) => return Ok(CommitOutcome::Done { revision: 0 }),
            Err(error) => return Err(error),
        }
    }
    let revision = if is_planted("removal-at-no-revision") { 0 } else { after };
    Ok(match get(connection, key, after).await? {
        None => CommitOutcome::Done { revision },
        // Written by another before it was removed: ours never was carried out.
        Some(_) => CommitOutcome::Conflict { revision: conflict },
    })
}

/// The revision at which operations were carried out together, if all records are as these leave them; 0 for removals alone.
async fn find_written(connection: &Connection, ops: &[Op]) -> Result<Option<u64>, EtcdError> {
    let mut revisions = BTreeSet::new();
    for op in ops {
        let found = get(connection, op.key(), 0).await?;
        match (op, found) {
            (Op::Put { value, lease, .. }, Some(found)) if is_written(&found, value, *lease) => {
                revisions.insert(found.mod_revision);
            }
            (Op::Delete { .. }, None) => {}
            _ => return Ok(None),
        }
    }
    let last = revisions.pop_last().unwrap_or(0);
    Ok(revisions.is_empty().then_some(last))
}

fn is_written(found: &KeyValue, value: &[u8], lease: Option<LeaseId>) -> bool {
    found.value == value && found.lease == lease
}

/// The version of a key that followed a revision, looked for backwards from a later version.
async fn find_successor(
    connection: &Connection,
    mut version: KeyValue,
    revision: u64,
) -> Result<Option<KeyValue>, EtcdError> {
    for _ in 0..HISTORY {
        if version.mod_revision == version.create_revision {
            // Before this one there was none: it followed "does not exist".
            return Ok((revision == 0).then_some(version));
        }
        let before = version.mod_revision - 1;
        match get(connection, &version.key, before).await? {
            Some(former) if former.mod_revision == revision => return Ok(Some(version)),
            Some(former) if former.mod_revision > revision => version = former,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// One key, at a revision or (0) now.
async fn get(
    connection: &Connection,
    key: &str,
    revision: u64,
) -> Result<Option<KeyValue>, EtcdError> {
    let query = PageQuery {
        range: Range::Key(key.to_owned()),
        after: None,
        revision,
        limit: 0,
        max_bytes: MAX_RECORD_BYTES,
    };
    let asked = &query;
    let mut page =
        connection.call_repeatedly(|member| async move { member.read_page(asked).await }).await?;
    Ok(page.records.pop())
}
