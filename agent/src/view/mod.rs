//! A live view of the whole cluster, for those who ask.
//!
//! Owns one follower of the registry's watch, shared by all readers, and the scheduler that explains refusals. The
//! follower runs while somebody reads and for a while after; a daemon nobody asks follows nothing and holds nothing.
//! It never writes, and what its scheduler plans is only ever shown.
//!
//! A read sees at least what the store had when the read began ([`View::fresh_reader`]): a follower that has just been
//! started reads the store anyway, and one that runs is asked to catch up with the store's revision.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::snapshot::{ClusterEvent, Snapshot};
use muster_engine::cluster::freshness::{ReadInput, ReadPlan, ReadStep};
use muster_engine::cluster::linger::Lingering;
use muster_engine::cluster::{Cluster, PicturePosition};
use muster_runtime::Instant;
use muster_store::{Registry, RegistryError};
use tokio::sync::watch;

use crate::stdx::sync::lock;
use crate::stdx::timer::sleep_until_opt;

/// The time the follower outlives its last reader: a person who types one command after another, and a client that
/// polls, find it warm.
const LINGER: Duration = Duration::from_secs(30);

/// The time a reader waits for the watch to reach a revision before it reads the store anew. The store's revision
/// can be that of a key the watch does not cover, and then no event will ever carry it.
const CATCH_UP: Duration = Duration::from_millis(250);

/// The time the first event of a new watch may take: the store's own deadlines and one retry.
const FIRST_EVENT: Duration = Duration::from_secs(6);

/// The view. Cheap to clone.
#[derive(Clone)]
pub struct View(Arc<Shared>);

struct Shared {
    registry: Registry,
    linger: Duration,
    /// From which the time that the engine is told counts.
    began: Instant,
    live: Mutex<Option<Arc<LiveCluster>>>,
}

/// The picture that the follower and its readers share.
struct LiveCluster {
    cluster: Mutex<Cluster>,
    position: watch::Sender<PicturePosition>,
    readers: watch::Sender<usize>,
}

/// Why the cluster cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] RegistryError),
    /// The watch has lost the store.
    #[error("the store cannot be reached: {0}")]
    Lost(String),
    /// The watch says nothing.
    #[error("the store did not answer in time")]
    Silent,
    /// A revision that the store has not come to.
    #[error(
        "revision={revision} is of the future: the store is at revision {present}; name the one that the answer to a change \
         gave, or none"
    )]
    Future {
        /// The revision that was asked for.
        revision: u64,
        /// Where the store is.
        present: u64,
    },
}

/// One reader; the follower runs while there are any.
pub struct Reader {
    live: Arc<LiveCluster>,
    /// From which the engine's time counts.
    began: Instant,
    position: watch::Receiver<PicturePosition>,
    /// The revision of the picture when it was new enough.
    ready_at: u64,
}

impl View {
    /// A view of what a registry holds. Follows nothing yet.
    pub fn new(registry: Registry) -> Self {
        Self::with_linger(registry, LINGER)
    }

    /// The same with another time for which the follower outlives its last reader.
    pub fn with_linger(registry: Registry, linger: Duration) -> Self {
        Self(Arc::new(Shared { registry, linger, began: Instant::now(), live: Mutex::new(None) }))
    }

