//! A network on which nothing takes time and nothing is lost: for tests of what stands on either side of it.
//!
//! Owns the cluster and a clock that it is given. Messages arrive while they are sent, and answers before that returns.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::cluster::EtcdCluster;
use super::wire::{EtcdDelivery, EtcdMessage, EtcdWire};

/// The network, with the cluster behind it.
pub struct DirectWire {
    cluster: Mutex<EtcdCluster>,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl fmt::Debug for DirectWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectWire").finish_non_exhaustive()
    }
}

impl DirectWire {
    /// A cluster, and the time it is there. The clock must not go back.
    pub fn new(cluster: EtcdCluster, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { cluster: Mutex::new(cluster), clock: Box::new(clock) }
    }

    /// Does something to the cluster at the present moment, after all that is due by then.
    pub fn with_cluster(&self, work: impl FnOnce(&mut EtcdCluster, Duration) -> Vec<EtcdDelivery>) {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is read while nobody else is at it, so that it never goes back for the cluster.
        let now = (self.clock)();
        let mut deliveries = cluster.advance_to(now);
        deliveries.extend(work(&mut cluster, now));
        // Handed over in this order, too.
        for delivery in deliveries {
            delivery.hand_over();
        }
        drop(cluster);
    }

    /// Lets everything happen that is due.
    pub fn carry_out_due(&self) {
        self.with_cluster(|_, _| Vec::new());
    }

    /// When something happens by itself next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).next_deadline()
    }
}

impl EtcdWire for DirectWire {
    fn send_message(&self, member: usize, message: EtcdMessage) {
        self.with_cluster(|cluster, now| cluster.on_message(now, member, message));
    }
}
