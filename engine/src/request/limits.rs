//! The amount that clients may put into the store.
//!
//! Owns the limits of a cluster, and the words in which a change beyond them is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::decision::UnitWrite;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::unit::{FileHash, UnitFile};

/// Units of a cluster, templates among them: as many as the engine is measured with. Whoever needs more has two clusters.
const UNITS: usize = 100_000;

/// Bytes of all their files. Each file is in the store once, however many units have it, and in the memory of every daemon
/// that is asked; etcd's own limit is 2 GiB for everything. A hundred thousand units with a file of 1 KiB each fit in.
const FILE_BYTES: usize = 128 * 1024 * 1024;

/// Pieces of metadata that are set at run time for one machine: labels are matched and shown, and a list of more is read by
/// nobody.
const MACHINE_METADATA: usize = 256;

/// The same for all machines together, of which clients may name any: a hundred for each of the thousand machines the engine is
/// measured with.
const METADATA: usize = 100_000;

/// The limits of what clients put into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Units.
    pub units: usize,
    /// Bytes of their files.
    pub file_bytes: usize,
    /// Pieces of run-time metadata of a machine.
    pub machine_metadata: usize,
    /// The same of all machines.
    pub metadata: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            units: UNITS,
            file_bytes: FILE_BYTES,
            machine_metadata: MACHINE_METADATA,
            metadata: METADATA,
        }
    }
}

impl StoreLimits {
    /// Why metadata may not be changed so, if it may not. As for units, two changes at once may be too much together.
    pub fn metadata_refusal(
        &self,
        snapshot: &Snapshot,
        changes: &BTreeMap<(MachineId, String), Option<String>>,
    ) -> Option<String> {
        let mut grown: BTreeMap<&MachineId, usize> = BTreeMap::new();
        for ((machine, key), value) in changes {
            let there = snapshot.metadata.get(machine);
            if value.is_some() && !there.is_some_and(|there| there.contains_key(key)) {
                *grown.entry(machine).or_default() += 1;
            }
        }
        for (machine, new) in &grown {
            let count = new + snapshot.metadata.get(*machine).map_or(0, BTreeMap::len);
            if count > self.machine_metadata {
                return Some(format!(
                    "that would make {count} pieces of run-time metadata for {machine}, and a machine has at most {}; remove \
                     some first",
                    self.machine_metadata
                ));
            }
        }
        let new: usize = grown.values().sum();
        let count = new + snapshot.metadata.values().map(BTreeMap::len).sum::<usize>();
        (new > 0 && count > self.metadata).then(|| {
            format!(
                "that would make {count} pieces of run-time metadata, and a cluster has at most {}; remove some first",
                self.metadata
            )
        })
    }

    /// Why a batch of writes may not be made, if it may not. Two batches at once may both fit and be too much together: the
    /// limit is against what grows without an end, and what is beyond it is refused the next time.
    pub fn units_refusal(&self, snapshot: &Snapshot, writes: &[UnitWrite]) -> Option<String> {
        let new = writes.iter().filter(|write| !snapshot.units.contains_key(&write.name)).count();
        let units = snapshot.units.len() + new;
        if new > 0 && units > self.units {
            return Some(format!(
                "that would make {units} units, and a cluster has at most {}; destroy some first",
                self.units
            ));
        }
        // A thousand instances of one template come with one file, which is hashed once.
        let files: BTreeMap<*const UnitFile, &UnitFile> =
            writes.iter().map(|write| (Arc::as_ptr(&write.file), write.file.as_ref())).collect();
        let files: BTreeMap<FileHash, usize> =
            files.into_values().map(|file| (file.hash(), file.text().len())).collect();
        let fresh = files.into_iter().filter(|(hash, _)| !snapshot.files.contains_key(hash));
        let fresh: usize = fresh.map(|(_, bytes)| bytes).sum();
        if fresh == 0 {
            return None;
        }
        let bytes = fresh + snapshot.files.values().map(|file| file.text().len()).sum::<usize>();
        (bytes > self.file_bytes).then(|| {
            format!(
                "that would make {bytes} bytes of unit files, and a cluster has at most {}; destroy some units first, or let \
                 instances share a template",
                self.file_bytes
            )
        })
    }
}
