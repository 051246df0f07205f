//! Leases: who holds which records, and when a lease ends.
//!
//! Owns times and keys of leases; it changes no record. As in etcd, only the leader counts time. A new leader does not know when a
//! lease was prolonged last, so each gets its whole time again and the election timeout besides (lease checkpoints are off, as is
//! etcd's default).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_store::LeaseId;
use muster_store::etcd_protocol::LeaseSeconds;

use super::keyspace::Key;

/// Shortest lease, in seconds: one and a half election timeouts (a second by default), rounded up.
pub(super) const SHORTEST_SECONDS: i64 = 2;

#[derive(Debug, Clone)]
struct HeldLease {
    seconds: i64,
    /// Absent: nobody counts.
    ends: Option<Duration>,
    keys: BTreeSet<Key>,
}

/// All leases.
#[derive(Debug, Clone, Default)]
pub(super) struct Lessor {
    leases: BTreeMap<LeaseId, HeldLease>,
    /// The same by when they end.
    ends: BTreeSet<(Duration, LeaseId)>,
}

impl Lessor {
    /// Grants a lease, whose time counts from now. `None`: there is one of this id.
    pub(super) fn grant(&mut self, now: Duration, lease: LeaseId, seconds: i64) -> Option<i64> {
        if self.leases.contains_key(&lease) {
            return None;
        }
        let seconds = seconds.max(SHORTEST_SECONDS);
        self.leases.insert(lease, HeldLease { seconds, ends: None, keys: BTreeSet::new() });
        self.set_end(lease, Some(now + to_duration(seconds)));
        Some(seconds)
    }

    pub(super) fn contains(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Prolongs a lease from now on. `None`: there is none.
    pub(super) fn renew_lease(&mut self, now: Duration, lease: LeaseId) -> Option<i64> {
        let seconds = self.leases.get(&lease)?.seconds;
        self.set_end(lease, Some(now + to_duration(seconds)));
        Some(seconds)
    }

    /// True if the time of a lease is over and it is still there.
    pub(super) fn is_over(&self, now: Duration, lease: LeaseId) -> bool {
        self.leases.get(&lease).and_then(|held| held.ends).is_some_and(|ends| ends <= now)
    }

    /// The time a lease has left, as etcd counts it. One whose time has just run out has none left; -1 is said of one that is not
    /// there, and of one that is over for longer than a second. The term is for whoever answers to add.
    pub(super) fn read_seconds(&self, now: Duration, lease: LeaseId) -> LeaseSeconds {
        let Some(held) = self.leases.get(&lease) else {
            return LeaseSeconds { left: -1, granted: 0, term: 0 };
        };
        let left = match held.ends {
            Some(ends) if ends >= now => to_seconds(ends.saturating_sub(now)),
            Some(ends) => -to_seconds(now.saturating_sub(ends)),
            None => held.seconds,
        };
        LeaseSeconds { left, granted: held.seconds, term: 0 }
    }

    /// Ends a lease: gives the keys that lived under it, in order. `None`: there is none.
    pub(super) fn remove(&mut self, lease: LeaseId) -> Option<BTreeSet<Key>> {
        self.set_end(lease, None);
        self.leases.remove(&lease).map(|held| held.keys)
    }

    /// Notes under which lease a key lives now.
    pub(super) fn move_key(&mut self, key: &Key, before: Option<LeaseId>, now: Option<LeaseId>) {
        if before == now {
            return;
        }
        if let Some(held) = before.and_then(|lease| self.leases.get_mut(&lease)) {
            held.keys.remove(key);
        }
        if let Some(held) = now.and_then(|lease| self.leases.get_mut(&lease)) {
            held.keys.insert(key.clone());
        }
    }

    /// A leader begins to count: every lease has its whole time, and the election timeout besides.
    pub(super) fn promote_leader(&mut self, now: Duration, extension: Duration) {
        let all: Vec<(LeaseId, i64)> =
            self.leases.iter().map(|(lease, held)| (*lease, held.seconds)).collect();
        for (lease, seconds) in all {
            self.set_end(lease, Some(now + to_duration(seconds) + extension));
        }
    }

    /// Every lease ends later by so much.
    pub(super) fn delay_ends(&mut self, by: Duration) {
        self.ends.clear();
        for (lease, held) in &mut self.leases {
            held.ends = held.ends.map(|ends| ends + by);
            self.ends.extend(held.ends.map(|ends| (ends, *lease)));
        }
    }

    /// Nobody counts any more.
    pub(super) fn demote_leader(&mut self) {
        self.ends.clear();
        for held in self.leases.values_mut() {
            held.ends = None;
        }
    }

    /// When the next lease ends if none is prolonged.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    /// The lease that has been over for longest, if any is.
    pub(super) fn first_over(&self, now: Duration) -> Option<LeaseId> {
        self.ends.first().filter(|(ends, _)| *ends <= now).map(|(_, lease)| *lease)
    }

    fn set_end(&mut self, lease: LeaseId, ends: Option<Duration>) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        if let Some(before) = held.ends {
            self.ends.remove(&(before, lease));
        }
        held.ends = ends;
        if let Some(ends) = ends {
            self.ends.insert((ends, lease));
        }
    }
}

fn to_duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn to_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
