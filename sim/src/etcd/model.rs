//! One etcd, without members: what its state machine makes of requests.
//!
//! Owns the key space, the leases and the quota. It is total and has no chance in it: time is an argument, and whatever is ambiguous,
//! late or lost is so by what the caller does with requests and answers. Compared with a real server by the tests.

use std::time::Duration;

use muster_store::etcd_protocol::{
    EtcdError, LeaseKept, LeaseSeconds, MemberChange, TransactionOutcome,
};
use muster_store::{Guard, KeyChange, KeyValue, LeaseId, Op, Range};

use super::keyspace::KeySpace;
use super::lessor::Lessor;
use super::request::{EtcdAnswer, EtcdRequest, EtcdResult, refusal};

/// Most operations, and most guards, of a transaction: etcd's default.
const MOST_OPERATIONS: usize = 128;

/// Largest request in bytes: etcd's default.
const LARGEST_REQUEST: usize = 1_572_864;

/// Longest lease that etcd grants, in seconds.
const LONGEST_SECONDS: i64 = 9_000_000_000;

/// What etcd reckons for a record besides its key and value when it looks at its quota.
const RECORD_COST: u64 = 256;

/// What etcd reckons for a lease.
const LEASE_COST: u64 = 64 + RECORD_COST;

/// A release of etcd, by what it does otherwise than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdRelease {
    /// Before 3.4.36, 3.5.18: a compaction forgets removals at its very revision, so that a watch that begins there is not told of
    /// them. Before 3.4.42, 3.5.28, 3.6.9: a leader that was deposed, and does not know it, acknowledges keepalives.
    Old,
    /// Later ones.
    Current,
}

impl EtcdRelease {
    /// The version of its program.
    pub fn version(self) -> &'static str {
        match self {
            Self::Old => "3.4.23",
            Self::Current => "3.6.14",
        }
    }
}

/// The state machine. A clone is a backup of it.
#[derive(Debug, Clone)]
pub struct EtcdModel {
    space: KeySpace,
    lessor: Lessor,
    release: EtcdRelease,
    quota: Option<u64>,
    /// The bytes kept, as the quota sees them.
    used: u64,
    /// The alarm of a store that is full. It stays until somebody takes it back.
    is_full: bool,
}

impl EtcdModel {
    /// An empty store at revision 1. Nobody counts the time of its leases before [`Self::promote_leader`], as long as there are none.
    pub fn new(release: EtcdRelease, quota: Option<u64>) -> Self {
        let (space, lessor) = (KeySpace::new(), Lessor::default());
        Self { space, lessor, release, quota, used: 0, is_full: false }
    }

    /// Carries out a request at a moment, as the leader. Changes are found by [`Self::changes_between`] afterwards.
    pub fn step(&mut self, now: Duration, request: &EtcdRequest) -> EtcdResult {
        match request {
            EtcdRequest::ReadPage(query) => {
                self.space.read_page(query, self.space.revision()).map(EtcdAnswer::Page)
            }
            EtcdRequest::Transact { guards, ops } => {
                self.transact(guards, ops).map(EtcdAnswer::Transaction)
            }
            EtcdRequest::GrantLease { lease, seconds } => self.grant_lease(now, *lease, *seconds),
            EtcdRequest::KeepAlive { lease } => {
                let seconds = self.lessor.renew_lease(now, *lease).unwrap_or(0);
                Ok(EtcdAnswer::KeptAlive(LeaseKept { seconds, term: 0 }))
            }
            EtcdRequest::ReadLease { lease } => Ok(EtcdAnswer::Lease(self.read_lease(now, *lease))),
            EtcdRequest::RevokeLease { lease } => self
                .end_lease(*lease)
                .then_some(EtcdAnswer::Revoked)
                .ok_or(EtcdError::LeaseNotFound),
            EtcdRequest::ReadVersion => Ok(EtcdAnswer::Version(self.release.version().to_owned())),
            EtcdRequest::Ping => Ok(EtcdAnswer::Pong),
        }
    }

