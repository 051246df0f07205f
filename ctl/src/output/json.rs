//! The JSON forms of what is printed, and the lines that stand for them in the other form.
//!
//! Owns the names of the JSON keys, which are a promise to scripts: they follow the fields of the tables, nothing is
//! abbreviated, and `null` stands where a table has `-`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::refusal::Refusal;
use muster_common::state::DesiredState;
use muster_common::text::is_hidden;
use muster_common::unit::UnitName;
use serde::Serialize;

use super::table;

/// A machine that has a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlacedMachine {
    /// Its id.
    pub(crate) id: MachineId,
    /// Its address; absent when it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<String>,
}

impl From<&Machine> for PlacedMachine {
    fn from(machine: &Machine) -> Self {
        let ip = (!machine.address.is_empty()).then(|| machine.address.clone());
        Self { id: machine.id.clone(), ip }
    }
}

/// The outcome of a command for one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UnitResult {
    /// The unit.
    pub(crate) unit: UnitName,
    /// The outcome.
    #[serde(flatten)]
    pub(crate) what: UnitOutcome,
}

/// The outcome for one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(crate) enum UnitOutcome {
    /// It is in the state that was asked for.
    Done {
        /// That state: `inactive`, `loaded`, `launched`.
        state: DesiredState,
        /// The way to the daemon.
        machines: Vec<PlacedMachine>,
    },
    /// Its file was stored in the place of another.
    Replaced,
    /// It was already as asked for.
    Unchanged,
    /// It is known with another file, which was kept.
    Differs,
    /// It was asked for and not waited for.
    Triggered {
        /// The command's name.
        verb: &'static str,
        /// True if the unit is global.
        global: bool,
    },
    /// It exists no longer.
    Destroyed,
    /// It did not exist.
    Unknown,
    /// No machine takes it.
    Refused {
        /// The machines that refused it and their reasons.
        refusal: Refusal,
    },
    /// It did not work.
    Failed {
        /// The cause.
        message: String,
        /// Its last log lines.
        log: Vec<String>,
    },
    /// It was not there in time, and stays as requested.
    Pending {
        /// The last that is known of it.
        message: String,
    },
}

impl UnitResult {
    /// The line on standard output, fleetctl's where it has one. Refusals and failures have none: they are talked
    /// about on standard error.
    pub(crate) fn table_line(&self) -> Option<String> {
        let unit = &self.unit;
        match &self.what {
            UnitOutcome::Done { state, machines } if machines.is_empty() => {
                Some(format!("Unit {unit} {state}"))
            }
            UnitOutcome::Done { state, machines } => {
                let shown: Vec<String> = machines
                    .iter()
                    .map(|m| table::machine_name(&m.id, m.ip.as_deref().unwrap_or_default(), false))
                    .collect();
                Some(format!("Unit {unit} {state} on {}", shown.join(", ")))
            }
            UnitOutcome::Replaced => Some(format!("Unit {unit} replaced")),
            UnitOutcome::Unchanged => Some(format!("Unit {unit} unchanged")),
            UnitOutcome::Triggered { verb, global: false } => {
                Some(format!("Triggered unit {unit} {verb}"))
            }
            UnitOutcome::Triggered { verb, global: true } => {
                Some(format!("Triggered global unit {unit} {verb}"))
            }
            UnitOutcome::Destroyed => Some(format!("Destroyed {unit}")),
            UnitOutcome::Differs
            | UnitOutcome::Unknown
            | UnitOutcome::Refused { .. }
            | UnitOutcome::Failed { .. }
            | UnitOutcome::Pending { .. } => None,
        }
    }
}

/// The findings of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorReport {
    /// True if nothing is wrong; there may be remarks.
    pub(crate) healthy: bool,
    /// Store revision of the records that were looked at; `null` when the store could not be read.
    pub(crate) revision: Option<u64>,
    /// Machines that answered.
    pub(crate) answered: usize,
    /// Machines that did not, or could not be asked.
    pub(crate) silent: usize,
    /// The findings, the worst first.
    pub(crate) violations: Vec<ViolationRow>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ViolationRow {
    /// Its word, which the pages explain.
    pub(crate) word: &'static str,
    /// `unsafe`: it must never be; `unsettled`: it lasts and should not; `remark`: it is worth knowing.
    pub(crate) severity: &'static str,
    /// The unit that it is about.
    pub(crate) unit: Option<UnitName>,
    /// The machines that it is about.
    pub(crate) machines: BTreeSet<MachineId>,
    /// It, as a sentence.
    pub(crate) message: String,
    /// The next step.
    pub(crate) way_out: String,
}

/// A row of `list-units`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct StateRow {
    pub(crate) unit: String,
    pub(crate) machine: Option<MachineId>,
    pub(crate) ip: Option<String>,
    pub(crate) load: Option<String>,
    pub(crate) active: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) hash: Option<String>,
    /// Seconds since the epoch at which `active` last changed.
    pub(crate) since: Option<u64>,
    /// The reason why the machine could not do what it was asked.
    pub(crate) problem: Option<String>,
    /// A remark: how far a download is, how it ended.
    pub(crate) remark: Option<String>,
}

/// A row of `list-unit-files`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FileRow {
    pub(crate) unit: String,
    pub(crate) hash: Option<String>,
    pub(crate) desc: Option<String>,
    pub(crate) global: bool,
    pub(crate) dstate: DesiredState,
    pub(crate) state: DesiredState,
    pub(crate) target: Vec<PlacedMachine>,
}

/// A row of `list-machines`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MachineRow {
    pub(crate) machine: MachineId,
    pub(crate) ip: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) version: String,
    /// True if this machine's engine decides.
    pub(crate) leader: bool,
    pub(crate) host: Option<String>,
    /// The holders that keep it from taking anything new, and their reasons.
    pub(crate) cordon: Option<String>,
    /// The kinds of runners on it.
    pub(crate) runners: BTreeSet<RunnerKind>,
    /// The runner of the container units there whose files name none, where that is not Docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container_runner: Option<RunnerKind>,
    /// The reason why the container engine that it had does not answer.
    pub(crate) containers_lost: Option<String>,
}

/// The answer of one machine to `status`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusRow {
    pub(crate) unit: UnitName,
    pub(crate) machine: MachineId,
    /// systemctl's exit code.
    pub(crate) code: i32,
    /// The output of systemctl.
    pub(crate) output: String,
}

/// Something, if there is something.
pub(crate) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Indented JSON with a newline at its end. Hidden characters are escaped, all of them: those that JSON itself lets through
/// (DEL, C1, the controls of direction) would reach a terminal. The value is the same.
pub(crate) fn pretty_json<T: Serialize + ?Sized>(value: &T) -> io::Result<Vec<u8>> {
    let plain = serde_json::to_string_pretty(value)?;
    let mut text = String::with_capacity(plain.len() + 1);
    for c in plain.chars() {
        // Outside of strings the only one is the line feed of the layout.
        if c == '\n' || !is_hidden(c) {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text.push('\n');
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_would_let_through_is_escaped_and_means_the_same() {
        let text = "a\u{1b}\u{9b}\u{7f}\u{202e}\u{e0041}\n\"é";
        let bytes = pretty_json(text).unwrap();
        let shown = String::from_utf8(bytes).unwrap();
        assert!(shown.trim_end().chars().all(|c| !is_hidden(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
