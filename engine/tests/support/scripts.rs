//! Scripts: text files with commands, and below each, on lines that begin with `>`, what is said to it.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "a test reads its scripts")]
#![allow(clippy::cast_precision_loss, reason = "times of scripts are short")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use muster_common::probe::plant_fault;

/// A thing that commands are given to.
pub(crate) trait Player: Default {
    /// Carries a command out and says what comes of it. `words` are those of its line, `body` the indented lines below it.
    fn carry_out(&mut self, words: &[&str], body: &str) -> String;
}

/// Plays every script of a directory below `tests/scenarios` and compares; with `UPDATE` set writes what is said into them.
pub(crate) fn play_directory<P: Player>(directory: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(directory);
    let update = std::env::var("UPDATE").is_ok();
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = String::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = play_script::<P>(&script);
        if update {
            std::fs::write(&path, &played).unwrap();
        } else if script != played {
            let _ = writeln!(wrong, "{}:\n{}", path.display(), difference(&script, &played));
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nIf that is as it should be: UPDATE=1");
}

/// Asserts that a rule is noticed when it is left out: `plays` fails then, and does not otherwise.
pub(crate) fn fails_without(planted: &'static str, plays: fn()) {
    if std::env::var("UPDATE").is_ok() {
        return;
    }
    plays();
    plant_fault(Some(planted));
    let played = std::panic::catch_unwind(plays);
    plant_fault(None);
    assert!(played.is_err(), "{planted} makes no difference here");
}

/// The script with what is said now in the place of what was said.
fn play_script<P: Player>(script: &str) -> String {
    let mut player = P::default();
    let mut output = String::new();
    let mut lines = script.lines().filter(|line| !line.starts_with('>')).peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(output, "{line}");
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut body = String::new();
        while let Some(below) = lines.next_if(|line| line.starts_with("  ")) {
            let _ = writeln!(output, "{below}");
            let _ = writeln!(body, "{}", below.trim());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for said in player.carry_out(&words, &body).lines() {
            let _ = writeln!(output, "> {said}");
        }
    }
    output
}

fn difference(expected: &str, played: &str) -> String {
    let mut text = String::new();
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), played.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    for line in old.iter().skip(same.saturating_sub(4)).take(14) {
        let _ = writeln!(text, "- {line}");
    }
    for line in new.iter().skip(same.saturating_sub(4)).take(14) {
        let _ = writeln!(text, "+ {line}");
    }
    text
}

/// A time such as `2s`, `500ms`, `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Duration {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Duration::from_millis(milliseconds.parse().unwrap());
    }
    let seconds = text.strip_suffix('s').unwrap_or_else(|| panic!("{text}: no time"));
    Duration::from_secs_f64(seconds.parse().unwrap())
}

/// A time in seconds, as scripts show it.
pub(crate) fn show_duration(duration: Duration) -> String {
    format!("{}s", duration.as_millis() as f64 / 1000.0)
}
