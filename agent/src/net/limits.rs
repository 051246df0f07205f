//! The part of this daemon that its clients may take.
//!
//! Owns the numbers, and what becomes of them on a machine that allows few descriptors. TCP has a share of its own in
//! each of them, so that whatever comes over the network leaves the unix socket, which a person in need uses, its part.

use std::time::Duration;

use muster_engine::request::limits::StoreLimits;

/// Connections of a TCP listener. A cluster of a few hundred machines asks each daemon now and then, and each person or
/// program holds one: hundreds at once are a fault, or worse. At some 20 KiB each they are 10 MiB.
const LISTENER_CONNECTIONS: usize = 512;

/// Connections of one address, over all listeners; of IPv6 a network of 64 bits counts as one, for a host has all of it.
/// A proxy or another daemon that passes on for many people fits in; and one address cannot fill a listener.
const PEER_CONNECTIONS: usize = 128;

/// Connections of the unix socket. Its users are root or as good as root, so this is against mistakes: a loop that
/// starts clients in the background and waits for none.
const LOCAL_CONNECTIONS: usize = 512;

/// Descriptors for everything else: the store, the bus, the engine, files, `journalctl`'s pipes, and connections that are
/// being told that there is no room.
const RESERVED_DESCRIPTORS: usize = 256;

/// Fewest connections of a listener, however few descriptors there are.
const LEAST_CONNECTIONS: usize = 16;

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

/// The time a request waits for its turn to run one: many times what those before it take.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The part of a daemon that its clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The limits of what is in the store.
    pub store: StoreLimits,
    /// Connections of each TCP listener.
    pub listener: usize,
    /// Connections of one address.
    pub peer: usize,
    /// Connections of the unix socket.
    pub local: usize,
    /// Followers of a journal.
    pub followers: LimitShares,
    /// Streams of events.
    pub streams: LimitShares,
    /// Programs that run at once.
    pub processes: LimitShares,
}

/// A number of things, in three shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitShares {
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
            listener: LISTENER_CONNECTIONS,
            peer: PEER_CONNECTIONS,
            local: LOCAL_CONNECTIONS,
            followers: LimitShares {
                local: LOCAL_FOLLOWERS,
                network: FOLLOWERS,
                peer: PEER_FOLLOWERS,
            },
            streams: LimitShares { local: STREAMS, network: STREAMS, peer: PEER_STREAMS },
            processes: LimitShares { local: PROCESSES, network: PROCESSES, peer: PEER_PROCESSES },
        }
    }
}

impl Limits {
    /// Fits the connections into the descriptors that the process may have; says how many it would need for all of them.
    ///
    /// Each connection counts twice: what it asks for may take a pipe or a connection to another daemon.
    #[must_use]
    pub fn fit_within(self, descriptors: u64, listeners: usize) -> (Self, Option<usize>) {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let needed = RESERVED_DESCRIPTORS + 2 * (self.local + listeners * self.listener);
        if descriptors >= needed {
            return (self, None);
        }
        let rest = descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2;
        // The unix socket first: half of what there is, if it wants that much.
        let local = self.local.min(rest / 2).max(LEAST_CONNECTIONS);
        let each = rest.saturating_sub(local) / listeners.max(1);
        let listener = self.listener.min(each).max(LEAST_CONNECTIONS);
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
        assert_eq!(limits.fit_within(65536, 3), (limits, None), "what the unit file asks for");
        let (few, needed) = limits.fit_within(1024, 2);
        assert_eq!((few.local, few.listener, few.peer), (192, 96, 48));
        assert!(2 * (few.local + 2 * few.listener) + RESERVED_DESCRIPTORS <= 1024);
        assert_eq!(
            needed,
            Some(RESERVED_DESCRIPTORS + 2 * (LOCAL_CONNECTIONS + 2 * LISTENER_CONNECTIONS))
        );
        let (least, _) = limits.fit_within(64, 1);
        assert_eq!((least.local, least.listener), (LEAST_CONNECTIONS, LEAST_CONNECTIONS));
    }

    #[test]
    fn no_address_can_take_all_of_anything_that_others_need() {
        let limits = Limits::default();
        assert!(limits.peer < limits.listener);
        assert!(limits.followers.peer < limits.followers.network);
        assert!(limits.streams.peer < limits.streams.network);
    }
}
