//! The runner of container units that are services.
//!
//! Owns what stands between a container unit and its service: the file that is kept, the service that is written, and the name that each
//! goes by. Everything else is systemd's, by its own runner. It touches a service only while that is made from our file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use muster_common::unit::{FileHash, UnitFile, UnitName, is_reserved};
use tokio::sync::mpsc;

use super::generator::{QuadletGenerator, Translation};
use super::units::PodmanUnits;
use crate::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, StartOutcome, UnitObservation,
};
use crate::stdx::sync::lock;

/// Events on their way.
const QUEUE: usize = 64;

/// Podman on this machine, before the systemd that runs its services. What is systemd's own passes through.
pub struct Podman {
    systemd: Arc<dyn Runner>,
    generator: Arc<dyn QuadletGenerator>,
    units: PodmanUnits,
    /// Where services lie.
    unit_dir: PathBuf,
    /// The container unit of each service, of those that were asked for.
    names: Arc<Mutex<BTreeMap<UnitName, UnitName>>>,
    /// The last word of the generator on each unit.
    words: Mutex<BTreeMap<UnitName, GeneratorVerdict>>,
    /// Units whose file was not written, because something else is in the place of their service.
    hindered: Mutex<BTreeSet<UnitName>>,
}

/// The generator's word on a file.
#[derive(Debug, Clone)]
enum GeneratorVerdict {
    Made { warnings: String },
    Refused { problem: String },
}

impl Podman {
    /// Stands before systemd, which is given with its events. Services go to `unit_dir`.
    pub fn new(
        (systemd, events): (Arc<dyn Runner>, RunnerEvents),
        generator: Arc<dyn QuadletGenerator>,
        units: PodmanUnits,
        unit_dir: PathBuf,
    ) -> (Self, RunnerEvents) {
        let names = Arc::new(Mutex::default());
        let (sender, renamed) = mpsc::channel(QUEUE);
        muster_runtime::spawn(rename_events(events, Arc::clone(&names), units.clone(), sender));
        let (words, hindered) = (Mutex::default(), Mutex::default());
        let podman = Self { systemd, generator, units, unit_dir, names, words, hindered };
        (podman, renamed)
    }

    /// True if a container unit is Podman's on this machine: its file lies here, or was to.
    pub fn has_unit(&self, unit: &UnitName) -> bool {
        self.units.has_file(unit) || lock(&self.hindered).contains(unit)
    }

    /// The name a unit goes by at systemd.
    fn service_of(&self, unit: &UnitName) -> UnitName {
        let Some(service) = unit.quadlet_service() else { return unit.clone() };
        lock(&self.names).insert(service.clone(), unit.clone());
        service
    }

    /// The service that lies in its place, if one does.
    fn read_service(&self, service: &UnitName) -> Option<String> {
        std::fs::read_to_string(self.unit_dir.join(service.as_str())).ok()
    }

    /// True if there is a service of that name that is made from the unit's file.
    fn is_in_place(&self, unit: &UnitName, service: &UnitName) -> bool {
        self.read_service(service).is_some_and(|text| self.units.is_made_from(&text, unit))
    }

    /// Why the service of a unit cannot be written, if something else has its name.
    fn name_taken(&self, unit: &UnitName, service: &UnitName) -> Option<String> {
        if is_reserved(service) {
            return Some(format!("its service would be {service}, which is this machine's own"));
        }
        let other = self.read_service(service).filter(|text| !self.units.is_made_from(text, unit));
        other.map(|_| {
            format!("its service would be {service}, and there is another unit of that name")
        })
    }

