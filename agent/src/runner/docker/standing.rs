//! Where a container unit stands, as its task tells whoever waits for it.
//!
//! Owns what is told and how a phase of its life is to be understood. It watches nothing itself.

use muster_common::state::ActiveState;
use muster_engine::container::Phase;

/// Where it stands, for whoever waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnitStatus {
    /// Whether the engine has been asked about it.
    pub(super) adopted: bool,
    pub(super) settled: Option<Settled>,
    /// systemd's active and sub.
    pub(super) active: ActiveState,
    pub(super) sub: String,
    /// Names this run.
    pub(super) invocation: String,
    pub(super) since: u64,
    /// The container it last started.
    pub(super) container: Option<String>,
    /// Whether that runs, as far as is known.
    pub(super) runs: bool,
    /// How many starts have failed.
    pub(super) failures: u64,
    /// Why the last one did.
    pub(super) problem: String,
    /// systemd's `Result` of one that has failed.
    pub(super) result: String,
    /// How often it was started again by itself since the cluster last asked.
    pub(super) restarts: u32,
    /// What goes on, for the user.
    pub(super) remark: String,
}

/// How a start or stop has come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It runs, or its work is done.
    Up,
    /// It does not, and nothing is wrong.
    Down,
    /// It does not, and should.
    Failed,
}

/// The name of a run: as long as systemd's.
pub(super) fn invocation(container: &str) -> String {
    container.chars().take(32).collect()
}

/// Whether a start has come to nothing, for good or until the next attempt.
pub(super) fn is_failure(phase: Phase) -> bool {
    matches!(phase, Phase::Wait { .. } | Phase::Failed(_))
}

pub(super) fn settled(phase: Phase) -> Option<Settled> {
    match phase {
        Phase::Running | Phase::Exited => Some(Settled::Up),
        Phase::Dead => Some(Settled::Down),
        Phase::Failed(_) | Phase::Wait { .. } => Some(Settled::Failed),
        Phase::Prepare { .. } | Phase::Start { .. } | Phase::Stop { .. } | Phase::Kill { .. } => {
            None
        }
    }
}
