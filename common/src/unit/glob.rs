//! Go's `path.Match` patterns, which `Conflicts=` uses.
//!
//! `*` matches any text without `/`, `?` one character but `/`, `[a-z]` and `[^a-z]` one character of a class, `\`
//! takes the next character as it is. There are no braces and no `**`. A pattern is compiled once: matching allocates
//! nothing, and its cost is at most the length of the name times the length of the pattern.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern that has been checked and can be matched.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob {
    pattern: String,
    chunks: Vec<GlobPart>,
}

/// A pattern that can never be matched, and where it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {problem} at character {at}")]
pub struct GlobError {
    /// The text that was given.
    pub pattern: String,
    /// The character at fault, from 1.
    pub at: usize,
    /// The problem there.
    pub problem: String,
}

/// The part of a pattern between two stars.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct GlobPart {
    /// True when a star precedes it.
    star: bool,
    items: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Item {
    /// These bytes.
    Literal(Vec<u8>),
    /// One character that is not `/`.
    Any,
    /// One character that is, or is not, in one of the inclusive ranges.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The name the pattern matches, if it is a plain name without any special character.
    pub fn literal_name(&self) -> Option<&str> {
        (!self.pattern.contains(SPECIAL)).then_some(self.pattern.as_str())
    }

    /// The text every match begins with: what stands before the first special character.
    pub fn literal_prefix(&self) -> &str {
        self.pattern.split(SPECIAL).next().unwrap_or_default()
    }

    /// True when the pattern matches the whole of a name.
    pub fn matches_name(&self, name: &str) -> bool {
        let mut rest = name.as_bytes();
        let mut chunks = self.chunks.iter().peekable();
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none();
            if last && chunk.star && chunk.items.is_empty() {
                return !rest.contains(&b'/');
            }
            // The leftmost place that fits is as good as any other: what a later star can match only shrinks.
            match chunk.find(rest, last) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];

impl GlobPart {
    /// The rest of a name after this part, at the first place where it fits.
    fn find<'a>(&self, name: &'a [u8], last: bool) -> Option<&'a [u8]> {
        let mut from = name;
        loop {
            if let Some(after) = self.strip_chunk(from)
                && (!last || after.is_empty())
            {
                return Some(after);
            }
            match from.split_first() {
                Some((byte, shorter)) if self.star && *byte != b'/' => from = shorter,
                _ => return None,
            }
        }
    }

    /// The rest of a name that begins with this part.
    fn strip_chunk<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.items.iter().try_fold(name, |name, item| match item {
            Item::Literal(bytes) => name.strip_prefix(bytes.as_slice()),
            Item::Any => first_char(name).filter(|(c, _)| *c != '/').map(|(_, rest)| rest),
            Item::Class { negated, ranges } => first_char(name)
                .filter(|(c, _)| {
                    ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated
                })
                .map(|(_, rest)| rest),
        })
    }
}

/// The first character and what follows it. As in Go a star may stop inside a character, whose remaining bytes then
/// count as one replacement character each.
fn first_char(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if first.is_ascii() {
        return Some((char::from(*first), rest));
    }
    let whole = (2..=4).find_map(|width| {
        let (head, tail) = bytes.split_at_checked(width)?;
        Some((std::str::from_utf8(head).ok()?.chars().next()?, tail))
    });
    Some(whole.unwrap_or((char::REPLACEMENT_CHARACTER, rest)))
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        let mut compiler = Compiler { rest: pattern, chunks: vec![GlobPart::default()] };
        compiler.run().map_err(|problem| GlobError {
            pattern: pattern.to_owned(),
            at: 1 + pattern.chars().count().saturating_sub(compiler.rest.chars().count()),
            problem: problem.to_owned(),
        })?;
        Ok(Self { pattern: pattern.to_owned(), chunks: compiler.chunks })
    }
}

struct Compiler<'a> {
    rest: &'a str,
    chunks: Vec<GlobPart>,
}

impl Compiler<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(c) = self.next() {
            match c {
                '*' => match self.chunks.last_mut() {
                    Some(chunk) if chunk.items.is_empty() => chunk.star = true,
                    _ => self.chunks.push(GlobPart { star: true, items: Vec::new() }),
                },
                '?' => self.push(Item::Any),
                '[' => {
                    let class = self.parse_class()?;
                    self.push(class);
                }
                '\\' => {
                    let c = self.next().ok_or("nothing follows the \\")?;
                    self.push_literal(c);
                }
                c => self.push_literal(c),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    fn skip_char(&mut self, wanted: char) -> bool {
        self.rest.strip_prefix(wanted).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    /// A class, of which the opening bracket is gone already. It has one range at the least.
    fn parse_class(&mut self) -> Result<Item, &'static str> {
        let negated = self.skip_char('^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.skip_char(']') {
            let low = self.parse_bound()?;
            let high = if self.skip_char('-') { self.parse_bound()? } else { low };
            ranges.push((low, high));
        }
        Ok(Item::Class { negated, ranges })
    }

    fn parse_bound(&mut self) -> Result<char, &'static str> {
        match self.rest.chars().next() {
            None => return Err("a class has no ]"),
            Some('-' | ']') => return Err("a class wants a character, or a \\ before this one"),
            Some('\\') => {
                self.next();
            }
            Some(_) => {}
        }
        self.next().ok_or("nothing follows the \\")
    }

    fn push(&mut self, item: Item) {
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.items.push(item);
        }
    }

    fn push_literal(&mut self, c: char) {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        let items = self.chunks.last_mut().map(|chunk| &mut chunk.items);
        if let Some(Item::Literal(literal)) = items.and_then(|items| items.last_mut()) {
            literal.extend_from_slice(bytes);
        } else {
            self.push(Item::Literal(bytes.to_vec()));
        }
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        pattern.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.pattern
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.pattern)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
