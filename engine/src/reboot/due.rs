//! The reasons for which a reboot is due, from what each source says.
//!
//! Owns the meaning of a source's words. It asks none, and never decides whether one reason is enough.

use std::collections::BTreeSet;

use muster_common::reboot::{DueReason, Phase, Request};

use super::commands::CommandEnd;

/// Packages named of a package manager's mark: what is said of them goes into a record and onto a screen.
const NAMED_PACKAGES: usize = 20;

/// The word of `update_engine` for a new version that waits for the reboot.
pub const NEEDS_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";

/// The answer of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAnswer {
    /// A reboot is due.
    Due(DueReason),
    /// None is.
    NotDue,
    /// Nothing: what it said before stands.
    Unknown(String),
}

/// The answer of the configured command: 0 is due, another code is not, and one that could not be run or was killed says
/// nothing.
pub fn answer_of_command(end: CommandEnd) -> SourceAnswer {
    match end {
        CommandEnd::Succeeded(output) => SourceAnswer::Due(DueReason::Command { output }),
        CommandEnd::Refused(_) => SourceAnswer::NotDue,
        CommandEnd::Broken(problem) => SourceAnswer::Unknown(problem),
    }
}

/// The reason of a package manager's mark. `packages`: the text of the file beside it, a package a line; each update adds its
/// lines, so that one is there more than once.
pub fn reason_of_mark(packages: &str) -> DueReason {
    let packages: BTreeSet<&str> =
        packages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let packages = packages.into_iter().take(NAMED_PACKAGES).map(str::to_owned).collect();
    DueReason::RebootRequired { packages }
}

/// The reason of a status of `update_engine`: its operation and the new version. `None`: no reboot is due.
pub fn reason_of_update(operation: &str, version: String) -> Option<DueReason> {
    (operation == NEEDS_REBOOT).then_some(DueReason::UpdateEngine { version })
}

/// The reason that somebody's wish is.
pub fn reason_of_request(request: Request) -> DueReason {
    DueReason::Requested { by: request.by, at: request.at, because: request.because }
}

/// True if a host in this phase has already done what it was asked for, and has only not yet taken the wish away: whoever asks
/// now means another reboot.
pub fn has_fulfilled_wish(phase: Phase) -> bool {
    matches!(phase, Phase::Returned | Phase::Settling | Phase::Releasing)
}

/// Tells whether a reason is somebody's wish.
pub fn is_wish(reason: &DueReason) -> bool {
    matches!(reason, DueReason::Requested { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_with_a_code_says_something() {
        let answer = answer_of_command(CommandEnd::Succeeded("kernel".to_owned()));
        assert_eq!(answer, SourceAnswer::Due(DueReason::Command { output: "kernel".to_owned() }));
        assert_eq!(answer_of_command(CommandEnd::Refused("no".to_owned())), SourceAnswer::NotDue);
        let broken = answer_of_command(CommandEnd::Broken("killed".to_owned()));
        assert_eq!(broken, SourceAnswer::Unknown("killed".to_owned()));
    }

    #[test]
    fn a_package_is_named_once_and_not_all_of_a_system() {
        let DueReason::RebootRequired { packages } = reason_of_mark("b\n a \n\nb\n") else {
            panic!()
        };
        assert_eq!(packages, ["a", "b"]);
        let many: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
        let DueReason::RebootRequired { packages } = reason_of_mark(&many.join("\n")) else {
            panic!()
        };
        assert_eq!(packages.len(), NAMED_PACKAGES);
    }
}
