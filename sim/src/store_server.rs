//! The store's end of the lines.
//!
//! Owns one store in memory with its leases, and the watches it serves. It can stand still, be away or be full. It draws no
//! chance: whoever carries the messages does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use muster_store::{
    KeyChange, KeyValue, LeaseClock, LeaseId, MemoryStore, Op, Range, Store, StoreError, Watch,
    WatchEvent,
};
use tokio::sync::mpsc;

use crate::moment::Micros;
use crate::wire::{StoreAnswer, StoreCall, StoreResult};

/// The store.
pub(crate) struct StoreServer {
    store: MemoryStore,
    /// The time by which leases end.
    lease_time: Arc<AtomicU64>,
    began: Instant,
    /// The time for which leases stood still, all in all.
    leases_stood_still: Micros,
    /// Since when it is away.
    away_since: Option<Micros>,
    pauses: u32,
    absences: u32,
    full: u32,
    watches: BTreeMap<u64, ServedWatch>,
    next_watch: u64,
    all: Watch,
    records: BTreeMap<String, KeyValue>,
}

/// A watch that a node has.
pub(crate) struct ServedWatch {
    /// The node.
    pub(crate) node: usize,
    range: Range,
    to_node: mpsc::Sender<WatchEvent>,
    from_store: Option<Watch>,
    /// Raised whenever the line of the watch breaks: what was on its way then is lost.
    pub(crate) line: u64,
    /// The moment at which its last event arrives: none overtakes another.
    pub(crate) last_arrival: Micros,
}

/// An event of a watch on its way.
#[derive(Debug)]
pub(crate) struct WatchNews {
    /// The watch.
    pub(crate) watch: u64,
    /// The node that has it.
    pub(crate) node: usize,
    /// The line by which it goes.
    pub(crate) line: u64,
    /// The event.
    pub(crate) event: WatchEvent,
}

impl StoreServer {
    /// An empty store.
    pub(crate) fn new() -> Self {
        let lease_time = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let shown = Arc::clone(&lease_time);
        let clock =
            LeaseClock::new(move || began + Duration::from_micros(shown.load(Ordering::Relaxed)));
        let store = MemoryStore::new(clock);
        let all = store.watch(Range::Prefix(String::new()));
        Self {
            store,
            lease_time,
            began,
            leases_stood_still: Micros::ZERO,
            away_since: None,
            pauses: 0,
            absences: 0,
            full: 0,
            watches: BTreeMap::new(),
            next_watch: 0,
            all,
            records: BTreeMap::new(),
        }
    }

    /// True if it answers.
    pub(crate) fn is_there(&self) -> bool {
        self.pauses == 0 && self.absences == 0
    }

    /// True if it takes writes.
    pub(crate) fn takes_writes(&self) -> bool {
        self.is_there() && self.full == 0
    }

    /// True if it refuses who asks, in the place of silence.
    pub(crate) fn refuses_calls(&self) -> bool {
        self.absences > 0
    }

