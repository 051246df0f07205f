//! One section of a Quadlet file, option by option.
//!
//! Owns what holds for every option: that it is known and honoured, that of several lines the last wins or all count,
//! that an empty value takes back what was there before, and that a fault is told with its line. It never knows what an
//! option means.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Expander, NoValue};
use super::keys::{Section, Support};
use crate::unit::words::{self, Backslash};
use crate::unit::{UnitFile, Warning};

/// A Quadlet file that cannot be run here.
///
/// It reads `[Container] Imag: unknown option; did you mean Image?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{section}] {option}: {problem}")]
pub struct ContainerError {
    /// Line of the file, from 1; 0 where something is missing.
    pub line: usize,
    /// The section, without brackets.
    pub section: String,
    /// The option at fault, as written.
    pub option: String,
    /// What is wrong, and the way out where one is likely.
    pub problem: String,
}

/// The options of a section that are in force.
pub(super) struct Reader<'a> {
    section: Section,
    expander: &'a Expander<'a>,
    values: BTreeMap<&'static str, Vec<Value>>,
    emptied: BTreeSet<&'static str>,
}

struct Value {
    line: usize,
    /// Lines joined, nothing expanded.
    text: String,
}

type Read<T> = Result<T, ContainerError>;

impl<'a> Reader<'a> {
    /// Reads a section; what is taken without effect is added to the warnings.
    pub(super) fn new(
        section: Section,
        file: &UnitFile,
        expander: &'a Expander<'a>,
        warnings: &mut Vec<Warning>,
    ) -> Read<Self> {
        let mut reader =
            Self { section, expander, values: BTreeMap::new(), emptied: BTreeSet::new() };
        let options = file.numbered().filter(|(_, option)| option.section == section.as_str());
        for (line, option) in options {
            // As in systemd, what begins with X- is somebody else's.
            if option.name.starts_with("X-") {
                continue;
            }
            let error = |problem: String| ContainerError {
                line,
                section: section.to_string(),
                option: option.name.clone(),
                problem,
            };
            let key = section.key(&option.name).map_err(error)?;
            let text = option.joined().into_owned();
            if text.is_empty() {
                reader.values.remove(key.name);
                reader.emptied.insert(key.name);
                continue;
            }
            match key.support {
                Support::Refused(why) => return Err(error(format!("refused: {why}"))),
                Support::Noted(why) => {
                    let problem = format!("[{section}] {}: no effect: {why}", key.name);
                    warnings.push(Warning { line, problem });
                }
                Support::Only(values, why) => {
                    if !values.contains(&text.to_ascii_lowercase().as_str()) {
                        return Err(error(format!("refused: {why}")));
                    }
                }
                Support::Honoured | Support::Emulated(_) => {}
            }
            reader.emptied.remove(key.name);
            reader.values.entry(key.name).or_default().push(Value { line, text });
        }
        Ok(reader)
    }

