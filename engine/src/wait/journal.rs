//! A wait for the machine of a journal.
//!
//! Owns when a unit that is on no machine has one again, and when one has left the machine whose journal is read.

use std::time::Duration;

use muster_common::api::journal::JournalEvent;
use muster_common::machine::MachineId;
use muster_common::unit::UnitName;

use super::cluster_wait::ClusterWait;
use crate::cluster::Cluster;
use crate::cluster::whereabouts::{UnitPresence, is_nowhere, presence_on};

/// The wait for a unit that is on no machine. Its last event says that the unit is on one again, or exists no longer.
pub struct PlacementWait {
    name: UnitName,
    told: Option<JournalEvent>,
}

impl PlacementWait {
    /// Begins to wait for a unit.
    pub fn new(name: UnitName) -> Self {
        Self { name, told: None }
    }
}

impl ClusterWait for PlacementWait {
    type Update = JournalEvent;

    fn update(&mut self, _: Duration, cluster: &mut Cluster) -> Vec<JournalEvent> {
        let snapshot = cluster.current_snapshot();
        let event = match snapshot.units.get(&self.name) {
            None => JournalEvent::Destroyed,
            Some(unit) if is_nowhere(snapshot, &self.name) => {
                JournalEvent::Nowhere { desired: unit.desired }
            }
            Some(_) => JournalEvent::Placed,
        };
        if self.told.as_ref() == Some(&event) {
            return Vec::new();
        }
        self.told = Some(event.clone());
        vec![event]
    }

    fn is_over(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !matches!(told, JournalEvent::Nowhere { .. }))
    }
}

/// The wait for a unit to leave a machine. Its one event says that the unit has left, or exists no longer either.
pub struct DepartureWait {
    name: UnitName,
    machine: MachineId,
    is_over: bool,
}

impl DepartureWait {
    /// Begins to wait for a unit to leave a machine.
    pub fn new(name: UnitName, machine: MachineId) -> Self {
        Self { name, machine, is_over: false }
    }
}

impl ClusterWait for DepartureWait {
    type Update = JournalEvent;

    fn update(&mut self, _: Duration, cluster: &mut Cluster) -> Vec<JournalEvent> {
        let event = match presence_on(cluster.current_snapshot(), &self.name, &self.machine) {
            UnitPresence::Here => return Vec::new(),
            UnitPresence::Left => JournalEvent::Left,
            UnitPresence::Destroyed => JournalEvent::Destroyed,
        };
        self.is_over = true;
        vec![event]
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::{Change, Snapshot, Unit};
    use muster_common::state::DesiredState;
    use muster_common::unit::FileHash;

    use super::*;

    fn name() -> UnitName {
        "a.service".parse().unwrap()
    }

    /// A cluster that knows a unit, and nothing of where it is.
    fn cluster() -> Cluster {
        let (desired, file) = (DesiredState::Inactive, FileHash::of_text(""));
        let unit = Unit { name: name(), file, desired, generation: 1, revision: 1 };
        let mut snapshot = Snapshot { revision: 1, ..Snapshot::default() };
        snapshot.apply(Change::Unit(name(), Some(unit)));
        let mut cluster = Cluster::default();
        cluster.reset(snapshot, Duration::ZERO);
        cluster
    }

    #[test]
    fn a_unit_on_no_machine_is_told_once_and_its_end_is_the_last_word() {
        let (mut cluster, mut wait) = (cluster(), PlacementWait::new(name()));
        let nowhere = JournalEvent::Nowhere { desired: DesiredState::Inactive };
        assert_eq!(wait.update(Duration::ZERO, &mut cluster), [nowhere]);
        assert_eq!(wait.update(Duration::ZERO, &mut cluster), []);
        assert!(!wait.is_over());
        cluster.apply(2, vec![Change::Unit(name(), None)], Duration::ZERO);
        assert_eq!(wait.update(Duration::ZERO, &mut cluster), [JournalEvent::Destroyed]);
        assert!(wait.is_over());
    }

    #[test]
    fn a_unit_that_no_machine_reports_has_left() {
        let mut wait = DepartureWait::new(name(), "m1".parse().unwrap());
        assert_eq!(wait.update(Duration::ZERO, &mut cluster()), [JournalEvent::Left]);
        assert!(wait.is_over());
    }
}
