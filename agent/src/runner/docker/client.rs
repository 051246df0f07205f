//! A container engine, as far as the runner asks it for anything.
//!
//! Owns the seam between the runner and whoever speaks for an engine: the requests that are made, their answers, and the two
//! kinds of failure. On a host Docker's API is behind it, and bollard stops there; in a simulator a model of an engine. Nothing
//! here waits, tries again or knows of units.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::HeaderValue;
use muster_engine::container::body;

/// The time for a call that an engine answers once it is done. One with a slow disk and a hundred containers to make
/// at once takes its time.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The time for one that moves an image.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The time in which an engine has to say that it is there.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that comes in pieces.
pub type EngineStream<T> = BoxStream<'static, Result<T, EngineError>>;

/// Whoever speaks for a container engine. Each call fails as [`EngineError`] says; one that is not answered in its time is lost.
/// A call that is dropped may have been carried out.
#[async_trait]
pub trait EngineClient: fmt::Debug + Send + Sync + 'static {
    /// The version of Docker's API that it speaks, as it writes it. Answered within [`GREETING_TIMEOUT`].
    async fn ask_version(&self) -> Result<Option<String>, EngineError>;

    /// The setup of the engine. Answered within [`GREETING_TIMEOUT`].
    async fn ask_setup(&self) -> Result<EngineSetup, EngineError>;

    /// The events of containers with this label, `NAME=VALUE`, from a second since the Unix epoch on, for as long as the line
    /// holds.
    fn follow_events(&self, since: u64, label: &str) -> EngineStream<EngineEvent>;

    /// All containers that have these labels, `NAME=VALUE` each.
    async fn list_containers(&self, labels: &[String]) -> Result<Vec<ContainerEntry>, EngineError>;

    /// A close look at one, by id or name.
    async fn inspect_container(&self, name: &str) -> Result<ContainerDetails, EngineError>;

    /// Makes one that does not run yet.
    async fn create_container(
        &self,
        name: &str,
        body: &body::Create,
    ) -> Result<CreatedContainer, EngineError>;

    /// Starts one. Nothing happens to one that runs.
    async fn start_container(&self, id: &str) -> Result<(), EngineError>;

    /// Sends a signal to one that runs.
    async fn kill_container(&self, id: &str, signal: &str) -> Result<(), EngineError>;

    /// Lets one go on that was paused.
    async fn unpause_container(&self, id: &str) -> Result<(), EngineError>;

    /// Stops one as its own settings say, and waits until it has ended. Answered within [`TRANSFER_TIMEOUT`].
    async fn stop_container(&self, id: &str) -> Result<(), EngineError>;

    /// Removes one, running or not, with the volumes that have no name.
    async fn remove_container(&self, id: &str) -> Result<(), EngineError>;

    /// Waits until one that is being removed is gone, or until that cannot be told.
    async fn wait_until_removed(&self, id: &str);

    /// Joins one to a network.
    async fn connect_network(
        &self,
        network: &str,
        id: &str,
        endpoint: &body::Endpoint,
    ) -> Result<(), EngineError>;

    /// The archive of a directory in one. Answered within [`TRANSFER_TIMEOUT`].
    fn read_directory(&self, id: &str, path: &str) -> EngineStream<Bytes>;

    /// The output of one, each entry with its time before it: the last lines, a number of them or `all`, and those to come.
    /// Answered within [`TRANSFER_TIMEOUT`].
    fn read_output(&self, id: &str, tail: &str, follow: bool) -> EngineStream<OutputEntry>;

    /// The settings of an image that is there.
    async fn inspect_image(&self, name: &str) -> Result<ImageDetails, EngineError>;

    /// Fetches an image. Credentials are the value of the header that Docker's API has for them. Answered within
    /// [`TRANSFER_TIMEOUT`].
    fn pull_image(
        &self,
        repository: &str,
        tag: &str,
        credentials: Option<HeaderValue>,
    ) -> EngineStream<PullLine>;

    /// Loads the images of an archive, and says in its own words which they are. Answered within [`TRANSFER_TIMEOUT`].
    async fn load_images(&self, archive: &Path) -> Result<EngineStream<String>, EngineError>;

    /// Fails where there is no volume of that name.
    async fn inspect_volume(&self, name: &str) -> Result<(), EngineError>;

    /// Makes a volume.
    async fn create_volume(&self, body: &body::VolumeCreate) -> Result<(), EngineError>;

    /// The volumes that have these labels, or some of them.
    async fn list_volumes(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError>;

    /// Removes a volume.
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;

    /// Fails where there is no network of that name.
    async fn inspect_network(&self, name: &str) -> Result<(), EngineError>;

    /// Makes a network.
    async fn create_network(&self, body: &body::NetworkCreate) -> Result<(), EngineError>;

    /// The networks that have these labels, or some of them.
    async fn list_networks(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError>;

    /// Removes a network, by its id.
    async fn remove_network(&self, id: &str) -> Result<(), EngineError>;
}

/// Why the engine did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It did not answer; whether it did as asked is not known.
    #[error("the container engine does not answer: {0}")]
    Lost(String),
    /// It refused.
    #[error("{problem}")]
    Refused {
        /// The status of its answer; 0 where it refused in the middle of one.
        status: u16,
        /// Why, in its own words.
        problem: String,
    },
}

