//! An embedded store whose leases end by the test's own time.
//!
//! For tests with `start_paused`. Their time stands still for as long as anybody has anything to do, the disk included,
//! and jumps to the next deadline when nobody has. So however busy the machine is, a lease ends exactly when nobody
//! prolongs it, and "nothing has happened an hour later" takes a moment to see.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseClock, LeaseId, Listing, Op, Range, Registry, Store,
    StoreError, TimeLeft, Watch,
};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Pause between two looks of the store for leases that are over, in the test's time.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Lets a long time pass, in which whatever was still to come has come: it passes when nobody has anything left to do.
pub async fn long_after() {
    let _ = tokio::time::timeout(LONG, std::future::pending::<()>()).await;
}

/// Far longer than all leases and pauses of a daemon together; takes no time.
pub const LONG: Duration = Duration::from_secs(600);

/// The store, and what makes it look at its clock.
struct Timed {
    store: Arc<dyn Store>,
    _looks: AbortOnDropHandle<()>,
}

/// An embedded store in a directory of its own, on the test's time.
pub fn timed_store() -> (Registry, tempfile::TempDir) {
    let disk = tempfile::tempdir().unwrap();
    (Registry::new(open_timed(disk.path()), "/muster/v1/"), disk)
}

/// An embedded store on the test's time.
pub fn open_timed(directory: &Path) -> Arc<dyn Store> {
    let runtime = Handle::current();
    let clock = LeaseClock::new(move || {
        let _context = runtime.enter();
        tokio::time::Instant::now().into_std()
    });
    let store = muster_store::open_embedded_with(directory, clock).unwrap();
    let looks = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let mut ticks = tokio::time::interval(EXPIRY_CHECK_INTERVAL);
            loop {
                ticks.tick().await;
                // Nobody has that lease; with every request the store looks at the others.
                let looked = store.clone();
                let nobodys = LeaseId(i64::MAX);
                on_disk(async move { looked.revoke(nobodys).await }).await.unwrap();
            }
        }
    });
    Arc::new(Timed { store, _looks: AbortOnDropHandle::new(looks) })
}

/// Waits for the store's disk. The test's time stands still meanwhile, as it does for everything that blocks.
async fn on_disk<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::task::spawn_blocking(move || futures::executor::block_on(work)).await.unwrap()
}

#[async_trait]
impl Store for Timed {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.store.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        let store = Arc::clone(&self.store);
        on_disk(async move { store.commit(guards, ops).await }).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let store = Arc::clone(&self.store);
        on_disk(async move { store.grant(ttl).await }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.store.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        on_disk(async move { store.revoke(lease).await }).await
    }
}
