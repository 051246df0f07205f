//! The cluster's records as one picture: read at one revision, and watched.
//!
//! Owns which ranges make which picture. A record that cannot be read is in it as such.

use std::sync::Arc;

use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;

use super::access::Registry;
use super::decode::Decoder;
use super::error::RegistryError;
use super::identity_record::IDENTITY;
use super::keys::{self, Key};
use super::watch::{ClusterWatch, watch_range};
use crate::store::Range;

impl Registry {
    /// Everything under the prefix, at one revision.
    pub async fn read_snapshot(&self) -> Result<Snapshot, RegistryError> {
        let listing = self.store.read(Range::Prefix(self.prefix.to_string())).await?;
        Ok(Decoder::new(Arc::clone(&self.prefix)).reset(&listing))
    }

    /// The store's revision now, linearizably: whoever has caught up with it has seen every write acknowledged so far.
    /// It may be that of a record outside the prefix, where the store is shared.
    pub async fn revision(&self) -> Result<u64, RegistryError> {
        // Any key will do; this one is small and mostly there.
        Ok(self.store.read(Range::Key(format!("{}leader", self.prefix))).await?.revision)
    }

    /// Watches everything under the prefix. Begins with a `Reset` (or `Lost`). Needs a tokio runtime to run in.
    pub fn watch(&self) -> ClusterWatch {
        watch_range(&self.store, &self.prefix, Range::Prefix(self.prefix.to_string()))
    }

    /// Watches who leads and nothing else: only `leader` of the snapshots and [`Change::Leader`](muster_common::snapshot::Change::Leader)
    /// and [`Change::Unreadable`](muster_common::snapshot::Change::Unreadable) occur. Needs a tokio runtime to run in.
    pub fn watch_leader(&self) -> ClusterWatch {
        watch_range(&self.store, &self.prefix, Range::Key(self.key(&Key::Leader)))
    }

    /// Watches the placements of one machine and nothing else: only `places` and `cluster` of the snapshots and
    /// [`Change::Place`](muster_common::snapshot::Change::Place) and
    /// [`Change::Unreadable`](muster_common::snapshot::Change::Unreadable) occur. Needs a tokio runtime to run in.
    pub fn watch_places(&self, machine: &MachineId) -> ClusterWatch {
        let range = Range::PrefixBeside {
            prefix: format!("{}{}", self.prefix, keys::places_of(machine)),
            beside: format!("{}{IDENTITY}", self.prefix),
        };
        watch_range(&self.store, &self.prefix, range)
    }
}
