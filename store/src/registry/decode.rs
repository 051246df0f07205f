//! From stored records to snapshots and changes.
//!
//! A record that cannot be read becomes an [`Unreadable`] and harms nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::snapshot::{Change, Snapshot, Unreadable};

use super::keys::{BadKey, Key, parse};
use super::records::{
    CordonRecord, FileRecord, LeaderRecord, MachineRecord, MembersRecord, MetadataRecord,
    PlaceRecord, StateRecord, UnitRecord, decode,
};
use super::{identity_record, pki_records, reboots};
use crate::store::{KeyChange, KeyValue, Listing};

/// Follows a range of records: a snapshot first, then what changes.
#[derive(Debug)]
pub(super) struct Decoder {
    prefix: Arc<str>,
    /// Keys that could not be read when last seen.
    unreadable: BTreeSet<String>,
}

impl Decoder {
    pub(super) fn new(prefix: Arc<str>) -> Self {
        Self { prefix, unreadable: BTreeSet::new() }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self, listing: &Listing) -> Snapshot {
        self.unreadable.clear();
        let mut snapshot = Snapshot { revision: listing.revision, ..Snapshot::default() };
        for record in &listing.entries {
            match self.read(record) {
                Ok(Some(change)) => snapshot.apply(change),
                Ok(None) => {}
                Err(unreadable) => {
                    self.unreadable.insert(unreadable.key.clone());
                    snapshot.unreadable.insert(unreadable.key.clone(), unreadable);
                }
            }
        }
        snapshot
    }

    /// The same from a listing that has the cluster's identity besides.
    pub(super) fn reset_identified(&mut self, listing: &Listing) -> Snapshot {
        let cluster = identity_record::find_identity(&self.prefix, &listing.entries);
        Snapshot { cluster, ..self.reset(listing) }
    }

    /// The changes of the cluster that these changes of records mean. Applied to the snapshot they follow, they yield what a fresh read would.
    pub(super) fn decode_changes(&mut self, changes: &[KeyChange]) -> Vec<Change> {
        let mut decoded = Vec::with_capacity(changes.len());
        for change in changes {
            let key = self.key_below(change.key());
            let outcome = match change {
                KeyChange::Put(record) => self.read(record),
                KeyChange::Delete { .. } => Ok(parse(&key).ok().map(removal_of)),
            };
            match outcome {
                Ok(change) => {
                    if self.unreadable.remove(&key) {
                        decoded.push(Change::Unreadable(key, None));
                    }
                    decoded.extend(change);
                }
                Err(unreadable) => {
                    self.unreadable.insert(key.clone());
                    let former = parse(&key).ok().map(removal_of);
                    // In this order: who hears that a placement is gone and then that it cannot be read knows that it is
                    // not gone, and leaves its unit running.
                    decoded.extend(former);
                    decoded.push(Change::Unreadable(key, Some(unreadable)));
                }
            }
        }
        decoded
    }

    fn key_below(&self, key: &str) -> String {
        key.strip_prefix(&*self.prefix).unwrap_or(key).to_owned()
    }

    fn read(&self, record: &KeyValue) -> Result<Option<Change>, Unreadable> {
        let below = self.key_below(&record.key);
        match parse(&below) {
            // Records of reboots, of hosts' identities and of the cluster's are no part of a snapshot, but one that cannot be read is to be seen.
            Err(BadKey::Foreign) => {
                let problem = reboots::record_problem(&below, &record.value)
                    .or_else(|| identity_record::record_problem(&below, &record.value))
                    .or_else(|| pki_records::record_problem(&below, &record.value));
                match problem {
                    Some(problem) => Err(Unreadable { key: below, problem }),
                    None => Ok(None),
                }
            }
            Err(BadKey::Malformed(problem)) => Err(Unreadable { key: below, problem }),
            Ok(key) => {
                read(key, record).map(Some).map_err(|problem| Unreadable { key: below, problem })
            }
        }
    }
}

/// Reads one record.
pub(super) fn read(key: Key, record: &KeyValue) -> Result<Change, String> {
    let KeyValue { value, create_revision, mod_revision, .. } = record;
    Ok(match key {
        Key::File(hash) => {
            Change::File(hash, Some(Arc::new(decode::<FileRecord>(value)?.into_file(&hash)?)))
        }
        Key::Unit(name) => {
            let unit = decode::<UnitRecord>(value)?.into_unit(name.clone(), *mod_revision);
            Change::Unit(name, Some(unit))
        }
        Key::Machine(id) => {
            let record = decode::<MachineRecord>(value)?;
            let machine = record.into_machine(id.clone(), *create_revision, *mod_revision);
            Change::Machine(id, Some(machine))
        }
        Key::Metadata(id, name) => {
            Change::Metadata(id, name, Some(decode::<MetadataRecord>(value)?.into_value()))
        }
        Key::Cordon(id) => {
            let cordon = decode::<CordonRecord>(value)?.into_cordon(*mod_revision);
            Change::Cordon(id, Some(cordon))
        }
        Key::Place(id, name) => {
            let placement = decode::<PlaceRecord>(value)?.into_placement(*mod_revision);
            Change::Place(id, name, Some(placement))
        }
        Key::State(id, name) => {
            Change::State(id, name, Some(decode::<StateRecord>(value)?.into_state()))
        }
        Key::Leader => Change::Leader(Some(decode::<LeaderRecord>(value)?.into_leader())),
        Key::Members => Change::Members(decode::<MembersRecord>(value)?.into_machines()),
    })
}

/// The change that the end of a record means.
fn removal_of(key: Key) -> Change {
    match key {
        Key::File(hash) => Change::File(hash, None),
        Key::Unit(name) => Change::Unit(name, None),
        Key::Machine(id) => Change::Machine(id, None),
        Key::Metadata(id, name) => Change::Metadata(id, name, None),
        Key::Cordon(id) => Change::Cordon(id, None),
        Key::Place(id, name) => Change::Place(id, name, None),
        Key::State(id, name) => Change::State(id, name, None),
        Key::Leader => Change::Leader(None),
        Key::Members => Change::Members(BTreeSet::new()),
    }
}