    /// Has the generator make the service of a unit, and puts that in its place.
    async fn make_service(&self, unit: &UnitName, service: &UnitName) -> Result<(), RunnerError> {
        let directory = self.units.unit_directory(unit);
        let verdict = match self.generator.translate_file(&directory, unit).await {
            Ok(Translation { service: text, warnings }) => {
                if self.read_service(service).as_deref() != Some(text.as_str()) {
                    self.systemd.write(service, FileHash::of_text(&text), &text).await?;
                }
                GeneratorVerdict::Made { warnings: warnings.join("; ") }
            }
            Err(error) => GeneratorVerdict::Refused { problem: error.to_string() },
        };
        lock(&self.words).insert(unit.clone(), verdict);
        Ok(())
    }

    /// Sees to it that the service of a unit is there before it is read. Returns why it cannot be.
    async fn prepare_service(
        &self,
        unit: &UnitName,
        service: &UnitName,
    ) -> Result<Option<String>, RunnerError> {
        if let Err(error) = self.units.read_text(unit) {
            return Ok(Some(format!("{unit} has no file on this machine: {error}")));
        }
        if let Some(problem) = self.name_taken(unit, service) {
            return Ok(Some(problem));
        }
        // A daemon before this one may have left the service of an earlier file, where the generator did not take the last one.
        let is_judged = lock(&self.words).contains_key(unit);
        if !is_judged || !self.is_in_place(unit, service) {
            self.make_service(unit, service).await?;
        }
        Ok(match lock(&self.words).get(unit) {
            Some(GeneratorVerdict::Refused { problem }) => Some(problem.clone()),
            _ => None,
        })
    }

    /// What systemd says of a service, as an observation of its container unit.
    fn observation_of(
        &self,
        unit: &UnitName,
        service: &UnitName,
        mut seen: UnitObservation,
    ) -> UnitObservation {
        let in_place = self.is_in_place(unit, service);
        if !in_place && let Some(problem) = self.name_taken(unit, service) {
            seen.observed.foreign = true;
            seen.observed.obstacle = problem;
            seen.observed.file = None;
            return seen;
        }
        let verdict = lock(&self.words).get(unit).cloned();
        match verdict {
            Some(GeneratorVerdict::Refused { problem }) if !in_place => {
                seen.observed.file = self.units.file_hash(unit);
                if seen.observed.file.is_some() {
                    "bad-setting".clone_into(&mut seen.observed.load);
                }
                seen.remark = problem;
            }
            _ if !in_place => seen.observed.file = None,
            verdict => {
                seen.observed.file = self.units.file_hash(unit);
                if let Some(GeneratorVerdict::Made { warnings }) = verdict
                    && seen.remark.is_empty()
                {
                    seen.remark = warnings;
                }
            }
        }
        seen
    }

    async fn observe_one(&self, unit: &UnitName) -> Result<UnitObservation, RunnerError> {
        let seen = self.observe_units(&BTreeSet::from([unit.clone()])).await?.remove(unit);
        Ok(seen.unwrap_or_default())
    }

    fn services_of(&self, units: &[UnitName]) -> Vec<UnitName> {
        units.iter().map(|unit| self.service_of(unit)).collect()
    }
}

