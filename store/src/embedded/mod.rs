//! The embedded store: one machine, no server.
//!
//! Everything is in memory for reading and in one file for keeping. A write is acknowledged after its fsync; writes that
//! queue up meanwhile share the next one. Leases survive a restart of the daemon with their whole time to live, because
//! nobody could prolong them while it was down. Watches keep no history: each begins with a `Reset`.

mod clock;
mod disk;
mod image;
mod memory;
mod thread;
mod watches;
mod writer;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::limits;
use crate::store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
pub use clock::LeaseClock;
use disk::Disk;
pub use memory::MemoryStore;
use watches::Watches;
use writer::{Medium, Request, Shared, Writer, lock_shared};

/// The store of one machine. Dropping it waits for the write under way and closes the file.
#[derive(Debug)]
pub(crate) struct Embedded {
    shared: Arc<Mutex<Shared>>,
    path: String,
    clock: LeaseClock,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in a directory, creating it if need be. Its leases end by `clock`.
    pub(crate) fn open(directory: &Path, clock: LeaseClock) -> Result<Self, StoreError> {
        let (disk, image) = Disk::open(directory, clock.now())?;
        let path = disk.path().display().to_string();
        let shared = Arc::new(Mutex::new(Shared { image, watches: Watches::default() }));
        let (requests, receiver) = channel();
        let writer = Writer::new(Medium::File(disk), Arc::clone(&shared), clock.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread::run(writer, &receiver))
            .map_err(|error| StoreError::Embedded {
                path: path.clone(),
                problem: format!("no thread could be started for it: {error}"),
            })?;
        Ok(Self { shared, path, clock, requests: Some(requests), writer: Some(writer) })
    }

    async fn send_request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Embedded {
            path: self.path.clone(),
            problem: "its writer has ended; restart musterd".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // Only a panic of the writer makes this fail, and that has been reported where it happened.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        Ok(lock_shared(&self.shared).image.list(&range))
    }

    fn watch(&self, range: Range) -> Watch {
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
