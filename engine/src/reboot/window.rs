//! Windows: the times of the week at which a reboot may begin.
//!
//! Owns how a window is written, when it is open, and when the next one opens. The time and the zone are arguments.
//!
//! A window begins at a time on the clock on the wall and lasts a length of time that passes. So on a day on which the
//! clock is changed it begins once and lasts as long as on any other: where the clock jumps over its beginning, it begins
//! at the jump; where the clock shows its beginning twice, it begins at the first.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

/// Days to either side of now that are looked at: a week, a day for windows that are still open from the week before,
/// and one for zones that left out a whole day.
const DAYS: i64 = 9;

/// Longest window: one that is open for a week on end says what no window says.
const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A time of the week, or of every day, and how long it lasts: `Thu 23:00 1h30m`, `Mon..Fri 02:30 90m`, `14:00 2h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The first and the last day of the week it begins on; none: it begins every day.
    days: Option<(Weekday, Weekday)>,
    start: Time,
    length: Duration,
}

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a window: {problem}, expected such as \"Thu 23:00 1h30m\", \"Mon..Fri 02:30 90m\" or \"14:00 2h\""
)]
pub struct InvalidWindow {
    given: String,
    problem: &'static str,
}

/// The state of all windows at a time: whether a reboot may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// Yes.
    Open {
        /// Until then, seconds since the Unix epoch; `None`: always.
        until: Option<u64>,
    },
    /// No.
    Closed {
        /// When it is next, seconds since the Unix epoch; `None`: the calendar ends before.
        opens: Option<u64>,
    },
}

/// Looks whether one of the windows is open at a time, seconds since the Unix epoch. Without windows it always is.
pub fn opening_at(windows: &[Window], zone: &TimeZone, now: u64) -> WindowState {
    if windows.is_empty() {
        return WindowState::Open { until: None };
    }
    let Some(instant) = i64::try_from(now).ok().and_then(|s| Timestamp::from_second(s).ok()) else {
        return WindowState::Closed { opens: None };
    };
    let today = instant.to_zoned(zone.clone()).date();
    let mut spans: Vec<(u64, u64)> = (-DAYS..=DAYS)
        .filter_map(|day| today.checked_add(Span::new().try_days(day).ok()?).ok())
        .flat_map(|date| windows.iter().filter_map(move |window| window.on_date(date, zone)))
        .collect();
    spans.sort_unstable();
    // Windows that meet or overlap are one: it does not close in between.
    let mut open_until = None;
    for (start, end) in &spans {
        if *start <= open_until.unwrap_or(now) && *end > open_until.unwrap_or(now) {
            open_until = Some(*end);
        }
    }
    match open_until {
        Some(until) => WindowState::Open { until: Some(until) },
        None => WindowState::Closed {
            opens: spans.iter().map(|(start, _)| *start).find(|start| *start > now),
        },
    }
}

impl Window {
    /// The window that begins on a date, from and to, seconds since the Unix epoch.
    fn on_date(&self, date: Date, zone: &TimeZone) -> Option<(u64, u64)> {
        if !self.begins_on(date.weekday()) {
            return None;
        }
        let wall = date.to_datetime(self.start);
        let ambiguous = zone.to_ambiguous_timestamp(wall);
        let start = match ambiguous.offset() {
            AmbiguousOffset::Gap { before, .. } => {
                // Read with the offset of before, the time lies after the jump by as much as it is into the gap.
                let after = before.to_timestamp(wall).ok()?;
                let just_after = after.checked_add(SignedDuration::from_nanos(1)).ok()?;
                zone.preceding(just_after).next()?.timestamp()
            }
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => {
                ambiguous.earlier().ok()?
            }
        };
        let start = u64::try_from(start.as_second()).ok()?;
        Some((start, start.checked_add(self.length.as_secs())?))
    }

    fn begins_on(&self, day: Weekday) -> bool {
        self.days.is_none_or(|(first, last)| first.until(day) <= first.until(last))
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem| InvalidWindow { given: text.to_owned(), problem };
        // `Thu 23:00 + 1h30m` and `Thu 23:00+1h30m` are read as well: a start and a length, as two settings elsewhere.
        let spaced = text.replace('+', " ");
        let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
        let (days, start, length) = match words.as_slice() {
            [start, length] => (None, start, length),
            [days, start, length] => {
                (Some(parse_days(days).ok_or_else(|| wrong("no such day"))?), start, length)
            }
            _ => return Err(wrong("it needs a time and a length")),
        };
        let start = parse_time(start).ok_or_else(|| wrong("no such time of the day"))?;
        let length = parse_length(length).ok_or_else(|| wrong("no such length"))?;
        if length.is_zero() || length > LONGEST_WINDOW {
            return Err(wrong("its length must be more than nothing and at most a week"));
        }
        Ok(Self { days, start, length })
    }
}

impl fmt::Display for Window {
    /// As it is written, in its shortest form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            None => {}
            Some((first, last)) if first == last => write!(f, "{} ", name(first))?,
            Some((first, last)) => write!(f, "{}..{} ", name(first), name(last))?,
        }
        write!(f, "{:02}:{:02} ", self.start.hour(), self.start.minute())?;
        let seconds = self.length.as_secs();
        for (amount, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')]
        {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

const DAYS_OF_THE_WEEK: [(Weekday, &str); 7] = [
    (Weekday::Monday, "monday"),
    (Weekday::Tuesday, "tuesday"),
    (Weekday::Wednesday, "wednesday"),
    (Weekday::Thursday, "thursday"),
    (Weekday::Friday, "friday"),
    (Weekday::Saturday, "saturday"),
    (Weekday::Sunday, "sunday"),
];

fn name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

/// `Thu`, `thursday`, `Mon..Fri`; a range may go past the end of the week.
fn parse_days(text: &str) -> Option<(Weekday, Weekday)> {
    let day = |text: &str| {
        let text = text.to_ascii_lowercase();
        let named = |name: &str| text == name || name.get(..3) == Some(text.as_str());
        DAYS_OF_THE_WEEK.iter().find(|(_, name)| named(name)).map(|(day, _)| *day)
    };
    match text.split_once("..") {
        Some((first, last)) => Some((day(first)?, day(last)?)),
        None => day(text).map(|day| (day, day)),
    }
}

/// `23:00`, `9:30`.
fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || !digits(minute) || minute.len() != 2 {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// `1h30m`, `90m`, `45s`, in any number of parts, as Go writes durations.
fn parse_length(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, tail) = rest.split_at_checked(unit_at)?;
        let mut tail = tail.chars();
        let factor = match tail.next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = tail.as_str();
    }
    Some(Duration::from_secs(seconds))
}