    /// A reader that sees at least what the store has now.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn fresh_reader(&self) -> Result<Reader, ViewError> {
        let (reader, is_first) = self.join_follower();
        self.catch_up(reader, ReadPlan::for_current(is_first)).await
    }

    /// A reader that sees at least a revision.
    ///
    /// # Errors
    ///
    /// The store does not answer, or has not come to that revision.
    pub async fn reader_at_least(&self, revision: u64) -> Result<Reader, ViewError> {
        let (reader, _) = self.join_follower();
        self.catch_up(reader, ReadPlan::at_least(revision)).await
    }

    /// Carries out a plan for a picture that is new enough.
    async fn catch_up(
        &self,
        mut reader: Reader,
        (plan, mut step): (ReadPlan, ReadStep),
    ) -> Result<Reader, ViewError> {
        loop {
            let input = match step {
                ReadStep::AwaitFirst => {
                    reader.await_first().await?;
                    ReadInput::FirstPicture
                }
                ReadStep::AwaitRevision(revision) if reader.await_revision(revision).await => {
                    ReadInput::RevisionReached
                }
                ReadStep::AwaitRevision(_) => ReadInput::RevisionMissed,
                ReadStep::AskRevision => {
                    let before = reader.live.revision();
                    match self.0.registry.revision().await? {
                        present if present < before => ReadInput::StoreWentBack,
                        present => ReadInput::StoreAt(present),
                    }
                }
                ReadStep::ReadStore => {
                    let before = reader.live.revision();
                    let snapshot = self.0.registry.read_snapshot().await?;
                    reader.live.install_snapshot(snapshot, before, self.0.now());
                    ReadInput::StoreRead
                }
                ReadStep::Ready => {
                    reader.ready_at = reader.live.revision();
                    return Ok(reader);
                }
                ReadStep::RefuseFuture { revision, present } => {
                    return Err(ViewError::Future { revision, present });
                }
            };
            step = plan.next_step(input);
        }
    }

    /// The follower runs.
    pub fn is_warm(&self) -> bool {
        lock(&self.0.live).is_some()
    }

    /// Joins the follower, starting it if need be; returns whether it did.
    fn join_follower(&self) -> (Reader, bool) {
        let mut slot = lock(&self.0.live);
        let cold = slot.is_none();
        let live = slot.get_or_insert_with(|| {
            let live = Arc::new(LiveCluster {
                cluster: Mutex::default(),
                position: watch::Sender::new(PicturePosition::default()),
                readers: watch::Sender::new(0),
            });
            muster_runtime::spawn(follow_registry(self.0.clone(), live.clone()));
            live
        });
        live.readers.send_modify(|count| *count += 1);
        let position = live.position.subscribe();
        (Reader { position, began: self.0.began, live: live.clone(), ready_at: 0 }, cold)
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Reader {
    /// Looks at the cluster. Nothing else can, meanwhile, so `look` is quick.
    pub fn read<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(lock(&self.live.cluster).current_snapshot())
    }

    /// Looks at the cluster and at what the engine thinks of it.
    pub fn with_cluster<T>(&self, look: impl FnOnce(&mut Cluster) -> T) -> T {
        look(&mut lock(&self.live.cluster))
    }

    /// The revision of the picture when it was new enough. A watch that begins anew may take it back for a moment.
    pub fn made_ready_at(&self) -> u64 {
        self.ready_at
    }

    /// The engine's time now; each view counts its own from when it was made.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The moment at which the engine's time is `at`.
    pub fn instant_of(&self, at: Duration) -> Instant {
        self.began + at
    }

    /// Waits until the view has changed since the last call.
    pub async fn wait_for_change(&mut self) {
        // The sender lives as long as `live`, which we hold, so an error cannot come.
        let _ = self.position.changed().await;
    }

    /// Waits a moment for the watch to bring a revision; returns whether it has.
    async fn await_revision(&mut self, revision: u64) -> bool {
        let reached = self.position.wait_for(|at| at.revision >= revision);
        matches!(muster_runtime::timeout(CATCH_UP, reached).await, Ok(Ok(_)))
    }

    /// Waits for the first snapshot.
    async fn await_first(&mut self) -> Result<(), ViewError> {
        let first = self.position.wait_for(|at| at.revision > 0 || at.lost.is_some());
        let position = match muster_runtime::timeout(FIRST_EVENT, first).await {
            Ok(Ok(position)) => position.clone(),
            _ => return Err(ViewError::Silent),
        };
        match position.lost {
            Some(problem) if position.revision == 0 => Err(ViewError::Lost(problem)),
            _ => Ok(()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.readers.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl LiveCluster {
    /// The revision of the picture.
    fn revision(&self) -> u64 {
        self.position.borrow().revision
    }

    /// Replaces the snapshot by a later one, or by that of a store that was restored; see [`Cluster::install_snapshot`].
    fn install_snapshot(&self, snapshot: Snapshot, before: u64, now: Duration) {
        let mut cluster = lock(&self.cluster);
        if cluster.install_snapshot(snapshot, before, now) {
            self.position.send_replace(cluster.current_position());
        }
    }

    fn apply_event(&self, event: ClusterEvent, now: Duration) {
        let mut cluster = lock(&self.cluster);
        match event {
            ClusterEvent::Reset(snapshot) => cluster.reset(*snapshot, now),
            ClusterEvent::Changes { revision, changes } => cluster.apply(revision, changes, now),
            ClusterEvent::Lost { problem } => cluster.mark_lost(problem),
        }
        self.position.send_replace(cluster.current_position());
    }
}

/// Follows the registry until nobody has read for the time it lingers.
async fn follow_registry(shared: Arc<Shared>, live: Arc<LiveCluster>) {
    let mut updates = shared.registry.watch();
    let mut readers = live.readers.subscribe();
    let mut lingering = Lingering::new(shared.linger);
    loop {
        lingering.on_readers(*readers.borrow_and_update(), shared.now());
        let end = lingering.next_deadline().map(|at| shared.began + at);
        // All three arms are cancel-safe: a channel's receive, a change notice, a timer.
        tokio::select! {
            biased;
            event = updates.events.recv() => if let Some(event) = event {
                live.apply_event(event, shared.now());
            } else {
                // The watch promises not to end; if it does, the next reader begins anew.
                live.apply_event(ClusterEvent::Lost { problem: "the watch ended".to_owned() }, shared.now());
                lock(&shared.live).take();
                return;
            },
            _ = readers.changed() => {}
            () = sleep_until_opt(end) => {
                // Readers are counted under this lock, so none can slip in between.
                let mut slot = lock(&shared.live);
                if lingering.is_over(*live.readers.borrow(), shared.now()) {
                    slot.take();
                    return;
                }
            }
        }
    }
}
