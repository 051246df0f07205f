//! The runner of units that are services which Podman makes.
//!
//! Owns what stands between such a unit and its service: the file that is kept, the services that are written, its own and those of the
//! units it names, and the name that each goes by. Everything else is systemd's, by its own runner. It touches a service only while that
//! is made from our file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use muster_common::state::ActiveState;
use muster_common::unit::{
    FileHash, UnitFile, UnitName, UnitType, is_reserved, list_references, quadlet_service,
};
use muster_engine::machine::converge::Observed;
use tokio::sync::{Notify, mpsc};

use super::bundle::{UnitBundle, gather_bundle, naming_units, unnamed_units};
use super::discard::{Discarder, keep_tidy, makes_what_stays};
use super::generator::{GeneratedService, QuadletGenerator, Translation};
use super::made::MadeResources;
use super::progress::{ActivityWatch, ProgressRemarks, ProgressTeller};
use super::rename::rename_events;
use super::sameness::is_same_service;
use super::units::PodmanUnits;
use crate::runner::unit_sources::{Sources, UnitFileCopies};
use crate::runner::{Runner, RunnerError, RunnerEvents, StartOutcome, UnitObservation};
use crate::stdx::disk::HostDisk;
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
    /// The files of units that others name.
    cluster: Arc<UnitFileCopies>,
    /// Whoever deletes what is to go with its unit.
    discarder: Arc<Discarder>,
    /// Held by the one who changes which files are here and what is made of them: several units may name one.
    making: tokio::sync::Mutex<()>,
    /// The container unit of each service, of those that were asked for.
    names: Arc<Mutex<BTreeMap<UnitName, UnitName>>>,
    /// The last word of the generator on each unit.
    words: Mutex<BTreeMap<UnitName, GeneratorVerdict>>,
    /// Whoever says how far starts are.
    teller: Arc<ProgressTeller>,
    /// Units whose file was not written, mostly because something else is in the place of their service: that service.
    hindered: Mutex<BTreeMap<UnitName, UnitName>>,
}

/// The world that a [`Podman`] works in.
pub struct PodmanSettings {
    /// Who translates.
    pub generator: Arc<dyn QuadletGenerator>,
    /// Where the files of units lie.
    pub units: PodmanUnits,
    /// Where services go.
    pub unit_dir: PathBuf,
    /// Who knows the files of units that others name.
    pub sources: Arc<dyn Sources>,
    /// Where copies of those are kept, for when nobody answers.
    pub copies: PathBuf,
    /// The cluster, by the prefix of its store: it stands in the marks of what is made here.
    pub cluster: String,
    /// Who deletes what was made here.
    pub made: Arc<dyn MadeResources>,
    /// Who sees what the processes of services are doing.
    pub watch: Arc<dyn ActivityWatch>,
}

/// The generator's word on a file.
#[derive(Debug, Clone)]
enum GeneratorVerdict {
    Made { warnings: String },
    Refused { problem: String },
}

impl Podman {
    /// Stands before systemd, which is given with its events.
    pub fn new(
        (systemd, events): (Arc<dyn Runner>, RunnerEvents),
        settings: PodmanSettings,
    ) -> (Self, RunnerEvents) {
        let PodmanSettings { generator, units, unit_dir, .. } = settings;
        let units = units.with_marks_of(&settings.cluster);
        let names = Arc::new(Mutex::default());
        let (sender, renamed) = mpsc::channel(QUEUE);
        let teller = Arc::new(ProgressTeller {
            systemd: Arc::clone(&systemd),
            units: units.clone(),
            watch: settings.watch,
            remarks: ProgressRemarks::default(),
            events: sender.downgrade(),
        });
        let remarks = teller.remarks.clone();
        let (of_units, of_names) = (units.clone(), Arc::clone(&names));
        muster_runtime::spawn(rename_events(events, of_names, of_units, remarks, sender));
        let files =
            Arc::new(UnitFileCopies::new(settings.sources, Arc::new(HostDisk), settings.copies));
        let request = Arc::new(Notify::new());
        let discarder = Arc::new(Discarder {
            units: units.clone(),
            files: Arc::clone(&files),
            cluster: settings.cluster,
            made: settings.made,
            request: Arc::clone(&request),
        });
        muster_runtime::spawn(keep_tidy(Arc::downgrade(&discarder), request));
        let podman = Self {
            systemd,
            generator,
            units,
            unit_dir,
            cluster: files,
            discarder,
            making: tokio::sync::Mutex::default(),
            names,
            words: Mutex::default(),
            teller,
            hindered: Mutex::default(),
        };
        (podman, renamed)
    }

