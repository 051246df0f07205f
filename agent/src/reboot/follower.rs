//! The records of reboots, live, for those who watch and for scrapes.
//!
//! Owns one watch of the records, shared by all who follow. It runs while somebody does and for a while after, so that a
//! scrape finds it warm and costs the store nothing; a daemon nobody asks watches nothing. It never writes.

use crate::stdx::errors::error_chain;
use crate::stdx::sync::lock;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::reboot::Group;
use muster_store::{RebootNews, RebootRecords, RebootScope, Registry};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long it outlives the last who followed: longer than the pause between two scrapes is anywhere.
const LINGER: Duration = Duration::from_secs(150);

/// Pause between two readings of all records, so that a roll through a thousand hosts, each of which publishes every
/// phase, is read a few times a second and not a thousand times.
const BREATH: Duration = Duration::from_millis(200);

/// Pause before a reading that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The records as they were last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latest {
    /// The records; absent before the first reading.
    pub records: Option<Arc<RebootRecords>>,
    /// Why the store cannot be reached, while it cannot.
    pub lost: Option<String>,
}

/// Starts and shares the watch.
#[derive(Debug)]
pub(super) struct Follower {
    registry: Registry,
    configured: BTreeSet<Group>,
    live: Mutex<Option<Arc<watch::Sender<Latest>>>>,
}

impl Follower {
    /// Follows nothing yet. `configured`: groups that exist without a record.
    pub(super) fn new(registry: Registry, configured: BTreeSet<Group>) -> Self {
        Self { registry, configured, live: Mutex::default() }
    }

    /// The groups that exist without a record.
    pub(super) fn configured(&self) -> &BTreeSet<Group> {
        &self.configured
    }

    /// Adds the groups that exist without a record. One whose record cannot be read has some number of slots, but not a
    /// new group's.
    pub(super) fn complete(&self, mut found: RebootRecords) -> RebootRecords {
        for group in &self.configured {
            let key = format!("reboot/{group}");
            if !found.unreadable.iter().any(|record| record.key == key) {
                found.groups.entry(group.clone()).or_default();
            }
        }
        found
    }

    /// The records as they change. Needs a tokio runtime to run in.
    pub(super) fn follow(self: &Arc<Self>) -> watch::Receiver<Latest> {
        let mut slot = lock(&self.live);
        let live = slot.get_or_insert_with(|| {
            let live = Arc::new(watch::Sender::new(Latest::default()));
            tokio::spawn(Arc::clone(self).run(Arc::clone(&live)));
            live
        });
        live.subscribe()
    }

    async fn run(self: Arc<Self>, live: Arc<watch::Sender<Latest>>) {
        let mut news = self.registry.watch_reboots(&RebootScope::All);
        let mut read_at: Option<Instant> = None;
        let mut breath = Instant::now();
        loop {
            // All arms are cancel-safe: a channel, timers and a count.
            tokio::select! {
                told = news.recv() => match told {
                    Some(RebootNews::Changed { .. }) => read_at = read_at.or(Some(breath)),
                    Some(RebootNews::Lost { problem }) => {
                        live.send_modify(|latest| latest.lost = Some(problem));
                    }
                    // The store is closed: the daemon ends.
                    None => return,
                },
                () = alarm(read_at) => {
                    read_at = None;
                    match self.registry.reboots().await {
                        Ok(found) => {
                            let records = Some(Arc::new(self.complete(found)));
                            live.send_replace(Latest { records, lost: None });
                        }
                        Err(error) => {
                            let problem = error_chain(&error);
                            live.send_modify(|latest| latest.lost = Some(problem));
                            read_at = Some(Instant::now() + AGAIN);
                        }
                    }
                    breath = Instant::now() + BREATH;
                }
                () = unused(&live) => {
                    let mut slot = lock(&self.live);
                    if live.receiver_count() == 0 {
                        *slot = None;
                        return;
                    }
                }
            }
        }
    }
}

async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Until nobody has followed for a while.
async fn unused(live: &watch::Sender<Latest>) {
    live.closed().await;
    tokio::time::sleep(LINGER).await;
}
