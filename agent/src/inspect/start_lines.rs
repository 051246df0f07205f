//! The lines of one start of a unit, told apart from those of its other starts.
//!
//! Owns the choice among the entries of a unit's journal. journald looks up which start a line is of when it reads the line, at
//! `/run/systemd/units/invocation:UNIT`, and systemd takes that away as soon as the unit is down. So the last words of a program that
//! failed at once often carry the unit's name and no start (`_SYSTEMD_INVOCATION_ID=`), the more often the busier the machine. Those
//! are given to the start that systemd itself spoke of at that time. It never runs journalctl.

use serde_json::Value;

use super::query::Invocation;

/// The fields of an entry that are read here, beside those that journalctl always prints.
pub(super) const FIELDS: &str =
    "MESSAGE,INVOCATION_ID,_SYSTEMD_INVOCATION_ID,_SOURCE_REALTIME_TIMESTAMP,_PID";

/// One entry of a unit's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JournalEntry {
    /// Microseconds since the Unix epoch: when systemd said it, or when journald read it of a program.
    time: u64,
    /// systemd's own word of the unit, and no line of a program.
    by_systemd: bool,
    /// The start that it is of, if that is known.
    start: Option<Invocation>,
    message: Vec<u8>,
}

/// An entry as `journalctl --output=json` prints it; nothing for a line that is none.
pub(super) fn parse_entry(line: &[u8]) -> Option<JournalEntry> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str);
    let by_systemd = field("_PID") == Some("1");
    // A program may say what it likes in fields without an underscore.
    let start = if by_systemd { "INVOCATION_ID" } else { "_SYSTEMD_INVOCATION_ID" };
    let said = if by_systemd { field("_SOURCE_REALTIME_TIMESTAMP") } else { None };
    let time = said.or_else(|| field("__REALTIME_TIMESTAMP"))?.parse().ok()?;
    let start = field(start).and_then(|id| id.parse().ok());
    Some(JournalEntry { time, by_systemd, start, message: message_of(entry.get("MESSAGE")?)? })
}

/// A message is text, or bytes where it is none, or several of them.
fn message_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(parts) if parts.iter().all(Value::is_number) => {
            parts.iter().map(|byte| byte.as_u64().and_then(|byte| byte.try_into().ok())).collect()
        }
        Value::Array(parts) => message_of(parts.first()?),
        _ => None,
    }
}

/// The last `count` messages of a start, oldest first, each with its line end. The entries are the unit's, newest first.
pub(super) fn lines_of_start(entries: &[JournalEntry], start: Invocation, count: usize) -> Vec<u8> {
    let mut spoken: Vec<(u64, Invocation)> = entries
        .iter()
        .filter(|entry| entry.by_systemd)
        .filter_map(|entry| Some((entry.time, entry.start?)))
        .collect();
    spoken.sort_by_key(|(time, _)| *time);
    let of_start = |entry: &&JournalEntry| {
        // Where systemd has said nothing at all, nothing speaks against it.
        let of = entry.start.or_else(|| likely_start(&spoken, entry.time)).unwrap_or(start);
        of == start
    };
    let mut chosen: Vec<&JournalEntry> = entries.iter().filter(of_start).take(count).collect();
    chosen.reverse();
    let mut text = Vec::new();
    for entry in chosen {
        text.extend_from_slice(&entry.message);
        text.push(b'\n');
    }
    text
}

