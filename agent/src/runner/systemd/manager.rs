//! systemd's manager, as far as a runner needs one.
//!
//! Owns the seam between the runner and whoever speaks for systemd: what can be asked of it, and what it says unasked. On a host
//! [`super::bus`] stands behind it; in a simulation it is a model of systemd. Names, paths and types of D-Bus end there, and so does
//! the question whom to believe.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

use crate::runner::RunnerError;

/// systemd's manager. Every call fails with [`RunnerError::Lost`] when it is not known whether it was heard, and with
/// [`RunnerError::Refused`] when systemd says no. A call that is dropped may have been heard all the same.
#[async_trait]
pub trait SystemdManager: Send + Sync + 'static {
    /// Keeps the line to systemd up, and passes on what it says. Never returns.
    async fn keep_connected(&self);

    /// Those of these units that systemd has loaded. None is loaded for the question's sake.
    async fn list_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, ListedUnit>, RunnerError>;

    /// A property of a unit, which is loaded if it is not.
    async fn read_property(
        &self,
        unit: &UnitName,
        property: UnitProperty,
    ) -> Result<PropertyValue, RunnerError>;

    /// Puts a job into the queue; it takes the place of one of the same unit (`replace`).
    async fn enqueue_job(&self, kind: JobKind, unit: &UnitName) -> Result<JobId, RunnerError>;

    /// Does what the units' `[Install]` sections say, until the next boot.
    async fn enable_units(&self, units: &[UnitName]) -> Result<(), RunnerError>;

    /// Takes that back.
    async fn disable_units(&self, units: &[UnitName]) -> Result<(), RunnerError>;

    /// Forgets that a unit has failed. Refused for one that is not loaded.
    async fn reset_failed(&self, unit: &UnitName) -> Result<(), RunnerError>;

    /// Reads all unit files anew; returns when that is done.
    async fn reload_units(&self) -> Result<(), RunnerError>;

    /// The directories in which it looks for unit files, the first of which wins.
    async fn unit_path(&self) -> Result<Vec<String>, RunnerError>;

    /// The control group below which it keeps its units; empty for the root.
    async fn own_group(&self) -> Result<String, RunnerError>;
}

/// The end of what systemd says unasked.
pub trait SignalSink: Send + Sync + 'static {
    /// True if changes of this unit are of interest; others need not be passed on.
    fn is_watched(&self, unit: &UnitName) -> bool;

    /// Takes one in. It never waits.
    fn on_signal(&self, signal: ManagerSignal);
}

/// Something that systemd, or the line to it, says unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagerSignal {
    /// A job has left the queue.
    JobRemoved {
        /// The job.
        job: JobId,
        /// Its end.
        result: JobResult,
    },
    /// A unit's state is this now.
    UnitChanged {
        /// The unit.
        unit: UnitName,
        /// Its `ActiveState`.
        active: ActiveState,
        /// Its `SubState`.
        sub: String,
        /// Names the run it is in, in 32 hexadecimal digits; empty when it is in none.
        invocation: String,
        /// Seconds since the Unix epoch at which its state changed; 0 when that is not said.
        since: u64,
    },
    /// systemd has read its unit files anew. What it said meanwhile may be lost.
    Reloaded,
    /// The connection that speaks for systemd is another one, or gone: what was heard of jobs so far is out of date.
    OwnerChanged,
    /// systemd can be asked from now on, and says what happens. What happened before may not have been heard.
    Connected,
    /// It cannot be asked any more, for this reason.
    Lost {
        /// The problem, for people.
        problem: String,
    },
}

/// One unit in the list of those that are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// Its `LoadState`.
    pub load: String,
    /// Its `ActiveState`.
    pub active: ActiveState,
    /// Its `SubState`.
    pub sub: String,
}

/// The kinds of jobs that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Start what does not run.
    Start,
    /// Stop what runs.
    Stop,
    /// Stop what runs, and start it.
    Restart,
}

impl JobKind {
    /// The word for it, for people.
    pub fn verb_text(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// A job of this systemd's: on the bus, the path of its object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub String);

/// The end of a job, as `JobRemoved` in org.freedesktop.systemd1(5) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// Carried out.
    Done,
    /// It did not apply to the state that the unit was in.
    Skipped,
    /// Another job took its place.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// The unit failed.
    Failed,
    /// A unit that this one depends on failed.
    Dependency,
    /// Another word.
    Other(String),
}

impl From<&str> for JobResult {
    fn from(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "skipped" => Self::Skipped,
            "canceled" => Self::Cancelled,
            "timeout" => Self::TimedOut,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The properties of units that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitProperty {
    /// `LoadState`, a text.
    LoadState,
    /// `ActiveState`, a text.
    ActiveState,
    /// `SubState`, a text.
    SubState,
    /// `FragmentPath`, a text: the file that it was loaded from.
    FragmentPath,
    /// `NeedDaemonReload`, a flag: that file has changed or gone since.
    NeedDaemonReload,
    /// `Job`, a number: of the unit's job; 0 when there is none.
    JobNumber,
    /// `InvocationID`, bytes.
    InvocationId,
    /// A service's `Result`, a text.
    Result,
    /// A service's `ExecMainCode`, a number.
    ExecMainCode,
    /// A service's `ExecMainStatus`, a number.
    ExecMainStatus,
    /// A service's `NRestarts`, a number.
    RestartCount,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// A text.
    Text(String),
    /// A flag.
    Flag(bool),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl PropertyValue {
    /// A text; `None` if it is none.
    pub(super) fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A flag; `None` if it is none.
    pub(super) fn into_flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }

    /// A number; `None` if it is none.
    pub(super) fn into_number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    /// Bytes; `None` if they are none.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}
