//! Carries out requests: some at once, written together, answered after that.
//!
//! It also ends leases whose time is over. It waits for nothing: who calls it, and when, is the business of the thread over the
//! database file, or of whoever uses the store in memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::clock::LeaseClock;
use super::disk::{Disk, WriteError};
use super::image::{Batch, Image, ImageDraft};
use super::watches::Watches;
use crate::limits;
use crate::store::{CommitOutcome, Guard, Lease, LeaseId, Op, StoreError, TimeLeft};

/// The state that everyone sees: nothing in it could still be lost.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) image: Image,
    pub(super) watches: Watches,
}

/// A lock that outlives a panic of its holder: every change under it is complete before the next could fail.
pub(super) fn lock_shared(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Prolongs a lease. One past its deadline is over, even if the writer has not come round to ending it.
    pub(super) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<Lease, StoreError> {
        let live = self.image.leases.get_mut(&lease).filter(|live| live.is_live(now));
        let live = live.ok_or(StoreError::LeaseGone { lease })?;
        live.deadline = now + live.ttl;
        Ok(Lease { id: lease, ttl: live.ttl })
    }

    /// The time a lease has left.
    pub(super) fn time_left(&self, lease: LeaseId, now: Instant) -> Result<TimeLeft, StoreError> {
        let live = self.image.leases.get(&lease).filter(|live| live.is_live(now));
        let live = live.ok_or(StoreError::LeaseGone { lease })?;
        let (left, granted) = (live.deadline.duration_since(now), live.ttl);
        // Nobody else ever counts.
        Ok(TimeLeft { left, granted, counted_for: Duration::MAX })
    }
}

/// Where batches are kept.
pub(super) enum Medium {
    /// In the database file.
    File(Disk),
    /// Nowhere but in the image.
    Memory,
}

impl Medium {
    /// The database file, for the words of errors.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(disk) => disk.path(),
            Self::Memory => Path::new("in memory"),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        match self {
            Self::File(disk) => disk.write(batch),
            Self::Memory => Ok(()),
        }
    }

    fn holds_batch(&mut self, batch: &Batch) -> Result<bool, redb::Error> {
        match self {
            Self::File(disk) => disk.holds_batch(batch),
            // What is written to memory is never in doubt.
            Self::Memory => Ok(true),
        }
    }
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Commit {
        guards: Vec<Guard>,
        ops: Vec<Op>,
        reply: oneshot::Sender<Result<CommitOutcome, StoreError>>,
    },
    Grant {
        ttl: Duration,
        reply: oneshot::Sender<Result<Lease, StoreError>>,
    },
    Revoke {
        lease: LeaseId,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// An answer that waits for the disk.
enum Answer {
    Commit(
        oneshot::Sender<Result<CommitOutcome, StoreError>>,
        Result<CommitOutcome, StoreError>,
        String,
    ),
    Grant(oneshot::Sender<Result<Lease, StoreError>>, Lease),
    Revoke(oneshot::Sender<Result<(), StoreError>>),
}

/// The writer's own state.
pub(super) struct Writer {
    medium: Medium,
    shared: Arc<Mutex<Shared>>,
    clock: LeaseClock,
    /// A batch of which it is not known whether the disk has it.
    doubt: Option<Batch>,
}

impl Writer {
    pub(super) fn new(medium: Medium, shared: Arc<Mutex<Shared>>, clock: LeaseClock) -> Self {
        Self { medium, shared, clock, doubt: None }
    }

    /// The time until the next lease ends if none is prolonged. Watchers that are behind get what they are owed, and `true` says
    /// that one of them has no room for it yet.
    pub(super) fn until_next_end(&self) -> (Option<Duration>, bool) {
        let mut shared = lock_shared(&self.shared);
        let Shared { image, watches } = &mut *shared;
        let is_behind = watches.catch_up(image);
        let end = image.next_deadline();
        (end.map(|end| end.saturating_duration_since(self.clock.now())), is_behind)
    }

    /// Carries out some requests and whatever leases have ended.
    pub(super) fn carry_out(&mut self, requests: Vec<Request>) -> Result<(), WriteError> {
        let certain = self.resolve_doubt();
        let (batch, answers) = self.draft_batch(requests);
        let written = match certain {
            Ok(()) if batch.is_empty() => Ok(()),
            Ok(()) => self.write(batch),
            Err(error) => Err(WriteError::NotWritten(error)),
        };
        for answer in answers {
            answer.send(&written, &self.medium);
        }
        written
    }

    /// Finds out whether the disk has the batch in doubt. Until that is known nothing can be decided on top of it.
    fn resolve_doubt(&mut self) -> Result<(), redb::Error> {
        let Some(batch) = &self.doubt else { return Ok(()) };
        if self.medium.holds_batch(batch)? {
            self.publish_batch(batch);
        }
        self.doubt = None;
        Ok(())
    }

    fn draft_batch(&self, requests: Vec<Request>) -> (Batch, Vec<Answer>) {
        let mut shared = lock_shared(&self.shared);
        let now = self.clock.now();
        let revoked: BTreeSet<LeaseId> = requests
            .iter()
            .filter_map(|r| match r {
                Request::Revoke { lease, .. } => Some(*lease),
                _ => None,
            })
            .collect();
        for (id, lease) in &mut shared.image.leases {
            lease.ending |= lease.deadline <= now || revoked.contains(id);
        }
        let mut draft = ImageDraft::new(&shared.image);
        for (id, _) in shared.image.leases.iter().filter(|(_, lease)| lease.ending) {
            draft.end_lease(*id);
        }
        let mut answers = Vec::new();
        for request in requests {
            answers.push(match request {
                Request::Commit { guards, ops, reply } => {
                    let during = limits::describe(&ops);
                    Answer::Commit(reply, draft.commit(&guards, ops), during)
                }
                Request::Grant { ttl, reply } => Answer::Grant(reply, draft.grant_lease(ttl)),
                Request::Revoke { reply, .. } => Answer::Revoke(reply),
            });
        }
        (draft.into_batch(), answers)
    }

    fn write(&mut self, batch: Batch) -> Result<(), WriteError> {
        let written = self.medium.write(&batch);
        match &written {
            Ok(()) => self.publish_batch(&batch),
            Err(error) => {
                tracing::warn!(?error, path = %self.medium.path().display(), "the embedded store cannot write");
                if matches!(error, WriteError::InDoubt(_)) {
                    self.doubt = Some(batch);
                }
            }
        }
        written
    }

    fn publish_batch(&self, batch: &Batch) {
        let mut shared = lock_shared(&self.shared);
        let Shared { image, watches } = &mut *shared;
        image.apply(batch, self.clock.now());
        watches.publish_batch(batch, image);
    }
}

impl Answer {
    /// Answers; a caller that has gone away is no concern.
    fn send(self, written: &Result<(), WriteError>, medium: &Medium) {
        let failure = |during: &str| {
            written.as_ref().err().map(|error| error.to_store_error(medium.path(), during))
        };
        match self {
            Self::Commit(reply, outcome, during) => {
                // What was refused or met a conflict rests on drafts that may now be lost, so it fails with them.
                let _ = reply.send(failure(&during).map_or(outcome, Err));
            }
            Self::Grant(reply, lease) => {
                let _ = reply.send(failure("grant of a lease").map_or(Ok(lease), Err));
            }
            Self::Revoke(reply) => {
                let _ = reply.send(failure("end of a lease").map_or(Ok(()), Err));
            }
        }
    }
}
