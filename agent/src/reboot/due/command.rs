//! The configured command, asked again and again.
//!
//! Owns the pause between two askings. The meaning of its end is `muster_engine::reboot::due`'s to know.

use std::time::Duration;

use muster_engine::reboot::due::{SourceAnswer, answer_of_command};

use super::reasons::DueReasons;
use crate::config::{CommandLine, DueSource};
use crate::reboot::commands::run_command;

pub(super) async fn follow_command(
    line: CommandLine,
    timeout: Duration,
    interval: Duration,
    reasons: DueReasons,
) {
    loop {
        match answer_of_command(run_command(&line, timeout).await) {
            SourceAnswer::Due(reason) => reasons.set_reason(DueSource::Command, Some(reason)),
            SourceAnswer::NotDue => reasons.set_reason(DueSource::Command, None),
            SourceAnswer::Unknown(problem) => {
                tracing::warn!(
                    command = line.program_path(),
                    problem,
                    "cannot ask whether a reboot is due"
                );
            }
        }
        muster_runtime::sleep(interval).await;
    }
}
