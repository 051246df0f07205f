//! One section of a Quadlet file, option by option.
//!
//! Owns what holds for every option: that it is known and honoured, that of several lines the last wins or all count,
//! that an empty value takes back what was there before, and that a fault is told with its line. It never knows what an
//! option means.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::commas;
use super::expand::{Expander, NoValue};
use super::keys::{Section, Support};
use super::podman_args::{self, MeantOption};
use crate::unit::words::{self, Backslash};
use crate::unit::{UnitFile, UnitOption, Warning};

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
    /// The fault, and the way out where one is likely.
    pub problem: String,
}

/// The options of a section that are in force.
pub(super) struct Reader<'a> {
    section: Section,
    expander: &'a Expander<'a>,
    values: BTreeMap<&'static str, Vec<OptionValue>>,
    emptied: BTreeSet<&'static str>,
    warnings: RefCell<Vec<Warning>>,
    /// Remarks on the value that is being read.
    notes: RefCell<Vec<String>>,
}

struct OptionValue {
    line: usize,
    /// Lines joined, nothing expanded.
    text: String,
    /// Where each of its lines begins in the text.
    begins: Vec<(usize, usize)>,
    /// True when it is one word already, whatever it holds: it was split out of `PodmanArgs=`.
    is_word: bool,
}

impl OptionValue {
    fn new(line: usize, option: &UnitOption) -> Self {
        let (text, begins) = option.joined_by_line();
        Self { line, text, begins, is_word: false }
    }

    /// The line of the file that a place of the text comes from.
    fn line_at(&self, at: usize) -> usize {
        let before = self.begins.iter().take_while(|(begin, _)| *begin <= at).last();
        self.line + before.map_or(0, |(_, line)| *line)
    }
}

/// The option that holds options of `podman run`.
const PODMAN_ARGS: &str = "PodmanArgs";

type Read<T> = Result<T, ContainerError>;

impl<'a> Reader<'a> {
    /// Reads a section.
    pub(super) fn new(section: Section, file: &UnitFile, expander: &'a Expander<'a>) -> Read<Self> {
        let mut reader = Self {
            section,
            expander,
            values: BTreeMap::new(),
            emptied: BTreeSet::new(),
            warnings: RefCell::default(),
            notes: RefCell::default(),
        };
        let mut args = Vec::new();
        let options =
            file.numbered_options().filter(|(_, option)| option.section == section.as_str());
        for (line, option) in options {
            // As in systemd, what begins with X- is somebody else's.
            if option.name.starts_with("X-") {
                continue;
            }
            let error = |problem: String| ContainerError {
                line,
                section: section.to_string(),
                option: option.name.escape_debug().to_string(),
                problem,
            };
            let key = section.key(&option.name).map_err(error)?;
            let value = OptionValue::new(line, option);
            if value.text.is_empty() {
                reader.values.remove(key.name);
                reader.emptied.insert(key.name);
                if key.name == PODMAN_ARGS {
                    args.clear();
                }
                continue;
            }
            if key.name == PODMAN_ARGS && !matches!(key.support, Support::Refused(_)) {
                let expected =
                    words::split(&value.text, Backslash::Escapes).and_then(podman_args::read);
                args.extend(expected.map_err(error)?.into_iter().map(|expected| (line, expected)));
            }
            match key.support {
                Support::Refused(why) => return Err(error(format!("refused: {why}"))),
                Support::Noted(why) => {
                    let problem = format!("[{section}] {}: no effect: {why}", key.name);
                    reader.warnings.get_mut().push(Warning { line, problem });
                }
                Support::Only(values, why) => {
                    if !values.contains(&value.text.to_ascii_lowercase().as_str()) {
                        return Err(error(format!("refused: {why}")));
                    }
                }
                Support::Honoured | Support::Emulated(_) => {}
            }
            reader.emptied.remove(key.name);
            reader.values.entry(key.name).or_default().push(value);
        }
        for (line, expected) in args {
            reader.take_argument(line, expected);
        }
        Ok(reader)
    }

