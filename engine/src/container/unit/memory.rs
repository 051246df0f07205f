//! What is remembered of a container unit over a restart of the daemon.

use muster_common::state::ActiveState;
use serde::{Deserialize, Serialize};

use crate::container::life::LifeMemory;
use crate::container::sessions::EngineRun;

/// The state that outlasts the daemon, to be kept on the machine until it reboots. Written as JSON; a field that a newer version adds
/// needs a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitMemory {
    /// Its life.
    pub memory: LifeMemory,
    /// The id of the container it last started.
    pub container: Option<String>,
    /// systemd's `ActiveState`, as last published.
    pub active: ActiveState,
    /// systemd's `SubState`, as last published.
    pub sub: String,
    /// Seconds since the Unix epoch since when that holds.
    pub since: u64,
    /// The reason its last start was none; empty when it was one.
    #[serde(default)]
    pub fault: String,
    /// The remark last published, once it was at rest.
    #[serde(default)]
    pub remark: String,
    /// The generation of its placement; 0 where the version before remembered none.
    #[serde(default)]
    pub generation: u64,
    /// The engine with which its container was last known to run.
    #[serde(default)]
    pub engine: Option<EngineRun>,
}
