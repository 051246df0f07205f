//! The configured command, asked again and again.
//!
//! Owns the meaning of its end: 0 is due, another code is not, and one that could not be run or was killed says nothing.

use std::time::Duration;

use muster_common::reboot::DueReason;

use super::Found;
use crate::config::{CommandLine, DueSource};
use crate::reboot::commands::{End, run};

pub(super) async fn follow(
    words: CommandLine,
    timeout: Duration,
    interval: Duration,
    found: Found,
) {
    loop {
        match run(&words, timeout).await {
            End::Well(output) => found.say(DueSource::Command, Some(DueReason::Command { output })),
            End::No(_) => found.say(DueSource::Command, None),
            End::Not(problem) => {
                tracing::warn!(
                    command = words.program(),
                    problem,
                    "cannot ask whether a reboot is due"
                );
            }
        }
        tokio::time::sleep(interval).await;
    }
}
