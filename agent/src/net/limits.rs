//! How much of this daemon its clients may take.
//!
//! Owns the numbers, and what becomes of them on a machine that allows few descriptors. TCP has a share of its own in
//! each of them, so that whatever comes over the network leaves the unix socket, which a person in need uses, its part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::decision::UnitWrite;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::unit::{FileHash, UnitFile};

/// Connections of a TCP listener. A cluster of a few hundred machines asks each daemon now and then, and each person or
/// program holds one: hundreds at once are a fault, or worse. At some 20 KiB each they are 10 MiB.
const LISTENER: usize = 512;

/// Connections of one address, over all listeners; of IPv6 a network of 64 bits counts as one, for a host has all of it.
/// A proxy or another daemon that passes on for many people fits in; and one address cannot fill a listener.
const PEER: usize = 128;

/// Connections of the unix socket. Its users are root or as good as root, so this is against mistakes: a loop that
/// starts clients in the background and waits for none.
const LOCAL: usize = 512;

/// Descriptors for everything else: the store, the bus, the engine, files, `journalctl`'s pipes, and connections that are
/// being told that there is no room.
const OWN: usize = 256;

/// Fewest connections of a listener, however few descriptors there are.
const LEAST: usize = 16;

/// Followers of a journal over TCP, and on the unix socket. Each is a `journalctl` of 6 to 7 MB, so that all of them
/// together stay below what a small machine can spare (350 MB).
const FOLLOWERS: usize = 32;
const LOCAL_FOLLOWERS: usize = 16;

/// Followers of a journal for one address: whoever looks at more units at once than fit on a screen looks at logs that
/// have been collected.
const PEER_FOLLOWERS: usize = 16;

/// Streams of events (waits, drains, reboots) and journals that are followed on another machine: a task and a buffer
/// each. A person has one, a program that starts units in parallel has some tens.
const STREAMS: usize = 256;
const PEER_STREAMS: usize = 64;

/// `systemctl status` and `journalctl` at once that end by themselves: two cores are busy with two of them, and they
/// take milliseconds.
const PROCESSES: usize = 8;

/// Those of one address that run or wait for their turn.
const PEER_PROCESSES: usize = 64;

/// How long a request waits for its turn to run one: many times what those before it take.
pub const TURN: Duration = Duration::from_secs(5);

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

/// How much there may be in the store of what clients put there.
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
    pub fn refusal(&self, snapshot: &Snapshot, writes: &[UnitWrite]) -> Option<String> {
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

/// How much of a daemon its clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What there may be in the store.
    pub store: StoreLimits,
    /// Connections of each TCP listener.
    pub listener: usize,
    /// Connections of one address.
    pub peer: usize,
    /// Connections of the unix socket.
    pub local: usize,
    /// Followers of a journal.
    pub followers: Share,
    /// Streams of events.
    pub streams: Share,
    /// Programs that run at once.
    pub processes: Share,
}

/// A number of things, in three shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// On the unix socket.
    pub local: usize,
    /// Over TCP.
    pub network: usize,
    /// For one address of those.
    pub peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store: StoreLimits::default(),
            listener: LISTENER,
            peer: PEER,
            local: LOCAL,
            followers: Share { local: LOCAL_FOLLOWERS, network: FOLLOWERS, peer: PEER_FOLLOWERS },
            streams: Share { local: STREAMS, network: STREAMS, peer: PEER_STREAMS },
            processes: Share { local: PROCESSES, network: PROCESSES, peer: PEER_PROCESSES },
        }
    }
}

impl Limits {
    /// Fits the connections into the descriptors that the process may have; says how many it would need for all of them.
    ///
    /// Each connection counts twice: what it asks for may take a pipe or a connection to another daemon.
    #[must_use]
    pub fn within(self, descriptors: u64, listeners: usize) -> (Self, Option<usize>) {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let needed = OWN + 2 * (self.local + listeners * self.listener);
        if descriptors >= needed {
            return (self, None);
        }
        let rest = descriptors.saturating_sub(OWN) / 2;
        // The unix socket first: half of what there is, if it wants that much.
        let local = self.local.min(rest / 2).max(LEAST);
        let each = rest.saturating_sub(local) / listeners.max(1);
        let listener = self.listener.min(each).max(LEAST);
        let peer = self.peer.min(listener.div_ceil(2));
        (Self { listener, peer, local, ..self }, Some(needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_divided_and_the_unix_socket_has_its_part() {
        let limits = Limits::default();
        assert_eq!(limits.within(65536, 3), (limits, None), "what the unit file asks for");
        let (few, needed) = limits.within(1024, 2);
        assert_eq!((few.local, few.listener, few.peer), (192, 96, 48));
        assert!(2 * (few.local + 2 * few.listener) + OWN <= 1024);
        assert_eq!(needed, Some(OWN + 2 * (LOCAL + 2 * LISTENER)));
        let (least, _) = limits.within(64, 1);
        assert_eq!((least.local, least.listener), (LEAST, LEAST));
    }

    #[test]
    fn no_address_can_take_all_of_anything_that_others_need() {
        let limits = Limits::default();
        assert!(limits.peer < limits.listener);
        assert!(limits.followers.peer < limits.followers.network);
        assert!(limits.streams.peer < limits.streams.network);
    }
}
