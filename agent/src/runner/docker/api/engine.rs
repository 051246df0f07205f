//! The line to a Docker engine.
//!
//! Owns the answer to whether the engine answers and which version of the API it speaks, and the sessions with it. It knows
//! nothing of units.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::container::{EngineRun, EngineSessions};
use muster_runtime::timeout;
use tokio::sync::watch;

use crate::runner::docker::api::tally::Tally;
use crate::runner::docker::client::{EngineClient, EngineError, EngineSetup};
use crate::stdx::sync::lock;

/// The oldest version of the API that is spoken: dockerd 20.10.
const OLDEST_API: Api = Api { major: 1, minor: 41 };

/// A version of Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// The state of the line to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineConnection {
    /// It has not been asked yet.
    Unasked,
    /// It does, and speaks this version.
    Up(Api),
    /// It does not, for this reason.
    Down(String),
}

/// A Docker engine.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Arc<dyn EngineClient>,
    socket: PathBuf,
    line: watch::Sender<EngineConnection>,
    sessions: Mutex<EngineSessions>,
    /// Counts of the work it was asked for.
    pub(crate) tally: Tally,
}

impl Engine {
    /// An engine that somebody speaks for, not asked yet. The socket is for people.
    pub(crate) fn new(client: Arc<dyn EngineClient>, socket: PathBuf) -> Self {
        let line = watch::Sender::new(EngineConnection::Unasked);
        Self { client, socket, line, sessions: Mutex::default(), tally: Tally::default() }
    }

    /// Whoever speaks for it.
    pub(crate) fn api_client(&self) -> &dyn EngineClient {
        &*self.client
    }

    /// Its socket.
    pub(crate) fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// The state of the line, as it changes.
    pub(crate) fn line(&self) -> watch::Receiver<EngineConnection> {
        self.line.subscribe()
    }

    /// The remark on a unit: while the engine does not answer, that it is as last known, and why no more is.
    pub(crate) fn remark_on(&self, known: &str) -> String {
        match &*self.line.borrow() {
            EngineConnection::Up(_) | EngineConnection::Unasked => known.to_owned(),
            EngineConnection::Down(problem) => EngineError::Lost(problem.clone()).to_string(),
        }
    }

    /// True while it answers.
    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.line.borrow(), EngineConnection::Up(_))
    }

    /// Waits until it answers.
    pub(crate) async fn wait_until_ready(&self) -> Api {
        let mut line = self.line();
        loop {
            if let EngineConnection::Up(api) = *line.borrow_and_update() {
                return api;
            }
            if line.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same, but not for long. `Err` has the reason it does not.
    pub(crate) async fn wait_until_ready_within(&self, limit: Duration) -> Result<Api, String> {
        timeout(limit, self.wait_until_ready()).await.map_err(|_| match &*self.line.borrow() {
            EngineConnection::Down(problem) => problem.clone(),
            EngineConnection::Up(_) | EngineConnection::Unasked => "not in time".to_owned(),
        })
    }

    /// The same for somebody who looks: where it is known not to answer there is nothing to wait for.
    pub(crate) async fn known_within(&self, limit: Duration) -> Result<Api, String> {
        if let EngineConnection::Down(problem) = &*self.line.borrow() {
            return Err(problem.clone());
        }
        self.wait_until_ready_within(limit).await
    }

    /// Notes that it is about to answer, again or for the first time.
    pub(crate) fn begin_session(&self, run: EngineRun) {
        lock(&self.sessions).begin(run);
    }

    /// The sessions with it so far.
    pub(crate) fn sessions_so_far(&self) -> EngineSessions {
        *lock(&self.sessions)
    }

    /// Says that it answers. Returns whether that is news.
    pub(crate) fn mark_up(&self, api: Api) -> bool {
        self.line.send_replace(EngineConnection::Up(api)) != EngineConnection::Up(api)
    }

    /// Says that it does not. Returns whether that is news.
    pub(crate) fn mark_down(&self, problem: String) -> bool {
        lock(&self.sessions).note_silence();
        matches!(self.line.send_replace(EngineConnection::Down(problem)), EngineConnection::Up(_))
    }

    /// Asks which version it speaks.
    pub(crate) async fn ask_api_version(&self) -> Result<Api, EngineError> {
        let version = self.client.ask_version().await?;
        let api = version.as_deref().and_then(Api::parse).ok_or_else(|| {
            EngineError::new_refusal("it does not say which version of Docker's API it speaks")
        })?;
        if api < OLDEST_API {
            return Err(EngineError::new_refusal(format!(
                "it speaks version {api} of Docker's API, and {OLDEST_API} (dockerd 20.10) is the oldest that will do"
            )));
        }
        Ok(api)
    }

    /// Asks how it is set up.
    pub(crate) async fn ask_setup(&self) -> Result<EngineSetup, EngineError> {
        self.client.ask_setup().await
    }
}

impl Api {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() {
        let api = |text| Api::parse(text).unwrap();
        assert!(api("1.9") < OLDEST_API && api("1.41") == OLDEST_API && api("1.100") > OLDEST_API);
        assert_eq!((Api::parse("1"), Api::parse("1.x")), (None, None));
        assert_eq!(api("1.43").to_string(), "1.43");
    }
}
