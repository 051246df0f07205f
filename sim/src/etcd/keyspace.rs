//! The key space: records at revisions, their history, and what compaction leaves of it.
//!
//! Owns no time, no leases and no members. Every change has a revision; all changes of one transaction share it. What was before is
//! kept until a compaction: a key's versions for reading, the changes of each revision for watches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use muster_store::etcd_protocol::{EtcdError, MemberChange, Page, PageQuery};
use muster_store::{Guard, KeyChange, KeyValue, LeaseId, Range};

use super::request::refusal;

/// A key; shared by all that tell of it.
pub(super) type Key = Arc<str>;

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub(super) value: Bytes,
    pub(super) created: u64,
    pub(super) modified: u64,
    /// The number of writes since its creation, that one included.
    pub(super) version: u64,
    pub(super) lease: Option<LeaseId>,
}

/// A key at a revision: written, or removed.
#[derive(Debug, Clone)]
struct KeyVersion {
    revision: u64,
    record: Option<StoredRecord>,
}

/// The changes of one revision in the order of its transaction.
#[derive(Debug, Clone)]
struct RevisionChanges {
    revision: u64,
    changes: Vec<(Key, Option<StoredRecord>)>,
}

/// Everything that is known by keys.
#[derive(Debug, Clone)]
pub(super) struct KeySpace {
    revision: u64,
    /// The revision whose history was cut last; 0: none.
    compacted: u64,
    /// Each key's versions, the oldest first. A key that was removed stays until its removal is compacted.
    keys: BTreeMap<Key, Vec<KeyVersion>>,
    /// From the compacted revision on.
    log: VecDeque<RevisionChanges>,
}

impl KeySpace {
    /// Nothing, at revision 1, as in a new data directory.
    pub(super) fn new() -> Self {
        Self { revision: 1, compacted: 0, keys: BTreeMap::new(), log: VecDeque::new() }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn compacted_revision(&self) -> u64 {
        self.compacted
    }

    /// The record of a key now.
    pub(super) fn get(&self, key: &str) -> Option<&StoredRecord> {
        self.keys.get(key)?.last()?.record.as_ref()
    }

    /// True if a guard holds now.
    pub(super) fn is_held(&self, guard: &Guard) -> bool {
        let record = self.get(guard.key());
        match guard {
            Guard::Modified { revision, .. } => record.map_or(0, |r| r.modified) == *revision,
            Guard::Created { revision, .. } => record.map_or(0, |r| r.created) == *revision,
            Guard::Exists { .. } => record.is_some(),
            Guard::Holds { value, .. } => record.is_some_and(|r| r.value == *value),
        }
    }

    /// Begins a revision. It is only there once something has been written at it.
    pub(super) fn begin_revision(&mut self) -> RevisionWriter<'_> {
        let revision = self.revision + 1;
        RevisionWriter { space: self, revision, changes: Vec::new() }
    }

    /// Reads a page, as of `present` for whoever knows no later revision.
    pub(super) fn read_page(&self, query: &PageQuery, present: u64) -> Result<Page, EtcdError> {
        if query.revision > present {
            return Err(refusal::future_revision());
        }
        let at = if query.revision == 0 { present } else { query.revision };
        if at < self.compacted {
            return Err(EtcdError::Compacted);
        }
        let limit = if query.limit == 0 { u64::MAX } else { query.limit };
        let mut page = Page { revision: present, ..Page::default() };
        let mut bytes = 0;
        let mut count = 0;
        page.beside = query.range.key_beside().and_then(|key| {
            let (key, versions) = self.keys.get_key_value(key)?;
            Some(to_key_value(key, record_at(versions, at)?))
        });
        let range = query.range.without_beside();
        for (key, versions) in self.versions_in(&range, query.after.as_deref()) {
            let Some(record) = record_at(versions, at) else { continue };
            if count == limit {
                page.more = true;
                break;
            }
            count += 1;
            bytes += key.len() + record.value.len() + RECORD_FRAMING_BYTES;
            if bytes > query.max_bytes {
                return Err(EtcdError::AnswerTooLarge);
            }
            page.records.push(to_key_value(key, record));
        }
        page.last_key = page.records.last().map(|record| record.key.as_bytes().to_vec());
        Ok(page)
    }

