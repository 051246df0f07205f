//! Unit files: sections, options in order, and the canonical form fleet hashes.
//!
//! Owns reading a file and writing it out again. It never judges what an option means: that is `requirements` and
//! `directives`. A file is read as systemd reads it (systemd.syntax(7)), so that what is checked here is what runs
//! there; what systemd would skip with a line in its log, such as a line that is no assignment, is an error here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::FileHash;
use super::blank::strip_blanks;
use super::syntax::{self, SyntaxFault};

/// Longest unit file taken. etcd refuses requests above 1.5 MiB; a unit file of a megabyte holds data, not a unit,
/// and a quarter of it leaves room for the JSON form of one and for a batch. systemd's own limit for a line is
/// 1 MiB, so no line needs a limit of its own.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// One `name=value` line of a section, as fleet's API carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitOption {
    /// The section, without brackets.
    pub section: String,
    /// The option's name.
    pub name: String,
    /// Its value as written, surrounding white space removed. Continuation lines are kept with their backslash and
    /// newline, since fleet's hash covers them; [`UnitOption::joined_value`] is what systemd makes of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// A parsed unit file together with the text it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    text: String,
    options: Vec<UnitOption>,
    /// For each option the line it begins on, from 1.
    lines: Vec<usize>,
}

/// A unit file that cannot be read; it says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// Line of the file, from 1; 0 when the file as a whole is at fault.
    pub line: usize,
    /// The problem, in one sentence.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.problem),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}

impl UnitOption {
    /// The value as systemd sees it: a backslash at the end of a line becomes a space and joins the next line to it,
    /// comment lines in between are left out.
    pub fn joined_value(&self) -> Cow<'_, str> {
        syntax::join_lines(&self.value)
    }

    /// The same, and for each line of the value where it begins in that, the option's own line being 0.
    pub(crate) fn joined_by_line(&self) -> (String, Vec<(usize, usize)>) {
        syntax::joined_by_line(&self.value)
    }
}

