//! Our API, `/v1`: what the client needs beyond fleet's. Every list is complete (no pages) and sorted by name.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/units` | [`ChangeRequest`] | 200 [`ChangeAnswer`]; 400 for the whole request if it is malformed |
//! | `POST /v1/units/destroy` | [`DestroyRequest`] | 200 [`DestroyAnswer`] |
//! | `GET /v1/units` | | [`Units`] |
//! | `GET /v1/units/NAME` | | [`UnitDetail`]; 404 |
//! | `POST /v1/wait` | [`WaitRequest`] | server-sent events, each with a [`WaitEvent`] as its data; the stream ends when every unit is done |
//! | `GET /v1/states` | | [`States`] |
//! | `GET /v1/machines` | | [`Machines`] |
//! | `POST /v1/machines/ID/cordon`, `/uncordon` | | see [`super::cordon`] |
//! | `GET /v1/reboot` and below | | see [`super::reboot`] |
//! | `GET /v1/plan` | | [`Plan`](super::plan::Plan): what the engine would do next, refusals included |
//! | `GET /v1/inspect/machine`, `/machines`, `/records` | | see [`super::inspect`] |
//! | `POST /v1/unfreeze` | | 204: re-placement goes on although machines are missing |
//! | `GET /v1/units/NAME/status?machine=ID` | | [`UnitStatus`], as systemctl prints it on the unit's machine |
//! | `GET /v1/units/NAME/journal?machine=ID&lines=N&follow=BOOL&output=MODE` | | text, streamed; trailer-less, ends when journalctl does |
//! | `GET /v1/units/NAME/journal/follow` | | server-sent events; see [`super::journal`] |
//! | `GET /v1/version` | | [`Version`] |
//!
//! Errors have fleet's shape, [`super::fleet::ErrorBody`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cordon::Cordon;
use crate::machine::{Machine, MachineId};
use crate::refusal::Refusal;
use crate::snapshot::Unreadable;
use crate::state::{DesiredState, ObservedState};
use crate::unit::{FileHash, UnitName};

/// Submits units, changes what is wanted of them, or both, in one request of any size up to the body limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Unit file texts by their hash; an instance and its siblings share one.
    #[serde(default)]
    pub files: BTreeMap<FileHash, String>,
    /// The units, carried out in order.
    pub units: Vec<UnitChange>,
    /// Replace a stored file that differs; otherwise it is kept and [`ChangeOutcome::Differs`] says so.
    #[serde(default)]
    pub replace: bool,
    /// Keep a start that no machine can take now waiting for one that can; otherwise it is refused and the unit
    /// is left as it was (a new one stays inactive).
    #[serde(default)]
    pub queue: bool,
    /// Check and answer, but write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A change of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitChange {
    /// The unit.
    pub name: UnitName,
    /// Its file, if the client has one. Without it the unit must be known, or be an instance of a known template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileHash>,
    /// The state that is wanted; absent: as it is, `inactive` for a new unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredState>,
    /// Stop and start the unit even if it is running.
    #[serde(default)]
    pub restart: bool,
}

/// Answer to [`ChangeRequest`], one result for each unit in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Results in the order of the request.
    pub units: Vec<UnitChanged>,
    /// Store revision after the change; a [`WaitRequest`] that names it sees at least this.
    pub revision: u64,
}

/// The result for one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChanged {
    /// The unit.
    pub name: UnitName,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
    /// True if the unit is global.
    #[serde(default)]
    pub global: bool,
    /// The unit's generation after the change; 0 when it does not exist.
    #[serde(default)]
    pub generation: u64,
    /// The state that was wanted of it before; absent when it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<DesiredState>,
    /// Options that systemd will ignore in the file, and other things worth a word; each names file and line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The outcome for one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeOutcome {
    /// It was new and is stored now.
    Created,
    /// It was known and its file, desired state or generation changed.
    Changed,
    /// It was already as asked for.
    Unchanged,
    /// It is known with another file, which was kept; its desired state was changed if that was asked for.
    Differs,
    /// No machine can take it now; nothing was started. See [`ChangeRequest::queue`].
    Refused {
        /// Who refused it and why.
        refusal: Refusal,
    },
    /// It cannot be done; nothing was changed for this unit. The other units of the request were carried out.
    Failed {
        /// Why, naming file, line and option where there are any, and the way out.
        message: String,
    },
}

/// Units to be destroyed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyRequest {
    /// Their names.
    pub names: Vec<UnitName>,
}

/// Answer to `POST /v1/units/destroy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyAnswer {
    /// Units that existed and no longer do.
    pub destroyed: Vec<UnitName>,
    /// Units that were not known: no failure.
    pub unknown: Vec<UnitName>,
    /// Store revision after the change.
    pub revision: u64,
}

