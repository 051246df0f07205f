//! One look at one phase.
//!
//! Owns a decision in the making, and what the phases have in common while they make it. It never chooses a phase.

use std::time::Duration;

use muster_common::reboot::{Journal, Phase, RebootMethod, WaitReason};

use super::action::RebootAction;
use super::observation::{CommandState, Observation};
use super::policy::{Hook, RebootPolicy};
use crate::reboot::due::method_of;
use crate::reboot::window::{WindowState, opening_at};

/// The end of one look at a phase.
pub(super) enum Transition {
    /// It goes on.
    Stay,
    /// Another follows.
    Go(Phase),
}

/// A decision in the making.
pub(super) struct Evaluation<'a> {
    pub(super) policy: &'a RebootPolicy,
    pub(super) seen: &'a Observation,
    pub(super) journal: Journal,
    pub(super) actions: Vec<RebootAction>,
    pub(super) waits: Vec<WaitReason>,
    pub(super) wake: Option<u64>,
}

impl Evaluation<'_> {
    /// Milliseconds since the phase began.
    pub(super) fn elapsed_millis(&self) -> u64 {
        self.seen.up.saturating_sub(self.journal.entered_up)
    }

    /// When a length since the phase began will be over, on the wall; `None`: it is.
    pub(super) fn time_left(&mut self, length: Duration) -> Option<u64> {
        self.time_left_since(self.journal.entered_up, length)
    }

    /// The same since another time on the boot's clock.
    pub(super) fn time_left_since(&mut self, since: u64, length: Duration) -> Option<u64> {
        let elapsed = self.seen.up.saturating_sub(since);
        let left = as_millis(length).checked_sub(elapsed).filter(|left| *left > 0)?;
        self.wake_in(left);
        Some(self.wall_after(left))
    }

    /// The time on the wall so many milliseconds from now.
    pub(super) fn wall_after(&self, millis: u64) -> u64 {
        self.seen.wall.saturating_add(millis.div_ceil(1000))
    }

    pub(super) fn wake_in(&mut self, millis: u64) {
        self.wake = Some(self.wake.map_or(millis, |wake| wake.min(millis)));
    }

    pub(super) fn wake_at(&mut self, wall: u64) {
        self.wake_in(wall.saturating_sub(self.seen.wall).saturating_mul(1000));
    }

    pub(super) fn push_wait(&mut self, wait: WaitReason) {
        self.waits.push(wait);
    }

    pub(super) fn push_action(&mut self, action: RebootAction) {
        self.actions.push(action);
    }

    pub(super) fn window_opening(&mut self) -> WindowState {
        let opening = opening_at(&self.policy.windows, &self.policy.zone, self.seen.wall);
        match opening {
            WindowState::Open { until: Some(at) } | WindowState::Closed { opens: Some(at) } => {
                self.wake_at(at);
            }
            WindowState::Open { until: None } | WindowState::Closed { opens: None } => {}
        }
        opening
    }

    pub(super) fn needs_slot(&self) -> bool {
        self.policy.needs_slot()
    }

    /// The way in which it reboots.
    pub(super) fn wanted_method(&self) -> RebootMethod {
        method_of(self.policy.method, &self.journal.due)
    }

    /// Waits while the host cannot reboot in that way.
    pub(super) fn check_method(&mut self) {
        if let Err(problem) = &self.seen.method {
            let (method, problem) = (self.wanted_method(), problem.clone());
            self.push_wait(WaitReason::CannotReboot { method, problem });
        }
    }

    /// Gives up, and says why.
    pub(super) fn give_up(&mut self, problem: impl Into<String>) -> Transition {
        self.journal.problem = Some(problem.into());
        Transition::Go(Phase::GivingUp)
    }

    /// Follows a hook.
    /// `Ok(true)`: nothing stands in the way; `Ok(false)`: it runs; `Err`: it failed, and how.
    pub(super) fn follow_hook(&mut self, hook: Hook) -> Result<bool, String> {
        let (hooks, all) = (self.policy.hooks, &self.seen.hooks);
        let (configured, ran) = match hook {
            Hook::BeforeDrain => (hooks.before_drain, &all.before_drain),
            Hook::BeforeReboot => (hooks.before_reboot, &all.before_reboot),
            Hook::AfterBoot => (hooks.after_boot, &all.after_boot),
        };
        if !configured {
            return Ok(true);
        }
        match ran {
            CommandState::Well => return Ok(true),
            CommandState::Badly(problem) => return Err(problem.clone()),
            CommandState::No | CommandState::Running => {}
        }
        self.push_action(RebootAction::Hook(hook));
        self.push_wait(WaitReason::HookRunning { hook: hook.as_str().to_owned() });
        Ok(false)
    }
}

pub(super) fn as_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