/// Gives events of services the names of their container units. A service whose container unit has no file here is another's.
async fn rename_events(
    mut events: RunnerEvents,
    names: Arc<Mutex<BTreeMap<UnitName, UnitName>>>,
    units: PodmanUnits,
    renamed: mpsc::Sender<RunnerEvent>,
) {
    while let Some(mut event) = events.recv().await {
        if let RunnerEvent::Changed { unit, .. } = &mut event {
            let container = lock(&names).get(unit).cloned();
            if let Some(container) = container.filter(|container| units.has_file(container)) {
                *unit = container;
            }
        }
        if renamed.send(event).await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Runner for Podman {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        let services: BTreeMap<&UnitName, UnitName> =
            units.iter().map(|unit| (unit, self.service_of(unit))).collect();
        let asked = services.values().cloned().collect();
        let seen = self.systemd.observe_units(&asked).await?;
        let of = |(unit, service): (&UnitName, UnitName)| {
            let seen = seen.get(&service).cloned().unwrap_or_default();
            let seen =
                if *unit == service { seen } else { self.observation_of(unit, &service, seen) };
            (unit.clone(), seen)
        };
        Ok(services.into_iter().map(of).collect())
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        self.systemd.find_obstacle(&self.service_of(unit), file)
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        if unit.quadlet_service().is_none() {
            let taken = lock(&self.names).get(unit).cloned();
            if let Some(container) = taken.filter(|container| self.units.has_file(container)) {
                let problem = format!("{unit} is the service of {container} on this machine");
                return Err(RunnerError::Taken { problem });
            }
            return self.systemd.write(unit, hash, text).await;
        }
        let service = self.service_of(unit);
        let seen = self.observe_one(unit).await?;
        if seen.observed.foreign {
            lock(&self.hindered).insert(unit.clone());
            let problem = match seen.observed.obstacle {
                obstacle if obstacle.is_empty() => {
                    format!(
                        "this machine has a unit {service} of its own, which its service would be"
                    )
                }
                obstacle => obstacle,
            };
            return Err(RunnerError::Taken { problem });
        }
        lock(&self.hindered).remove(unit);
        self.units
            .write_file(unit, text)
            .map_err(|error| files_error("write the file of", unit, &error))?;
        self.make_service(unit, &service).await
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let service = self.service_of(unit);
        if service == *unit {
            return self.systemd.remove(unit).await;
        }
        // Of another's service nothing is ours, and where none lies systemd may still know ours.
        if self.name_taken(unit, &service).is_none() {
            self.systemd.remove(&service).await?;
        }
        self.units
            .remove_file(unit)
            .map_err(|error| files_error("remove the file of", unit, &error))?;
        lock(&self.words).remove(unit);
        lock(&self.hindered).remove(unit);
        lock(&self.names).remove(&service);
        Ok(())
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        // What could not be made has nothing that could be enabled.
        let is_made = |unit: &&UnitName| {
            let service = self.service_of(unit);
            service == **unit || self.is_in_place(unit, &service)
        };
        let made: Vec<UnitName> = units.iter().filter(is_made).cloned().collect();
        if made.is_empty() { Ok(()) } else { self.systemd.enable(&self.services_of(&made)).await }
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        let is_ours = |unit: &&UnitName| {
            let service = self.service_of(unit);
            service == **unit || self.name_taken(unit, &service).is_none()
        };
        let ours: Vec<UnitName> = units.iter().filter(is_ours).cloned().collect();
        if ours.is_empty() { Ok(()) } else { self.systemd.disable(&self.services_of(&ours)).await }
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let service = self.service_of(unit);
        if service != *unit
            && let Some(problem) = self.prepare_service(unit, &service).await?
        {
            return Ok(StartOutcome::Failed { problem });
        }
        self.systemd.load(&service).await
    }

    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        let service = self.service_of(unit);
        if service != *unit
            && let Some(problem) = self.prepare_service(unit, &service).await?
        {
            return Ok(StartOutcome::Failed { problem });
        }
        self.systemd.start(&service, generation).await
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        let service = self.service_of(unit);
        if service != *unit
            && let Some(problem) = self.prepare_service(unit, &service).await?
        {
            return Ok(StartOutcome::Failed { problem });
        }
        self.systemd.restart(&service, generation).await
    }

    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        self.systemd.failed_since_start(&self.service_of(unit)).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let service = self.service_of(unit);
        if service != *unit && self.name_taken(unit, &service).is_some() {
            return Ok(StartOutcome::Done);
        }
        self.systemd.stop(&service).await
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        self.systemd.wait_until_empty(&self.service_of(unit)).await
    }
}

fn files_error(what: &str, unit: &UnitName, error: &io::Error) -> RunnerError {
    RunnerError::Files { during: format!("{what} {unit}"), problem: error.to_string() }
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
        tokio::spawn(rename_events(events, names, units, sender));
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