    fn transact(&mut self, guards: &[Guard], ops: &[Op]) -> Result<TransactionOutcome, EtcdError> {
        check_transaction(guards, ops)?;
        let cost: u64 = ops.iter().map(cost_of).sum();
        if cost > 0 && !self.has_room(cost) {
            return Err(refusal::no_space());
        }
        let succeeded = guards.iter().all(|guard| self.space.is_held(guard));
        if !succeeded {
            return Ok(TransactionOutcome { revision: self.space.revision(), succeeded });
        }
        // Only what would be carried out is checked for its leases.
        for op in ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.lessor.contains(*lease)
            {
                return Err(EtcdError::LeaseNotFound);
            }
        }
        let mut writer = self.space.begin_revision();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let (key, before) = writer.put(key, value.clone(), *lease);
                    self.lessor.move_key(&key, before, *lease);
                }
                Op::Delete { key } => {
                    if let Some((key, before)) = writer.delete(key) {
                        self.lessor.move_key(&key, before, None);
                    }
                }
            }
        }
        self.used = self.used.saturating_add(cost);
        Ok(TransactionOutcome { revision: writer.finish_revision(), succeeded })
    }

    fn grant_lease(&mut self, now: Duration, lease: LeaseId, seconds: i64) -> EtcdResult {
        if !self.has_room(LEASE_COST) {
            return Err(refusal::no_space());
        }
        if seconds > LONGEST_SECONDS {
            return Err(EtcdError::Unknown("etcdserver: too large lease TTL".to_owned()));
        }
        self.lessor
            .grant(now, lease, seconds)
            .map(EtcdAnswer::Granted)
            .ok_or_else(refusal::lease_exists)
    }

    fn has_room(&mut self, cost: u64) -> bool {
        if self.quota.is_some_and(|quota| self.used.saturating_add(cost) >= quota) {
            self.is_full = true;
        }
        !self.is_full
    }

    /// Ends a lease and removes its records at one revision; `false`: there is none.
    pub fn end_lease(&mut self, lease: LeaseId) -> bool {
        let Some(keys) = self.lessor.remove(lease) else { return false };
        let mut writer = self.space.begin_revision();
        for key in keys {
            writer.delete(&key);
        }
        writer.finish_revision();
        true
    }

    /// The time a lease has left.
    pub fn read_lease(&self, now: Duration, lease: LeaseId) -> LeaseSeconds {
        self.lessor.read_seconds(now, lease)
    }

    /// True if the time of a lease is over and it has not been ended yet.
    pub fn is_lease_over(&self, now: Duration, lease: LeaseId) -> bool {
        self.lessor.is_over(now, lease)
    }

    /// When the time of the next lease is over, if none is prolonged.
    pub fn next_lease_end(&self) -> Option<Duration> {
        self.lessor.next_end()
    }

    /// Ends the leases whose time is over.
    pub fn end_due_leases(&mut self, now: Duration) {
        while let Some(lease) = self.lessor.first_over(now) {
            self.end_lease(lease);
        }
    }

    /// A new leader begins to count the time of leases: each has its whole time again, and `extension` besides.
    pub fn promote_leader(&mut self, now: Duration, extension: Duration) {
        self.lessor.promote_leader(now, extension);
    }

    /// The clock by which the time of leases is counted has stood still for so long.
    pub fn delay_leases(&mut self, by: Duration) {
        self.lessor.delay_ends(by);
    }

    /// There is no leader: no lease ends.
    pub fn demote_leader(&mut self) {
        self.lessor.demote_leader();
    }

    /// Forgets the history before a revision.
    pub fn compact_history(&mut self, revision: u64) -> Result<(), EtcdError> {
        self.space.compact_history(revision, self.release == EtcdRelease::Current)?;
        self.used = self.space.count_bytes();
        Ok(())
    }

    /// Sets or takes back the alarm of a store that is full. Where a quota is still used up, the next write sets it again.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.space.revision()
    }

    /// The revision that was compacted last; 0: none.
    pub fn compacted_revision(&self) -> u64 {
        self.space.compacted_revision()
    }

    /// The changes of a range from one revision to another, both included.
    pub fn changes_between(&self, range: &Range, from: u64, to: u64) -> Vec<MemberChange> {
        self.space.changes_between(range, from, to)
    }

    /// The changes of everything from one revision to another, both included, by revision.
    pub fn all_changes_between(&self, from: u64, to: u64) -> Vec<(u64, Vec<KeyChange>)> {
        self.space.all_changes_between(from, to)
    }

    /// A new store of the same release and quota, at revision 1.
    #[must_use]
    pub fn clone_empty(&self) -> Self {
        Self::new(self.release, self.quota)
    }

    /// All records as they are.
    pub fn all_records(&self) -> Vec<KeyValue> {
        self.space.all_records()
    }

    /// Raises the revision and forgets all history before it, as a backup that is put back with `--bump-revision` and
    /// `--mark-compacted` has it.
    pub fn bump_revision(&mut self, by: u64) {
        self.space.bump_revision(by);
        self.used = self.space.count_bytes();
    }

    /// The release.
    pub fn release(&self) -> EtcdRelease {
        self.release
    }

    pub(super) fn key_space(&self) -> &KeySpace {
        &self.space
    }

    pub(super) fn held_leases(&self) -> &Lessor {
        &self.lessor
    }
}

fn cost_of(op: &Op) -> u64 {
    match op {
        Op::Put { key, value, .. } => RECORD_COST + (key.len() + value.len()) as u64,
        Op::Delete { .. } => 0,
    }
}

fn check_transaction(guards: &[Guard], ops: &[Op]) -> Result<(), EtcdError> {
    if guards.len() > MOST_OPERATIONS || ops.len() > MOST_OPERATIONS {
        return Err(refusal::too_many_operations());
    }
    let mut bytes = 0;
    for (at, op) in ops.iter().enumerate() {
        bytes += op.key().len();
        if let Op::Put { key, value, .. } = op {
            bytes += value.len();
            // Removals may name a key as often as they like, but not one that is written.
            let is_again = |(other_at, other): (usize, &Op)| other_at != at && other.key() == key;
            if ops.iter().enumerate().any(is_again) {
                return Err(refusal::duplicate_key());
            }
        }
    }
    if bytes > LARGEST_REQUEST {
        return Err(refusal::too_large());
    }
    Ok(())
}
