//! Unit files: sections, options in order, and the canonical form fleet hashes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::FileHash;

/// Longest unit file taken. etcd refuses requests above 1.5 MiB; a unit file of a megabyte holds data, not a unit,
/// and a quarter of it leaves room for the JSON form of one and for a batch.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// One `name=value` line of a section, as fleet's API carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitOption {
    /// The section, without brackets.
    pub section: String,
    /// The option's name.
    pub name: String,
    /// Its value, continuation lines joined as systemd joins them.
    pub value: String,
}

/// A parsed unit file together with the text it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    text: String,
    options: Vec<UnitOption>,
}

/// A unit file that cannot be read; it says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// Line of the file, from 1; 0 when the file as a whole is at fault.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl UnitFile {
    /// Makes a file of options, as fleet's API sends them; its text is the canonical form.
    pub fn from_options(options: Vec<UnitOption>) -> Result<Self, ParseError> {
        let text = canonical(&options);
        Ok(Self { text, options })
    }

    /// The text as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The options in order.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The values of an option, in order.
    pub fn values<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |o| o.section == section && o.name == name)
            .map(|o| o.value.as_str())
    }

    /// Address of the text in the store.
    pub fn hash(&self) -> FileHash {
        FileHash::of(&self.text)
    }

    /// The file written out again from its options, as fleet does.
    pub fn canonical(&self) -> String {
        canonical(&self.options)
    }

    /// SHA-1 of the canonical form, 40 hexadecimal digits: the hash fleet's tables show.
    pub fn fleet_hash(&self) -> String {
        use std::fmt::Write as _;
        let mut hex = String::with_capacity(40);
        for byte in Sha1::digest(self.canonical().as_bytes()) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

fn canonical(options: &[UnitOption]) -> String {
    let mut sections: Vec<&str> = Vec::new();
    for option in options {
        if !sections.contains(&option.section.as_str()) {
            sections.push(&option.section);
        }
    }
    let blocks: Vec<String> = sections
        .into_iter()
        .map(|section| {
            let mut block = format!("[{section}]\n");
            for option in options.iter().filter(|o| o.section == section) {
                block.push_str(&option.name);
                block.push('=');
                block.push_str(&option.value);
                block.push('\n');
            }
            block
        })
        .collect();
    blocks.join("\n")
}

impl FromStr for UnitFile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut options = Vec::new();
        let mut section = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, value)) = line.split_once('=') {
                options.push(UnitOption {
                    section: section.clone(),
                    name: name.trim_end().to_owned(),
                    value: value.trim_start().to_owned(),
                });
            } else {
                return Err(ParseError {
                    line: index + 1,
                    problem: "expected [Section] or Name=value".to_owned(),
                });
            }
        }
        Ok(Self { text: text.to_owned(), options })
    }
}
