//! Rolling reboots: the semaphores, how far each host is, who asked for a reboot, and what has been.
//!
//! Owns the records below `reboot`, none of which lives under a lease: they have to survive the reboots they are about.
//! It never decides who gets a slot. Whoever does reads a semaphore, decides, and writes it guarded by what was read.
//!
//! | key | value | written by |
//! | --- | --- | --- |
//! | `reboot/<group>` | the semaphore | whoever takes, frees or counts slots |
//! | `reboot-host/<machine>` | how far a host is | that host |
//! | `reboot-request/<machine>` | somebody's wish that it reboots | the API; removed by the host once it has |
//! | `reboot-history/<group>` | the last slots freed | whoever frees one, in the same commit |
//!
//! They are no part of a [`Snapshot`](muster_common::snapshot::Snapshot): no placement rests on them. One that cannot be
//! read is listed there all the same.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use muster_common::machine::MachineId;
use muster_common::reboot::{
    Group, HISTORY_BYTES, HISTORY_LENGTH, HistoryEntry, HostStatus, Request, Semaphore,
};
use muster_common::snapshot::Unreadable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::guarded::RecordChange;
use super::records::{SCHEMA, decode, encode};
use super::{Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, KeyValue, Op, Range, StoreError, WatchEvent};

const GROUPS: &str = "reboot/";
const HOSTS: &str = "reboot-host/";
const REQUESTS: &str = "reboot-request/";
const HISTORIES: &str = "reboot-history/";
/// The beginning that all of them have, and nothing else has.
const ALL: &str = "reboot";

/// News held for a slow reader; it needs only the last.
const EVENTS_AHEAD: usize = 16;

/// A group's semaphore and the revision it was read at: the proof that a decision on it still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootGroup {
    /// Whose.
    pub group: Group,
    /// The slots.
    pub semaphore: Semaphore,
    /// Revision that last wrote it; 0 when there is no record.
    pub revision: u64,
}

/// All records of reboots, as one read of the store finds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebootRecords {
    /// The store's revision.
    pub revision: u64,
    /// The semaphores that have a record.
    pub groups: BTreeMap<Group, Semaphore>,
    /// The statuses of the hosts that ever published one.
    pub hosts: BTreeMap<MachineId, HostStatus>,
    /// Who asked for a reboot of which machine.
    pub requests: BTreeMap<MachineId, Request>,
    /// The last slots freed, the oldest first.
    pub histories: BTreeMap<Group, Vec<HistoryEntry>>,
    /// Those that cannot be read, by key.
    pub unreadable: Vec<Unreadable>,
}

/// Which records of reboots to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootScope {
    /// One group's semaphore.
    Group(Group),
    /// The wish that one machine reboots.
    Request(MachineId),
    /// All of them.
    All,
}

/// An event of a watch of reboots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootWatchEvent {
    /// Something was written up to this revision, or may have been: read again.
    Changed {
        /// The revision.
        revision: u64,
    },
    /// The store cannot be reached; `Changed` follows when it can.
    Lost {
        /// The problem.
        problem: String,
    },
}

/// A record of any kind below `reboot`.
#[derive(Debug, Serialize, Deserialize)]
struct Record<T> {
    schema: u32,
    #[serde(flatten)]
    value: T,
}

/// `reboot-history/<group>`, the oldest entry first.
#[derive(Debug, Default, Serialize, Deserialize)]
struct History {
    #[serde(default)]
    entries: Vec<HistoryEntry>,
}

/// The record that a key below the prefix names; `None` when it is none of ours.
pub(super) fn parse(key: &str) -> Option<Result<RebootKey, String>> {
    let part = |kind: &str| key.strip_prefix(kind);
    if let Some(text) = part(GROUPS) {
        Some(name(text).map(RebootKey::Group))
    } else if let Some(text) = part(HOSTS) {
        Some(name(text).map(RebootKey::Host))
    } else if let Some(text) = part(REQUESTS) {
        Some(name(text).map(RebootKey::Request))
    } else {
        part(HISTORIES).map(|text| name(text).map(RebootKey::History))
    }
}

fn name<T: FromStr<Err: std::error::Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// A key below `reboot`; its `Display` is the key below the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RebootKey {
    Group(Group),
    Host(MachineId),
    Request(MachineId),
    History(Group),
}

