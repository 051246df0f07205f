//! Values of options.
//!
//! Owns the forms in which they may be written, and what is said of others.

use std::time::Duration;

/// Reads a number of seconds above 0, such as `2` or `0.5`.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected more than 0 seconds".to_owned()),
    }
}

/// Reads a number of lines, or `all`, which is kept as it is.
pub(super) fn parse_line_count(text: &str) -> Result<String, String> {
    if text == "all" || text.parse::<u32>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("expected a number or all".to_owned())
    }
}

/// Reads a duration: a number of seconds, or with units as in `2m 30s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected a duration such as 90, 500ms, 90s or 2m".to_owned()),
    }
}
