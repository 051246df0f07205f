//! The line between a daemon and the model of a container engine on its machine.
//!
//! Owns what may go wrong on it: it breaks and comes back while containers run on, a call is heard and its answer is lost, an answer
//! is late. The real runner stands on one end of it ([`musterd::runner::docker::Docker`]) and the model on the other.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderValue;
use muster_common::container::{Condition, HostFacts, Sensitive};
use muster_common::machine::MachineId;
use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::container::{ConditionAnswer, body};
use muster_runtime::timeout;
use musterd::runner::RunnerEvents;
use musterd::runner::Sources;
use musterd::runner::docker::client::{
    CALL_TIMEOUT, ContainerDetails, ContainerEntry, CreatedContainer, EngineClient, EngineError,
    EngineEvent, EngineSetup, EngineStream, GREETING_TIMEOUT, ImageDetails, MarkedResource,
    OutputEntry, PullLine, TRANSFER_TIMEOUT,
};
use musterd::runner::docker::host::{ArchiveStamp, ContainerHost, SecretAccess};
use musterd::runner::docker::{ContainerWorld, Docker, Settings};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::Disk;

use super::books::ContainerStart;
use super::calls::{EngineAnswer, EngineCall};
use super::container::SimulatedContainer;
use super::state::{EngineModel, EngineProcess};
use crate::host_unit::HostUnit;

/// The directory of a daemon's files of container units on a simulated machine.
pub const FILE_DIRECTORY: &str = "/run/muster/containers";

/// The problem with an engine that is not there, or a line that is broken.
const REFUSED: &str = "connection refused";
/// The problem with one that goes in the middle of a call.
const RESET: &str = "connection reset by peer";

/// A machine's container engine, and the daemon that asks it, if any. Cheap to clone: all are the same.
#[derive(Clone)]
pub struct SimulatedEngine(Arc<Mutex<EngineLine>>);

struct EngineLine {
    model: EngineModel,
    is_up: bool,
    /// The time since the machine's boot, as its daemon sees it.
    up: Duration,
}

impl std::fmt::Debug for SimulatedEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedEngine").finish_non_exhaustive()
    }
}

impl SimulatedEngine {
    /// The engine of a machine, with a line that is up.
    pub fn new(model: EngineModel) -> Self {
        let up = Duration::ZERO;
        Self(Arc::new(Mutex::new(EngineLine { model, is_up: true, up })))
    }

    /// The runner of a daemon that begins now. To be called as the daemon's node.
    pub fn connect(
        &self,
        machine: MachineId,
        cluster: &str,
        (disk, wall): (Arc<dyn Disk>, Wall),
        (sources, userspace): (Arc<dyn Sources>, Option<String>),
    ) -> (Docker, RunnerEvents) {
        let world = ContainerWorld { host: Arc::new(self.clone()), disk, wall };
        let settings = Settings {
            socket: PathBuf::from("/sim/docker.sock"),
            machine,
            cluster: cluster.to_owned(),
            userspace,
            run_dir: PathBuf::from("/run/muster"),
            state_dir: PathBuf::from("/var/lib/muster"),
            secrets: PathBuf::from("/sim/secrets"),
            credentials: None,
            sources,
        };
        Docker::with_client(Arc::new(self.clone()), world, settings)
    }

    /// The daemon is gone. What it has asked for is heard.
    pub fn lose_connection(&self) {
        self.with_model(EngineModel::break_lines);
    }

    /// Breaks the line, or mends it.
    pub fn set_line(&self, is_up: bool) {
        let was_up = std::mem::replace(&mut self.lock().is_up, is_up);
        if was_up && !is_up {
            self.with_model(EngineModel::break_lines);
        }
    }

