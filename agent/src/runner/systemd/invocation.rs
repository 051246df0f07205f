//! The run that a unit is in, as systemd links it.
//!
//! Owns the look at `/run/systemd/units`, which costs no call over the bus. It never follows a link further.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

/// systemd keeps a symbolic link here for each unit that runs; its target is the `InvocationID`.
const INVOCATIONS: &str = "/run/systemd/units";
/// Longest name of a unit, in bytes, whose link there has a name that a file can have: 255 bytes with `invocation:`.
pub(super) const LONGEST_LINKED: usize = 244;

/// The run a unit is in and when it began; nothing for one that does not run.
pub(super) fn current_invocation(unit: &UnitName, active: &ActiveState) -> (String, u64) {
    if active.is_down() {
        return (String::new(), 0);
    }
    let link = PathBuf::from(INVOCATIONS).join(format!("invocation:{unit}"));
    let id = std::fs::read_link(&link).ok().and_then(|id| id.into_os_string().into_string().ok());
    let since = std::fs::symlink_metadata(&link)
        .and_then(|m| m.modified())
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |d| d.as_secs());
    (id.unwrap_or_default(), since)
}
