//! A line to a store that can be cut, and counts what goes over it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Registry, Store, StoreError,
    TimeLeft, Watch, WatchEvent,
};
use tokio::sync::{mpsc, watch};

/// A line to a store that can be cut.
pub struct StoreLine {
    store: Arc<Mutex<Arc<dyn Store>>>,
    cut: watch::Sender<bool>,
    leases_gone: AtomicBool,
    listings: AtomicUsize,
}

impl StoreLine {
    /// A registry at the end of a line to a store of its own.
    pub fn new() -> (Registry, Arc<Self>, tempfile::TempDir) {
        Self::to_store(|disk| muster_store::open_embedded(disk).unwrap())
    }

    /// The same to a store on the test's time.
    pub fn on_test_time() -> (Registry, Arc<Self>, tempfile::TempDir) {
        Self::to_store(crate::time::open_timed)
    }

    fn to_store(
        open: impl FnOnce(&Path) -> Arc<dyn Store>,
    ) -> (Registry, Arc<Self>, tempfile::TempDir) {
        let disk = tempfile::tempdir().unwrap();
        let store = open(disk.path());
        let cut = watch::Sender::new(false);
        let line = Arc::new(Self {
            store: Arc::new(Mutex::new(store)),
            cut,
            leases_gone: AtomicBool::new(false),
            listings: AtomicUsize::new(0),
        });
        (Registry::new(line.clone(), "/muster/v1/"), line, disk)
    }

    /// Cuts the line, or mends it. Nothing goes over it while it is cut.
    pub fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// The last thing that comes through is that leases are gone.
    pub fn cut_with_the_leases(&self) {
        self.leases_gone.store(true, Ordering::Relaxed);
        self.set_cut(true);
    }

    /// Counts the reads of more than one record.
    pub fn count_listings(&self) -> usize {
        self.listings.load(Ordering::Relaxed)
    }

    /// From now on the line leads to another store. Watches find it when the line is mended.
    pub fn replace_store(&self, store: Arc<dyn Store>) {
        *self.store.lock().unwrap() = store;
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store.lock().unwrap())
    }

    fn check_line(&self) -> Result<(), StoreError> {
        if *self.cut.borrow() {
            return Err(StoreError::Unavailable { during: "a test".to_owned(), source: None });
        }
        Ok(())
    }
}

#[async_trait]
impl Store for StoreLine {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.check_line()?;
        if !matches!(range, Range::Key(_)) {
            self.listings.fetch_add(1, Ordering::Relaxed);
        }
        self.store().read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        let (sender, events) = mpsc::channel(16);
        let (store, mut cut) = (Arc::clone(&self.store), self.cut.subscribe());
        tokio::spawn(async move {
            loop {
                if *cut.borrow_and_update() {
                    let lost = WatchEvent::Lost { problem: "cut".to_owned() };
                    if sender.send(lost).await.is_err() || cut.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                let behind = Arc::clone(&store.lock().unwrap());
                let mut watch = behind.watch(range.clone());
                loop {
                    tokio::select! {
                        biased;
                        changed = cut.changed() => if changed.is_err() { return } else { break },
                        event = watch.events.recv() => {
                            let Some(event) = event else { return };
                            if sender.send(event).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        });
        Watch { events }
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        self.check_line()?;
        self.store().commit(guards, ops).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.check_line()?;
        self.store().grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        if self.leases_gone.load(Ordering::Relaxed) {
            return Err(StoreError::LeaseGone { lease });
        }
        self.check_line()?;
        self.store().keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.check_line()?;
        self.store().time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.check_line()?;
        self.store().revoke(lease).await
    }
}