    /// The last value of an option.
    pub(super) fn last<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(value) = self.all(name).last() else { return Ok(None) };
        self.one(value.line, name, unquoted(&value.text), parse)
    }

    /// One value; `None` where it rests on something that only the machine knows.
    fn one<T>(
        &self,
        line: usize,
        name: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(text) = self.expanded(line, name, self.expander.word(text))? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(|problem| self.fault(line, name, problem))
    }

    /// What came of expanding a value.
    fn expanded<T>(&self, line: usize, name: &str, value: Result<T, NoValue>) -> Read<Option<T>> {
        self.expander.note_unset(line, self.section, name);
        match value {
            Ok(value) => Ok(Some(value)),
            Err(NoValue::Open) => Ok(None),
            Err(NoValue::Bad(problem)) => Err(self.fault(line, name, problem)),
        }
    }

    /// The last value of an option, as it is.
    pub(super) fn text(&self, name: &str) -> Read<Option<String>> {
        self.last(name, |text| Ok(text.to_owned()))
    }

    /// Every value of an option, one a line.
    pub(super) fn lines<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let mut parsed = Vec::new();
        for value in self.all(name) {
            parsed.extend(self.one(value.line, name, &value.text, &parse)?);
        }
        Ok(parsed)
    }

    /// Every value of an option in which only specifiers mean something, one a line.
    pub(super) fn specified<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        self.all(name)
            .iter()
            .map(|value| {
                self.expander
                    .specifiers(&value.text)
                    .and_then(|text| parse(&text))
                    .map_err(|problem| self.fault(value.line, name, problem))
            })
            .collect()
    }

    /// Every word of every value of an option.
    pub(super) fn words<T>(
        &self,
        name: &str,
        backslash: Backslash,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let mut parsed = Vec::new();
        for value in self.all(name) {
            let fault = |problem| self.fault(value.line, name, problem);
            for word in words::split(&value.text, backslash).map_err(fault)? {
                parsed.extend(self.one(value.line, name, &word, &parse)?);
            }
        }
        Ok(parsed)
    }

    /// The last value of an option, as a command line.
    pub(super) fn command(&self, name: &str) -> Read<Option<Vec<String>>> {
        let Some(value) = self.all(name).last() else { return Ok(None) };
        let fault = |problem| self.fault(value.line, name, problem);
        let mut command = Vec::new();
        for word in words::split(&value.text, Backslash::Escapes).map_err(fault)? {
            let words = self.expanded(value.line, name, self.expander.words(&word))?;
            command.extend(words.into_iter().flatten());
        }
        Ok(Some(command))
    }

    /// The assignments of an option, later ones in the place of earlier ones; `None` for a name by itself.
    pub(super) fn pairs(&self, name: &str) -> Read<BTreeMap<String, Option<String>>> {
        let pairs = self.words(name, Backslash::Escapes, |word| {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (word, None),
            };
            match key {
                "" => Err(format!("nothing stands before the = of {word:?}")),
                _ => Ok((key.to_owned(), value)),
            }
        })?;
        Ok(pairs.into_iter().collect())
    }

    /// The assignments of an option in which a name by itself has the empty value. One behind an assignment is refused: it
    /// is the rest of a value that wanted quotes.
    pub(super) fn labels(&self, name: &str) -> Read<BTreeMap<String, String>> {
        for value in self.all(name) {
            let fault = |problem| self.fault(value.line, name, problem);
            let words = words::split(&value.text, Backslash::Escapes).map_err(fault)?;
            let behind = words.iter().skip_while(|word| !word.contains('='));
            if let Some(stray) = behind.into_iter().find(|word| !word.contains('=')) {
                let problem =
                    format!("{stray:?} has no =; quote a value with spaces: \"key=one two\"");
                return Err(fault(problem));
            }
        }
        let pairs = self.pairs(name)?;
        Ok(pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }

    /// Assignments in which only specifiers are expanded, as systemd does with its own.
    pub(super) fn variables(&self, name: &str) -> Read<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for value in self.all(name) {
            let fault = |problem| self.fault(value.line, name, problem);
            for word in words::split(&value.text, Backslash::Escapes).map_err(fault)? {
                let word = self.expander.specifiers(&word).map_err(fault)?;
                let Some((key, value)) = word.split_once('=') else {
                    return Err(fault(format!("{word:?} is not NAME=value")));
                };
                variables.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(variables)
    }

    /// Whether an option has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether the last line of an option was empty.
    pub(super) fn is_emptied(&self, name: &str) -> bool {
        self.emptied.contains(name)
    }

    /// A fault of an option's last value; one that is missing has no line.
    pub(super) fn error(&self, name: &str, problem: impl Into<String>) -> ContainerError {
        let line = self.all(name).last().map_or(0, |value| value.line);
        self.fault(line, name, problem.into())
    }

    fn all(&self, name: &str) -> &[Value] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn fault(&self, line: usize, name: &str, problem: String) -> ContainerError {
        ContainerError { line, section: self.section.to_string(), option: name.to_owned(), problem }
    }
}

/// A value without the double quotes around the whole of it, which Quadlet takes off.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}