    /// True if a container unit is Podman's on this machine: its file lies here, or was to.
    pub fn has_unit(&self, unit: &UnitName) -> bool {
        self.units.has_file(unit) || lock(&self.hindered).contains_key(unit)
    }

    /// The name a unit goes by at systemd.
    fn service_of(&self, unit: &UnitName) -> UnitName {
        let Some(service) = self.units.expected_service(unit) else { return unit.clone() };
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
        other.map(|text| match self.units.source_unit(&text) {
            Some(other) => format!("its service would be {service}, which is that of {other}"),
            None => {
                format!("its service would be {service}, and there is another unit of that name")
            }
        })
    }

    /// Has the generator make the service of a unit and those of the units it names, and puts them in their places.
    async fn make_service(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let verdict = match self.translate_unit(unit).await {
            Ok((bundle, translation)) => self.put_services(unit, &bundle, translation).await?,
            Err(problem) => GeneratorVerdict::Refused { problem },
        };
        lock(&self.words).insert(unit.clone(), verdict);
        Ok(())
    }

    /// The generator's word on a unit, for the user where it has none.
    async fn translate_unit(&self, unit: &UnitName) -> Result<(UnitBundle, Translation), String> {
        let bundle = gather_bundle(unit, &self.units, &self.cluster).await?;
        let mut services: BTreeMap<UnitName, &UnitName> = BTreeMap::new();
        for needed in &bundle.needed {
            let Some(service) = self.units.expected_service(needed) else { continue };
            if let Some(other) = services.get(&service) {
                return Err(format!("{other} and {needed} would be one service, {service}"));
            }
            services.insert(service, needed);
        }
        let made = self.generator.translate_files(&bundle.input).await;
        made.map(|made| (bundle, made)).map_err(|error| error.to_string())
    }

    /// Writes what was made of a unit and of those it names; of these first, so that none is started without them.
    async fn put_services(
        &self,
        unit: &UnitName,
        bundle: &UnitBundle,
        made: Translation,
    ) -> Result<GeneratorVerdict, RunnerError> {
        let others = bundle.needed.iter().filter(|needed| *needed != unit);
        for needed in others.chain([unit]) {
            let made = made.services.get(&self.units.source_path(needed));
            let Some(GeneratedService { name, text }) = made else { continue };
            if let Some(problem) = self.find_rival(unit, needed, name).await? {
                return Ok(GeneratorVerdict::Refused { problem });
            }
            lock(&self.names).insert(name.clone(), needed.clone());
            if self.read_service(name).is_some_and(|placed| is_same_service(&placed, text)) {
                continue;
            }
            self.systemd.write(name, FileHash::of_text(text), text).await?;
            if needed != unit {
                // Nobody asks for it by name before systemd starts it with the unit.
                self.systemd.load(name).await?;
            }
        }
        Ok(GeneratorVerdict::Made { warnings: made.warnings.join("; ") })
    }

