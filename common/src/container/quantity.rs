//! Numbers with a unit: truth values, time spans, sizes.
//!
//! Owns three small notations: systemd's booleans and spans (systemd.time(7)), the durations Podman's health options
//! take (as Go writes them), and sizes as `docker run` takes them.

use std::time::Duration;

/// systemd's idea of true and false.
pub(super) fn parse_boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

/// Quadlet's idea of the two, in which systemd's single letters are neither.
pub(super) fn parse_flag(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

/// A whole number.
pub(super) fn parse_number<N: std::str::FromStr>(value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{value:?} is not a number that fits here"))
}

/// A span as systemd writes it: `90`, `1min 30s`, `1.5h`, or `infinity`, which is `None`. Without a unit it is seconds.
pub(super) fn parse_span(value: &str) -> Result<Option<Duration>, String> {
    if value == "infinity" {
        return Ok(None);
    }
    let bad = || format!("{value:?} is not a time span such as 90s or 1min 30s");
    let mut total = Duration::ZERO;
    let mut rest = value.trim_start();
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (amount, after) = split_amount(rest).ok_or_else(bad)?;
        let after = after.trim_start();
        let (unit, after) = split_letters(after);
        let unit = if unit.is_empty() && after.is_empty() && rest == value.trim_start() {
            SECOND
        } else {
            unit_of(unit).ok_or_else(bad)?
        };
        total =
            scale_amount(amount, unit).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = after.trim_start();
    }
    Ok(Some(total))
}

/// A duration as Go writes it: `30s`, `1m30s`, `1.5h`. It always has a unit.
pub(super) fn parse_duration(value: &str) -> Result<Duration, String> {
    let bad = || format!("{value:?} is not a duration such as 30s or 1m30s");
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = value;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (amount, after) = split_amount(rest).ok_or_else(bad)?;
        let (unit, after) = split_letters(after);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            _ => return Err(bad()),
        };
        total =
            scale_amount(amount, unit).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = after;
    }
    Ok(total)
}

/// A size in bytes: a number with `b`, `k`, `m`, `g`, `t` or `p` behind it, powers of 1024, in any case; `kb` and `kib` are
/// `k`.
pub(super) fn parse_size(value: &str) -> Result<i64, String> {
    let bad = || format!("{value:?} is not a size such as 512m or 20g");
    let ((whole, fraction), unit) = split_amount(value).ok_or_else(bad)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(bad()),
    };
    let unit = 1_024_u64.pow(power);
    let part = u128::from(fraction) * u128::from(unit) / u128::from(BILLION);
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(u64::try_from(part).ok()?))
        .and_then(|bytes| i64::try_from(bytes).ok())
        .ok_or_else(bad)
}

const BILLION: u64 = 1_000_000_000;

/// Nanoseconds.
const SECOND: u64 = BILLION;

/// A decimal number at the beginning of a text, in whole and billionths, and what follows it.
fn split_amount(text: &str) -> Option<((u64, u64), &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at_checked(digits(text))?;
    let whole: u64 = whole.parse().ok()?;
    let Some(rest) = rest.strip_prefix('.') else {
        return Some(((whole, 0), rest));
    };
    let (fraction, rest) = rest.split_at_checked(digits(rest))?;
    if fraction.is_empty() {
        return None;
    }
    let billionths: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(((whole, billionths.parse().ok()?), rest))
}

/// The letters at the beginning of a text, and what follows them.
fn split_letters(text: &str) -> (&str, &str) {
    let letters = text.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
    text.split_at_checked(letters).unwrap_or((text, ""))
}

/// systemd's units in nanoseconds.
fn unit_of(name: &str) -> Option<u64> {
    Some(match name {
        "nsec" | "ns" => 1,
        "usec" | "us" | "µs" | "μs" => 1_000,
        "msec" | "ms" => 1_000_000,
        "seconds" | "second" | "sec" | "s" => SECOND,
        "minutes" | "minute" | "min" | "m" => 60 * SECOND,
        "hours" | "hour" | "hr" | "h" => 3_600 * SECOND,
        "days" | "day" | "d" => 86_400 * SECOND,
        "weeks" | "week" | "w" => 604_800 * SECOND,
        "months" | "month" | "M" => 2_629_800 * SECOND,
        "years" | "year" | "y" => 31_557_600 * SECOND,
        _ => return None,
    })
}

fn scale_amount((whole, fraction): (u64, u64), unit: u64) -> Option<Duration> {
    let unit = u128::from(unit);
    let nanos = u128::from(whole) * unit + u128::from(fraction) * unit / u128::from(BILLION);
    let seconds = u64::try_from(nanos / u128::from(BILLION)).ok()?;
    let rest = u32::try_from(nanos % u128::from(BILLION)).ok()?;
    // A span that no clock of a machine can count to is a slip; this is some 500 years.
    (seconds < u64::from(u32::MAX) * 4).then(|| Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_systemds() {
        let cases = [
            ("5", 5_000),
            ("1.5", 1_500),
            ("100ms", 100),
            ("1min 30s", 90_000),
            ("1min30s", 90_000),
            ("2h", 7_200_000),
            ("1 day", 86_400_000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_span(text), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        assert_eq!(parse_span("infinity"), Ok(None));
        for text in ["", "s", "-1", "5 6", "1min 30", "5 parsecs", "1.", "999999999999999y"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_span("soon").unwrap_err(),
            "\"soon\" is not a time span such as 90s or 1min 30s"
        );
    }

    #[test]
    fn a_letter_is_a_truth_of_systemds_alone() {
        assert_eq!((parse_boolean("y"), parse_boolean("F")), (Ok(true), Ok(false)));
        assert_eq!((parse_flag("Yes"), parse_flag("off")), (Ok(true), Ok(false)));
        assert!(parse_flag("y").is_err() && parse_flag("t").is_err() && parse_flag("n").is_err());
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("30s", 30_000), ("1m33s", 93_000), ("1.5h", 5_400_000), ("250ms", 250), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "1min", "1m 30s", "disable"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("100", 100),
            ("64k", 65_536),
            ("1.5G", 1_610_612_736),
            ("20gb", 21_474_836_480),
            ("5 MiB", 5_242_880),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "k", "1x", "-1", "99999999p"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_refused(text in "(\\PC{0,12}|[0-9]{1,25}[a-zA-Z .]{0,4})") {
            let _ = (parse_span(&text), parse_duration(&text), parse_size(&text), parse_boolean(&text));
        }

        #[test]
        fn whole_seconds_read_as_themselves(seconds in 0_u64..4_000_000_000) {
            let text = format!("{seconds}s");
            prop_assert_eq!(parse_span(&text), Ok(Some(Duration::from_secs(seconds))));
            prop_assert_eq!(parse_duration(&text), Ok(Duration::from_secs(seconds)));
        }
    }
}
