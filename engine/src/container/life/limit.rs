//! How often a container may be started.

use std::time::Duration;

use muster_common::container::StartLimit;

/// Takes one start, if it is allowed now.
///
/// systemd counts from the first start of a window that it begins anew when it is over; here any window of that length
/// counts, which is what systemd.unit(5) says and never more than what systemd allows.
pub(super) fn take_start(
    limit: Option<StartLimit>,
    starts: &mut Vec<Duration>,
    now: Duration,
) -> bool {
    let Some(limit) = limit else {
        starts.clear();
        return true;
    };
    // They are of one clock, which goes on over a restart of the daemon and ends with the boot, as their memory does.
    debug_assert!(
        starts.is_sorted() && starts.last().is_none_or(|last| *last <= now),
        "{starts:?}"
    );
    starts.retain(|start| now.saturating_sub(*start) < limit.interval);
    if u32::try_from(starts.len()).is_ok_and(|starts| starts < limit.burst) {
        starts.push(now);
        return true;
    }
    false
}
