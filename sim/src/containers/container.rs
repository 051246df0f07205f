//! One container of the model.
//!
//! Owns what it is made of and where it stands in its life. When it goes on is the model's to say.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::unit::{FileHash, UnitName};
use muster_engine::container::{LABEL_FILE, LABEL_GENERATION, LABEL_UNIT, body};
use musterd::runner::docker::client::{ContainerDetails, ContainerEntry};

use super::program::ContainerProgram;

/// The seconds that a container has to end in once it was asked to, where its body says nothing.
const STOP_SECONDS: u64 = 10;

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContainerState {
    /// It was made and has not run.
    Created,
    /// It runs.
    Running,
    /// It runs, and stands still.
    Paused,
    /// It has run.
    Exited,
    /// It is being removed.
    Removing,
}

/// A container.
#[derive(Debug, Clone)]
pub(super) struct SimulatedContainer {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) image: String,
    pub(super) program: ContainerProgram,
    pub(super) state: ContainerState,
    /// Counts its runs: what was to happen in an earlier one does not.
    pub(super) run: u64,
    pub(super) exit_code: i64,
    pub(super) is_oom: bool,
    pub(super) error: String,
    /// Docker's word on its health, where it has a check.
    pub(super) health: Option<&'static str>,
    pub(super) has_check: bool,
    /// True once it was asked to end in this run.
    pub(super) is_stopping: bool,
    pub(super) stop_grace: Duration,
    pub(super) stop_signal: String,
    log_driver: String,
    /// When it was made, in seconds since the Unix epoch.
    pub(super) created: u64,
}

impl SimulatedContainer {
    /// One that has just been made.
    pub(super) fn new(name: &str, body: &body::Create, wall: u64) -> Self {
        let command = body.cmd.clone().unwrap_or_default();
        let log = body.host_config.log_config.as_ref();
        Self {
            name: name.to_owned(),
            labels: body.labels.clone(),
            image: body.image.clone(),
            program: ContainerProgram::from_command(&command),
            state: ContainerState::Created,
            run: 0,
            exit_code: 0,
            is_oom: false,
            error: String::new(),
            health: None,
            has_check: body.healthcheck.is_some(),
            is_stopping: false,
            stop_grace: Duration::from_secs(body.stop_timeout.unwrap_or(STOP_SECONDS)),
            stop_signal: body.stop_signal.clone().unwrap_or_else(|| "SIGTERM".to_owned()),
            log_driver: log.map(|log| log.kind.clone()).unwrap_or_default(),
            created: wall,
        }
    }

    /// True while it has processes.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Paused)
    }

    /// The unit it is labelled as.
    pub(super) fn unit(&self) -> Option<UnitName> {
        self.labels.get(LABEL_UNIT)?.parse().ok()
    }

    /// The file it was made from.
    pub(super) fn unit_file(&self) -> Option<FileHash> {
        self.labels.get(LABEL_FILE)?.parse().ok()
    }

    /// The generation it was made at.
    pub(super) fn generation(&self) -> u64 {
        self.labels.get(LABEL_GENERATION).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// True if it has all of these labels, `NAME=VALUE` each.
    pub(super) fn has_labels(&self, labels: &[String]) -> bool {
        labels.iter().all(|label| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            self.labels.get(name).is_some_and(|is| is == value)
        })
    }

    fn status_word(&self) -> &'static str {
        match self.state {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Exited => "exited",
            ContainerState::Removing => "removing",
        }
    }

    /// Its line in the list.
    pub(super) fn to_entry(&self, id: &str) -> ContainerEntry {
        ContainerEntry {
            id: id.to_owned(),
            labels: self.labels.clone(),
            names: vec![self.name.clone()],
            runs: self.is_up(),
            created: self.created,
        }
    }

    /// A close look at it.
    pub(super) fn to_details(&self, id: &str) -> ContainerDetails {
        ContainerDetails {
            id: id.to_owned(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            image: self.image.clone(),
            image_id: format!("sha256:{}", self.image),
            status: self.status_word().to_owned(),
            exit_code: Some(self.exit_code),
            oom: self.is_oom,
            paused: self.state == ContainerState::Paused,
            pid: Some(i64::from(self.is_up()) * 4242),
            error: self.error.clone(),
            stop_signal: Some(self.stop_signal.clone()),
            health: self.health.map(str::to_owned),
            check_output: String::new(),
            log_driver: self.log_driver.clone(),
            log_labels: None,
        }
    }
}
