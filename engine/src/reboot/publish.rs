//! What the role says of itself: to the cluster, and to logged-in users.
//!
//! Owns the form of both, and when one status says nothing that the one before did not.

use std::time::Duration;

use muster_common::reboot::{DueReason, HostStatus, Journal, WaitReason};

use super::phase::RebootPolicy;

/// How long the store may take to take a status. Nothing waits for it longer: what must not be lost is on disk.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Seconds by which an announced time may wander without being news: it is computed anew from two clocks each time.
const WANDERS: u64 = 2;

/// How far the machine is.
pub fn status(
    policy: &RebootPolicy,
    journal: &Journal,
    waits: &[WaitReason],
    boot: &str,
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
        boot: boot.to_owned(),
    }
}

/// Whether the second says nothing new.
pub fn alike(before: &HostStatus, now: &HostStatus) -> bool {
    let timeless = |status: &HostStatus| HostStatus { waits: Vec::new(), ..status.clone() };
    timeless(before) == timeless(now)
        && before.waits.len() == now.waits.len()
        && before.waits.iter().zip(&now.waits).all(|(before, now)| same(before, now))
}

fn same(before: &WaitReason, now: &WaitReason) -> bool {
    if before == now {
        return true;
    }
    match (before.until(), now.until()) {
        (Some(first), Some(second)) => {
            first.abs_diff(second) <= WANDERS && before.clone().with_until(second) == *now
        }
        _ => false,
    }
}

/// Words to logged-in users.
pub fn warning(minutes: u64, due: &[DueReason]) -> String {
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
        assert!(alike(&settling(100), &settling(102)));
        assert!(!alike(&settling(100), &settling(103)));
        let draining = |left, until| at(vec![WaitReason::Draining { left, until }]);
        assert!(alike(&draining(2, 100), &draining(2, 101)));
        assert!(!alike(&draining(2, 100), &draining(1, 100)));
        assert!(!alike(&settling(100), &at(vec![])));
        assert!(!alike(&settling(100), &draining(1, 100)));
    }

    #[test]
    fn users_are_told_when_and_why() {
        let due = [DueReason::RebootRequired { packages: vec!["libc6".to_owned()] }];
        assert_eq!(
            warning(5, &due),
            "This machine reboots in 5 minutes: required by libc6. Please save your work.\n"
        );
        assert!(warning(1, &due).starts_with("This machine reboots within a minute: "));
    }
}
