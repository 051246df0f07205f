//! What an end means, and whether a start follows.

use muster_common::container::{Restart, ServiceKind};
use serde::{Deserialize, Serialize};

use super::policy::ContainerPolicy;

/// The end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code; 128 and a signal's number where one ended it.
    pub code: i64,
    /// True when it had used up its memory.
    pub oom: bool,
}

/// The result of a container's run, in systemd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifeResult {
    /// It ended well.
    Success,
    /// An assertion of its file does not hold on the machine.
    Assert,
    /// It could not be started: no image, no volume, or the engine refused.
    Resources,
    /// It ended before it was well.
    Protocol,
    /// It took too long to start or to stop.
    Timeout,
    /// It ended with a code that is none of a success.
    ExitCode,
    /// A signal ended it.
    Signal,
    /// The kernel ended it for its memory.
    OomKill,
    /// It was started too often.
    StartLimitHit,
}

/// SIGHUP, SIGINT, SIGPIPE and SIGTERM, with which a service ends well.
const CLEAN_SIGNALS: [i64; 4] = [129, 130, 141, 143];

/// Linux has this many signals; a code above them is a program's own.
const LAST_SIGNAL: i64 = 128 + 64;

/// The result of an end by itself.
pub(super) fn judge_end(policy: &ContainerPolicy, ended: Ended) -> LifeResult {
    let service = &policy.service;
    let well = ended.code == 0 || service.success.contains(ended.code);
    // Work that a signal cut off is not done.
    let clean = service.kind == ServiceKind::Notify && CLEAN_SIGNALS.contains(&ended.code);
    if ended.oom {
        LifeResult::OomKill
    } else if well || clean {
        LifeResult::Success
    } else if (129..=LAST_SIGNAL).contains(&ended.code) {
        LifeResult::Signal
    } else {
        LifeResult::ExitCode
    }
}

/// True when a container that was asked to stop ended because of that.
pub(super) fn is_stopped(policy: &ContainerPolicy, ended: Option<Ended>) -> bool {
    ended.is_none_or(|ended| {
        CLEAN_SIGNALS.contains(&ended.code) || policy.stopped == Some(ended.code)
    })
}

/// True when a start follows; the table of `Restart=` in systemd.service(5).
pub(super) fn starts_again(
    policy: &ContainerPolicy,
    result: LifeResult,
    ended: Option<Ended>,
) -> bool {
    let service = &policy.service;
    let by_code = matches!(
        result,
        LifeResult::Success | LifeResult::ExitCode | LifeResult::Signal | LifeResult::OomKill
    );
    let code = ended.filter(|_| by_code).map(|ended| ended.code);
    if code.is_some_and(|code| service.prevent.contains(code)) {
        return false;
    }
    if code.is_some_and(|code| service.force.contains(code)) {
        return true;
    }
    match service.restart {
        // A container has no watchdog that could bark.
        Restart::No | Restart::OnWatchdog => false,
        Restart::Always => true,
        Restart::OnSuccess => result == LifeResult::Success,
        Restart::OnFailure => result != LifeResult::Success,
        Restart::OnAbnormal => !matches!(result, LifeResult::Success | LifeResult::ExitCode),
        Restart::OnAbort => result == LifeResult::Signal,
    }
}
