//! A container's life in systemd's words, for `list-units` and `status`.

use super::judge::Result;
use super::{HealthState, Life, Phase};

impl Life {
    /// systemd's `ActiveState`.
    pub fn active(&self) -> &'static str {
        match self.phase {
            Phase::Dead => "inactive",
            Phase::Prepare { .. } | Phase::Start { .. } | Phase::Wait { .. } => "activating",
            Phase::Running | Phase::Exited => "active",
            Phase::Stop { .. } | Phase::Kill { .. } => "deactivating",
            Phase::Failed(_) => "failed",
        }
    }

    /// systemd's `SubState`.
    pub fn sub(&self) -> &'static str {
        match self.phase {
            Phase::Dead => "dead",
            Phase::Prepare { .. } => "start-pre",
            Phase::Start { .. } => "start",
            Phase::Running => "running",
            Phase::Exited => "exited",
            Phase::Stop { .. } => "stop-sigterm",
            Phase::Kill { .. } => "stop-sigkill",
            Phase::Wait { .. } => "auto-restart",
            Phase::Failed(_) => "failed",
        }
    }

    /// What there is to say besides; empty where nothing is.
    pub fn remark(&self) -> String {
        let code = self.memory.ended.map(|ended| ended.code);
        match self.phase {
            Phase::Failed(result) => match (result, code) {
                // The limit is why it is not started again; the code is why it had to be.
                (Result::ExitCode | Result::StartLimitHit, Some(code)) => {
                    format!("{result}, code {code}")
                }
                (Result::Signal, Some(code)) => format!("{result} {}", code - 128),
                (result, _) => result.to_string(),
            },
            Phase::Dead if self.memory.unmet => "condition".to_owned(),
            Phase::Wait { .. } => match code {
                Some(code) => format!("ended with code {code}, restart {}", self.memory.restarts),
                None => format!("restart {}", self.memory.restarts),
            },
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

impl Result {
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

impl std::fmt::Display for Result {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