    /// It stands still from now on, or goes on.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.pauses = if paused { self.pauses + 1 } else { self.pauses.saturating_sub(1) };
    }

    /// It is away from now on, or back.
    pub(crate) fn set_away(&mut self, now: Micros, away: bool) {
        self.absences = if away { self.absences + 1 } else { self.absences.saturating_sub(1) };
        if self.absences > 0 {
            self.away_since.get_or_insert(now);
        } else if let Some(since) = self.away_since.take() {
            self.leases_stood_still += now - since;
        }
    }

    /// It is full from now on, or has room.
    pub(crate) fn set_full(&mut self, full: bool) {
        self.full = if full { self.full + 1 } else { self.full.saturating_sub(1) };
    }

    /// The moment at which the next lease ends, if none is renewed.
    pub(crate) fn next_lease_end(&self) -> Option<Micros> {
        let deadline = self.store.next_deadline()?;
        Some(Micros::from(deadline.duration_since(self.began)) + self.leases_stood_still)
    }

    fn set_lease_time(&self, now: Micros) {
        let still = self.away_since.map_or(Micros::ZERO, |since| now - since);
        let shown = now - self.leases_stood_still - still;
        self.lease_time.store(shown.0, Ordering::Relaxed);
    }

    /// Ends the leases whose time is over.
    pub(crate) fn end_leases(&mut self, now: Micros) {
        if self.is_there() {
            self.set_lease_time(now);
            self.store.end_due_leases();
        }
    }

    /// Ends the lease under which a record lives.
    pub(crate) fn end_lease_of(&mut self, now: Micros, key: &str) {
        let lease = self.records.get(key).and_then(|record| record.lease);
        if let Some(lease) = lease
            && self.is_there()
        {
            self.set_lease_time(now);
            let _ = self.store.revoke(lease).now_or_never();
        }
    }

    /// Carries a call out.
    pub(crate) fn carry_out(&mut self, now: Micros, call: StoreCall) -> StoreResult {
        self.set_lease_time(now);
        let during = || "a request".to_owned();
        if self.full > 0 && writes_something(&call) {
            return Err(StoreError::Full { during: during(), source: None });
        }
        let store = &self.store;
        let answered = match call {
            StoreCall::Read(range) => {
                store.read(range).now_or_never().map(|a| a.map(StoreAnswer::Listing))
            }
            StoreCall::Commit(guards, ops) => {
                store.commit(guards, ops).now_or_never().map(|a| a.map(StoreAnswer::Committed))
            }
            StoreCall::Grant(ttl) => {
                store.grant(ttl).now_or_never().map(|a| a.map(StoreAnswer::Leased))
            }
            StoreCall::KeepAlive(lease) => self.keep_alive(lease),
            StoreCall::TimeLeft(lease) => {
                store.time_left(lease).now_or_never().map(|a| a.map(StoreAnswer::Left))
            }
            StoreCall::Revoke(lease) => {
                store.revoke(lease).now_or_never().map(|a| a.map(|()| StoreAnswer::Done))
            }
        };
        // A store in memory never waits.
        answered.unwrap_or_else(|| Err(StoreError::Unavailable { during: during(), source: None }))
    }

    fn keep_alive(&self, lease: LeaseId) -> Option<StoreResult> {
        // A lease whose time is over is gone, whenever somebody looks.
        self.store.end_due_leases();
        self.store.keep_alive(lease).now_or_never().map(|a| a.map(StoreAnswer::Leased))
    }

    /// Takes note of a watch that a node wants; it is opened by [`Self::open_watch`].
    pub(crate) fn add_watch(
        &mut self,
        node: usize,
        range: Range,
        to_node: mpsc::Sender<WatchEvent>,
    ) -> u64 {
        let watch = self.next_watch;
        self.next_watch += 1;
        let (line, last_arrival) = (0, Micros::ZERO);
        self.watches.insert(
            watch,
            ServedWatch { node, range, to_node, from_store: None, line, last_arrival },
        );
        watch
    }

    /// A watch, if its node still has it.
    pub(crate) fn watch_mut(&mut self, watch: u64) -> Option<&mut ServedWatch> {
        if self.watches.get(&watch)?.to_node.is_closed() {
            self.watches.remove(&watch);
        }
        self.watches.get_mut(&watch)
    }

    /// Begins to serve a watch, anew with everything.
    pub(crate) fn open_watch(&mut self, now: Micros, watch: u64) {
        self.set_lease_time(now);
        if let Some(served) = self.watches.get_mut(&watch) {
            served.from_store = Some(self.store.watch(served.range.clone()));
        }
    }

    /// The open watches of a node, or of all.
    pub(crate) fn open_watches(&self, node: Option<usize>) -> Vec<u64> {
        let of_node = |served: &ServedWatch| node.is_none_or(|node| node == served.node);
        let open = |served: &ServedWatch| served.from_store.is_some() && of_node(served);
        self.watches.iter().filter(|(_, served)| open(served)).map(|(watch, _)| *watch).collect()
    }

    /// Takes what has changed since the last time, and what watches are to be told.
    pub(crate) fn take_news(&mut self) -> (Vec<(u64, Vec<KeyChange>)>, Vec<WatchNews>) {
        let mut changed = Vec::new();
        while let Ok(event) = self.all.events.try_recv() {
            let (revision, changes) = match event {
                WatchEvent::Changes { revision, changes } => (revision, changes),
                WatchEvent::Reset(listing) => {
                    let changes = listing.entries.into_iter().map(KeyChange::Put).collect();
                    (listing.revision, changes)
                }
                WatchEvent::Progress { .. } | WatchEvent::Lost { .. } => continue,
            };
            for change in &changes {
                match change {
                    KeyChange::Put(record) => {
                        self.records.insert(record.key.clone(), record.clone());
                    }
                    KeyChange::Delete { key } => {
                        self.records.remove(key);
                    }
                }
            }
            changed.push((revision, changes));
        }
        let mut news = Vec::new();
        for (watch, served) in &mut self.watches {
            let Some(from_store) = &mut served.from_store else { continue };
            while let Ok(event) = from_store.events.try_recv() {
                news.push(WatchNews { watch: *watch, node: served.node, line: served.line, event });
            }
        }
        (changed, news)
    }
}

impl ServedWatch {
    /// The line breaks: what is on its way does not arrive.
    pub(crate) fn break_line(&mut self) {
        self.from_store = None;
        self.line += 1;
    }

    /// True if it is served.
    pub(crate) fn is_open(&self) -> bool {
        self.from_store.is_some()
    }

    /// Hands an event to the node. False if the node has no room for it.
    pub(crate) fn tell_node(&self, event: WatchEvent) -> bool {
        self.to_node.try_send(event).is_ok()
    }
}

fn writes_something(call: &StoreCall) -> bool {
    match call {
        StoreCall::Commit(_, ops) => ops.iter().any(|op| matches!(op, Op::Put { .. })),
        StoreCall::Grant(_) => true,
        _ => false,
    }
}