impl std::fmt::Display for RebootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Group(group) => write!(f, "{GROUPS}{group}"),
            Self::Host(machine) => write!(f, "{HOSTS}{machine}"),
            Self::Request(machine) => write!(f, "{REQUESTS}{machine}"),
            Self::History(group) => write!(f, "{HISTORIES}{group}"),
        }
    }
}

/// The problem with a record of ours; `None` when nothing is, or when it is none of ours.
pub(super) fn record_problem(key: &str, value: &[u8]) -> Option<String> {
    RebootRecords::default().add_record(key, value).err()
}

impl RebootRecords {
    /// Adds a record, or says what is wrong with it. One that is none of ours is passed over.
    pub(super) fn add_record(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
            decode::<Record<T>>(value).map(|record| record.value)
        }
        match parse(key).transpose()? {
            None => {}
            Some(RebootKey::Group(group)) => {
                self.groups.insert(group, read(value)?);
            }
            Some(RebootKey::Host(machine)) => {
                self.hosts.insert(machine, read(value)?);
            }
            Some(RebootKey::Request(machine)) => {
                self.requests.insert(machine, read(value)?);
            }
            Some(RebootKey::History(group)) => {
                self.histories.insert(group, read::<History>(value)?.entries);
            }
        }
        Ok(())
    }
}

/// A history with one more entry, without the oldest that there is no room for. What an older version left in any length
/// becomes as small as everything else.
fn append_entry(entries: Vec<HistoryEntry>, entry: HistoryEntry) -> Vec<HistoryEntry> {
    let mut bytes = 0;
    let newest_first = std::iter::once(entry).chain(entries.into_iter().rev());
    let fitted = newest_first.take(HISTORY_LENGTH).map(HistoryEntry::fit_texts);
    let kept = fitted.take_while(|entry| {
        bytes += encode(entry).len() + 1;
        bytes <= HISTORY_BYTES
    });
    let mut entries: Vec<HistoryEntry> = kept.collect();
    entries.reverse();
    // Bounded, whatever was there: it is a part of the commit that frees a slot. Nothing is asserted of its order and of entries that
    // are there twice: it is in the order of writing, times are those of its writers' clocks, and a record may be edited by hand.
    debug_assert!(entries.len() <= HISTORY_LENGTH, "{} entries", entries.len());
    debug_assert!(
        entries.iter().map(|entry| encode(entry).len() + 1).sum::<usize>() <= HISTORY_BYTES,
        "{} entries of too many bytes",
        entries.len()
    );
    entries
}

fn write<T: Serialize>(value: T) -> bytes::Bytes {
    encode(&Record { schema: SCHEMA, value })
}

fn unreadable_record(key: &RebootKey, problem: String) -> RegistryError {
    RegistryError::Unreadable { key: key.to_string(), problem }
}

impl Registry {
    /// A group's semaphore; `None` when it has no record.
    pub async fn reboot_group(&self, group: &Group) -> Result<Option<RebootGroup>, RegistryError> {
        let found = self.reboot_record::<Semaphore>(&RebootKey::Group(group.clone())).await?;
        Ok(found.map(|(semaphore, revision)| RebootGroup {
            group: group.clone(),
            semaphore,
            revision,
        }))
    }

    /// All groups that have a record, by name, and the records that cannot be read.
    pub async fn reboot_groups(
        &self,
    ) -> Result<(Vec<RebootGroup>, Vec<Unreadable>), RegistryError> {
        let (mut groups, mut unreadable) = (Vec::new(), Vec::new());
        for record in self.list(GROUPS).await? {
            let key = self.key_below(&record).to_owned();
            let read = match parse(&key) {
                Some(Ok(RebootKey::Group(group))) => decode::<Record<Semaphore>>(&record.value)
                    .map(|found| RebootGroup {
                        group,
                        semaphore: found.value,
                        revision: record.mod_revision,
                    }),
                Some(Err(problem)) => Err(problem),
                _ => continue,
            };
            match read {
                Ok(group) => groups.push(group),
                Err(problem) => unreadable.push(Unreadable { key, problem }),
            }
        }
        Ok((groups, unreadable))
    }

