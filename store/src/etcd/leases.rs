//! Leases. Keepalives go over a stream that is kept per lease and thrown away with its first failure.
//!
//! Only etcd's leader counts the time of leases, and one that has just been elected does not know who was heard of: it gives each lease
//! its whole time again. So the term that answers are of is remembered, and how long it has been known.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use muster_runtime::{Instant, timeout};

use super::connection::Connection;
use super::error::EtcdError;
use super::protocol::{KeepAliveStream, LeaseKept};
use crate::options::Liveness;
use crate::store::{Lease, LeaseId, StoreError, TimeLeft};

/// The part of a lease that one keepalive may take. It is asked for when two thirds of the lease are left, and three endpoints have had
/// their turn before those are over; a lease of two seconds, the shortest there is, comes to [`Liveness::keep_alive`]. Of a longer
/// one nothing is gained by less haste in a store that is only slow: whoever gives an answer up gives up the connection with all that
/// it carries, and when a thousand machines do, the store is busy with their coming back instead of their leases, for good.
const KEEP_ALIVE_SHARE: u32 = 5;

/// The leases that are kept, and the ids of those to come.
pub(super) struct Leases {
    ids: RandomSequence,
    kept: Mutex<BTreeMap<LeaseId, KeptLease>>,
    term: Mutex<KnownTerm>,
}

/// The term that the last answer was of, and since when answers are of it.
#[derive(Default)]
struct KnownTerm(Option<(u64, Instant)>);

impl KnownTerm {
    /// Takes note of an answer's term: for how long it is known to be that.
    fn note_term(&mut self, term: u64, now: Instant) -> Duration {
        match self.0 {
            Some((known, since)) if known == term => now.saturating_duration_since(since),
            _ => {
                self.0 = Some((term, now));
                Duration::ZERO
            }
        }
    }
}

/// A lease whose length is known, and the stream of its keepalives while nobody waits on it.
struct KeptLease {
    ttl: Duration,
    stream: Option<Box<dyn KeepAliveStream>>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

impl Leases {
    /// No lease yet. The ids of those to come follow from the seed.
    pub(super) fn with_seed(seed: Seed) -> Self {
        let ids = seed.for_purpose("lease ids").random_sequence();
        Self { ids, kept: Mutex::default(), term: Mutex::default() }
    }

    fn lock_kept(&self) -> MutexGuard<'_, BTreeMap<LeaseId, KeptLease>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an answer's term: for how long it is known to be that.
    fn note_term(&self, term: u64) -> Duration {
        let mut known = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        known.note_term(term, Instant::now())
    }

    /// A lease's stream, and the time that a keepalive over it may take.
    fn take_stream(
        &self,
        lease: LeaseId,
        liveness: &Liveness,
    ) -> (Option<Box<dyn KeepAliveStream>>, Duration) {
        let least = liveness.keep_alive;
        let mut kept = self.lock_kept();
        // That of a lease of unknown length may be a short one's.
        let Some(kept) = kept.get_mut(&lease) else { return (None, least) };
        let share = (kept.ttl / KEEP_ALIVE_SHARE).min(liveness.call).max(least);
        (kept.stream.take(), share)
    }

    fn keep_lease(&self, lease: Lease, stream: Option<Box<dyn KeepAliveStream>>) {
        self.lock_kept().insert(lease.id, KeptLease { ttl: lease.ttl, stream });
    }

    fn forget_lease(&self, lease: LeaseId) {
        self.lock_kept().remove(&lease);
    }

    /// Grants a lease. One whose grant was not answered ends by itself.
    ///
    /// Its id is drawn here: when etcd drew it, two machines that registered within milliseconds were once seen with the
    /// same lease, and then neither is missed while the other lives. How that came about is not known. An answer that
    /// names another lease is not taken for ours.
    pub(super) async fn grant(
        &self,
        connection: &Connection,
        ttl: Duration,
    ) -> Result<Lease, StoreError> {
        let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let (id, seconds) = connection
            .call_repeatedly(|member| {
                let id = LeaseId(lease_id(self.ids.next()));
                async move { Ok((id, member.grant_lease(id, seconds).await?)) }
            })
            .await
            .map_err(|error| error.into_store_error("grant of a lease", None))?;
        let lease = Lease { id, ttl: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) };
        self.keep_lease(lease, None);
        Ok(lease)
    }