impl UnitFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is longer than [`MAX_FILE_BYTES`], binary or not UTF-8, and any line that is neither blank, a comment, a
    /// `[Section]` nor an assignment inside one. Whether a file may say nothing depends on what it is of; see
    /// [`super::check`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(too_long(bytes.len()));
        }
        let line_at =
            |offset: usize| 1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
        if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
            return Err(ParseError {
                line: line_at(offset),
                problem: "it contains a NUL byte: a binary file is no unit file".to_owned(),
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ParseError {
            line: line_at(error.valid_up_to()),
            problem: "it is not UTF-8".to_owned(),
        })?;
        let parsed = syntax::parse(text)
            .map_err(|SyntaxFault { line, problem }| ParseError { line, problem })?;
        let (lines, options) = parsed
            .into_iter()
            .map(|assignment| {
                let option = UnitOption {
                    section: assignment.section.to_owned(),
                    name: assignment.name.to_owned(),
                    value: assignment.value,
                };
                (assignment.line, option)
            })
            .unzip();
        Ok(Self { text: text.to_owned(), options, lines })
    }

    /// Makes a file of options, as fleet's API sends them; its text is the canonical form, and its options are
    /// grouped by section as that form is.
    ///
    /// # Errors
    ///
    /// No options at all, a name that is empty or cannot stand in a file, a value with a line break that does not
    /// continue it, a text longer than [`MAX_FILE_BYTES`]. No option can smuggle in another.
    pub fn from_options(options: Vec<UnitOption>) -> Result<Self, ParseError> {
        if options.is_empty() {
            return Err(ParseError { line: 0, problem: "it has no options".to_owned() });
        }
        let mut options = options;
        for (index, option) in options.iter_mut().enumerate() {
            syntax::check_option(&option.section, &option.name, &option.value).map_err(
                |problem| ParseError {
                    line: 0,
                    problem: format!(
                        "option {} ([{}] {}): {problem}",
                        index + 1,
                        option.section.escape_debug(),
                        option.name.escape_debug()
                    ),
                },
            )?;
            option.name = strip_blanks(&option.name).to_owned();
            option.value = syntax::trim_value(&option.value).into_owned();
        }
        let text = canonical_text(&options);
        if text.len() > MAX_FILE_BYTES {
            return Err(too_long(text.len()));
        }
        let file = Self::parse(text.as_bytes())?;
        let wanted = group_options(&options).into_iter().flat_map(|(_, options)| options);
        if !wanted.eq(&file.options) {
            return Err(ParseError {
                line: 0,
                problem: "its options cannot be written as a unit file".to_owned(),
            });
        }
        Ok(file)
    }

    /// The text as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The options in order.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The options in order, each with the line of [`UnitFile::text`] it begins on, from 1.
    pub fn numbered_options(&self) -> impl Iterator<Item = (usize, &UnitOption)> {
        self.lines.iter().copied().zip(&self.options)
    }

    /// The lines of [`UnitFile::text`], from 1, that end in a backslash with white space behind it, which goes on in no
    /// next line.
    pub(crate) fn broken_off(&self) -> impl Iterator<Item = usize> {
        syntax::broken_off(&self.text)
    }

    /// The line, from 1, of a section's first header; 0 where there is none.
    pub(crate) fn line_of_section(&self, section: &str) -> usize {
        let header = |line: &str| {
            let header = strip_blanks(line).strip_prefix('[')?;
            header.split_once(']').map(|(name, _)| name == section)
        };
        self.text.lines().position(|line| header(line) == Some(true)).map_or(0, |at| at + 1)
    }

    /// The values of an option as written, in order.
    pub fn values_of<'a>(
        &'a self,
        section: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |o| o.section == section && o.name == name)
            .map(|o| o.value.as_str())
    }

    /// The first `Description=` of `[Unit]`, as fleet shows it, on one line; empty where there is none.
    pub fn description(&self) -> Cow<'_, str> {
        let mut options = self.options.iter();
        options
            .find(|o| o.section == "Unit" && o.name == "Description")
            .map(UnitOption::joined_value)
            .unwrap_or_default()
    }

    /// True when it has an `[Install]` section with something in it, so that it is enabled where it is placed.
    pub fn has_install(&self) -> bool {
        self.options.iter().any(|o| o.section == "Install")
    }

    /// Address of the text in the store.
    pub fn hash(&self) -> FileHash {
        FileHash::of_text(&self.text)
    }

    /// The file written out again from its options.
    pub fn canonical_text(&self) -> String {
        canonical_text(&self.options)
    }

    /// SHA-1 of the form fleet writes a file in, 40 hexadecimal digits: the hash fleet's tables show. It is the canonical
    /// form, but for what Go takes for white space and systemd does not: fleet strips that too.
    pub fn fleet_hash(&self) -> String {
        use std::fmt::Write as _;
        let as_fleet = |option: &UnitOption| UnitOption {
            section: option.section.clone(),
            name: option.name.trim().to_owned(),
            value: syntax::stripped_by_fleet(&option.value),
        };
        let options: Vec<_> = self.options.iter().map(as_fleet).collect();
        let mut hex = String::with_capacity(40);
        for byte in Sha1::digest(canonical_text(&options).as_bytes()) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

impl FromStr for UnitFile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

fn too_long(bytes: usize) -> ParseError {
    ParseError {
        line: 0,
        problem: format!(
            "it has {bytes} bytes, more than the {MAX_FILE_BYTES} a unit file may have"
        ),
    }
}

/// Sections in the order of their first option, each with its options in order.
fn group_options(options: &[UnitOption]) -> Vec<(&str, Vec<&UnitOption>)> {
    let mut index = BTreeMap::new();
    let mut sections: Vec<(&str, Vec<&UnitOption>)> = Vec::new();
    for option in options {
        let section = option.section.as_str();
        let at = *index.entry(section).or_insert(sections.len());
        match sections.get_mut(at) {
            Some((_, options)) => options.push(option),
            None => sections.push((section, vec![option])),
        }
    }
    sections
}

fn canonical_text(options: &[UnitOption]) -> String {
    let mut text = String::new();
    for (section, options) in group_options(options) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push('[');
        text.push_str(section);
        text.push_str("]\n");
        for option in options {
            text.push_str(&option.name);
            text.push('=');
            text.push_str(&option.value);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