    /// All records of reboots.
    pub async fn read_reboots(&self) -> Result<RebootRecords, RegistryError> {
        let listing = self.store.read(Range::Prefix(format!("{}{ALL}", self.prefix))).await?;
        let mut all = RebootRecords { revision: listing.revision, ..RebootRecords::default() };
        for record in listing.entries {
            let key = self.key_below(&record).to_owned();
            if let Err(problem) = all.add_record(&key, &record.value) {
                all.unreadable.push(Unreadable { key, problem });
            }
        }
        Ok(all)
    }

    /// Writes a semaphore where the one of `decided.revision` still stands, and with it, in the same commit, what has
    /// ended. `false`: somebody else wrote meanwhile; read again and decide again.
    ///
    /// A history is for people, and must not keep a slot from being freed: one that cannot be understood is begun anew, its
    /// oldest entries make room for the newest, and where the store gives or takes none the slot is freed without.
    pub async fn write_reboot_group(
        &self,
        decided: &RebootGroup,
        ended: Option<HistoryEntry>,
    ) -> Result<bool, RegistryError> {
        let key = self.full_key(&RebootKey::Group(decided.group.clone()));
        let guards = vec![Guard::Modified { key: key.clone(), revision: decided.revision }];
        let ops = vec![Op::Put { key, value: write(&decided.semaphore), lease: None }];
        let remembered = match ended {
            Some(entry) => self.history_write(&decided.group, entry).await,
            None => None,
        };
        if let Some((guard, op)) = remembered {
            let (guards, ops) = ([&*guards, &[guard]].concat(), [&*ops, &[op]].concat());
            match self.store.commit(guards, ops).await {
                Err(error @ (StoreError::Rejected { .. } | StoreError::Full { .. })) => {
                    let error = error.to_string();
                    tracing::warn!(group = %decided.group, error, "a slot is freed without its history");
                }
                outcome => return Ok(matches!(outcome?, CommitOutcome::Done { .. })),
            }
        }
        Ok(matches!(self.store.commit(guards, ops).await?, CommitOutcome::Done { .. }))
    }

