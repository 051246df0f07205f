//! The status that the role publishes to the cluster, and its words to logged-in users.
//!
//! Owns the form of both, and when one status says nothing that the one before did not.

use muster_common::boot::BootMark;
use muster_common::reboot::{DueReason, HostStatus, Journal, WaitReason};

use super::phase::RebootPolicy;

/// Seconds by which an announced time may wander without being news: it is computed anew from two clocks each time.
const WANDERS: u64 = 2;

/// The status of the machine, as everybody may read it.
pub fn host_status(
    policy: &RebootPolicy,
    journal: &Journal,
    waits: &[WaitReason],
    boot: &BootMark,
) -> HostStatus {
    HostStatus {
        group: policy.group.clone(),
        strategy: policy.strategy,
        phase: journal.phase,
        since: journal.since,
        due: journal.due.clone(),
        waits: waits.to_vec(),
        slot: journal.slot,
        passed: journal.passed.clone(),
        boot: boot.machine.clone(),
        userspace: boot.userspace.clone(),
    }
}

/// Tells whether a status says nothing that the one before did not.
pub fn is_same_status(before: &HostStatus, now: &HostStatus) -> bool {
    let timeless = |status: &HostStatus| HostStatus { waits: Vec::new(), ..status.clone() };
    timeless(before) == timeless(now)
        && before.waits.len() == now.waits.len()
        && before.waits.iter().zip(&now.waits).all(|(before, now)| is_same_wait(before, now))
}

fn is_same_wait(before: &WaitReason, now: &WaitReason) -> bool {
    if before == now {
        return true;
    }
    match (before.ends_at(), now.ends_at()) {
        (Some(first), Some(second)) => {
            first.abs_diff(second) <= WANDERS && before.clone().with_until(second) == *now
        }
        _ => false,
    }
}

/// The warning to logged-in users, so many minutes before the reboot.
pub fn user_warning(minutes: u64, due: &[DueReason]) -> String {
    let when = match minutes {
        0 | 1 => "within a minute".to_owned(),
        n => format!("in {n} minutes"),
    };
    let why: Vec<String> = due.iter().map(ToString::to_string).collect();
    format!("This machine reboots {when}: {}. Please save your work.\n", why.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_wanders_is_no_news() {
        let at = |waits: Vec<WaitReason>| HostStatus { waits, ..HostStatus::default() };
        let settling = |until| at(vec![WaitReason::Settling { until }]);
        assert!(is_same_status(&settling(100), &settling(102)));
        assert!(!is_same_status(&settling(100), &settling(103)));
        let draining = |left, until| at(vec![WaitReason::Draining { left, until }]);
        assert!(is_same_status(&draining(2, 100), &draining(2, 101)));
        assert!(!is_same_status(&draining(2, 100), &draining(1, 100)));
        assert!(!is_same_status(&settling(100), &at(vec![])));
        assert!(!is_same_status(&settling(100), &draining(1, 100)));
    }

    #[test]
    fn users_are_told_when_and_why() {
        let due = [DueReason::RebootRequired { packages: vec!["libc6".to_owned()] }];
        assert_eq!(
            user_warning(5, &due),
            "This machine reboots in 5 minutes: required by libc6. Please save your work.\n"
        );
        assert!(user_warning(1, &due).starts_with("This machine reboots within a minute: "));
    }
}
