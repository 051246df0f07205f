//! Which part of a journal is asked for, and in what form.
//!
//! Owns the words of a request for a journal. Output modes come from a list and numbers are numbers, so nothing a client sends is taken
//! for an option of journalctl.

use std::fmt;
use std::str::FromStr;

/// `journalctl --output=`, as of systemd 252.
const MODES: [&str; 15] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
];

/// A number of lines of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineCount {
    /// All.
    All,
    /// The last ones.
    Last(u32),
}

/// One of journalctl's output modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputMode(&'static str);

/// Which part of a journal, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalQuery {
    /// The number of lines.
    pub lines: LineCount,
    /// True to go on with what is yet to be logged.
    pub follow: bool,
    /// In what form.
    pub mode: OutputMode,
    /// Of this start of the unit alone.
    pub start: Option<Invocation>,
}

/// systemd's id of one start of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation(u128);

impl Default for OutputMode {
    fn default() -> Self {
        Self("short")
    }
}

impl FromStr for OutputMode {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        MODES.into_iter().find(|mode| *mode == word).map(Self).ok_or(())
    }
}

impl FromStr for LineCount {
    type Err = std::num::ParseIntError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "all" { Ok(Self::All) } else { word.parse().map(Self::Last) }
    }
}

impl FromStr for Invocation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|id| digits && *id != 0);
        id.map(Self).ok_or(())
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for LineCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Last(n) => n.fmt(f),
        }
    }
}

impl OutputMode {
    /// The word that journalctl knows it by.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Output of this mode may be something else than text.
    pub fn is_binary(self) -> bool {
        self.0 == "export"
    }
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl OutputMode {
    /// Every mode, for messages.
    pub fn all_modes() -> String {
        MODES.join(", ")
    }

    /// Plain lines without time or name.
    pub fn plain_lines() -> Self {
        Self("cat")
    }

    /// Entries with their fields, one a line.
    pub(super) fn json_lines() -> Self {
        Self("json")
    }
}
