//! The program that a container runs.
//!
//! Owns the words of the one program there is in the simulated world, `/sim/run`, and what is known of three others.
//!
//! | word | meaning |
//! | --- | --- |
//! | `fails=1` | it ends with this exit status as soon as it has begun |
//! | `fails-per-mille=100` | so many of a thousand runs do, with status 1 |
//! | `runs=5s` | it ends by itself after this time, with status 0; `runs=1ms..2s` is drawn anew for each run |
//! | `stops=2s` | time until it has ended after it was asked to stop |
//! | `slow-per-mille=50` | so many of a thousand stops take the time of `slow=1s..9s` in the place of their own |
//! | `deaf` | it does not hear that it is asked to stop |
//!
//! Words that begin with a dash, and all others, say nothing: `--version=3` tells two files apart.

use std::time::Duration;

/// A length of time, or a range to draw one from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TimeRange {
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

/// The behaviour of the program that a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContainerProgram {
    pub(super) fails: Option<i64>,
    pub(super) fails_per_mille: u64,
    pub(super) runs: Option<TimeRange>,
    pub(super) stops: TimeRange,
    pub(super) slow_per_mille: u64,
    pub(super) slow: TimeRange,
    pub(super) is_deaf: bool,
    /// The code with which it ends when it is asked to stop.
    pub(super) stopped_code: i64,
}

impl ContainerProgram {
    /// The program of a command.
    pub(super) fn from_command(command: &[String]) -> Self {
        let mut words = command.iter().map(String::as_str);
        match words.next() {
            Some("/sim/run") => Self::from_words(words),
            Some("false") => Self { fails: Some(1), ..Self::default() },
            Some("true") => Self { runs: Some(TimeRange::default()), ..Self::default() },
            // One that does not hear of signals, with an init before it that does.
            _ => Self { stopped_code: 143, ..Self::default() },
        }
    }

    fn from_words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut program = Self::default();
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "fails" => program.fails = value.parse().ok(),
                "fails-per-mille" => program.fails_per_mille = value.parse().unwrap_or_default(),
                "runs" => program.runs = parse_range(value),
                "stops" => program.stops = parse_range(value).unwrap_or_default(),
                "slow-per-mille" => program.slow_per_mille = value.parse().unwrap_or_default(),
                "slow" => program.slow = parse_range(value).unwrap_or_default(),
                "deaf" => program.is_deaf = true,
                _ => {}
            }
        }
        program
    }
}

fn parse_range(text: &str) -> Option<TimeRange> {
    let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
    Some(TimeRange { shortest: parse_length(shortest)?, longest: parse_length(longest)? })
}

fn parse_length(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &str) -> ContainerProgram {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        ContainerProgram::from_command(&words)
    }

    #[test]
    fn words_say_what_a_program_does() {
        let range = |shortest, longest| TimeRange {
            shortest: Duration::from_millis(shortest),
            longest: Duration::from_millis(longest),
        };
        let read = program("/sim/run runs=1ms..2s stops=3s slow-per-mille=7 deaf --version=1");
        assert_eq!((read.runs, read.stops), (Some(range(1, 2000)), range(3000, 3000)));
        assert_eq!((read.slow_per_mille, read.is_deaf, read.fails), (7, true, None));
        assert_eq!(program("false").fails, Some(1));
        assert_eq!(program("sleep 1000000").stopped_code, 143);
    }
}
