//! A wait for the end of a drain.
//!
//! Owns what is new of a drain from one look at the cluster to the next, and when there is nothing more to come. What becomes of each
//! unit is the scheduler's word, see [`crate::cluster::drain`].

use std::time::Duration;

use muster_common::api::drain::DrainEvent;
use muster_common::cordon::DrainEnd;
use muster_common::drain::DrainProgress;
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::Snapshot;
use muster_common::unit::UnitName;

use super::cluster_wait::{ClusterWait, StoreLoss, is_blind};
use crate::cluster::{Cluster, lists};

/// One client's wait for the end of a machine's drain.
pub struct DrainWait {
    machine: MachineId,
    told: Option<DrainProgress>,
    store_loss: StoreLoss,
}

impl DrainWait {
    /// Begins to follow the drain of a machine.
    pub fn new(machine: MachineId) -> Self {
        Self { machine, told: None, store_loss: StoreLoss::default() }
    }
}

impl ClusterWait for DrainWait {
    type Update = DrainEvent;

    fn update(&mut self, _: Duration, cluster: &mut Cluster) -> Vec<DrainEvent> {
        let mut events = Vec::new();
        if let Some(message) = self.store_loss.update(cluster.store_problem()) {
            events.push(DrainEvent::Degraded { message });
        }
        if is_blind(cluster) {
            return events;
        }
        let progress = cluster.drain_progress(&self.machine);
        if self.told.as_ref() == Some(&progress) {
            return events;
        }
        let before = self.told.replace(progress.clone());
        let left = before.into_iter().flat_map(|before| before.units.into_keys());
        let left = left.filter(|name| !progress.units.contains_key(name));
        let snapshot = cluster.current_snapshot();
        events.extend(left.map(|name| left_event(snapshot, name)));
        events.push(DrainEvent::Progress { progress });
        events
    }

    /// Nothing is left but global units, or the drain is over. One that was given up at its deadline is over even while a unit takes
    /// its time to stop; one that stops what is left is, once that is down.
    fn is_over(&self) -> bool {
        self.told.as_ref().is_some_and(|progress| {
            let given_up = progress.drain_end() == Some(DrainEnd::GaveUp)
                && !is_planted("drain-outlives-deadline");
            progress.is_done() || (!progress.is_draining() && (given_up || progress.is_at_rest()))
        })
    }
}

/// The event for a unit that has left, with the first of the machines that have it now.
fn left_event(snapshot: &Snapshot, name: UnitName) -> DrainEvent {
    let places = snapshot.places.get(&name).into_iter().flatten();
    let to = places.map(|(id, _)| lists::machine_with_metadata(snapshot, id)).next();
    DrainEvent::Left { name, to }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
