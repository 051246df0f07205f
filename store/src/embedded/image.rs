//! The records and leases in memory, and what a batch of requests makes of them.
//!
//! Pure: it reads no clock and no disk. A [`ImageDraft`] collects the effects of requests over an unchanged [`Image`]; the
//! finished [`Batch`] is written to disk first and applied to the image after that, so that nobody sees what could
//! still be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::store::{
    CommitOutcome, Guard, KeyChange, KeyValue, Lease, LeaseId, Listing, Op, Range, StoreError,
};

/// A lease in memory.
#[derive(Debug)]
pub(super) struct LiveLease {
    pub(super) ttl: Duration,
    pub(super) deadline: Instant,
    /// It is over, but the disk does not say so yet. It cannot be prolonged any more.
    pub(super) ending: bool,
    pub(super) keys: BTreeSet<String>,
}

impl LiveLease {
    /// True while it can be prolonged: its time is not over, and nobody has ended it.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        !self.ending && self.deadline > now
    }
}

/// Everything the store holds.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) revision: u64,
    /// The number of the last lease granted.
    pub(super) last_lease: i64,
    pub(super) records: BTreeMap<String, KeyValue>,
    pub(super) leases: BTreeMap<LeaseId, LiveLease>,
}

/// The effects of some requests, to be written as one.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) revision: u64,
    pub(super) last_lease: i64,
    /// The record that each changed key holds in the end; none when it is gone.
    pub(super) records: BTreeMap<String, Option<KeyValue>>,
    /// Every change, in order, for the watches.
    pub(super) changes: Vec<KeyChange>,
    pub(super) granted: Vec<Lease>,
    pub(super) ended: BTreeSet<LeaseId>,
}

impl Batch {
    /// True when nothing needs to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.granted.is_empty() && self.ended.is_empty()
    }
}

impl Image {
    /// All records of a range.
    pub(super) fn list(&self, range: &Range) -> Listing {
        let single = |key: &str| self.records.get(key).cloned();
        let entries = match range {
            Range::Key(key) => single(key).into_iter().collect(),
            Range::Prefix(prefix) => self.list_below(prefix).collect(),
            Range::PrefixBeside { prefix, beside } => {
                self.list_below(prefix).chain(single(beside)).collect()
            }
        };
        Listing { revision: self.revision, entries }
    }

    fn list_below(&self, prefix: &str) -> impl Iterator<Item = KeyValue> {
        self.records
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, record)| record.clone())
    }

    /// Takes over what a batch says. `now` starts the leases it granted.
    pub(super) fn apply(&mut self, batch: &Batch, now: Instant) {
        // A batch is drafted over this very image, and one is written before the next is drafted.
        debug_assert!(batch.revision >= self.revision, "a revision went back");
        debug_assert!(batch.last_lease >= self.last_lease, "the id of a lease came again");
        self.revision = batch.revision;
        self.last_lease = batch.last_lease;
        for lease in &batch.granted {
            let live = LiveLease {
                ttl: lease.ttl,
                deadline: now + lease.ttl,
                ending: false,
                keys: BTreeSet::new(),
            };
            self.leases.insert(lease.id, live);
        }
        for (key, record) in &batch.records {
            let former = match record {
                Some(record) => self.records.insert(key.clone(), record.clone()),
                None => self.records.remove(key),
            };
            if let Some(lease) = former.and_then(|f| f.lease).and_then(|l| self.leases.get_mut(&l))
            {
                lease.keys.remove(key);
            }
            let lease = record.as_ref().and_then(|r| r.lease);
            if let Some(lease) = lease.and_then(|l| self.leases.get_mut(&l)) {
                lease.keys.insert(key.clone());
            }
        }
        for lease in &batch.ended {
            self.leases.remove(lease);
        }
        debug_assert!(self.knows_keys_of_leases(batch), "a lease does not know its records");
    }

    /// True when the records that a batch touched are known to the leases they live under, and to no other: an end of a lease
    /// removes what it knows and nothing else.
    fn knows_keys_of_leases(&self, batch: &Batch) -> bool {
        batch.records.keys().all(|key| {
            let under = self.records.get(key).and_then(|record| record.lease);
            self.leases.iter().all(|(id, lease)| lease.keys.contains(key) == (under == Some(*id)))
        })
    }

    /// When the next lease ends, if none is prolonged.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.leases.values().filter(|l| !l.ending).map(|l| l.deadline).min()
    }
}

/// A batch in the making.
#[derive(Debug)]
pub(super) struct ImageDraft<'a> {
    image: &'a Image,
    batch: Batch,
}