impl EngineError {
    /// A refusal of our own, in the engine's place.
    pub(crate) fn new_refusal(problem: impl Into<String>) -> Self {
        Self::Refused { status: 0, problem: problem.into() }
    }

    /// The problem alone, without the words that say whose it is.
    pub(crate) fn into_problem(self) -> String {
        match self {
            Self::Lost(problem) | Self::Refused { problem, .. } => problem,
        }
    }

    /// True if the thing that was asked about is not there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// True if a name is taken. Podman says so in words only.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_conflict()
            || matches!(self, Self::Refused { problem, .. } if problem.contains("is already in use"))
    }

    /// True if it cannot be done in the state things are in: a name that is taken, a container that does not run.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

/// The setup of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSetup {
    /// Who keeps output where a container does not say.
    pub log_driver: String,
    /// All who can.
    pub log_drivers: Vec<String>,
    /// Who keeps the engine's control groups: `systemd`, or itself, `cgroupfs`.
    pub cgroup_driver: String,
    /// True if its containers go on while it is away, as far as it says.
    pub live_restore: Option<bool>,
    /// Tells one process of it from the next, where anything does.
    pub process: Option<u64>,
    /// True if it has directories with descriptions of devices by the names of the Container Device Interface.
    pub has_cdi: bool,
    /// Those it has found there.
    pub cdi_devices: BTreeSet<String>,
}

/// Something has happened to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEvent {
    /// Docker's word for it.
    pub action: String,
    /// The container's labels.
    pub labels: BTreeMap<String, String>,
}

/// A container in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerEntry {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its names, without the slash that the engine puts before each.
    pub names: Vec<String>,
    /// True if it runs, is paused, or is between two runs.
    pub runs: bool,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
}

/// A container that has been made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its id.
    pub id: String,
    /// The engine's remarks.
    pub warnings: Vec<String>,
}

/// A container, closely looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerDetails {
    /// Its id.
    pub id: String,
    /// Its name, without the slash before it.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its image as it was named.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Docker's word: `running`, `exited`, ...
    pub status: String,
    /// The code of its last end; nothing of one that has not run.
    pub exit_code: Option<i64>,
    /// True if the kernel ended it for want of memory.
    pub oom: bool,
    /// True if it stands still.
    pub paused: bool,
    /// Its first process; 0 while it does not run.
    pub pid: Option<i64>,
    /// The engine's words on what went wrong; empty when nothing did.
    pub error: String,
    /// The signal that asks it to stop, where it or its image names one.
    pub stop_signal: Option<String>,
    /// Docker's word on its health, where there is a check.
    pub health: Option<String>,
    /// The text that the last check printed.
    pub check_output: String,
    /// Who keeps its output.
    pub log_driver: String,
    /// The labels that its output is marked with, with commas between them.
    pub log_labels: Option<String>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEntry {
    /// Its time, a space and its text.
    pub text: Bytes,
    /// True if it was printed on standard error.
    pub is_error: bool,
}

/// The settings of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDetails {
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// The arguments for it.
    pub command: Vec<String>,
    /// Whom it runs as; empty for root.
    pub user: String,
}

/// A line of what is said while an image is fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullLine {
    /// The layer it is about.
    pub layer: Option<String>,
    /// The engine's word for what it does with it.
    pub status: Option<String>,
    /// The bytes that are done, and all there are.
    pub progress: Option<(i64, i64)>,
}

/// A volume or a network in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkedResource {
    /// Its name.
    pub name: String,
    /// Its id; a volume has its name.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_silence() {
        let error =
            EngineError::Refused { status: 404, problem: "No such container: x".to_owned() };
        assert!(error.is_absent() && !error.is_conflict());
        assert_eq!(error.to_string(), "No such container: x");
        let silence = EngineError::Lost("x".to_owned());
        assert!(!silence.is_absent() && !silence.is_taken());
        assert_eq!(silence.into_problem(), "x");
    }
}
