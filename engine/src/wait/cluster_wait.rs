//! A wait for something in the cluster.
//!
//! Owns what all such waits have in common: the shape of their steps, and the words for a store that is away.

use std::time::Duration;

use muster_common::probe::is_planted;

use crate::cluster::Cluster;

/// A client's wait for something in the cluster: a state machine whose input is the cluster and the time.
pub trait ClusterWait {
    /// An event for the client.
    type Update;

    /// The events that the cluster, as it is now, adds to those of before. `now` is the time of one monotonic clock. While the store
    /// cannot be reached that is said, and nothing else: what was seen last is no word on what the client has asked for since.
    fn update(&mut self, now: Duration, cluster: &mut Cluster) -> Vec<Self::Update>;

    /// There is nothing more to come.
    fn is_over(&self) -> bool;

    /// The time at which [`ClusterWait::update`] is to be called even if nothing has changed.
    fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

/// True while nobody here can say how far anything is: what was seen last may be of a history that a backup has ended, and its revisions
/// count as newer than what a client has asked for since.
pub(super) fn is_blind(cluster: &Cluster) -> bool {
    cluster.store_problem().is_some() && !is_planted("wait-ends-without-the-store")
}

/// The store's absence, told once each time it begins or its cause changes.
#[derive(Debug, Default)]
pub(super) struct StoreLoss {
    told: Option<String>,
}

impl StoreLoss {
    /// The message that is due, given why the store cannot be reached, if it cannot.
    pub(super) fn update(&mut self, lost: Option<&str>) -> Option<String> {
        if self.told.as_deref() == lost {
            return None;
        }
        self.told = lost.map(str::to_owned);
        lost.map(|problem| format!("the store cannot be reached ({problem}); waiting for it"))
    }
}
