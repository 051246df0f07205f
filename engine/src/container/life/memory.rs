//! What is remembered of a container's life over a restart of the daemon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::{Ended, LifeResult};
use super::phase::Phase;

/// The state that outlasts the daemon, to be kept on the machine until it reboots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeMemory {
    /// True when the cluster wants it to run.
    pub wanted: bool,
    /// Starts within the limit's interval, oldest first, since boot.
    pub starts: Vec<Duration>,
    /// The number of times it was started again by itself since the cluster last asked.
    pub restarts: u32,
    /// The state in which it came to rest, if it has.
    pub rest: Option<RestState>,
    /// Its last end.
    pub ended: Option<Ended>,
    /// True when its last start came to nothing because its conditions did not hold.
    #[serde(default)]
    pub unmet: bool,
}

/// The state in which a container came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestState {
    /// Stopped, or ended well.
    Dead,
    /// Its work is done.
    Exited,
    /// Given up on.
    Failed(LifeResult),
}

impl RestState {
    pub(super) fn to_phase(self) -> Phase {
        match self {
            Self::Dead => Phase::Dead,
            Self::Exited => Phase::Exited,
            Self::Failed(result) => Phase::Failed(result),
        }
    }
}