/// The start that a line of a moment is of, by what systemd said before and after it, sorted by time. Between the end of one
/// start and the beginning of the next it is the nearer one: journald is late by milliseconds, not by the time between two starts.
fn likely_start(spoken: &[(u64, Invocation)], time: u64) -> Option<Invocation> {
    let next = spoken.partition_point(|(said, _)| *said <= time);
    let before = next.checked_sub(1).and_then(|before| spoken.get(before));
    match (before, spoken.get(next)) {
        (Some((ended, before)), Some((begun, next))) => {
            let is_nearer = time.abs_diff(*ended) < time.abs_diff(*begun);
            Some(if is_nearer { *before } else { *next })
        }
        (Some((_, only)), None) | (None, Some((_, only))) => Some(*only),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "11111111111111111111111111111111";
    const SECOND: &str = "22222222222222222222222222222222";

    /// What systemd said of a start; journald read it a second later.
    fn systemd(time: u64, start: &str, message: &str) -> String {
        let read = time + 1_000_000;
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"{read}","_SOURCE_REALTIME_TIMESTAMP":"{time}","_PID":"1","INVOCATION_ID":"{start}","MESSAGE":"{message}"}}"#
        )
    }

    /// What a program printed, with the start that journald found for it.
    fn program(time: u64, start: Option<&str>, message: &str) -> String {
        let start =
            start.map(|id| format!(r#""_SYSTEMD_INVOCATION_ID":"{id}","#)).unwrap_or_default();
        format!(r#"{{"__REALTIME_TIMESTAMP":"{time}","_PID":"70",{start}"MESSAGE":"{message}"}}"#)
    }

    /// The lines of a start in a journal that is told oldest first.
    fn shown(journal: &[String], start: &str, count: usize) -> Vec<String> {
        let mut entries: Vec<JournalEntry> =
            journal.iter().filter_map(|line| parse_entry(line.as_bytes())).collect();
        entries.reverse();
        let text = lines_of_start(&entries, start.parse().unwrap(), count);
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn last_words_of_which_nobody_knows_the_start_belong_to_the_one_that_ended_last() {
        let journal = [
            systemd(1_000, FIRST, "Starting"),
            program(1_500, None, "the key is missing"),
            systemd(1_600, FIRST, "Failed"),
            systemd(9_000_000, SECOND, "Starting"),
            systemd(9_000_400, SECOND, "Failed"),
            program(9_000_500, None, "the key is missing still"),
        ];
        assert_eq!(shown(&journal, FIRST, 10), ["Starting", "the key is missing", "Failed"]);
        assert_eq!(shown(&journal, SECOND, 10), ["Starting", "Failed", "the key is missing still"]);
        assert_eq!(shown(&journal, SECOND, 1), ["the key is missing still"]);
    }

    #[test]
    fn between_two_starts_a_line_belongs_to_the_nearer_one() {
        let journal = [
            systemd(1_000, FIRST, "Failed"),
            program(1_900, None, "late"),
            program(4_900, None, "early"),
            systemd(5_000, SECOND, "Starting"),
        ];
        assert_eq!(shown(&journal, FIRST, 10), ["Failed", "late"]);
        assert_eq!(shown(&journal, SECOND, 10), ["early", "Starting"]);
    }

    #[test]
    fn what_journald_knows_is_believed() {
        let journal = [
            systemd(1_000, FIRST, "Starting"),
            systemd(2_000, SECOND, "Starting"),
            program(2_500, Some(FIRST), "of the first"),
            program(2_600, Some(SECOND), "of the second"),
        ];
        assert_eq!(shown(&journal, FIRST, 10), ["Starting", "of the first"]);
        assert_eq!(shown(&journal, SECOND, 10), ["Starting", "of the second"]);
    }

    #[test]
    fn where_systemd_is_silent_everything_that_may_be_of_the_start_is_shown() {
        let journal = [program(1, Some(FIRST), "of another"), program(2, None, "of nobody")];
        assert_eq!(shown(&journal, SECOND, 10), ["of nobody"]);
    }

    #[test]
    fn a_program_that_claims_to_be_of_a_start_is_not_believed() {
        let claims = format!(
            r#"{{"__REALTIME_TIMESTAMP":"5","_PID":"70","_SYSTEMD_INVOCATION_ID":"{FIRST}","INVOCATION_ID":"{SECOND}","MESSAGE":"x"}}"#
        );
        assert!(shown(std::slice::from_ref(&claims), SECOND, 10).is_empty());
        assert_eq!(shown(&[claims], FIRST, 10), ["x"]);
    }

    #[test]
    fn messages_that_are_no_text_and_entries_that_are_none() {
        let message = |json: &str| {
            let line = format!(r#"{{"__REALTIME_TIMESTAMP":"5","MESSAGE":{json}}}"#);
            parse_entry(line.as_bytes()).map(|entry| entry.message)
        };
        assert_eq!(message("[255,65]"), Some(vec![255, 65]));
        assert_eq!(message("[256]"), None);
        assert_eq!(message(r#"["one","two"]"#), Some(b"one".to_vec()));
        assert_eq!(message("[[[]]]"), Some(Vec::new()));
        assert_eq!(message("null"), None);
        for line in ["", "{}", "[]", "-- No entries --", r#"{"__REALTIME_TIMESTAMP":"x"}"#] {
            assert_eq!(parse_entry(line.as_bytes()), None, "{line}");
        }
    }
}
