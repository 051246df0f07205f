//! What is told to those who follow a drain.
//!
//! Owns what is new from one look at the cluster to the next, and when there is nothing more to come. Pure: the stream
//! around it brings the looks and carries the events away. What becomes of each unit is the engine's word.

use muster_common::api::drain::DrainEvent;
use muster_common::cordon::DrainEnd;
use muster_common::drain::DrainProgress;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::unit::UnitName;

use crate::cluster::Cluster;
use crate::cluster::lists;

/// One client's view of a drain.
pub struct Following {
    machine: MachineId,
    told: Option<DrainProgress>,
}

impl Following {
    /// Begins to follow the drain of a machine.
    pub fn new(machine: MachineId) -> Self {
        Self { machine, told: None }
    }

    /// What has not been told yet.
    pub fn look(&mut self, cluster: &mut Cluster) -> Vec<DrainEvent> {
        let progress = cluster.drain_progress(&self.machine);
        if self.told.as_ref() == Some(&progress) {
            return Vec::new();
        }
        let before = self.told.replace(progress.clone());
        let left = before.into_iter().flat_map(|before| before.units.into_keys());
        let left = left.filter(|name| !progress.units.contains_key(name));
        let snapshot = cluster.snapshot();
        let mut events: Vec<DrainEvent> = left.map(|name| left_for(snapshot, name)).collect();
        events.push(DrainEvent::Progress { progress });
        events
    }

    /// Whether all has been told: nothing is left but global units, or the drain is over. One that was given up at its deadline is
    /// over even while a unit takes its time to stop; one that stops what is left is, once that is down.
    pub fn is_over(&self) -> bool {
        self.told.as_ref().is_some_and(|progress| {
            let given_up = progress.ended() == Some(DrainEnd::GaveUp);
            progress.is_done() || (!progress.is_draining() && (given_up || progress.is_at_rest()))
        })
    }
}

fn left_for(snapshot: &Snapshot, name: UnitName) -> DrainEvent {
    let places = snapshot.places.get(&name).into_iter().flatten();
    let to = places.map(|(id, _)| lists::machine_with_metadata(snapshot, id)).next();
    DrainEvent::Left { name, to }
}
