//! The line to a Docker engine.
//!
//! Owns the socket, the answer to whether the engine answers and which version of the API it speaks, and the two kinds of
//! failure a call can have. It knows nothing of units.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, Docker};
use muster_engine::container::EngineSessions;
use tokio::sync::watch;

use crate::runner::docker::api::tally::Tally;
use crate::stdx::errors::error_chain;
use crate::stdx::sync::lock;

/// The time for a call that an engine answers once it is done. One with a slow disk and a hundred containers to make
/// at once takes its time.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The time for one that moves an image.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The time in which an engine has to say that it is there.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Why the engine did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
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

/// A Docker engine.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    line: watch::Sender<EngineConnection>,
    sessions: Mutex<EngineSessions>,
    /// Counts of the work it was asked for.
    pub(crate) tally: Tally,
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

impl From<bollard::errors::Error> for EngineError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Refused { status: status_code, problem: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => {
                Self::Refused { status: 0, problem: error.trim().to_owned() }
            }
            // An answer nobody understands is an answer. Asking again brings the same.
            // What it says is not repeated: a container's environment may stand there.
            Error::JsonDataError { column, .. } => {
                Self::new_refusal(format!("unreadable answer, at its byte {column}"))
            }
            Error::JsonSerdeError { err } => {
                Self::new_refusal(format!("unreadable answer ({:?})", err.classify()))
            }
            error => Self::Lost(error_chain(&error)),
        }
    }
}

impl Engine {
    /// An engine on this socket, not asked yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let line = watch::Sender::new(EngineConnection::Unasked);
        Self { socket, line, sessions: Mutex::default(), tally: Tally::default() }
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
        tokio::time::timeout(limit, self.wait_until_ready()).await.map_err(|_| {
            match &*self.line.borrow() {
                EngineConnection::Down(problem) => problem.clone(),
                EngineConnection::Up(_) | EngineConnection::Unasked => "not in time".to_owned(),
            }
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
    pub(crate) fn begin_session(&self, live_restore: Option<bool>) {
        lock(&self.sessions).begin(live_restore);
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
        matches!(self.line.send_replace(EngineConnection::Down(problem)), EngineConnection::Up(_))
    }

    /// For calls that are answered once they are done.
    pub(crate) fn call_client(&self) -> Result<Docker, EngineError> {
        self.new_client(CALL_TIMEOUT)
    }

    /// For calls that move an image.
    pub(crate) fn transfer_client(&self) -> Result<Docker, EngineError> {
        self.new_client(TRANSFER_TIMEOUT)
    }

    /// Asks which version it speaks.
    pub(crate) async fn ask_api_version(&self) -> Result<Api, EngineError> {
        let version = self.new_client(GREETING_TIMEOUT)?.version().await?;
        let api = version.api_version.as_deref().and_then(Api::parse).ok_or_else(|| {
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
    pub(crate) async fn ask_setup(&self) -> Result<SystemInfo, EngineError> {
        Ok(self.new_client(GREETING_TIMEOUT)?.info().await?)
    }

    fn new_client(&self, limit: Duration) -> Result<Docker, EngineError> {
        // A client is cheap and a line of its own: an engine that went and came back needs no mending here.
        let socket = self.socket.to_string_lossy();
        Docker::connect_with_unix(&socket, limit.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| EngineError::Lost(error_chain(&error)))
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

    #[test]
    fn a_refusal_is_told_from_silence() {
        let answer = |status_code| bollard::errors::Error::DockerResponseServerError {
            status_code,
            message: "No such container: x\n".to_owned(),
        };
        let error = EngineError::from(answer(404));
        assert!(error.is_absent() && !error.is_conflict());
        assert_eq!(error.to_string(), "No such container: x");
        let silence = EngineError::from(bollard::errors::Error::RequestTimeoutError);
        assert!(matches!(silence, EngineError::Lost(_)));
    }
}
