//! No text of a file runs that was removed or replaced, by whatever refers to its unit.
//!
//! A removal is over when the daemon was told so; a replacement when systemd has had the time to read the new file.

use std::time::Duration;

use super::Findings;
use crate::systemd::NotedStart;

/// The time in which systemd is made to read a file that was replaced: the gathering of writes, another attempt, and slow calls.
const REREAD: Duration = Duration::from_secs(6);

/// Checks a program that was started on a machine. `sound_since` is when its daemon could last not have had systemd read a file.
pub(crate) fn check_start(machine: &str, noted: &NotedStart, sound_since: Duration) -> Findings {
    let NotedStart { start, notes } = noted;
    if start.in_place == Some(start.file) {
        return Findings::new();
    }
    let (unit, at) = (&start.unit, start.at);
    if let Some(removed) = notes.removed {
        let ago = at.saturating_sub(removed);
        let text = format!("{machine} runs {unit} from a file that was removed {ago:?} ago");
        return vec![("removed-text-runs", text)];
    }
    // What somebody else has put there since is their affair.
    if let Some((file, written)) = notes.written
        && start.in_place == Some(file)
        && written.max(sound_since) + REREAD < at
    {
        let ago = at.saturating_sub(written);
        let text = format!("{machine} runs {unit} from a file that was replaced {ago:?} ago");
        return vec![("replaced-text-runs", text)];
    }
    Findings::new()
}
