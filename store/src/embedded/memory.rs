//! The embedded store without a file: everything in memory, nothing in the background.
//!
//! Owns no thread and no directory, and reads no clock but the one it is given: each request is carried out by whoever makes it,
//! and leases end when somebody asks for it. So a test or a simulator has many of them, in a time of its own. It passes the same
//! suite as the other stores, for the rules are the same code.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::clock::LeaseClock;
use super::image::Image;
use super::watches::Watches;
use super::writer::{Medium, Request, Shared, Writer, lock_shared};
use crate::limits;
use crate::store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};

/// A store in memory. Leases whose time is over end with the next request, or with [`MemoryStore::end_due_leases`].
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    writer: Mutex<Writer>,
    clock: LeaseClock,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store, whose leases end by this clock.
    pub fn new(clock: LeaseClock) -> Self {
        // An empty etcd is at revision 1, too.
        let image = Image { revision: 1, ..Image::default() };
        let shared = Arc::new(Mutex::new(Shared { image, watches: Watches::default() }));
        let writer = Writer::new(Medium::Memory, Arc::clone(&shared), clock.clone());
        Self { shared, writer: Mutex::new(writer), clock }
    }

    /// Ends the leases whose time is over, and tells those who watch. Readers that have fallen behind get the `Reset` they are
    /// owed if they have room for it.
    pub fn end_due_leases(&self) {
        self.carry_out(Vec::new());
    }

    /// The time at which the next lease ends if none is prolonged.
    pub fn next_deadline(&self) -> Option<Instant> {
        lock_shared(&self.shared).image.next_deadline()
    }

    fn carry_out(&self, requests: Vec<Request>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Memory takes everything.
        writer.carry_out(requests).ok();
        writer.until_next_end();
    }

    async fn send_request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.carry_out(vec![request(reply)]);
        let unanswered =
            |_| StoreError::Unavailable { during: "a request".to_owned(), source: None };
        answer.await.map_err(unanswered)?
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.end_due_leases();
        Ok(lock_shared(&self.shared).image.list(&range))
    }

    fn watch(&self, range: Range) -> Watch {
        self.end_due_leases();
        let mut shared = lock_shared(&self.shared);
        let Shared { image, watches } = &mut *shared;
        watches.add_watcher(range, image)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        limits::check(&guards, &ops)?;
        self.send_request(|reply| Request::Commit { guards, ops, reply }).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        limits::check_ttl(ttl)?;
        self.send_request(|reply| Request::Grant { ttl, reply }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        lock_shared(&self.shared).keep_alive(lease, self.clock.now())
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        lock_shared(&self.shared).time_left(lease, self.clock.now())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.send_request(|reply| Request::Revoke { lease, reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WatchEvent;

    #[test]
    fn leases_end_by_the_given_clock_and_by_nothing_else() {
        let start = Instant::now();
        let passed = Arc::new(Mutex::new(Duration::ZERO));
        let clock = Arc::clone(&passed);
        let store = MemoryStore::new(LeaseClock::new(move || start + *clock.lock().unwrap()));
        // No runtime: nothing of it waits.
        let lease = futures::executor::block_on(store.grant(Duration::from_secs(10))).unwrap();
        let put = Op::Put { key: "k".into(), value: "v".into(), lease: Some(lease.id) };
        let written = futures::executor::block_on(store.commit(vec![], vec![put])).unwrap();
        assert_eq!(written, CommitOutcome::Done { revision: 2 });
        let mut watch = store.watch(Range::Key("k".into()));
        assert!(
            matches!(watch.events.try_recv(), Ok(WatchEvent::Reset(all)) if all.entries.len() == 1)
        );
        assert_eq!(store.next_deadline(), Some(start + Duration::from_secs(10)));
        *passed.lock().unwrap() = Duration::from_secs(9);
        store.end_due_leases();
        assert!(watch.events.try_recv().is_err(), "its time is not over");
        *passed.lock().unwrap() = Duration::from_secs(10);
        store.end_due_leases();
        let Ok(WatchEvent::Changes { revision: 3, changes }) = watch.events.try_recv() else {
            panic!("the record went with its lease")
        };
        assert_eq!(changes.len(), 1);
        assert_eq!(store.next_deadline(), None);
    }
}
