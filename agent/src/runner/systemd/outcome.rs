//! The meaning of how a job ended.
//!
//! Owns the rules that make an outcome, in words for people, of systemd's result and of what a service says of its failure. It asks
//! nobody.

use muster_common::state::ActiveState;

use super::manager::{JobKind, JobResult};
use crate::runner::StartOutcome;

/// `ExecMainCode` of a main process that has ended by itself (`CLD_EXITED`, waitid(2)): only then its status is an exit status.
const EXITED: i64 = 1;
/// The words for a failure where it was not the main process that failed.
const BESIDE: &str = ": a command beside the main one failed";

/// The facts of a service's failure; each `None` where systemd does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServiceFailure {
    /// `Result`.
    pub(super) result: Option<String>,
    /// `ExecMainStatus`.
    pub(super) status: Option<i64>,
    /// `ExecMainCode`.
    pub(super) code: Option<i64>,
}

impl ServiceFailure {
    /// The failure, to be put after what failed; empty where nothing more is known.
    pub(super) fn text(&self) -> String {
        let exited = self.code == Some(EXITED);
        match (self.result.as_deref(), self.status) {
            // The main process has ended well, was ended or was never started: it was another's.
            (Some("exit-code"), Some(0) | None) => BESIDE.to_owned(),
            (Some("exit-code"), Some(_)) if !exited => BESIDE.to_owned(),
            // systemd's own name for a program that is missing or cannot be run.
            (Some("exit-code"), Some(203)) => ": exit status 203/EXEC".to_owned(),
            (Some("exit-code"), Some(status)) => format!(": exit status {status}"),
            (Some("signal" | "core-dump"), Some(signal)) => format!(": killed by signal {signal}"),
            (Some("success") | None, _) => String::new(),
            (Some(result), _) => format!(": {result}"),
        }
    }
}

/// The outcome of a job with this result. `failure` is a failed unit's, as [`ServiceFailure::text`] gives it.
pub(super) fn outcome_of_job(kind: JobKind, result: &JobResult, failure: &str) -> StartOutcome {
    let what = kind.verb_text();
    let problem = match result {
        JobResult::Done | JobResult::Skipped => return StartOutcome::Done,
        JobResult::TimedOut => format!("{what} timed out"),
        JobResult::Cancelled => format!("{what} was cancelled by another job"),
        JobResult::Dependency => format!("{what} failed because a unit it depends on failed"),
        JobResult::Failed => format!("{what} failed{failure}"),
        JobResult::Other(other) => format!("{what} failed: {other}"),
    };
    StartOutcome::Failed { problem }
}

/// The result of a job whose end was not heard, by the state that the unit has come to.
pub(super) fn result_by_state(kind: JobKind, active: &ActiveState) -> JobResult {
    let done = match kind {
        JobKind::Stop => active.is_down(),
        // A oneshot that has ended is inactive and well.
        JobKind::Start | JobKind::Restart => *active != ActiveState::Failed,
    };
    if done { JobResult::Done } else { JobResult::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_what_the_main_process_did() {
        let text = |result: &str, status, code| {
            ServiceFailure { result: Some(result.to_owned()), status, code }.text()
        };
        assert_eq!(text("exit-code", Some(3), Some(EXITED)), ": exit status 3");
        assert_eq!(text("exit-code", Some(203), Some(EXITED)), ": exit status 203/EXEC");
        assert_eq!(text("exit-code", Some(15), Some(2)), BESIDE);
        assert_eq!(text("exit-code", Some(0), Some(EXITED)), BESIDE);
        assert_eq!(text("signal", Some(9), Some(2)), ": killed by signal 9");
        assert_eq!(text("timeout", Some(0), None), ": timeout");
        assert_eq!(text("success", Some(0), None), "");
        assert_eq!(ServiceFailure::default().text(), "");
    }

    #[test]
    fn a_job_whose_end_was_not_heard_is_judged_by_the_unit() {
        for (kind, active, result) in [
            (JobKind::Stop, ActiveState::Active, JobResult::Failed),
            (JobKind::Stop, ActiveState::Failed, JobResult::Done),
            (JobKind::Start, ActiveState::Inactive, JobResult::Done),
            (JobKind::Start, ActiveState::Failed, JobResult::Failed),
        ] {
            assert_eq!(result_by_state(kind, &active), result, "{kind:?} {active}");
        }
    }
}
