//! Machines as the cluster knows them.
//!
//! Owns the identity and the description of a machine. It never decides whether a machine is alive: a machine that
//! appears in a [`crate::snapshot::Snapshot`] is registered under a live lease.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::quote_text;

/// Identity of a machine: the content of `/etc/machine-id`, 32 lower-case hexadecimal digits on a systemd machine.
///
/// Other systems hand out other forms, so any word of `[A-Za-z0-9_-]`, 1 to 64 bytes, is accepted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Arc<str>);

/// A string that cannot identify a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a machine id: expected 1 to 64 of the characters A-Z a-z 0-9 _ -", quote_text(.0))]
pub struct InvalidMachineId(pub String);

impl RunnerKind {
    /// The word for it in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl MachineId {
    /// Number of characters of an id that stand for it in fleet's tables and in `MachineID=`.
    pub const SHORT: usize = 8;

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, as fleet's tables abbreviate a machine (without the dots).
    pub fn short_id(&self) -> &str {
        self.0.get(..Self::SHORT).unwrap_or(&self.0)
    }

    /// True when `MachineID=` with this value means the machine: by its whole id, or by its first eight characters, which
    /// several machines may have in common.
    pub fn goes_by(&self, text: &str) -> bool {
        text == self.as_str() || text == self.short_id()
    }
}

impl FromStr for MachineId {
    type Err = InvalidMachineId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(word) {
            return Err(InvalidMachineId(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for MachineId {
    type Error = InvalidMachineId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of runners there are on machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RunnerKind {
    /// systemd, for every unit type that is systemd's own.
    Systemd,
    /// A Docker engine, for `.container` units.
    Docker,
    /// Podman, whose Quadlet makes services of `.container` units that ask for it.
    Podman,
}

/// The runner that a unit needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunnerDemand {
    /// This one.
    Kind(RunnerKind),
    /// The one that a machine has for container units whose files name none.
    MachineChoice,
}

impl RunnerDemand {
    /// The runner that meets it on a machine where container units whose files name none are for this one.
    pub fn resolve_kind(self, container_runner: RunnerKind) -> RunnerKind {
        match self {
            Self::Kind(kind) => kind,
            Self::MachineChoice => container_runner,
        }
    }

    /// Every runner that may meet it.
    pub fn possible_kinds(self) -> Vec<RunnerKind> {
        match self {
            Self::Kind(kind) => vec![kind],
            Self::MachineChoice => vec![RunnerKind::Docker, RunnerKind::Podman],
        }
    }
}

impl Machine {
    /// The runner of the container units here whose files name none.
    pub fn default_container_runner(&self) -> RunnerKind {
        self.container_runner.unwrap_or(RunnerKind::Docker)
    }

    /// The demands that it meets.
    pub fn met_demands(&self) -> BTreeSet<RunnerDemand> {
        let by_choice = self.runners.contains(&self.default_container_runner());
        let by_choice = by_choice.then_some(RunnerDemand::MachineChoice);
        self.runners.iter().copied().map(RunnerDemand::Kind).chain(by_choice).collect()
    }
}

/// The state of a machine's container engine, as its daemon sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ContainerEngine {
    /// There is none, as far as is known.
    #[default]
    Absent,
    /// It answers.
    Up,
    /// It did, and does not any more, for this reason.
    Lost(String),
}

/// A machine as it registered itself, under its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its identity.
    pub id: MachineId,
    /// Its host name, by which people may name it; empty when it tells none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Address shown to people (fleet's `primaryIP`); empty when none could be found.
    pub address: String,
    /// `host:port` where other daemons reach this machine's HTTP API; absent when it listens on no network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Metadata from the machine's own configuration.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Version of its daemon.
    #[serde(default)]
    pub version: String,
    /// The runners it has.
    #[serde(default)]
    pub runners: BTreeSet<RunnerKind>,
    /// The runner of the container units here whose files name none; absent where that is Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runner: Option<RunnerKind>,
    /// Why the container engine that it had does not answer; absent while it does, or where there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers_lost: Option<String>,
    /// True while it goes down: it takes nothing new, and what it does not report on any more has ended there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// This boot of it: the same when its daemon restarts, another after a reboot, containers' included.
    #[serde(default)]
    pub boot: String,
    /// Store revision that created this registration; 0 outside the store. Guards every placement on the machine.
    #[serde(skip)]
    pub created: u64,
    /// Store revision of the record as it is; 0 outside the store.
    #[serde(skip)]
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn an_id_is_a_plain_word() {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(id.short_id(), "01234567");
        assert_eq!("m1".parse::<MachineId>().unwrap().short_id(), "m1");
        for text in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(text.parse::<MachineId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_of_a_newer_or_older_version_can_be_read() {
        let machine = Machine {
            id: "m1".parse().unwrap(),
            host: String::new(),
            address: "192.0.2.1".into(),
            api: None,
            metadata: BTreeMap::new(),
            version: String::new(),
            runners: BTreeSet::new(),
            container_runner: None,
            containers_lost: None,
            leaving: false,
            boot: String::new(),
            created: 0,
            revision: 0,
        };
        let least = json!({"id": "m1", "address": "192.0.2.1"});
        assert_eq!(from_value::<Machine>(least).unwrap(), machine);
        let newer = json!({"id": "m1", "address": "192.0.2.1", "colour": "red"});
        assert_eq!(from_value::<Machine>(newer).unwrap(), machine);
    }

    #[test]
    fn what_the_store_knows_is_not_in_the_record() {
        let record = json!({
            "id": "m1",
            "host": "n1",
            "address": "192.0.2.1",
            "api": "192.0.2.1:4100",
            "metadata": {"disk": "ssd"},
            "version": "1",
            "runners": ["systemd", "docker"],
            "boot": "b",
        });
        let machine = Machine { created: 7, ..from_value::<Machine>(record.clone()).unwrap() };
        assert_eq!(to_value(&machine).unwrap(), record);
    }
}