/// A unit in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Its name.
    pub name: UnitName,
    /// fleet's hash, 40 digits; empty when its file cannot be read.
    pub hash: String,
    /// `Description=` of its file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// True if it is global.
    #[serde(default)]
    pub global: bool,
    /// The state that is wanted of it.
    pub desired: DesiredState,
    /// Its progress: the least that any machine it is placed on has reached, `inactive` where it is on none.
    pub current: DesiredState,
    /// Its generation.
    pub generation: u64,
    /// Where it is placed.
    #[serde(default)]
    pub machines: Vec<MachineId>,
}

/// `GET /v1/units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// The units, templates included.
    pub units: Vec<UnitSummary>,
    /// The machines named in them, so that one request prints the table.
    pub machines: Vec<Machine>,
    /// Records that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// `GET /v1/units/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDetail {
    /// The unit.
    #[serde(flatten)]
    pub unit: UnitSummary,
    /// Its file as its user wrote it.
    pub text: String,
    /// The report of each machine.
    #[serde(default)]
    pub states: BTreeMap<MachineId, ObservedState>,
    /// Why it is not placed, if it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// One machine's report of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedState {
    /// The unit.
    pub name: UnitName,
    /// The machine.
    pub machine: MachineId,
    /// Its report.
    #[serde(flatten)]
    pub state: ObservedState,
}

/// `GET /v1/states`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// The reports of machines, by unit, then machine.
    pub states: Vec<ReportedState>,
    /// Units that are placed, or should be, and that no machine reports on yet; `-` in the table.
    pub silent: Vec<UnitName>,
    /// Those of them that are placed on machines that are not registered now, and on which: a job, which is not begun again
    /// elsewhere, and what has yet to be placed anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<UnitName, Vec<MachineId>>,
    /// The machines named in them.
    pub machines: Vec<Machine>,
    /// Records that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// `GET /v1/machines`; metadata as constraints see it, configured and set at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machines {
    /// The machines with a live lease.
    pub machines: Vec<Machine>,
    /// Machines that take nothing new, absent ones included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cordons: BTreeMap<MachineId, Cordon>,
    /// The one whose engine decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<MachineId>,
    /// Records that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// The units to wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// The units and what to wait for.
    pub units: Vec<WaitFor>,
    /// See [`ChangeAnswer::revision`]; 0 to begin with what is known. With the revision of a change, the wait is for
    /// what came of that change: it ends with [`WaitEvent::Overtaken`] where somebody has asked for something else since.
    #[serde(default)]
    pub revision: u64,
}

/// One unit, and the state to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// The unit.
    pub name: UnitName,
    /// The state to reach.
    pub until: Until,
    /// The generation at which it counts.
    #[serde(default)]
    pub generation: u64,
}

/// States a client waits for. A unit that is destroyed meanwhile counts as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Its machine (each machine, for a global unit) carried out `launched` at the generation.
    Launched,
    /// Its machine (each machine) carried out `loaded`.
    Loaded,
    /// No machine has it any more.
    Inactive,
    /// Neither the store nor any machine has it. A machine that has not reported the unit yet counts as not having it, so
    /// a unit destroyed within moments of an unawaited start can have a process for as long as its machine takes to hear.
    Gone,
}

/// One event of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WaitEvent {
    /// Something moved; for progress display.
    Progress {
        /// The unit.
        name: UnitName,
        /// Where it is placed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<Machine>,
        /// The report of that machine; absent: nothing yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<ObservedState>,
    },
    /// The state was reached; the last event of this unit (one with each machine for a global unit, empty for none).
    Done {
        /// The unit.
        name: UnitName,
        /// On which machines.
        machines: Vec<Machine>,
        /// Remarks where it was started and does not run, by machine: a condition of its that is not met.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        remarks: BTreeMap<MachineId, String>,
    },
    /// No machine takes it as things stand; more may follow.
    Refused {
        /// The unit.
        name: UnitName,
        /// Who refused it and why.
        refusal: Refusal,
    },
    /// It was tried and did not work; the last event of this unit.
    Failed {
        /// The unit.
        name: UnitName,
        /// Where.
        machine: Machine,
        /// The report of that machine.
        state: ObservedState,
        /// The unit's last log lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
    },
    /// Somebody has asked for something else since the change that is waited for; the last event of this unit.
    Overtaken {
        /// The unit.
        name: UnitName,
        /// The state that is wanted of it now.
        desired: DesiredState,
    },
    /// The daemon lost the store; it goes on when it is back.
    Degraded {
        /// The problem.
        message: String,
    },
}

/// `GET /v1/units/NAME/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// The machine that answered.
    pub machine: MachineId,
    /// Standard output of `systemctl status -l`.
    pub output: String,
    /// Its exit code.
    pub code: i32,
}

/// `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
}

#[cfg(test)]
#[path = "v1_tests.rs"]
mod tests;