    fn versions_in<'a>(
        &'a self,
        range: &'a Range,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a Key, &'a [KeyVersion])> {
        let text = range.as_str();
        // All keys here are text.
        let after = after.and_then(|after| std::str::from_utf8(after).ok());
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(text),
        };
        self.keys
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| range.contains(key))
            .map(|(key, versions)| (key, versions.as_slice()))
    }

    /// The changes of a range from one revision to another, both included.
    pub(super) fn changes_between(&self, range: &Range, from: u64, to: u64) -> Vec<MemberChange> {
        let first = self.log.partition_point(|entry| entry.revision < from);
        let mut found = Vec::new();
        for entry in self.log.range(first..).take_while(|entry| entry.revision <= to) {
            for (key, record) in &entry.changes {
                if range.contains(key) {
                    let change = match record {
                        Some(record) => KeyChange::Put(to_key_value(key, record)),
                        None => KeyChange::Delete { key: key.as_ref().to_owned() },
                    };
                    found.push(MemberChange { revision: entry.revision, change: Some(change) });
                }
            }
        }
        found
    }

    /// The changes of everything from one revision to another, both included, by revision.
    pub(super) fn all_changes_between(&self, from: u64, to: u64) -> Vec<(u64, Vec<KeyChange>)> {
        let first = self.log.partition_point(|entry| entry.revision < from);
        let entries = self.log.range(first..).take_while(|entry| entry.revision <= to);
        let told = entries.map(|entry| {
            let changes = entry.changes.iter().map(|(key, record)| match record {
                Some(record) => KeyChange::Put(to_key_value(key, record)),
                None => KeyChange::Delete { key: key.as_ref().to_owned() },
            });
            (entry.revision, changes.collect())
        });
        told.collect()
    }

    /// All records as they are.
    pub(super) fn all_records(&self) -> Vec<KeyValue> {
        let present = |(key, versions): (&Key, &Vec<KeyVersion>)| {
            let record = versions.last()?.record.as_ref()?;
            Some(to_key_value(key, record))
        };
        self.keys.iter().filter_map(present).collect()
    }

    /// Raises the revision and forgets all history before it.
    pub(super) fn bump_revision(&mut self, by: u64) {
        self.revision += by;
        // A revision ahead of the last one is always there to be compacted.
        self.compact_history(self.revision, true).ok();
    }

    /// Forgets what was before a revision, as etcd's compaction does. `keep_last_removals`: removals at that very revision are told
    /// to a watch that begins there; etcd forgets them before 3.4.36 and 3.5.18.
    pub(super) fn compact_history(
        &mut self,
        revision: u64,
        keep_last_removals: bool,
    ) -> Result<(), EtcdError> {
        if revision <= self.compacted {
            return Err(EtcdError::Compacted);
        }
        if revision > self.revision {
            return Err(refusal::future_revision());
        }
        self.compacted = revision;
        self.keys.retain(|_, versions| {
            let kept = versions.partition_point(|version| version.revision <= revision);
            // The one that was current at that revision stays, unless it was a removal.
            let kept = match kept.checked_sub(1).and_then(|at| versions.get(at)) {
                Some(version) if version.record.is_some() => kept - 1,
                _ => kept,
            };
            versions.drain(..kept);
            !versions.is_empty()
        });
        while self.log.front().is_some_and(|entry| entry.revision < revision) {
            self.log.pop_front();
        }
        if !keep_last_removals
            && let Some(first) = self.log.front_mut()
            && first.revision == revision
        {
            first.changes.retain(|(_, record)| record.is_some());
        }
        Ok(())
    }

    /// The bytes of everything that is kept, history included.
    pub(super) fn count_bytes(&self) -> u64 {
        let of = |key: &Key, version: &KeyVersion| {
            let value = version.record.as_ref().map_or(0, |record| record.value.len());
            (key.len() + value + RECORD_FRAMING_BYTES) as u64
        };
        self.keys.iter().flat_map(|(key, all)| all.iter().map(move |one| of(key, one))).sum()
    }
}

/// What a record adds to an answer, or to a file, besides key and value: revisions, version, lease and their framing.
const RECORD_FRAMING_BYTES: usize = 64;

/// The changes of one revision while they are made.
pub(super) struct RevisionWriter<'a> {
    space: &'a mut KeySpace,
    revision: u64,
    changes: Vec<(Key, Option<StoredRecord>)>,
}

impl RevisionWriter<'_> {
    /// Writes a record. Returns its key, and the lease that the record before it lived under.
    pub(super) fn put(
        &mut self,
        key: &str,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> (Key, Option<LeaseId>) {
        let revision = self.revision;
        let key: Key = match self.space.keys.get_key_value(key) {
            Some((known, _)) => Arc::clone(known),
            None => key.into(),
        };
        let versions = self.space.keys.entry(Arc::clone(&key)).or_default();
        let before = versions.last().and_then(|version| version.record.as_ref());
        let record = StoredRecord {
            value,
            created: before.map_or(revision, |record| record.created),
            modified: revision,
            version: before.map_or(0, |record| record.version) + 1,
            lease,
        };
        let lease_before = before.and_then(|record| record.lease);
        versions.push(KeyVersion { revision, record: Some(record.clone()) });
        self.changes.push((Arc::clone(&key), Some(record)));
        (key, lease_before)
    }

    /// Removes a record, if it is there. Returns the lease it lived under.
    pub(super) fn delete(&mut self, key: &str) -> Option<(Key, Option<LeaseId>)> {
        let revision = self.revision;
        let known = self.space.keys.get_key_value(key).map(|(known, _)| Arc::clone(known))?;
        let versions = self.space.keys.get_mut(key)?;
        let lease = versions.last()?.record.as_ref()?.lease;
        versions.push(KeyVersion { revision, record: None });
        self.changes.push((Arc::clone(&known), None));
        Some((known, lease))
    }

    /// Ends the revision: it counts if anything was written.
    pub(super) fn finish_revision(self) -> u64 {
        if !self.changes.is_empty() {
            self.space.revision = self.revision;
            let changes = RevisionChanges { revision: self.revision, changes: self.changes };
            self.space.log.push_back(changes);
        }
        self.space.revision
    }
}

fn record_at(versions: &[KeyVersion], revision: u64) -> Option<&StoredRecord> {
    // The present is asked for nearly always, and it is the last.
    versions.iter().rev().find(|version| version.revision <= revision)?.record.as_ref()
}

fn to_key_value(key: &Key, record: &StoredRecord) -> KeyValue {
    KeyValue {
        key: key.as_ref().to_owned(),
        value: record.value.clone(),
        create_revision: record.created,
        mod_revision: record.modified,
        lease: record.lease,
    }
}