    /// The write that adds an entry to a group's history, if that can be read.
    async fn history_write(&self, group: &Group, entry: HistoryEntry) -> Option<(Guard, Op)> {
        let key = self.full_key(&RebootKey::History(group.clone()));
        let found = match self.store.read(Range::Key(key.clone())).await {
            Ok(mut listing) => listing.entries.pop(),
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(%group, error, "the history of the group's slots cannot be read");
                return None;
            }
        };
        let revision = found.as_ref().map_or(0, |record| record.mod_revision);
        let entries = found.and_then(|record| decode::<Record<History>>(&record.value).ok());
        let entries = entries.map_or_else(Vec::new, |record| record.value.entries);
        let value = write(History { entries: append_entry(entries, entry) });
        Some((Guard::Modified { key: key.clone(), revision }, Op::Put { key, value, lease: None }))
    }

    /// The last slots freed in a group, the oldest first, at most [`HISTORY_LENGTH`].
    pub async fn reboot_history(&self, group: &Group) -> Result<Vec<HistoryEntry>, RegistryError> {
        let found = self.reboot_record::<History>(&RebootKey::History(group.clone())).await?;
        Ok(found.map_or_else(Vec::new, |(history, _)| history.entries))
    }

    /// The statuses of the hosts that ever published one; unreadable records are left out.
    pub async fn reboot_hosts(&self) -> Result<BTreeMap<MachineId, HostStatus>, RegistryError> {
        self.reboot_machines(HOSTS).await
    }

    /// The status of a host.
    pub async fn reboot_host(
        &self,
        machine: &MachineId,
    ) -> Result<Option<HostStatus>, RegistryError> {
        let found = self.reboot_record(&RebootKey::Host(machine.clone())).await?;
        Ok(found.map(|(status, _)| status))
    }

    /// Publishes how far a host is.
    pub async fn publish_reboot_host(
        &self,
        machine: &MachineId,
        status: &HostStatus,
    ) -> Result<(), RegistryError> {
        let key = self.full_key(&RebootKey::Host(machine.clone()));
        let value = Some(write(status.clone().fit_texts()));
        self.replace_records(&[RecordChange { key, value }]).await
    }

    /// Removes what a host said of itself: it is gone for good.
    pub async fn forget_reboot_host(&self, machine: &MachineId) -> Result<(), RegistryError> {
        let key = self.full_key(&RebootKey::Host(machine.clone()));
        self.replace_records(&[RecordChange { key, value: None }]).await
    }

    /// Records the wish that a machine reboots, in place of an earlier one.
    pub async fn request_reboot(
        &self,
        machine: &MachineId,
        request: &Request,
    ) -> Result<(), RegistryError> {
        let key = self.full_key(&RebootKey::Request(machine.clone()));
        self.replace_records(&[RecordChange { key, value: Some(write(request)) }]).await
    }

    /// The wish that a machine reboots, with the revision of its record.
    pub async fn reboot_request(
        &self,
        machine: &MachineId,
    ) -> Result<Option<(Request, u64)>, RegistryError> {
        self.reboot_record(&RebootKey::Request(machine.clone())).await
    }

    /// All wishes; unreadable records are left out.
    pub async fn reboot_requests(&self) -> Result<BTreeMap<MachineId, Request>, RegistryError> {
        self.reboot_machines(REQUESTS).await
    }

    /// Removes the wish that a machine reboots: the one of that revision, or any. `false`: there was none, or another
    /// has taken its place.
    pub async fn withdraw_reboot(
        &self,
        machine: &MachineId,
        revision: Option<u64>,
    ) -> Result<bool, RegistryError> {
        let key = self.full_key(&RebootKey::Request(machine.clone()));
        let guard = match revision {
            Some(revision) => Guard::Modified { key: key.clone(), revision },
            None => Guard::Exists { key: key.clone() },
        };
        let outcome = self.store.commit(vec![guard], vec![Op::Delete { key }]).await?;
        Ok(matches!(outcome, CommitOutcome::Done { .. }))
    }

    /// Tells when records of reboots change. Begins with a `Changed` (or `Lost`), ends when the receiver is dropped.
    pub fn watch_reboots(&self, scope: &RebootScope) -> mpsc::Receiver<RebootWatchEvent> {
        let range = match scope {
            RebootScope::Group(group) => {
                Range::Key(self.full_key(&RebootKey::Group(group.clone())))
            }
            RebootScope::Request(machine) => {
                Range::Key(self.full_key(&RebootKey::Request(machine.clone())))
            }
            RebootScope::All => Range::Prefix(format!("{}{ALL}", self.prefix)),
        };
        let mut raw = self.store.watch(range);
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        muster_runtime::spawn(async move {
            loop {
                // Both are cancel-safe.
                let event = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    event = raw.events.recv() => event,
                };
                let event = match event {
                    None => return,
                    Some(WatchEvent::Reset(listing)) => {
                        RebootWatchEvent::Changed { revision: listing.revision }
                    }
                    Some(WatchEvent::Changes { revision, .. }) => {
                        RebootWatchEvent::Changed { revision }
                    }
                    Some(WatchEvent::Progress { .. }) => continue,
                    Some(WatchEvent::Lost { problem }) => RebootWatchEvent::Lost { problem },
                };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        events
    }

    pub(super) fn full_key(&self, key: &RebootKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn key_below<'a>(&self, record: &'a KeyValue) -> &'a str {
        let prefix: &Arc<str> = &self.prefix;
        record.key.strip_prefix(&**prefix).unwrap_or(&record.key)
    }

    /// One record and its revision.
    async fn reboot_record<T: DeserializeOwned>(
        &self,
        key: &RebootKey,
    ) -> Result<Option<(T, u64)>, RegistryError> {
        let range = Range::Key(self.full_key(key));
        let Some(record) = self.store.read(range).await?.entries.pop() else { return Ok(None) };
        let read: Record<T> =
            decode(&record.value).map_err(|problem| unreadable_record(key, problem))?;
        Ok(Some((read.value, record.mod_revision)))
    }

    /// All records of a kind that is kept by machine.
    async fn reboot_machines<T: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<BTreeMap<MachineId, T>, RegistryError> {
        let records: Result<Vec<KeyValue>, StoreError> = self.list(kind).await;
        let read = records?.into_iter().filter_map(|record| {
            let machine = self.key_below(&record).strip_prefix(kind)?.parse().ok()?;
            let read: Record<T> = decode(&record.value).ok()?;
            Some((machine, read.value))
        });
        Ok(read.collect())
    }
}

#[cfg(test)]
#[path = "reboots_fixtures.rs"]
mod fixtures;
