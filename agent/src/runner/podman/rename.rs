//! The names in what systemd reports: of a service that was made of a file of Quadlet's it is the file's unit that others know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use muster_common::unit::UnitName;
use tokio::sync::mpsc;

use super::progress::ProgressRemarks;
use super::units::PodmanUnits;
use crate::runner::{RunnerEvent, RunnerEvents};
use crate::stdx::sync::lock;

/// Gives events of services the names of their container units. A service whose container unit has no file here is another's.
pub(super) async fn rename_events(
    mut events: RunnerEvents,
    names: Arc<Mutex<BTreeMap<UnitName, UnitName>>>,
    units: PodmanUnits,
    remarks: ProgressRemarks,
    renamed: mpsc::Sender<RunnerEvent>,
) {
    while let Some(mut event) = events.recv().await {
        if let RunnerEvent::Changed { unit, active, remark, .. } = &mut event {
            let container = lock(&names).get(unit).cloned();
            if let Some(container) = container.filter(|container| units.has_file(container)) {
                *unit = container;
                if remark.is_empty() {
                    *remark = remarks.find_remark(unit, active);
                }
            }
        }
        if renamed.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::state::ActiveState;

    use super::*;

    fn changed(unit: &str) -> RunnerEvent {
        RunnerEvent::Changed {
            unit: unit.parse().unwrap(),
            active: ActiveState::Active,
            sub: String::new(),
            invocation: String::new(),
            since: 0,
            remark: String::new(),
        }
    }

    #[tokio::test]
    async fn only_the_service_of_a_container_unit_is_called_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let units = PodmanUnits::in_directory(directory.path().to_owned());
        units.write_file(&"ours.container".parse().unwrap(), "[Container]\n").unwrap();
        let names = ["ours", "twin"].map(|name| {
            let container: UnitName = format!("{name}.container").parse().unwrap();
            (container.quadlet_service().unwrap(), container)
        });
        let (systemd, events) = mpsc::channel(8);
        let (sender, mut renamed) = mpsc::channel(8);
        let names = Arc::new(Mutex::new(BTreeMap::from(names)));
        let remarks = ProgressRemarks::default();
        tokio::spawn(rename_events(events, names, units, remarks, sender));
        for (told, heard) in [
            ("ours.service", "ours.container"),
            // Its container unit was refused, because this service is there.
            ("twin.service", "twin.service"),
            ("plain.service", "plain.service"),
        ] {
            systemd.send(changed(told)).await.unwrap();
            assert_eq!(renamed.recv().await, Some(changed(heard)));
        }
    }
}
