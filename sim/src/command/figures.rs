//! Figures for people.

use std::time::Duration;

/// A number with its thousands apart.
pub(super) fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, with the word for one of them or for several.
pub(super) fn count_things(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", group_digits(number))
}

/// A length of time, in seconds or in minutes and seconds.
pub(super) fn shown_time(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 100 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(group_digits(number), text);
        }
        assert_eq!(count_things(1, "seed"), "1 seed");
        assert_eq!(count_things(2000, "seed"), "2,000 seeds");
        assert_eq!(shown_time(Duration::from_millis(7500)), "7.5 s");
        assert_eq!(shown_time(Duration::from_secs(300)), "5 min 0 s");
    }
}
