//! Everything under the prefix, for whoever checks a whole cluster.
//!
//! Owns the one read that also sees what a snapshot leaves out: records of reboots, and which records hang on a lease.

use std::collections::BTreeSet;

use muster_common::snapshot::Snapshot;

use super::access::Registry;
use super::decode::Decoder;
use super::error::RegistryError;
use super::keys::{self, Key};
use super::reboots::RebootRecords;
use crate::store::{Listing, Range};

/// All records at one revision.
#[derive(Debug, Clone, Default)]
pub struct StoreContents {
    /// Everything that decisions about units rest on, with every record that cannot be read.
    pub snapshot: Snapshot,
    /// Records of reboots.
    pub reboots: RebootRecords,
    /// Keys below the prefix of records that are to end with their machine's lease and are under none.
    pub unleased: BTreeSet<String>,
}

impl StoreContents {
    /// Reads what a listing of everything under a prefix, which ends with `/`, has of it.
    pub fn from_listing(prefix: &str, listing: &Listing) -> Self {
        let mut reboots = RebootRecords { revision: listing.revision, ..RebootRecords::default() };
        let mut unleased = BTreeSet::new();
        for record in &listing.entries {
            let key = record.key.strip_prefix(prefix).unwrap_or(&record.key);
            // One that cannot be read is among those of the snapshot.
            let _ = reboots.add_record(key, &record.value);
            let is_leased =
                matches!(keys::parse(key), Ok(Key::Machine(_) | Key::State(..) | Key::Leader));
            if is_leased && record.lease.is_none() {
                unleased.insert(key.to_owned());
            }
        }
        let snapshot = Decoder::new(prefix.into()).reset(listing);
        Self { snapshot, reboots, unleased }
    }
}

impl Registry {
    /// Everything under the prefix, at one revision, read anew.
    pub async fn read_cluster(&self) -> Result<StoreContents, RegistryError> {
        let listing = self.store.read(Range::Prefix(self.prefix.to_string())).await?;
        Ok(StoreContents::from_listing(&self.prefix, &listing))
    }
}