impl<'a> ImageDraft<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        let batch =
            Batch { revision: image.revision, last_lease: image.last_lease, ..Batch::default() };
        Self { image, batch }
    }

    pub(super) fn into_batch(self) -> Batch {
        debug_assert!(self.is_replayed(), "the changes do not lead to the records");
        self.batch
    }

    /// True when the changes, replayed in their order, leave what is to be written: whoever watches and whoever reads see the
    /// same.
    fn is_replayed(&self) -> bool {
        let mut replayed: BTreeMap<&str, Option<&KeyValue>> = BTreeMap::new();
        let mut revision = self.image.revision;
        for change in &self.batch.changes {
            match change {
                KeyChange::Put(record) => {
                    if record.mod_revision < revision {
                        return false;
                    }
                    revision = record.mod_revision;
                    replayed.insert(&record.key, Some(record));
                }
                KeyChange::Delete { key } => {
                    replayed.insert(key, None);
                }
            }
        }
        let written =
            self.batch.records.iter().map(|(key, record)| (key.as_str(), record.as_ref()));
        revision <= self.batch.revision && replayed.into_iter().eq(written)
    }

    fn get(&self, key: &str) -> Option<&KeyValue> {
        match self.batch.records.get(key) {
            Some(drafted) => drafted.as_ref(),
            None => self.image.records.get(key),
        }
    }

    fn guard_holds(&self, guard: &Guard) -> bool {
        let record = self.get(guard.key());
        match guard {
            Guard::Modified { revision, .. } => record.map_or(0, |r| r.mod_revision) == *revision,
            Guard::Created { revision, .. } => record.map_or(0, |r| r.create_revision) == *revision,
            Guard::Exists { .. } => record.is_some(),
            Guard::Holds { value, .. } => record.is_some_and(|r| r.value == *value),
        }
    }

    fn is_live(&self, lease: LeaseId) -> bool {
        !self.batch.ended.contains(&lease)
            && (self.batch.granted.iter().any(|l| l.id == lease)
                || self.image.leases.get(&lease).is_some_and(|l| !l.ending))
    }

    /// Adds a commit that has passed [`crate::limits::check`].
    pub(super) fn commit(
        &mut self,
        guards: &[Guard],
        ops: Vec<Op>,
    ) -> Result<CommitOutcome, StoreError> {
        if !guards.iter().all(|guard| self.guard_holds(guard)) {
            return Ok(CommitOutcome::Conflict { revision: self.batch.revision });
        }
        let leases = ops.iter().filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            Op::Delete { .. } => None,
        });
        for lease in leases {
            if !self.is_live(lease) {
                return Err(StoreError::LeaseGone { lease });
            }
        }
        let revision = self.batch.revision + 1;
        let mut changed = false;
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let create_revision = self.get(&key).map_or(revision, |r| r.create_revision);
                    let record = KeyValue {
                        key: key.clone(),
                        value,
                        create_revision,
                        mod_revision: revision,
                        lease,
                    };
                    self.batch.changes.push(KeyChange::Put(record.clone()));
                    self.batch.records.insert(key, Some(record));
                    changed = true;
                }
                Op::Delete { key } => changed |= self.remove(key),
            }
        }
        if changed {
            self.batch.revision = revision;
        }
        Ok(CommitOutcome::Done { revision: self.batch.revision })
    }

    fn remove(&mut self, key: String) -> bool {
        if self.get(&key).is_none() {
            return false;
        }
        self.batch.changes.push(KeyChange::Delete { key: key.clone() });
        self.batch.records.insert(key, None);
        true
    }

    /// Adds a new lease.
    pub(super) fn grant_lease(&mut self, ttl: Duration) -> Lease {
        self.batch.last_lease += 1;
        let lease = Lease { id: LeaseId(self.batch.last_lease), ttl };
        self.batch.granted.push(lease);
        lease
    }

    /// Ends a lease, and removes its records at one revision.
    pub(super) fn end_lease(&mut self, lease: LeaseId) {
        let old = self.image.leases.get(&lease).map(|l| &l.keys).into_iter().flatten();
        let new = self.batch.records.iter().filter(|(_, r)| r.is_some()).map(|(key, _)| key);
        let keys: BTreeSet<String> = old
            .chain(new)
            .filter(|key| self.get(key).is_some_and(|r| r.lease == Some(lease)))
            .cloned()
            .collect();
        let mut changed = false;
        for key in keys {
            changed |= self.remove(key);
        }
        if changed {
            self.batch.revision += 1;
        }
        if self.image.leases.contains_key(&lease)
            || self.batch.granted.iter().any(|l| l.id == lease)
        {
            self.batch.ended.insert(lease);
        }
    }
}
