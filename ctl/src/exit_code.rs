//! The exit code of a command that went through.
//!
//! Owns what it says of units or machines that did not do well. That of an error is [`crate::error::Error`]'s.

use std::process::ExitCode;

/// 0 if all went well, 1 otherwise.
pub(crate) fn exit_code(all_well: bool) -> ExitCode {
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