    /// Does something with the model.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut EngineModel) -> T) -> T {
        act(&mut self.lock().model)
    }

    /// Lets time pass; `up` is the time since the machine's boot.
    pub fn advance_to(&self, now: Duration, wall: u64, up: Duration) {
        let mut line = self.lock();
        line.up = up;
        line.model.advance_to(now, wall);
    }

    /// The moment at which something happens by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lock().model.next_deadline()
    }

    /// A daemon is about to ask for a start.
    pub fn note_wish(&self, unit: &UnitName, generation: u64) {
        self.lock().model.books.note_mut(unit).wanted = generation;
    }

    /// The outcome of what a daemon has asked for: nothing new is to run, or its start has failed.
    pub fn note_outcome(&self, unit: &UnitName, has_failed: bool) {
        let mut line = self.lock();
        let notes = line.model.books.note_mut(unit);
        notes.ended |= has_failed;
        notes.generation = notes.wanted;
    }

    /// A daemon has put a file in its place, or was told that nothing of its unit is left.
    pub fn note_file(&self, unit: &UnitName, file: Option<FileHash>) {
        let mut line = self.lock();
        let now = line.model.now;
        let notes = line.model.books.note_mut(unit);
        notes.written = file.map(|file| (file, now));
    }

    /// A unit as it is; `None`: there is nothing of it.
    pub(crate) fn find_unit(&self, unit: &UnitName, disk: &dyn Disk) -> Option<HostUnit> {
        let bytes = disk.read(&Path::new(FILE_DIRECTORY).join(unit.as_str())).ok();
        let file = bytes.map(|bytes| FileHash::of_text(&String::from_utf8_lossy(&bytes)));
        let line = self.lock();
        let up = line.model.find_up(unit);
        if file.is_none() && up.is_none() {
            return None;
        }
        let notes = line.model.books.find(unit);
        let active = match up {
            None => ActiveState::Inactive,
            Some(container) if container.is_stopping => ActiveState::Deactivating,
            Some(_) if unit.as_str().starts_with("job") => ActiveState::Activating,
            Some(_) => ActiveState::Active,
        };
        Some(HostUnit {
            file,
            running: up.and_then(SimulatedContainer::unit_file),
            active,
            generation: notes.generation,
            ended: notes.ended,
            by_others: notes.by_others,
        })
    }

    /// Takes all that has happened since this was called last.
    pub(crate) fn take_news(&self) -> EngineNews {
        let books = &mut self.lock().model.books;
        EngineNews {
            starts: std::mem::take(&mut books.starts),
            changes: std::mem::take(&mut books.changes),
        }
    }

    /// The programs that were started since this was called last, in order.
    pub fn take_starts(&self) -> Vec<ContainerStart> {
        std::mem::take(&mut self.lock().model.books.starts)
    }

    /// True if the container of this name is there, by name or id.
    pub fn has_container(&self, name: &str) -> bool {
        self.lock().model.find_id(name).is_some()
    }

    /// True if the container of a unit runs.
    pub fn is_running(&self, unit: &UnitName) -> bool {
        self.lock().model.count_up(unit) > 0
    }

    fn lock(&self) -> MutexGuard<'_, EngineLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, limit: Duration, call: EngineCall) -> Result<EngineAnswer, EngineError> {
        let lost = |problem: &str| EngineError::Lost(problem.to_owned());
        let answer = {
            let mut line = self.lock();
            if !line.is_up || line.model.process == EngineProcess::Down {
                return Err(lost(REFUSED));
            }
            line.model.send_call(call)
        };
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(lost(RESET)),
            Err(_) => Err(lost("timeout was reached")),
        }
    }

    async fn ask(&self, call: EngineCall) -> Result<EngineAnswer, EngineError> {
        self.call(CALL_TIMEOUT, call).await
    }

    async fn list_resources(&self, call: EngineCall) -> Result<Vec<MarkedResource>, EngineError> {
        match self.ask(call).await? {
            EngineAnswer::Resources(found) => Ok(found),
            _ => Err(strange()),
        }
    }
}

/// The news of the containers of a machine.
#[derive(Debug)]
pub(crate) struct EngineNews {
    /// Programs that were started.
    pub(crate) starts: Vec<ContainerStart>,
    /// The fate of units, in a word.
    pub(crate) changes: Vec<(UnitName, &'static str)>,
}

fn strange() -> EngineError {
    EngineError::Lost("an answer to another question".to_owned())
}

#[async_trait]
impl EngineClient for SimulatedEngine {
    async fn ask_version(&self) -> Result<Option<String>, EngineError> {
        match self.call(GREETING_TIMEOUT, EngineCall::Version).await? {
            EngineAnswer::Version(version) => Ok(Some(version)),
            _ => Err(strange()),
        }
    }

    async fn ask_setup(&self) -> Result<EngineSetup, EngineError> {
        match self.call(GREETING_TIMEOUT, EngineCall::Setup).await? {
            EngineAnswer::Setup(setup) => Ok(setup),
            _ => Err(strange()),
        }
    }

    fn follow_events(&self, since: u64, _: &str) -> EngineStream<EngineEvent> {
        let mut line = self.lock();
        if !line.is_up || line.model.process == EngineProcess::Down {
            return stream::once(async { Err(EngineError::Lost(REFUSED.to_owned())) }).boxed();
        }
        let listener = line.model.add_listener(since);
        let next = async |mut listener: tokio::sync::mpsc::UnboundedReceiver<_>| {
            let event = listener.recv().await?;
            Some((event, listener))
        };
        stream::unfold(listener, next).boxed()
    }

    async fn list_containers(&self, labels: &[String]) -> Result<Vec<ContainerEntry>, EngineError> {
        match self.ask(EngineCall::List(labels.to_vec())).await? {
            EngineAnswer::Containers(found) => Ok(found),
            _ => Err(strange()),
        }
    }

    async fn inspect_container(&self, name: &str) -> Result<ContainerDetails, EngineError> {
        match self.ask(EngineCall::Inspect(name.to_owned())).await? {
            EngineAnswer::Details(found) => Ok(*found),
            _ => Err(strange()),
        }
    }