    /// The warnings about options that are taken.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings.into_inner()
    }

    /// Says something of the value that is being read; it becomes a warning with its line.
    pub(super) fn add_note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// Makes warnings of what was said of a value.
    fn warn_of_notes(&self, line: usize, name: &str) {
        let notes = std::mem::take(&mut *self.notes.borrow_mut());
        let warnings = notes
            .into_iter()
            .map(|note| Warning { line, problem: format!("[{}] {name}: {note}", self.section) });
        self.warnings.borrow_mut().extend(warnings);
    }

    /// Takes what an option of `podman run` says, behind all that the file says otherwise.
    fn take_argument(&mut self, line: usize, expected: MeantOption) {
        match expected {
            MeantOption::Value(key, text) => {
                self.emptied.remove(key);
                let value = OptionValue { line, text, begins: Vec::new(), is_word: true };
                self.values.entry(key).or_default().push(value);
            }
            MeantOption::Nothing(option) => {
                let section = self.section;
                let problem = format!(
                    "[{section}] {PODMAN_ARGS}: no effect: {option} is about the podman command, and none is run"
                );
                self.warnings.borrow_mut().push(Warning { line, problem });
            }
        }
    }

    /// The last value of an option.
    pub(super) fn last_value<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(value) = self.values_of(name).last() else { return Ok(None) };
        let text = if value.is_word { &value.text } else { strip_quotes(&value.text) };
        self.read_value(value.line, name, text, parse)
    }

    /// One value; `None` where it rests on something that only the machine knows.
    fn read_value<T>(
        &self,
        line: usize,
        name: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(text) = self.check_expansion(line, name, self.expander.expand_word(text))? else {
            return Ok(None);
        };
        let read = parse(&text);
        self.warn_of_notes(line, name);
        read.map(Some).map_err(|problem| self.error_at(line, name, problem))
    }

    /// The outcome of expanding a value.
    fn check_expansion<T>(
        &self,
        line: usize,
        name: &str,
        value: Result<T, NoValue>,
    ) -> Read<Option<T>> {
        self.expander.note_unset(line, self.section, name);
        match value {
            Ok(value) => Ok(Some(value)),
            Err(NoValue::Open) => Ok(None),
            Err(NoValue::Bad(problem)) => Err(self.error_at(line, name, problem)),
        }
    }

    /// The last value of an option in which a percent sign is one.
    pub(super) fn as_written<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(value) = self.values_of(name).last() else { return Ok(None) };
        parse(&value.text).map(Some).map_err(|problem| self.error_at(value.line, name, problem))
    }

    /// The last value of an option, as it is.
    pub(super) fn text(&self, name: &str) -> Read<Option<String>> {
        self.last_value(name, |text| Ok(text.to_owned()))
    }

    /// Every value of an option, one a line.
    pub(super) fn lines<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let mut parsed = Vec::new();
        for value in self.values_of(name) {
            parsed.extend(self.read_value(value.line, name, &value.text, &parse)?);
        }
        Ok(parsed)
    }

    /// Every value of an option in which only specifiers mean something, one a line.
    pub(super) fn list_specified<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        self.values_of(name)
            .iter()
            .map(|value| {
                self.expander
                    .expand_specifiers(&value.text)
                    .and_then(|text| parse(&text))
                    .map_err(|problem| self.error_at(value.line, name, problem))
            })
            .collect()
    }

    /// Every value of an option that Podman takes with commas between, on a line as on several.
    pub(super) fn list_values<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let lists = self.lines(name, |line| {
            commas::split_fields(line)?
                .iter()
                .map(|field| parse(field))
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Every word of every value of an option.
    pub(super) fn list_words<T>(
        &self,
        name: &str,
        backslash: Backslash,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let mut parsed = Vec::new();
        for value in self.values_of(name) {
            for (line, word) in self.split(name, value, backslash)? {
                parsed.extend(self.read_value(line, name, &word, &parse)?);
            }
        }
        Ok(parsed)
    }

    /// Every word of every value of an option, between whose parts there may be commas as well.
    pub(super) fn word_lists<T>(
        &self,
        name: &str,
        backslash: Backslash,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let lists = self.list_words(name, backslash, |word| {
            commas::split_fields(word)?
                .iter()
                .map(|field| parse(field))
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// The words of a value, each with its line.
    fn split(
        &self,
        name: &str,
        value: &OptionValue,
        backslash: Backslash,
    ) -> Read<Vec<(usize, String)>> {
        if value.is_word {
            return Ok(vec![(value.line, value.text.clone())]);
        }
        let words = words::split_at_places(&value.text, backslash)
            .map_err(|(at, problem)| self.error_at(value.line_at(at), name, problem))?;
        Ok(words.into_iter().map(|(at, word)| (value.line_at(at), word)).collect())
    }

    /// The last value of an option, as a command line.
    pub(super) fn last_command(&self, name: &str) -> Read<Option<Vec<String>>> {
        let Some(value) = self.values_of(name).last() else { return Ok(None) };
        let mut command = Vec::new();
        for (line, word) in self.split(name, value, Backslash::Escapes)? {
            let words = self.check_expansion(line, name, self.expander.expand_words(&word))?;
            command.extend(words.into_iter().flatten());
        }
        Ok(Some(command))
    }

    /// The assignments of an option, later ones in the place of earlier ones; `None` for a name by itself.
    pub(super) fn read_pairs(
        &self,
        name: &str,
        check: impl Fn(&str, Option<&str>) -> Result<(), String>,
    ) -> Read<BTreeMap<String, Option<String>>> {
        let pairs = self.list_words(name, Backslash::Escapes, |word| {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (word, None),
            };
            if key.is_empty() {
                return Err(format!("nothing stands before the = of {word:?}"));
            }
            check(key, value.as_deref())?;
            Ok((key.to_owned(), value))
        })?;
        Ok(pairs.into_iter().collect())
    }

    /// The assignments of an option in which a name by itself has the empty value. One behind an assignment is refused: it
    /// is the rest of a value that wanted quotes.
    pub(super) fn read_labels(&self, name: &str) -> Read<BTreeMap<String, String>> {
        for value in self.values_of(name) {
            let words = self.split(name, value, Backslash::Escapes)?;
            let behind = words.iter().skip_while(|(_, word)| !word.contains('='));
            if let Some((line, stray)) = behind.into_iter().find(|(_, word)| !word.contains('=')) {
                let problem =
                    format!("{stray:?} has no =; quote a value with spaces: \"key=one two\"");
                return Err(self.error_at(*line, name, problem));
            }
        }
        let pairs = self.read_pairs(name, |_, _| Ok(()))?;
        Ok(pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }

    /// Assignments in which only specifiers are expanded, as systemd does with its own.
    pub(super) fn read_assignments(&self, name: &str) -> Read<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for value in self.values_of(name) {
            for (line, word) in self.split(name, value, Backslash::Escapes)? {
                let fault = |problem| self.error_at(line, name, problem);
                let word = self.expander.expand_specifiers(&word).map_err(fault)?;
                let Some((key, value)) = word.split_once('=') else {
                    return Err(fault(format!("{word:?} is not NAME=value")));
                };
                variables.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(variables)
    }

    /// True when any value of the section holds this text.
    pub(super) fn speaks_of(&self, text: &str) -> bool {
        self.values.values().flatten().any(|value| value.text.contains(text))
    }

    /// True when an option has a value.
    pub(super) fn has_value(&self, name: &str) -> bool {
        !self.values_of(name).is_empty()
    }

    /// True when the last line of an option was empty.
    pub(super) fn is_emptied(&self, name: &str) -> bool {
        self.emptied.contains(name)
    }

    /// A fault of an option's last value; one that is missing has no line.
    pub(super) fn error(&self, name: &str, problem: impl Into<String>) -> ContainerError {
        let line = self.values_of(name).last().map_or(0, |value| value.line);
        self.error_at(line, name, problem.into())
    }

    fn values_of(&self, name: &str) -> &[OptionValue] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn error_at(&self, line: usize, name: &str, problem: String) -> ContainerError {
        ContainerError { line, section: self.section.to_string(), option: name.to_owned(), problem }
    }
}

/// A value without the double quotes around the whole of it, which Quadlet takes off.
fn strip_quotes(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::HostFacts;
    use super::super::variables::Variables;
    use super::*;

    /// Calls with a reader that knows nothing, for those who only have something to say to it.
    pub(in super::super) fn with_reader<T>(call: impl FnOnce(&Reader<'_>) -> T) -> T {
        let unit = "a.container".parse().unwrap();
        let host = HostFacts::stand_in();
        let expander = Expander::new(&unit, &host, Variables::default());
        let file = "[Container]\nImage=a\n".parse().unwrap();
        call(&Reader::new(Section::Container, &file, &expander).unwrap())
    }
}