    /// Prolongs a lease. Only an answer with time left counts: a stream accepts what it never delivers.
    pub(super) async fn keep_alive(
        &self,
        connection: &Connection,
        lease: LeaseId,
    ) -> Result<Lease, StoreError> {
        let (stream, deadline) = self.take_stream(lease, &connection.liveness);
        connection.set_patience(deadline);
        // The stream is ours while we wait on it. If we are given up on, it goes with us, and so does an answer that
        // would otherwise be taken for that to a later question.
        if let Some(mut stream) = stream {
            match timeout(deadline, stream.keep_alive()).await {
                Ok(Ok(answer)) => return self.accept_answer(lease, answer, Some(stream)),
                Ok(Err(error)) => tracing::debug!(%error, "a keepalive stream ended"),
                Err(_) => {
                    tracing::debug!("a keepalive was not answered");
                    // Whatever else uses this connection waits in vain, too.
                    connection.mark_current_failed();
                }
            }
        }
        let opened = connection
            .call_repeatedly_within(deadline, |member| async move {
                let mut stream = member.open_keep_alive(lease).await?;
                let answer = stream.keep_alive().await?;
                Ok((stream, answer))
            })
            .await;
        match opened {
            Ok((stream, answer)) => self.accept_answer(lease, answer, Some(stream)),
            Err(EtcdError::LeaseNotFound) => Err(self.forget_gone(lease)),
            Err(error) => Err(error.into_store_error("keepalive of a lease", Some(lease))),
        }
    }

    fn accept_answer(
        &self,
        lease: LeaseId,
        answer: LeaseKept,
        stream: Option<Box<dyn KeepAliveStream>>,
    ) -> Result<Lease, StoreError> {
        self.note_term(answer.term);
        match u64::try_from(answer.seconds) {
            Ok(seconds) if seconds > 0 => {
                let lease = Lease { id: lease, ttl: Duration::from_secs(seconds) };
                self.keep_lease(lease, stream);
                Ok(lease)
            }
            _ => Err(self.forget_gone(lease)),
        }
    }

    fn forget_gone(&self, lease: LeaseId) -> StoreError {
        self.forget_lease(lease);
        StoreError::LeaseGone { lease }
    }

    /// The time a lease has left, in whole seconds. A member that does not lead asks its leader.
    pub(super) async fn time_left(
        &self,
        connection: &Connection,
        lease: LeaseId,
    ) -> Result<TimeLeft, StoreError> {
        let response = connection
            .call_repeatedly(|member| async move { member.read_lease(lease).await })
            .await;
        let response = match response {
            Ok(response) => response,
            Err(EtcdError::LeaseNotFound) => return Err(StoreError::LeaseGone { lease }),
            Err(error) => {
                return Err(error.into_store_error("look at the time of a lease", Some(lease)));
            }
        };
        let counted_for = self.note_term(response.term);
        // -1: there is none.
        let left = u64::try_from(response.left).map_err(|_| StoreError::LeaseGone { lease })?;
        let granted = u64::try_from(response.granted).unwrap_or(0);
        let (left, granted) = (Duration::from_secs(left), Duration::from_secs(granted));
        Ok(TimeLeft { left, granted, counted_for })
    }

    /// Ends a lease.
    pub(super) async fn revoke(
        &self,
        connection: &Connection,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        self.forget_lease(lease);
        let revoked = connection
            .call_repeatedly(|member| async move { member.revoke_lease(lease).await })
            .await;
        match revoked {
            Ok(()) | Err(EtcdError::LeaseNotFound) => Ok(()),
            Err(error) => Err(error.into_store_error("end of a lease", Some(lease))),
        }
    }
}

/// A lease id: positive, as etcd wants it.
fn lease_id(random: u64) -> i64 {
    i64::try_from(random >> 1).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_term_counts_from_the_first_answer_of_it() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut known = KnownTerm::default();
        assert_eq!(known.note_term(7, at(0)), Duration::ZERO, "what was before is not known");
        assert_eq!(known.note_term(7, at(5)), Duration::from_secs(5));
        assert_eq!(known.note_term(8, at(6)), Duration::ZERO, "an election");
        assert_eq!(known.note_term(8, at(9)), Duration::from_secs(3));
        assert_eq!(known.note_term(2, at(10)), Duration::ZERO, "a store that was restored");
    }
}