    /// Why the service of a unit that another needs cannot be put in its place. The unit's own has been looked at before.
    async fn find_rival(
        &self,
        unit: &UnitName,
        needed: &UnitName,
        service: &UnitName,
    ) -> Result<Option<String>, RunnerError> {
        if self.is_in_place(needed, service) {
            return Ok(None);
        }
        let rival = match self.name_taken(needed, service) {
            None if needed != unit => {
                let seen = self.systemd.observe_units(&[service.clone()].into()).await?;
                let foreign = seen.get(service).is_some_and(|seen| seen.observed.foreign);
                foreign.then(|| format!("this machine has a unit {service} of its own"))
            }
            taken => taken,
        };
        let whose = |problem: String| {
            if needed == unit { problem } else { format!("{needed}, which it names: {problem}") }
        };
        Ok(rival.map(whose))
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
        let _one = self.making.lock().await;
        // A daemon before this one may have left the service of an earlier file, where the generator did not take the last one; and
        // what it names may have changed since.
        let is_judged = lock(&self.words).contains_key(unit);
        let names_others =
            self.units.read_file(unit).is_some_and(|file| !list_references(&file).is_empty());
        if !is_judged || names_others || !self.is_in_place(unit, service) {
            self.make_service(unit).await?;
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
        if !self.units.has_file(unit) {
            // What is here for others alone is nobody's word on the unit itself.
            seen.observed.file = None;
            return seen;
        }
        if seen.remark.is_empty() {
            if in_place && seen.observed.active == ActiveState::Activating {
                self.teller.follow_start(unit);
            }
            seen.remark = self.teller.remarks.find_remark(unit, &seen.observed.active);
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

    /// Why a unit cannot be the service of this name, if this machine or another unit has that.
    async fn find_obstruction(
        &self,
        unit: &UnitName,
        service: &UnitName,
    ) -> Result<Option<String>, RunnerError> {
        let mut seen = self.systemd.observe_units(&BTreeSet::from([service.clone()])).await?;
        Ok(self.obstruction_of(unit, service, seen.remove(service).unwrap_or_default()))
    }

    fn obstruction_of(
        &self,
        unit: &UnitName,
        service: &UnitName,
        seen: UnitObservation,
    ) -> Option<String> {
        let own =
            || format!("this machine has a unit {service} of its own, which its service would be");
        let Observed { foreign, obstacle, .. } = self.observation_of(unit, service, seen).observed;
        foreign.then(|| if obstacle.is_empty() { own() } else { obstacle })
    }

    /// An observation of a unit, with what is in the way of its next file while that is there. What runs of an earlier one runs on.
    fn with_hindrance(
        &self,
        unit: &UnitName,
        (service, at_service): (&UnitName, UnitObservation),
        mut seen: UnitObservation,
    ) -> UnitObservation {
        let Some(problem) = self.obstruction_of(unit, service, at_service) else { return seen };
        seen.observed.obstacle = problem;
        if !self.units.has_file(unit) {
            seen.observed.foreign = true;
            seen.observed.file = None;
        }
        seen
    }

    /// Gives up the service that a unit had by an earlier file, where the next one is another.
    async fn leave_service(&self, unit: &UnitName, next: &UnitName) -> Result<(), RunnerError> {
        let before = self.service_of(unit);
        if before != *next && self.is_in_place(unit, &before) {
            self.systemd.stop(&before).await?;
            self.systemd.remove(&before).await?;
        }
        lock(&self.names).remove(&before);
        Ok(())
    }

    /// Takes away what is here only because others named it, and none does any more: its service. What Podman made for it stays, as
    /// the data of a volume does. What cannot be taken away now is tried again with the next removal.
    async fn release_unnamed(&self) {
        for unit in unnamed_units(&self.units) {
            let service = self.service_of(&unit);
            if self.is_in_place(&unit, &service) {
                let stopped = self.systemd.stop(&service).await;
                let removed = match stopped {
                    Ok(_) => self.systemd.remove(&service).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = removed {
                    tracing::warn!(%unit, %error, "cannot take away what no unit names any more");
                    continue;
                }
            }
            if let Err(error) = self.units.remove_file(&unit) {
                tracing::warn!(%unit, %error, "cannot remove its file");
                continue;
            }
            if !makes_what_stays(&unit) {
                self.cluster.forget_copy(&unit);
            }
            lock(&self.words).remove(&unit);
            lock(&self.names).remove(&service);
        }
    }

    /// The units that one names and that have failed, each with what is said of it.
    async fn failures_of_named(&self, unit: &UnitName) -> Vec<String> {
        let mut failures = Vec::new();
        for named in self.units.read_file(unit).iter().flat_map(list_references) {
            let Some(service) = self.units.expected_service(&named.unit) else { continue };
            let asked = self.systemd.observe_units(&[service.clone()].into()).await;
            let seen = asked.ok().and_then(|mut seen| seen.remove(&service));
            if seen.is_some_and(|seen| seen.observed.active == ActiveState::Failed) {
                failures.push(format!("{}, which it names, has failed ({service})", named.unit));
            }
        }
        failures
    }

    /// The outcome of a start, with what of it is the fault of a unit that this one names.
    async fn explain_outcome(&self, unit: &UnitName, outcome: StartOutcome) -> StartOutcome {
        match outcome {
            StartOutcome::Failed { problem } => {
                let mut problems = vec![problem];
                problems.extend(self.failures_of_named(unit).await);
                StartOutcome::Failed { problem: problems.join("; ") }
            }
            StartOutcome::Done => StartOutcome::Done,
        }
    }

    fn services_of(&self, units: &[UnitName]) -> Vec<UnitName> {
        units.iter().map(|unit| self.service_of(unit)).collect()
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
        let mut hindered = lock(&self.hindered).clone();
        hindered.retain(|unit, _| units.contains(unit));
        let asked = services.values().chain(hindered.values()).cloned().collect();
        let seen = self.systemd.observe_units(&asked).await?;
        let found = |service: &UnitName| seen.get(service).cloned().unwrap_or_default();
        let of = |(unit, service): (&UnitName, UnitName)| {
            let seen = found(&service);
            let seen =
                if *unit == service { seen } else { self.observation_of(unit, &service, seen) };
            let seen = match hindered.get(unit) {
                Some(next) => self.with_hindrance(unit, (next, found(next)), seen),
                None => seen,
            };
            (unit.clone(), seen)
        };
        Ok(services.into_iter().map(of).collect())
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        let service = quadlet_service(unit, file).unwrap_or_else(|| unit.clone());
        self.systemd.find_obstacle(&service, file)
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        let Some(by_name) = unit.quadlet_service() else {
            let taken = self.read_service(unit).and_then(|text| self.units.source_unit(&text));
            if let Some(other) = taken.filter(|other| self.units.is_shown(other)) {
                let problem = format!("{unit} is the service of {other} on this machine");
                return Err(RunnerError::Taken { problem });
            }
            return self.systemd.write(unit, hash, text).await;
        };
        let file = text.parse::<UnitFile>().ok();
        let service = file.as_ref().and_then(|file| quadlet_service(unit, file));
        let service = service.unwrap_or(by_name);
        // Whatever comes of it, nobody else is to look for the unit, or to take it away.
        lock(&self.hindered).insert(unit.clone(), service.clone());
        if let Some(problem) = self.find_obstruction(unit, &service).await? {
            return Err(RunnerError::Taken { problem });
        }
        let _one = self.making.lock().await;
        self.leave_service(unit, &service).await?;
        self.units
            .write_file(unit, text)
            .map_err(|error| files_error("write the file of", unit, &error))?;
        lock(&self.hindered).remove(unit);
        if let Some(file) = file.filter(|_| makes_what_stays(unit)) {
            self.cluster.keep_copy(unit, &file);
        }
        self.make_service(unit).await
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let service = self.service_of(unit);
        if service == *unit {
            return self.systemd.remove(unit).await;
        }
        let failed = |error: io::Error| files_error("remove the file of", unit, &error);
        let _one = self.making.lock().await;
        if self.units.is_shown(unit) && !naming_units(unit, &self.units).is_empty() {
            // Those who name it still need it, and it goes with the last of them.
            self.units.keep_for_others(unit).map_err(failed)?;
            lock(&self.hindered).remove(unit);
            self.release_unnamed().await;
            return Ok(());
        }
        // Of another's service nothing is ours, and where none lies systemd may still know ours.
        if self.name_taken(unit, &service).is_none() {
            self.systemd.remove(&service).await?;
        }
        let named = self.units.read_file(unit).map(|file| list_references(&file));
        self.units.remove_file(unit).map_err(failed)?;
        lock(&self.words).remove(unit);
        lock(&self.hindered).remove(unit);
        lock(&self.names).remove(&service);
        self.release_unnamed().await;
        self.discarder.request.notify_one();
        // A pod's service names those that are part of it.
        for pod in named.into_iter().flatten().map(|named| named.unit) {
            if pod.unit_type() == UnitType::Pod && self.units.is_shown(&pod) {
                self.make_service(&pod).await?;
            }
        }
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
        let start = self.systemd.start(&service, generation);
        let outcome = self.teller.tell_until(unit, start).await?;
        Ok(self.explain_outcome(unit, outcome).await)
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        let service = self.service_of(unit);
        if service != *unit
            && let Some(problem) = self.prepare_service(unit, &service).await?
        {
            return Ok(StartOutcome::Failed { problem });
        }
        let restart = self.systemd.restart(&service, generation);
        let outcome = self.teller.tell_until(unit, restart).await?;
        Ok(self.explain_outcome(unit, outcome).await)
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
