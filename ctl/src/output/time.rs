//! Times and durations as people read them: the reader's own time zone, and how long ago.
//!
//! Owns how much is said: two units of a duration are enough to act on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Units of a duration that are said.
const UNITS: usize = 2;

/// Now, in seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A moment, in seconds since the Unix epoch: `2026-11-21 13:00:03`; a dash for none.
pub(crate) fn format_moment(at: u64) -> String {
    let time = i64::try_from(at).ok().filter(|at| *at > 0).map(Timestamp::from_second);
    match time {
        Some(Ok(time)) => {
            time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => "-".to_owned(),
    }
}

/// A moment and how far it is from now: `2026-11-21 13:00:03 (2h 30m ago)`, `... (in 10m)`.
pub(crate) fn format_since(at: u64, now: u64) -> String {
    if at == 0 {
        return format_moment(at);
    }
    let distance = if at > now {
        format!("in {}", format_lasting(at - now))
    } else {
        format!("{} ago", format_lasting(now - at))
    };
    format!("{} ({distance})", format_moment(at))
}

/// A duration in seconds: its two largest units.
pub(crate) fn format_lasting(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(UNITS).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_two_units() {
        let shown = [0, 1, 61, 3599, 3600, 90_061, 40_000_000].map(format_lasting);
        assert_eq!(shown, ["0s", "1s", "1m 1s", "59m 59s", "1h", "1day 1h", "1year 3months"]);
    }

    #[test]
    fn a_moment_is_before_or_behind_now() {
        assert!(format_since(1_700_000_000, 1_700_000_090).ends_with(" (1m 30s ago)"));
        assert!(format_since(1_700_000_090, 1_700_000_000).ends_with(" (in 1m 30s)"));
        assert_eq!(format_since(0, 1_700_000_000), "-");
        assert_eq!(
            format_moment(u64::MAX),
            "-",
            "a clock that is out of its mind is no fault of the reader's"
        );
    }
}
