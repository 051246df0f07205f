//! The reasons for which a reboot is due, from what each source says.
//!
//! Owns the meaning of a source's words. It asks none, and never decides whether one reason is enough.

use std::collections::BTreeSet;

use muster_common::reboot::{DueReason, HostStatus, Phase, RebootMethod, Request};

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
    let Request { by, at, because, method } = request;
    DueReason::Requested { by, at, because, method }
}

/// True if a host in this phase has already done what it was asked for, and has only not yet taken the wish away: whoever asks
/// now means another reboot.
fn has_fulfilled_wish(phase: Phase) -> bool {
    matches!(phase, Phase::Returned | Phase::Settling | Phase::Releasing)
}

/// Tells whether what somebody asks for is asked for already. Who names another way than the one that stands means that one;
/// who names none is content with any.
pub fn is_asked_already(
    standing: &Request,
    wanted: Option<RebootMethod>,
    host: Option<&HostStatus>,
) -> bool {
    let is_other = wanted.is_some_and(|wanted| standing.method != Some(wanted));
    !is_other && !host.is_some_and(|host| has_fulfilled_wish(host.phase))
}

/// The way in which a host reboots for these reasons: as it was asked to, or as it is configured.
///
/// A soft-reboot is for those who ask for one, and for the command. What a package manager or an updater wants may be another
/// kernel, and its mark in `/run` would outlast a soft-reboot, so that the host would do it again and again.
pub fn method_of(configured: RebootMethod, due: &[DueReason]) -> RebootMethod {
    let asked = due.iter().find_map(|reason| match reason {
        DueReason::Requested { method, .. } => *method,
        _ => None,
    });
    match asked.unwrap_or(configured) {
        RebootMethod::SoftReboot if due.iter().any(needs_kernel) => match configured {
            RebootMethod::Kexec => RebootMethod::Kexec,
            _ => RebootMethod::Reboot,
        },
        method => method,
    }
}

fn needs_kernel(reason: &DueReason) -> bool {
    !matches!(reason, DueReason::Requested { .. } | DueReason::Command { .. })
}

/// Tells whether a boot that has happened is what a wish asks for; `soft`: it was one of userspace alone.
pub fn is_fulfilled_by(wish: &DueReason, configured: RebootMethod, soft: bool) -> bool {
    is_wish(wish)
        && (!soft || method_of(configured, std::slice::from_ref(wish)) == RebootMethod::SoftReboot)
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
    fn a_soft_reboot_is_for_those_who_ask_for_one() {
        use RebootMethod::{Kexec, Reboot, SoftReboot};
        let asked =
            |method| DueReason::Requested { by: String::new(), at: 1, because: None, method };
        let mark = reason_of_mark("linux-base");
        let command = DueReason::Command { output: String::new() };
        for (configured, due, method) in [
            (Reboot, vec![asked(None)], Reboot),
            (Reboot, vec![asked(Some(SoftReboot))], SoftReboot),
            (SoftReboot, vec![asked(None)], SoftReboot),
            (SoftReboot, vec![command.clone()], SoftReboot),
            (SoftReboot, vec![asked(Some(Reboot)), command], Reboot),
            (SoftReboot, vec![mark.clone()], Reboot),
            (Reboot, vec![asked(Some(SoftReboot)), mark.clone()], Reboot),
            (Kexec, vec![asked(Some(SoftReboot)), mark.clone()], Kexec),
            (Kexec, vec![mark.clone()], Kexec),
            (Kexec, vec![asked(Some(Reboot)), mark], Reboot),
        ] {
            assert_eq!(method_of(configured, &due), method, "{configured}: {due:?}");
        }
    }

    #[test]
    fn who_asks_for_another_way_than_the_one_that_stands_means_that_one() {
        let standing = |method| Request { by: String::new(), at: 1, because: None, method };
        let soft = Some(RebootMethod::SoftReboot);
        for (before, wanted, already) in [
            (None, None, true),
            (soft, None, true),
            (soft, soft, true),
            (None, soft, false),
            (soft, Some(RebootMethod::Reboot), false),
        ] {
            assert_eq!(is_asked_already(&standing(before), wanted, None), already, "{before:?}");
        }
        let back = HostStatus { phase: Phase::Settling, ..HostStatus::default() };
        assert!(!is_asked_already(&standing(None), None, Some(&back)), "it means the next one");
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
