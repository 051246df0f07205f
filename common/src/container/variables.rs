//! The variables of `[Service]`, which `$NAME` and `${NAME}` in `[Container]` stand for.
//!
//! Quadlet hands its values to systemd as a command line, and systemd puts in what `Environment=` and `EnvironmentFile=`
//! give the service: the files over the settings, later over earlier, and nothing at all for a variable that has no value
//! (systemd.service(5), systemd.exec(5)). Owns that, and systemd's way to write such a file, which is not the one of
//! `--env-file`. The files lie on the machine: until their texts are given, a variable that they may set is not known.

use std::collections::BTreeMap;

/// The texts of the files of variables that a machine has read, by path. A file that is not there has no entry.
pub type VariableTexts = BTreeMap<String, String>;

/// The variables of one unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    known: BTreeMap<String, String>,
    /// True when there are files whose texts are not known here.
    is_open: bool,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VariableValue<'a> {
    /// Its value.
    Known(&'a str),
    /// It has none, and nothing is what it stands for.
    Unset,
    /// Only the machine can tell.
    Open,
    /// systemd would give it a value that nothing here has.
    Systemds,
}

/// Variables that systemd, or a user's manager, gives a value of its own; see systemd.exec(5).
const SYSTEMDS: [&str; 24] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "DBUS_SESSION_BUS_ADDRESS",
    "HOME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGNAME",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "NOTIFY_SOCKET",
    "PATH",
    "RUNTIME_DIRECTORY",
    "SHELL",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "TERM",
    "USER",
    "XDG_RUNTIME_DIR",
];

impl Variables {
    /// Variables with these values. With `is_open`, files may give each another, whose texts are not known here.
    pub(super) fn new(known: BTreeMap<String, String>, is_open: bool) -> Self {
        Self { known, is_open }
    }

    pub(super) fn value(&self, name: &str) -> VariableValue<'_> {
        match self.known.get(name) {
            // A file, whatever it says, wins over what is known.
            _ if self.is_open => VariableValue::Open,
            Some(value) => VariableValue::Known(value),
            None if SYSTEMDS.contains(&name) || name.starts_with("XDG_") => VariableValue::Systemds,
            None => VariableValue::Unset,
        }
    }

    /// The variables that are known to have a value.
    pub(super) fn known_values(&self) -> &BTreeMap<String, String> {
        &self.known
    }
}

/// Where the reader of a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReaderState {
    BeforeName,
    Name,
    BeforeValue,
    Value,
    Escaped,
    Single,
    Double,
    EscapedInDouble,
    Comment,
    EscapedInComment,
}

/// The assignments of a file as systemd reads it: quotes as a shell has them, a backslash that joins lines, comments behind
/// `#` and `;` at the beginning of a line. A line whose name no environment can hold says nothing.
pub(super) fn parse_assignments(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut name, mut value) = (String::new(), QuotedText::default());
    let mut place = ReaderState::BeforeName;
    for c in text.chars() {
        let ends = matches!(c, '\n' | '\r');
        let blank = ends || matches!(c, ' ' | '\t');
        place = match place {
            ReaderState::BeforeName if matches!(c, '#' | ';') => ReaderState::Comment,
            ReaderState::BeforeName if blank => ReaderState::BeforeName,
            ReaderState::BeforeName => {
                name = c.to_string();
                value = QuotedText::default();
                ReaderState::Name
            }
            ReaderState::Name if ends => ReaderState::BeforeName,
            ReaderState::Name if c == '=' => ReaderState::BeforeValue,
            ReaderState::Name => {
                name.push(c);
                ReaderState::Name
            }
            ReaderState::BeforeValue | ReaderState::Value if ends => {
                set_variable(&mut found, &name, &value);
                ReaderState::BeforeName
            }
            ReaderState::BeforeValue if blank => ReaderState::BeforeValue,
            ReaderState::BeforeValue if c == '\'' => ReaderState::Single,
            ReaderState::BeforeValue if c == '"' => ReaderState::Double,
            ReaderState::BeforeValue | ReaderState::Value if c == '\\' => ReaderState::Escaped,
            ReaderState::BeforeValue | ReaderState::Value => {
                value.push_plain(c, ReaderState::Value)
            }
            ReaderState::Escaped if ends => ReaderState::Value,
            ReaderState::Escaped => value.push_quoted(c, ReaderState::Value),
            ReaderState::Single if c == '\'' => ReaderState::BeforeValue,
            ReaderState::Single => value.push_quoted(c, ReaderState::Single),
            ReaderState::Double if c == '"' => ReaderState::BeforeValue,
            ReaderState::Double if c == '\\' => ReaderState::EscapedInDouble,
            ReaderState::Double => value.push_quoted(c, ReaderState::Double),
            ReaderState::EscapedInDouble if matches!(c, '"' | '\\' | '`' | '$') => {
                value.push_quoted(c, ReaderState::Double)
            }
            ReaderState::EscapedInDouble if c == '\n' => ReaderState::Double,
            ReaderState::EscapedInDouble => {
                value.push_quoted('\\', ReaderState::Double);
                value.push_quoted(c, ReaderState::Double)
            }
            ReaderState::Comment if c == '\\' => ReaderState::EscapedInComment,
            ReaderState::Comment if ends => ReaderState::BeforeName,
            ReaderState::Comment | ReaderState::EscapedInComment => ReaderState::Comment,
        };
    }
    let in_value = !matches!(
        place,
        ReaderState::BeforeName
            | ReaderState::Name
            | ReaderState::Comment
            | ReaderState::EscapedInComment
    );
    if in_value {
        set_variable(&mut found, &name, &value);
    }
    found
}

/// A value, of which blanks at the end count only where they were quoted.
#[derive(Default)]
struct QuotedText {
    text: String,
    /// The length of the part that stays whatever stands at the text's end.
    kept: usize,
}

impl QuotedText {
    fn push_plain(&mut self, c: char, then: ReaderState) -> ReaderState {
        self.text.push(c);
        if !matches!(c, ' ' | '\t') {
            self.kept = self.text.len();
        }
        then
    }

    fn push_quoted(&mut self, c: char, then: ReaderState) -> ReaderState {
        self.text.push(c);
        self.kept = self.text.len();
        then
    }
}

fn set_variable(found: &mut BTreeMap<String, String>, name: &str, value: &QuotedText) {
    let name = name.trim_end_matches([' ', '\t']);
    if is_variable_name(name) {
        let value = value.text.get(..value.kept).unwrap_or_default();
        found.insert(name.to_owned(), value.to_owned());
    }
}

/// True when an environment can hold a variable of this name.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        let found = parse_assignments(
            "# a comment \\\nA=1\n; another\n B = two words  \nC='it is' \"so $x\"\nD=a\\\nb \\\n c\nE=\"x\\\"y\\n\"\n\
             export F=1\nG\nH=\nI=tail \\  \nJ='open\nto the end",
        );
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                ("B", "two words"),
                ("C", "it isso $x"),
                ("D", "ab  c"),
                ("E", "x\"y\\n"),
                ("H", ""),
                ("I", "tail  "),
                ("J", "open\nto the end"),
            ]
        );
    }
}
