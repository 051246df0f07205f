//! The records of reboots, live, for those who watch and for scrapes.
//!
//! Owns one watch of the records, shared by all who follow. It runs while somebody does and for a while after, so that a
//! scrape finds it warm and costs the store nothing; a daemon nobody asks watches nothing. It never writes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::reboot::Group;
use muster_engine::cluster::linger::Lingering;
use muster_engine::reboot::reading::ReadSchedule;
use muster_runtime::Instant;
use muster_store::{RebootRecords, RebootScope, RebootWatchEvent, Registry};
use tokio::sync::watch;

use crate::stdx::errors::error_chain;
use crate::stdx::sync::lock;
use crate::stdx::timer::sleep_until_opt;

/// The time by which it outlives the last who followed: longer than the pause between two scrapes is anywhere.
const LINGER: Duration = Duration::from_secs(150);

/// The records as they were last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatestRecords {
    /// The records; absent before the first reading.
    pub records: Option<Arc<RebootRecords>>,
    /// Why the store cannot be reached, while it cannot.
    pub lost: Option<String>,
}

/// Starts and shares the watch.
#[derive(Debug)]
pub(super) struct RecordsFollower {
    registry: Registry,
    configured: BTreeSet<Group>,
    live: Mutex<Option<Arc<watch::Sender<LatestRecords>>>>,
}

impl RecordsFollower {
    /// Follows nothing yet. `configured`: groups that exist without a record.
    pub(super) fn new(registry: Registry, configured: BTreeSet<Group>) -> Self {
        Self { registry, configured, live: Mutex::default() }
    }

    /// The groups that exist without a record.
    pub(super) fn configured_groups(&self) -> &BTreeSet<Group> {
        &self.configured
    }

    /// Adds the groups that exist without a record. One whose record cannot be read has some number of slots, but not a
    /// new group's.
    pub(super) fn add_configured(&self, mut found: RebootRecords) -> RebootRecords {
        for group in &self.configured {
            let key = format!("reboot/{group}");
            if !found.unreadable.iter().any(|record| record.key == key) {
                found.groups.entry(group.clone()).or_default();
            }
        }
        found
    }

    /// The records as they change.
    pub(super) fn follow_records(self: &Arc<Self>) -> watch::Receiver<LatestRecords> {
        let mut slot = lock(&self.live);
        let live = slot.get_or_insert_with(|| {
            let live = Arc::new(watch::Sender::new(LatestRecords::default()));
            muster_runtime::spawn(Arc::clone(self).run(Arc::clone(&live)));
            live
        });
        live.subscribe()
    }

    async fn run(self: Arc<Self>, live: Arc<watch::Sender<LatestRecords>>) {
        let mut events = self.registry.watch_reboots(&RebootScope::All);
        let began = Instant::now();
        let mut schedule = ReadSchedule::default();
        let mut lingering = Lingering::new(LINGER);
        loop {
            lingering.on_readers(live.receiver_count(), began.elapsed());
            let next = schedule.next_deadline().map(|next| began + next);
            let end = lingering.next_deadline().map(|end| began + end);
            // All arms are cancel-safe: a channel, timers and a count.
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(RebootWatchEvent::Changed { .. }) => schedule.on_changed(),
                    Some(RebootWatchEvent::Lost { problem }) => {
                        live.send_modify(|latest| latest.lost = Some(problem));
                    }
                    // The store is closed: the daemon ends.
                    None => return,
                },
                () = sleep_until_opt(next) => {
                    let ok = self.read_records(&live).await;
                    schedule.on_read(ok, began.elapsed());
                }
                () = live.closed(), if end.is_none() => {}
                () = sleep_until_opt(end) => {
                    // Whoever follows joins under this lock, so none can slip in between.
                    let mut slot = lock(&self.live);
                    if lingering.is_over(live.receiver_count(), began.elapsed()) {
                        *slot = None;
                        return;
                    }
                }
            }
        }
    }

    /// Reads all records and shows them. Returns whether they could be read.
    async fn read_records(&self, live: &watch::Sender<LatestRecords>) -> bool {
        match self.registry.read_reboots().await {
            Ok(found) => {
                let records = Some(Arc::new(self.add_configured(found)));
                live.send_replace(LatestRecords { records, lost: None });
                true
            }
            Err(error) => {
                let problem = error_chain(&error);
                live.send_modify(|latest| latest.lost = Some(problem));
                false
            }
        }
    }
}