    async fn create_container(
        &self,
        name: &str,
        body: &body::Create,
    ) -> Result<CreatedContainer, EngineError> {
        let (name, body) = (name.to_owned(), Box::new(body.clone()));
        match self.ask(EngineCall::Create { name, body }).await? {
            EngineAnswer::Created(made) => Ok(made),
            _ => Err(strange()),
        }
    }

    async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::Start(id.to_owned())).await.map(|_| ())
    }

    async fn kill_container(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let (id, signal) = (id.to_owned(), signal.to_owned());
        self.ask(EngineCall::Kill { id, signal }).await.map(|_| ())
    }

    async fn unpause_container(&self, id: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::Unpause(id.to_owned())).await.map(|_| ())
    }

    async fn stop_container(&self, id: &str) -> Result<(), EngineError> {
        self.call(TRANSFER_TIMEOUT, EngineCall::Stop(id.to_owned())).await.map(|_| ())
    }

    async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::Remove(id.to_owned())).await.map(|_| ())
    }

    async fn wait_until_removed(&self, id: &str) {
        let _ = self.ask(EngineCall::WaitUntilRemoved(id.to_owned())).await;
    }

    async fn connect_network(
        &self,
        network: &str,
        _: &str,
        _: &body::Endpoint,
    ) -> Result<(), EngineError> {
        self.ask(EngineCall::FindNetwork(network.to_owned())).await.map(|_| ())
    }

    fn read_directory(&self, _: &str, _: &str) -> EngineStream<Bytes> {
        stream::empty().boxed()
    }

    fn read_output(&self, _: &str, _: &str, _: bool) -> EngineStream<OutputEntry> {
        stream::empty().boxed()
    }

    async fn inspect_image(&self, name: &str) -> Result<ImageDetails, EngineError> {
        self.ask(EngineCall::InspectImage(name.to_owned())).await.map(|_| ImageDetails::default())
    }

    fn pull_image(
        &self,
        repository: &str,
        tag: &str,
        _: Option<HeaderValue>,
    ) -> EngineStream<PullLine> {
        let (engine, image) = (self.clone(), format!("{repository}:{tag}"));
        let pull = async move {
            let pulled = engine.call(TRANSFER_TIMEOUT, EngineCall::Pull(image)).await;
            pulled.map(|_| PullLine::default())
        };
        stream::once(pull).boxed()
    }

    async fn load_images(&self, _: &Path) -> Result<EngineStream<String>, EngineError> {
        Ok(stream::empty().boxed())
    }

    async fn inspect_volume(&self, name: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::FindVolume(name.to_owned())).await.map(|_| ())
    }

    async fn create_volume(&self, body: &body::VolumeCreate) -> Result<(), EngineError> {
        self.ask(EngineCall::CreateVolume(body.clone())).await.map(|_| ())
    }

    async fn list_volumes(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError> {
        self.list_resources(EngineCall::ListVolumes(labels.to_vec())).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::RemoveVolume(name.to_owned())).await.map(|_| ())
    }

    async fn inspect_network(&self, name: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::FindNetwork(name.to_owned())).await.map(|_| ())
    }

    async fn create_network(&self, body: &body::NetworkCreate) -> Result<(), EngineError> {
        self.ask(EngineCall::CreateNetwork(body.clone())).await.map(|_| ())
    }

    async fn list_networks(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError> {
        self.list_resources(EngineCall::ListNetworks(labels.to_vec())).await
    }

    async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        self.ask(EngineCall::RemoveNetwork(id.to_owned())).await.map(|_| ())
    }
}

/// The machine around it has no facts that differ from another's, and no files that a unit could name.
#[async_trait]
impl ContainerHost for SimulatedEngine {
    fn read_facts(&self, machine: &MachineId) -> HostFacts {
        HostFacts { machine_id: machine.to_string(), ..HostFacts::stand_in() }
    }

    fn since_boot(&self) -> Duration {
        self.lock().up
    }

    fn has_journal(&self) -> bool {
        true
    }

    fn environment_variables(&self) -> BTreeMap<String, Sensitive> {
        BTreeMap::new()
    }

    fn has_path(&self, _: &Path) -> bool {
        false
    }

    async fn check_condition(&self, _: &Condition) -> ConditionAnswer {
        ConditionAnswer::Yes
    }

    fn read_for_unit(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    async fn read_for_unit_apart(&self, path: &Path) -> io::Result<String> {
        self.read_for_unit(path)
    }

    async fn read_whole(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn archive_stamp(&self, _: &Path) -> Option<ArchiveStamp> {
        None
    }

    async fn lay_secret(&self, _: &Path, _: &Sensitive, _: SecretAccess) -> io::Result<()> {
        Ok(())
    }

    fn clear_secrets(&self, _: &Path) {}
}
