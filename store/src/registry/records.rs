//! The records as they are stored: JSON, one struct each, apart from the types the rest of Muster works with.
//!
//! Every record says by which `schema` it was written. The number rises with every change of a record's shape, and
//! only says who wrote it: a reader ignores fields it does not know and takes what it needs, whatever the number. So a
//! change must keep old readers right: new fields are optional, old ones keep their names and meaning. A change that
//! cannot do so goes below another prefix (`/muster/v2/`), never into these structs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muster_common::cordon::Cordon;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Handover, Leader, Placement, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// The schema written.
pub(super) const SCHEMA: u32 = 1;

/// `file/<sha256>`: a unit file as its user wrote it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileRecord {
    schema: u32,
    text: String,
}

/// `unit/<name>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnitRecord {
    schema: u32,
    file: FileHash,
    desired: DesiredState,
    generation: u64,
    /// A random number of the one write that made this record. It lets a writer that got no answer find out by reading
    /// whether the record is its own or another's that says the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    write: String,
}

/// `machine/<id>`, under the machine's lease.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MachineRecord {
    schema: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    host: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    version: String,
    #[serde(default, deserialize_with = "known_runners")]
    runners: BTreeSet<RunnerKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container_runner: Option<RunnerKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    containers_lost: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
    #[serde(default)]
    boot: String,
}

/// `metadata/<id>/<key>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetadataRecord {
    schema: u32,
    value: String,
}

/// `cordon/<id>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CordonRecord {
    schema: u32,
    #[serde(flatten)]
    cordon: Cordon,
}

/// `place/<machine>/<unit>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlaceRecord {
    schema: u32,
    file: FileHash,
    desired: DesiredState,
    generation: u64,
    #[serde(default, skip_serializing_if = "Handover::is_none")]
    handover: Handover,
}

/// `state/<machine>/<unit>`, under the machine's lease.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StateRecord {
    schema: u32,
    #[serde(flatten)]
    state: ObservedState,
}

/// `leader`, under the leader's lease.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeaderRecord {
    schema: u32,
    machine: MachineId,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    held: BTreeSet<MachineId>,
}

/// `members`, the leader's and for ever.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MembersRecord {
    schema: u32,
    machines: BTreeSet<MachineId>,
}

/// A later version may know runners we do not: those are left out.
fn known_runners<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeSet<RunnerKind>, D::Error> {
    let words = Vec::<serde_json::Value>::deserialize(input)?;
    Ok(words.into_iter().filter_map(|word| serde_json::from_value(word).ok()).collect())
}

impl FileRecord {
    pub(super) fn new(file: &UnitFile) -> Self {
        Self { schema: SCHEMA, text: file.text().to_owned() }
    }

    /// The file, if its text is what the hash in the key says.
    pub(super) fn into_file(self, hash: &FileHash) -> Result<UnitFile, String> {
        if FileHash::of_text(&self.text) != *hash {
            return Err("its text does not have the hash its key says".to_owned());
        }
        self.text.parse().map_err(|error: muster_common::unit::ParseError| error.to_string())
    }
}

impl UnitRecord {
    pub(super) fn new(
        file: FileHash,
        desired: DesiredState,
        generation: u64,
        write: String,
    ) -> Self {
        Self { schema: SCHEMA, file, desired, generation, write }
    }

    pub(super) fn file_hash(&self) -> FileHash {
        self.file
    }

    pub(super) fn into_unit(self, name: UnitName, revision: u64) -> Unit {
        Unit { name, file: self.file, desired: self.desired, generation: self.generation, revision }
    }
}

impl MachineRecord {
    pub(super) fn new(machine: &Machine) -> Self {
        let Machine {
            id: _,
            host,
            address,
            api,
            metadata,
            version,
            runners,
            container_runner,
            containers_lost,
            leaving,
            boot,
            created: _,
            revision: _,
        } = machine.clone();
        Self {
            schema: SCHEMA,
            host,
            address,
            api,
            metadata,
            version,
            runners,
            container_runner,
            containers_lost,
            leaving,
            boot,
        }
    }

    pub(super) fn into_machine(self, id: MachineId, created: u64, revision: u64) -> Machine {
        let Self {
            schema: _,
            host,
            address,
            api,
            metadata,
            version,
            runners,
            container_runner,
            containers_lost,
            leaving,
            boot,
        } = self;
        Machine {
            id,
            host,
            address,
            api,
            metadata,
            version,
            runners,
            container_runner,
            containers_lost,
            leaving,
            boot,
            created,
            revision,
        }
    }
}

impl MetadataRecord {
    pub(super) fn new(value: &str) -> Self {
        Self { schema: SCHEMA, value: value.to_owned() }
    }

    pub(super) fn into_value(self) -> String {
        self.value
    }
}

impl CordonRecord {
    pub(super) fn new(cordon: &Cordon) -> Self {
        Self { schema: SCHEMA, cordon: cordon.clone() }
    }

    pub(super) fn into_cordon(self, revision: u64) -> Cordon {
        Cordon { revision, ..self.cordon }
    }
}

impl PlaceRecord {
    pub(super) fn new(placement: &Placement) -> Self {
        let Placement { file, desired, generation, handover, revision: _ } = placement.clone();
        Self { schema: SCHEMA, file, desired, generation, handover }
    }

    pub(super) fn into_placement(self, revision: u64) -> Placement {
        let Self { schema: _, file, desired, generation, handover } = self;
        Placement { file, desired, generation, handover, revision }
    }
}

impl StateRecord {
    pub(super) fn new(state: ObservedState) -> Self {
        Self { schema: SCHEMA, state }
    }

    pub(super) fn into_state(self) -> ObservedState {
        self.state
    }
}

impl LeaderRecord {
    pub(super) fn new(leader: &Leader) -> Self {
        Self { schema: SCHEMA, machine: leader.machine.clone(), held: leader.held.clone() }
    }

    pub(super) fn into_leader(self) -> Leader {
        Leader { machine: self.machine, held: self.held }
    }
}

impl MembersRecord {
    pub(super) fn new(machines: &BTreeSet<MachineId>) -> Self {
        Self { schema: SCHEMA, machines: machines.clone() }
    }

    pub(super) fn into_machines(self) -> BTreeSet<MachineId> {
        self.machines
    }
}

/// Writes a record.
pub(super) fn encode(record: &impl Serialize) -> Bytes {
    // Serializing these structs cannot fail: their maps have string keys and nothing in them refuses. Were it to
    // fail, an empty record would be unreadable and be shown as such.
    serde_json::to_vec(record).unwrap_or_default().into()
}

/// Reads a record.
pub(super) fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
