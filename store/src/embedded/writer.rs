//! The one thread that writes: it takes what has queued up, writes it with one fsync, and then answers.
//!
//! It also ends leases whose time is over. It sleeps until there is something to do.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::clock::LeaseClock;
use super::disk::{Disk, WriteError};
use super::image::{Batch, Draft, Image};
use super::watches::Watches;
use crate::limits;
use crate::store::{CommitOutcome, Guard, Lease, LeaseId, Op, StoreError};

/// Most requests written with one fsync; bounds how long the first of them waits.
const MAX_BATCH: usize = 256;

/// How soon the disk is tried again for what must be written sooner or later: the end of a lease.
const RETRY: Duration = Duration::from_secs(1);

/// How often a watcher that is behind is looked at.
const CATCH_UP: Duration = Duration::from_millis(50);

/// What everyone sees.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) image: Image,
    pub(super) watches: Watches,
}

/// A lock that outlives a panic of its holder: every change under it is complete before the next could fail.
pub(super) fn lock_shared(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the writer is asked for.
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
    pub(super) disk: Disk,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) requests: Receiver<Request>,
    clock: LeaseClock,
    /// A batch of which it is not known whether the disk has it.
    doubt: Option<Batch>,
}

impl Writer {
    pub(super) fn new(
        disk: Disk,
        shared: Arc<Mutex<Shared>>,
        requests: Receiver<Request>,
        clock: LeaseClock,
    ) -> Self {
        Self { disk, shared, requests, clock, doubt: None }
    }

    /// Runs until the last sender of requests is gone.
    pub(super) fn run(mut self) {
        let mut retry_at = None;
        loop {
            let wait = self.until_next(retry_at);
            let first = match wait {
                None => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => self.requests.recv_timeout(wait),
            };
            let mut requests = match first {
                Ok(request) => vec![request],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            requests.extend(self.requests.try_iter().take(MAX_BATCH));
            retry_at = self.carry_out(requests).err().map(|_| Instant::now() + RETRY);
        }
    }

    /// How long nothing needs to be done; `None`: until a request comes.
    fn until_next(&self, retry_at: Option<Instant>) -> Option<Duration> {
        let mut shared = lock_shared(&self.shared);
        let Shared { image, watches } = &mut *shared;
        let catch_up = watches.catch_up(image).then_some(CATCH_UP);
        let lease = image.next_deadline().map(|d| d.saturating_duration_since(self.clock.now()));
        let retry = retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        lease.into_iter().chain(retry).chain(catch_up).min()
    }

    /// Carries out some requests and whatever leases have ended.
    fn carry_out(&mut self, requests: Vec<Request>) -> Result<(), WriteError> {
        let certain = self.resolve_doubt();
        let (batch, answers) = self.draft_batch(requests);
        let written = match certain {
            Ok(()) if batch.is_empty() => Ok(()),
            Ok(()) => self.write(batch),
            Err(error) => Err(WriteError::NotWritten(error)),
        };
        for answer in answers {
            answer.send(&written, &self.disk);
        }
        written
    }

    /// Finds out whether the disk has the batch in doubt. Until that is known nothing can be decided on top of it.
    fn resolve_doubt(&mut self) -> Result<(), redb::Error> {
        let Some(batch) = &self.doubt else { return Ok(()) };
        if self.disk.holds_batch(batch)? {
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
        let mut draft = Draft::new(&shared.image);
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
        let written = self.disk.write(&batch);
        match &written {
            Ok(()) => self.publish_batch(&batch),
            Err(error) => {
                tracing::warn!(?error, path = %self.disk.path().display(), "the embedded store cannot write");
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
    fn send(self, written: &Result<(), WriteError>, disk: &Disk) {
        let failure = |during: &str| {
            written.as_ref().err().map(|error| error.to_store_error(disk.path(), during))
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
