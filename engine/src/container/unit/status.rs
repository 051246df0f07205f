//! The status of a container unit, as whoever waits for it reads it.
//!
//! Owns how a phase of its life is to be understood, and when an order has been carried out.

use muster_common::state::{ActiveState, sub};

use super::memory::UnitMemory;
use super::order::UnitOrder;
use crate::container::life::Phase;
use crate::run_origin::RunOrigin;

/// The status of a container unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitStatus {
    /// True once the engine has been asked about it; until then this is what was remembered.
    pub adopted: bool,
    /// The result of its last start or stop; `None` while one is under way.
    pub settled: Option<SettledOutcome>,
    /// systemd's `ActiveState`.
    pub active: ActiveState,
    /// systemd's `SubState`.
    pub sub: String,
    /// Names this run, 32 characters; empty when it does not run.
    pub invocation: String,
    /// Seconds since the Unix epoch since when it is in this state.
    pub since: u64,
    /// The id of the container it last started.
    pub container: Option<String>,
    /// True while that container runs, as far as is known.
    pub runs: bool,
    /// Whose word it runs on, while it runs.
    pub origin: RunOrigin,
    /// True while the one before has ended and the next is being made.
    pub is_between_runs: bool,
    /// The number of starts that have failed since the daemon began.
    pub failures: u64,
    /// The reason the last one failed, for the user.
    pub problem: String,
    /// systemd's `Result` of a unit that has failed; empty otherwise.
    pub result: String,
    /// The number of times it was started again by itself since the cluster last asked.
    pub restarts: u32,
    /// A remark on what goes on, for the user.
    pub remark: String,
}

/// The result of a start or stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledOutcome {
    /// It runs, or its work is done.
    Up,
    /// It does not run, and nothing is wrong.
    Down,
    /// It does not run, and should.
    Failed,
}

impl UnitStatus {
    /// The status that is told of a unit until the engine has been asked about it.
    pub fn from_memory(memory: Option<&UnitMemory>) -> Self {
        match memory {
            Some(memory) => Self {
                active: memory.active.clone(),
                sub: memory.sub.clone(),
                since: memory.since,
                invocation: memory.container.as_deref().map(run_name).unwrap_or_default(),
                container: memory.container.clone(),
                remark: memory.remark.clone(),
                ..Self::default()
            },
            None => Self { sub: sub::DEAD.to_owned(), ..Self::default() },
        }
    }

    /// The result of an order, once there is one: `Err` holds the reason it failed, for the user. `failures_before` is
    /// [`UnitStatus::failures`] at the time the order was given.
    pub fn outcome_of(&self, order: UnitOrder, failures_before: u64) -> Option<Result<(), String>> {
        if order == UnitOrder::Stop {
            // A failure on the way down is for its state to tell.
            return self.settled.map(|_| Ok(()));
        }
        if self.failures > failures_before || self.settled == Some(SettledOutcome::Failed) {
            return Some(Err(format!("{} failed: {}", order.as_str(), self.problem)));
        }
        // One that has done its work is down and well.
        self.settled.map(|_| Ok(()))
    }

    /// True when the two differ in what the cluster reads of a unit.
    pub(super) fn differs_outside(&self, other: &Self) -> bool {
        let outside = |s: &Self| {
            (s.adopted, s.active.clone(), s.sub.clone(), s.invocation.clone(), s.remark.clone())
        };
        outside(self) != outside(other)
    }
}

/// The name of a container's run: the first characters of its id, as many as systemd's have.
pub fn run_name(container: &str) -> String {
    container.chars().take(32).collect()
}

/// True when a start has come to nothing, for good or until the next attempt.
pub(super) fn is_failure(phase: Phase) -> bool {
    matches!(phase, Phase::Wait { .. } | Phase::Failed(_))
}

/// True when the unit is at rest: nothing runs, and nothing is to happen by itself.
pub(super) fn is_at_rest(phase: Phase) -> bool {
    matches!(phase, Phase::Dead | Phase::Exited | Phase::Interrupted | Phase::Failed(_))
}

/// True while the container runs, as far as its life knows.
pub(super) fn has_container_running(phase: Phase) -> bool {
    use Phase::{Kill, Running, Start, Stop};
    matches!(phase, Start { running: true, .. } | Running | Stop { .. } | Kill { .. })
}

/// True while a container is being made, and none runs.
pub(super) fn is_between_runs(phase: Phase) -> bool {
    matches!(phase, Phase::Prepare { .. } | Phase::Start { running: false, .. })
}

pub(super) fn settled_state(phase: Phase) -> Option<SettledOutcome> {
    match phase {
        Phase::Running | Phase::Exited => Some(SettledOutcome::Up),
        Phase::Dead => Some(SettledOutcome::Down),
        Phase::Failed(_) | Phase::Wait { .. } => Some(SettledOutcome::Failed),
        Phase::Prepare { .. }
        | Phase::Start { .. }
        | Phase::Stop { .. }
        | Phase::Kill { .. }
        | Phase::Interrupted => None,
    }
}
