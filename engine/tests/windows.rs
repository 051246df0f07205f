//! Windows on ordinary days, across midnight and the end of the week, and on the days on which clocks are changed.
#![allow(clippy::unwrap_used, reason = "what fails in a test is to fail it")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_engine::reboot::window::{Window, WindowState, opening_at};
use proptest::prelude::*;

fn windows(text: &str) -> Vec<Window> {
    text.split(", ").map(|window| window.parse().unwrap()).collect()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// What is said at a moment, which is written with its offset; the answer is in the zone's own time.
fn at(windows: &[Window], zone: &TimeZone, moment: &str) -> String {
    let now: Timestamp = moment.parse().unwrap();
    let show = |seconds: u64| {
        let time = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        time.to_zoned(zone.clone()).strftime("%a %m-%d %H:%M %:z").to_string()
    };
    match opening_at(windows, zone, u64::try_from(now.as_second()).unwrap()) {
        WindowState::Open { until: None } => "always open".to_owned(),
        WindowState::Open { until: Some(until) } => format!("open until {}", show(until)),
        WindowState::Closed { opens: Some(opens) } => format!("opens {}", show(opens)),
        WindowState::Closed { opens: None } => "never opens".to_owned(),
    }
}

/// Moments of one scenario, each with the answer expected.
fn scenario(text: &str, name: &str, steps: &[(&str, &str)]) {
    let (windows, zone) = (windows(text), zone(name));
    for (moment, expected) in steps {
        assert_eq!(at(&windows, &zone, moment), *expected, "{text} in {name} at {moment}");
    }
}

#[test]
fn without_windows_it_is_always_open() {
    assert_eq!(at(&[], &TimeZone::UTC, "2026-01-01T00:00:00Z"), "always open");
}

#[test]
fn a_window_of_every_day() {
    scenario(
        "14:00 2h",
        "UTC",
        &[
            ("2026-01-07T13:59:59Z", "opens Wed 01-07 14:00 +00:00"),
            ("2026-01-07T14:00:00Z", "open until Wed 01-07 16:00 +00:00"),
            ("2026-01-07T15:59:59Z", "open until Wed 01-07 16:00 +00:00"),
            ("2026-01-07T16:00:00Z", "opens Thu 01-08 14:00 +00:00"),
        ],
    );
}

#[test]
fn a_window_across_midnight_belongs_to_the_day_it_begins_on() {
    scenario(
        "Thu 23:00 1h30m",
        "Europe/Berlin",
        &[
            ("2026-01-08T22:59:00+01:00", "opens Thu 01-08 23:00 +01:00"),
            ("2026-01-08T23:00:00+01:00", "open until Fri 01-09 00:30 +01:00"),
            ("2026-01-09T00:29:59+01:00", "open until Fri 01-09 00:30 +01:00"),
            ("2026-01-09T00:30:00+01:00", "opens Thu 01-15 23:00 +01:00"),
            ("2026-01-09T23:10:00+01:00", "opens Thu 01-15 23:00 +01:00"),
        ],
    );
}

#[test]
fn a_window_across_the_end_of_the_week_the_month_and_the_year() {
    scenario(
        "Sun 23:30 2h",
        "UTC",
        &[
            ("2026-01-12T01:29:00Z", "open until Mon 01-12 01:30 +00:00"),
            ("2026-01-12T01:30:00Z", "opens Sun 01-18 23:30 +00:00"),
        ],
    );
    // 2026 ends with a Thursday.
    scenario(
        "Thu 23:00 3h",
        "UTC",
        &[("2027-01-01T01:00:00Z", "open until Fri 01-01 02:00 +00:00")],
    );
    // Six days long: it is still open on the days of the next week.
    scenario(
        "Fri 12:00 144h",
        "UTC",
        &[
            ("2026-01-15T11:59:00Z", "open until Thu 01-15 12:00 +00:00"),
            ("2026-01-15T12:00:00Z", "opens Fri 01-16 12:00 +00:00"),
        ],
    );
}

#[test]
fn a_range_of_days_may_go_past_the_end_of_the_week() {
    scenario(
        "Mon..Fri 02:00 1h",
        "UTC",
        &[
            ("2026-01-09T02:30:00Z", "open until Fri 01-09 03:00 +00:00"),
            ("2026-01-10T02:30:00Z", "opens Mon 01-12 02:00 +00:00"),
        ],
    );
    scenario(
        "Sat..Mon 02:00 1h",
        "UTC",
        &[
            ("2026-01-11T02:30:00Z", "open until Sun 01-11 03:00 +00:00"),
            ("2026-01-13T02:30:00Z", "opens Sat 01-17 02:00 +00:00"),
        ],
    );
}

#[test]
fn several_windows_and_those_that_meet_are_one() {
    scenario(
        "Thu 23:00 1h, Fri 00:00 1h, Fri 00:30 2h, Sat 10:00 1h",
        "UTC",
        &[
            ("2026-01-08T23:10:00Z", "open until Fri 01-09 02:30 +00:00"),
            ("2026-01-09T02:30:00Z", "opens Sat 01-10 10:00 +00:00"),
        ],
    );
    // Open all day long, every day: it is seen as open as far as anybody looks.
    let always = windows("00:00 24h");
    let seen = at(&always, &TimeZone::UTC, "2026-01-08T23:10:00Z");
    assert!(seen.starts_with("open until "), "{seen}");
}

/// Berlin, 29 March 2026: at 02:00 the clock jumps to 03:00.
#[test]
fn the_clock_jumps_ahead() {
    // Its beginning is jumped over: it begins at the jump, and lasts as long as ever.
    scenario(
        "02:30 1h",
        "Europe/Berlin",
        &[
            ("2026-03-28T03:30:00+01:00", "opens Sun 03-29 03:00 +02:00"),
            ("2026-03-29T01:59:59+01:00", "opens Sun 03-29 03:00 +02:00"),
            ("2026-03-29T03:00:00+02:00", "open until Sun 03-29 04:00 +02:00"),
            ("2026-03-29T04:00:00+02:00", "opens Mon 03-30 02:30 +02:00"),
        ],
    );
    // The jump lies within: an hour and a half pass, the clock on the wall shows two and a half.
    scenario(
        "01:30 1h30m",
        "Europe/Berlin",
        &[
            ("2026-03-29T01:30:00+01:00", "open until Sun 03-29 04:00 +02:00"),
            ("2026-03-29T04:00:00+02:00", "opens Mon 03-30 01:30 +02:00"),
        ],
    );
    // Sao Paulo used to jump at midnight: the day begins at 01:00.
    scenario(
        "Sun 00:00 30m",
        "America/Sao_Paulo",
        &[("2018-11-04T01:10:00-02:00", "open until Sun 11-04 01:30 -02:00")],
    );
}

/// Berlin, 25 October 2026: at 03:00 the clock goes back to 02:00.
#[test]
fn the_clock_goes_back() {
    // Its beginning comes twice: it begins at the first, once.
    scenario(
        "02:30 30m",
        "Europe/Berlin",
        &[
            ("2026-10-25T02:30:00+02:00", "open until Sun 10-25 02:00 +01:00"),
            ("2026-10-25T02:00:00+01:00", "opens Mon 10-26 02:30 +01:00"),
            ("2026-10-25T02:30:00+01:00", "opens Mon 10-26 02:30 +01:00"),
        ],
    );
    // The change lies within: two hours pass.
    scenario(
        "01:30 2h",
        "Europe/Berlin",
        &[
            ("2026-10-25T01:30:00+02:00", "open until Sun 10-25 02:30 +01:00"),
            ("2026-10-25T02:29:00+01:00", "open until Sun 10-25 02:30 +01:00"),
            ("2026-10-25T02:30:00+01:00", "opens Mon 10-26 01:30 +01:00"),
        ],
    );
}

/// Samoa went to bed on 29 December 2011 and woke up on the 31st.
#[test]
fn a_day_that_never_was() {
    scenario(
        "Fri 12:00 1h",
        "Pacific/Apia",
        &[
            ("2011-12-29T13:00:00-10:00", "opens Sat 12-31 00:00 +14:00"),
            ("2011-12-31T00:30:00+14:00", "open until Sat 12-31 01:00 +14:00"),
            ("2011-12-31T01:00:00+14:00", "opens Fri 01-06 12:00 +14:00"),
        ],
    );
}

#[test]
fn windows_are_written_in_several_ways() {
    for (text, shortest) in [
        ("Thu 23:00 1h30m", "Thu 23:00 1h30m"),
        ("thursday 23:00 + 90m", "Thu 23:00 1h30m"),
        ("THU 23:00+5400s", "Thu 23:00 1h30m"),
        ("9:05 1h0m1s", "09:05 1h1s"),
        ("mon..friday 02:30 45m", "Mon..Fri 02:30 45m"),
        ("00:00 168h", "00:00 168h"),
    ] {
        let window: Window = text.parse().unwrap();
        assert_eq!(window.to_string(), shortest);
        assert_eq!(shortest.parse(), Ok(window));
    }
    for text in [
        "",
        "23:00",
        "Thu 23:00",
        "24:00 1h",
        "23:60 1h",
        "2300 1h",
        "Th 23:00 1h",
        "Thu..  23:00 1h",
        "23:00 0h",
        "23:00 1d",
        "23:00 1",
        "23:00 h",
        "23:00 -1h",
        "23:00 169h",
        "23:00 1.5h",
        "Thu 23:00 1h 30m",
        "23:00 99999999999999999999h",
        "23:00 18446744073709551615h",
        "Mon,Tue 23:00 1h",
    ] {
        assert!(text.parse::<Window>().is_err(), "{text:?}");
    }
    let error = "Thu 25:00 1h".parse::<Window>().unwrap_err().to_string();
    assert_eq!(
        error,
        "\"Thu 25:00 1h\" is not a window: no such time of the day, expected such as \"Thu 23:00 1h30m\", \
         \"Mon..Fri 02:30 90m\" or \"14:00 2h\""
    );
}

fn any_window() -> impl Strategy<Value = Window> {
    (0..8_usize, 0..24_u8, 0..60_u8, 1..600_u32).prop_map(|(day, hour, minute, length)| {
        let days = ["", "Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
        let day = days.get(day).unwrap();
        format!("{day}{hour}:{minute:02} {length}m").parse().unwrap()
    })
}

proptest! {
    /// Open at the time it is said to open, closed at the time it is said to close, and nothing in between, minute by
    /// minute around a change of clocks.
    #[test]
    fn what_is_announced_comes_true(
        all in prop::collection::vec(any_window(), 1..4),
        change in prop::sample::select(vec![1_774_746_000_u64, 1_792_890_000]),
        offset in 0..20_000_u64,
    ) {
        let zone = zone("Europe/Berlin");
        let now = change - 600_000 + offset * 60;
        match opening_at(&all, &zone, now) {
            WindowState::Open { until: Some(until) } => {
                prop_assert!(until > now);
                let open_at_the_end = matches!(opening_at(&all, &zone, until), WindowState::Open { .. });
                prop_assert!(!open_at_the_end);
                let before = opening_at(&all, &zone, until - 1);
                prop_assert_eq!(before, WindowState::Open { until: Some(until) });
            }
            WindowState::Closed { opens: Some(opens) } => {
                prop_assert!(opens > now);
                let open = matches!(opening_at(&all, &zone, opens), WindowState::Open { .. });
                prop_assert!(open);
                prop_assert_eq!(opening_at(&all, &zone, opens - 1), WindowState::Closed { opens: Some(opens) });
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn no_text_and_no_time_is_too_much(text in "[ -~]{0,30}", now in any::<u64>()) {
        if let Ok(window) = text.parse::<Window>() {
            let _ = opening_at(&[window], &TimeZone::UTC, now);
        }
        let _ = opening_at(&windows("00:00 1h"), &zone("Europe/Berlin"), now);
    }
}
