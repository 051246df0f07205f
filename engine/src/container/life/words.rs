//! A container's life in systemd's words, for `list-units` and `status`.

use super::judge::LifeResult;
use super::{ContainerLife, HealthState, Phase};
use muster_common::state::{ActiveState, sub};

impl ContainerLife {
    /// systemd's `ActiveState`.
    pub fn active_state(&self) -> ActiveState {
        match self.phase {
            Phase::Dead => ActiveState::Inactive,
            Phase::Prepare { .. }
            | Phase::Start { .. }
            | Phase::Wait { .. }
            | Phase::Interrupted => ActiveState::Activating,
            Phase::Running | Phase::Exited => ActiveState::Active,
            Phase::Stop { .. } | Phase::Kill { .. } => ActiveState::Deactivating,
            Phase::Failed(_) => ActiveState::Failed,
        }
    }

    /// systemd's `SubState`.
    pub fn sub_state(&self) -> &'static str {
        match self.phase {
            Phase::Dead => sub::DEAD,
            Phase::Prepare { .. } => "start-pre",
            Phase::Start { .. } => "start",
            Phase::Running => sub::RUNNING,
            Phase::Exited => sub::EXITED,
            Phase::Stop { .. } => "stop-sigterm",
            Phase::Kill { .. } => "stop-sigkill",
            Phase::Wait { .. } => sub::AUTO_RESTART,
            Phase::Interrupted => sub::INTERRUPTED,
            Phase::Failed(_) => sub::FAILED,
        }
    }

    /// A remark on the state; empty where there is nothing to say.
    pub fn remark_text(&self) -> String {
        let code = self.memory.ended.map(|ended| ended.code);
        match self.phase {
            Phase::Failed(result) => match (result, code) {
                // The limit is why it is not started again; the code is why it had to be.
                (LifeResult::ExitCode | LifeResult::StartLimitHit, Some(code)) => {
                    format!("{result}, code {code}")
                }
                (LifeResult::Signal, Some(code)) => format!("{result} {}", code - 128),
                (result, _) => result.to_string(),
            },
            Phase::Dead if self.memory.unmet => "condition".to_owned(),
            Phase::Wait { .. } => match code {
                Some(code) => format!("ended with code {code}, restart {}", self.memory.restarts),
                None => format!("restart {}", self.memory.restarts),
            },
            Phase::Interrupted => "cut off while the daemon was away".to_owned(),
            Phase::Start { running: true, .. } => match self.health {
                Some(HealthState::Unhealthy) => "unhealthy".to_owned(),
                Some(_) => "waiting for its health check".to_owned(),
                None => String::new(),
            },
            Phase::Running if self.health == Some(HealthState::Unhealthy) => "unhealthy".to_owned(),
            _ => String::new(),
        }
    }
}

impl LifeResult {
    /// systemd's word for it, as in its `Result` property.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Assert => "assert",
            Self::Resources => "resources",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::OomKill => "oom-kill",
            Self::StartLimitHit => "start-limit-hit",
        }
    }
}

impl std::fmt::Display for LifeResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
