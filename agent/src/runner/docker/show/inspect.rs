//! A close look at one unit, for a person.
//!
//! Owns what is gathered: what the unit's task says, its file, and the engine's word on its container. An engine that does
//! not answer is said to be away; the rest is known without it. It changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use muster_common::container::describe;
use muster_common::state::ActiveState;
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::container::JOURNALD;

use crate::runner::docker::client::{ContainerDetails, EngineError};
use crate::runner::docker::runner::Docker;
use crate::stdx::files::read_text;
use crate::stdx::sync::lock;

/// The time that a person waits for the engine.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(3);

/// A unit as this machine has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InspectedUnit {
    /// The path of its file.
    pub file: PathBuf,
    /// This machine: its name and its id.
    pub machine: String,
    /// `Description=`.
    pub description: String,
    /// systemd's words.
    pub load: String,
    /// systemd's words.
    pub active: ActiveState,
    /// systemd's words.
    pub sub: String,
    /// Seconds since the Unix epoch; 0 when that is not known.
    pub since: u64,
    /// systemd's `Result` of one that has failed; empty otherwise.
    pub result: String,
    /// Count of starts it made by itself since the cluster last asked.
    pub restarts: u32,
    /// A remark for people; empty when there is none.
    pub remark: String,
    /// The reason its file cannot be used, if it cannot.
    pub problem: String,
    /// Its container, if there is one and the engine answers.
    pub container: Option<Container>,
    /// The reason the engine does not answer, if it does not.
    pub engine: Option<String>,
}

/// A container as the engine has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as its file names it.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Its first process, while it runs.
    pub pid: Option<i64>,
    /// Docker's word: `running`, `exited`, ...
    pub status: String,
    /// Its exit code, once it has ended.
    pub code: Option<i64>,
    /// True if the kernel ended it for want of memory.
    pub oom: bool,
    /// The engine's words on what went wrong; empty when nothing did.
    pub error: String,
    /// Docker's word, where there is a check; and what the last check printed.
    pub health: Option<(String, String)>,
    /// Who keeps its output.
    pub log_driver: String,
    /// True if the journal marks its output as the unit's.
    pub marked: bool,
}

impl Docker {
    /// A close look at a unit; `None`: it is not here.
    pub async fn inspect_unit(&self, unit: &UnitName) -> Option<InspectedUnit> {
        let file = self.context.files.join(unit.as_str());
        let text = read_text(&*self.context.world.disk, &file);
        let status = self.find_or_take_up(unit).map(|handle| handle.status.borrow().clone());
        let refused = lock(&self.refused).get(unit).cloned();
        if text.is_none() && status.is_none() {
            return None;
        }
        let host = &self.context.host;
        let parsed = text.and_then(|text| text.parse::<UnitFile>().ok());
        let mut unit_shown = InspectedUnit {
            file,
            machine: format!("{} ({})", host.name, host.machine_id),
            description: parsed.map(|file| describe(unit, &file, host)).unwrap_or_default(),
            load: if refused.is_some() { "bad-setting" } else { "loaded" }.to_owned(),
            active: ActiveState::Inactive,
            sub: "dead".to_owned(),
            ..InspectedUnit::default()
        };
        if let Some(status) = status {
            unit_shown.active = status.active;
            unit_shown.sub = status.sub;
            unit_shown.since = status.since;
            unit_shown.result = status.result;
            unit_shown.restarts = status.restarts;
            unit_shown.remark = status.remark;
            match self.inspect_container(status.container.as_deref()).await {
                Ok(container) => unit_shown.container = container,
                Err(error) => unit_shown.engine = Some(error.to_string()),
            }
        }
        if let Some(problem) = refused {
            unit_shown.problem = problem;
        }
        Some(unit_shown)
    }

    /// The engine's word on a container; `None`: there is none. Fails when the engine does not answer within the limit.
    pub(crate) async fn inspect_container(
        &self,
        id: Option<&str>,
    ) -> Result<Option<Container>, EngineError> {
        let engine = &self.context.engine;
        engine.known_within(ENGINE_TIMEOUT).await.map_err(EngineError::Lost)?;
        let Some(id) = id else { return Ok(None) };
        let asked = engine.api_client().inspect_container(id);
        match muster_runtime::timeout(ENGINE_TIMEOUT, asked).await {
            Ok(Ok(answer)) => Ok(Some(Container::from(answer))),
            Ok(Err(error)) if error.is_absent() => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(EngineError::Lost("not in time".to_owned())),
        }
    }
}

impl From<ContainerDetails> for Container {
    fn from(found: ContainerDetails) -> Self {
        let ended = matches!(found.status.as_str(), "exited" | "dead");
        let unit_label = |label: &str| label == muster_engine::container::LABEL_UNIT;
        let labels = found.log_labels.as_deref().unwrap_or_default();
        // Docker says `none` where there is no check.
        let health = found.health.filter(|status| !status.is_empty() && status != "none");
        Self {
            id: found.id,
            name: found.name,
            image: found.image,
            image_id: found.image_id,
            pid: found.pid.filter(|pid| *pid > 0),
            code: found.exit_code.filter(|_| ended),
            status: found.status,
            oom: found.oom,
            error: found.error,
            health: health.map(|status| (status, found.check_output)),
            marked: found.log_driver == JOURNALD && labels.split(',').any(unit_label),
            log_driver: found.log_driver,
        }
    }
}
