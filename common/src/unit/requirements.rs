//! What a unit's `[X-Fleet]` section asks of the scheduler.
//!
//! Owns the meaning of the section: its options and their old names, quoting, specifiers and contradictions. It never
//! looks at a cluster, so whether a named unit or machine exists is not its question.
//!
//! A value may hold several words, separated by white space and quoted with `"` or `'`. A backslash is not special
//! outside globs. An empty value forgets what the option was given before, as in systemd. A value without a type in
//! the place of a unit name is an error: fleet kept it and never found that unit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::blank::BLANKS;
use super::specifier::{expand, has_specifier};
use super::{Glob, UnitFile, UnitName, suggestion};
use crate::machine::MachineId;

/// The section this module reads.
const SECTION: &str = "X-Fleet";

/// Most values the section may hold, of all options together. Each is matched against names of units or machines
/// whenever the unit is placed; a unit that needs more wants a pattern or metadata instead.
const MAX_VALUES: usize = 1_000;

/// The instance a template is checked with, one that no file is likely to name.
const STAND_IN: &str = "INSTANCE";

/// The requirements of one unit, specifiers expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `MachineID=`: only this machine, as written (it may be unknown to the cluster).
    pub machine_id: Option<String>,
    /// `MachineOf=`: only where these units are placed.
    pub machine_of: BTreeSet<UnitName>,
    /// `MachineMetadata=`: for each key, the values that will do.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// `Conflicts=`: never beside units whose name matches. A pattern that matches the unit itself is normal and says
    /// nothing about it.
    pub conflicts: Vec<Glob>,
    /// `Global=`: on every machine that metadata and conflicts allow.
    pub global: bool,
    /// `Replaces=`: the units that make room for this one; never the unit itself.
    pub replaces: BTreeSet<UnitName>,
    /// `DeleteOnDestroy=`: what machines have made of a volume or network goes with its unit. It has no say in placement.
    pub delete_on_destroy: bool,
}

/// An `[X-Fleet]` section that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[X-Fleet] {option}: {problem}")]
pub struct RequirementsError {
    /// Line of the unit file's text, from 1; 0 when it came without text.
    pub line: usize,
    /// The option at fault, as written.
    pub option: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The `[X-Fleet]` section of a file, for any unit made from that file.
///
/// Read it once for a template; [`RequirementsTemplate::for_unit`] is then cheap, and all units share one
/// [`Requirements`] where nothing depends on their names.
#[derive(Debug, Clone)]
pub struct RequirementsTemplate {
    entries: Vec<Entry>,
    /// The requirements of every unit, when no value has a specifier.
    shared: Option<Arc<Requirements>>,
}

/// One option, its value split into words.
#[derive(Debug, Clone)]
struct Entry {
    line: usize,
    option: String,
    kind: Kind,
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MachineId,
    MachineOf,
    MachineMetadata,
    Conflicts,
    Global,
    Replaces,
    DeleteOnDestroy,
}

/// Every name an option goes by, present names first. A boot id was fleet's first way to name a machine; fleet came
/// to compare it with machine ids, so that a unit that still has one runs nowhere rather than anywhere.
const NAMES: [(&str, Kind); 12] = [
    ("MachineID", Kind::MachineId),
    ("MachineOf", Kind::MachineOf),
    ("MachineMetadata", Kind::MachineMetadata),
    ("Conflicts", Kind::Conflicts),
    ("Global", Kind::Global),
    ("Replaces", Kind::Replaces),
    ("DeleteOnDestroy", Kind::DeleteOnDestroy),
    ("X-ConditionMachineID", Kind::MachineId),
    ("X-ConditionMachineBootID", Kind::MachineId),
    ("X-ConditionMachineOf", Kind::MachineOf),
    ("X-ConditionMachineMetadata", Kind::MachineMetadata),
    ("X-Conflicts", Kind::Conflicts),
];

/// Options that cannot stand beside one another.
const EXCLUSIVE: [(Kind, Kind); 4] = [
    (Kind::Global, Kind::MachineId),
    (Kind::Global, Kind::MachineOf),
    (Kind::Global, Kind::Replaces),
    (Kind::Replaces, Kind::Conflicts),
];

impl Requirements {
    /// The requirements of a unit made from a file.
    ///
    /// For a template every value is checked with an instance made up; values with a specifier are left out of the
    /// answer, but for patterns.
    ///
    /// # Errors
    ///
    /// The first option that is unknown, malformed or contradicts another.
    pub fn of(name: &UnitName, file: &UnitFile) -> Result<Self, RequirementsError> {
        RequirementsTemplate::parse(file)?.for_unit(name).map(Arc::unwrap_or_clone)
    }
}

impl RequirementsTemplate {
    /// Reads the section.
    ///
    /// # Errors
    ///
    /// The first option that is unknown or badly quoted; any other error too, when no value has a specifier.
    pub fn parse(file: &UnitFile) -> Result<Self, RequirementsError> {
        let entries = file
            .numbered()
            .filter(|(_, option)| option.section == SECTION)
            .map(|(line, option)| {
                let error =
                    |problem| RequirementsError { line, option: option.name.clone(), problem };
                let kind = kind(&option.name).map_err(error)?;
                let words = words(kind, &option.joined()).map_err(error)?;
                Ok(Entry { line, option: option.name.clone(), kind, words })
            })
            .collect::<Result<Vec<_>, _>>()
            .map(in_force)?;
        let mut values = 0;
        for entry in &entries {
            values += entry.words.len();
            if values > MAX_VALUES {
                return Err(RequirementsError {
                    line: entry.line,
                    option: entry.option.clone(),
                    problem: format!("the section has more than {MAX_VALUES} values"),
                });
            }
        }
        let dynamic = entries.iter().flat_map(|e| &e.words).any(|word| has_specifier(word));
        let mut template = Self { entries, shared: None };
        if !dynamic {
            template.shared = Some(Arc::new(template.build(None)?));
        }
        Ok(template)
    }

    /// Whether units of different names have different requirements.
    pub fn depends_on_name(&self) -> bool {
        self.shared.is_none()
    }

    /// The requirements of one unit; see [`Requirements::of`] for those of a template.
    ///
    /// # Errors
    ///
    /// As [`Requirements::of`].
    pub fn for_unit(&self, name: &UnitName) -> Result<Arc<Requirements>, RequirementsError> {
        let kept = self.entries.iter().find(|entry| entry.kind == Kind::DeleteOnDestroy);
        if let Some(entry) = kept.filter(|_| name.unit_type().starts_by_itself()) {
            return Err(RequirementsError {
                line: entry.line,
                option: entry.option.clone(),
                problem: "it is for .volume and .network units, which are otherwise kept"
                    .to_owned(),
            });
        }
        match &self.shared {
            Some(shared) if !shared.names(name) => return Ok(Arc::clone(shared)),
            _ => {}
        }
        if let Ok(stand_in) = name.instantiate(STAND_IN) {
            self.build(Some(&stand_in))?;
        }
        self.build(Some(name)).map(Arc::new)
    }

    /// Checks and collects every entry; without a name there must be no specifiers.
    fn build(&self, name: Option<&UnitName>) -> Result<Requirements, RequirementsError> {
        let mut building = Building::default();
        for entry in &self.entries {
            building
                .add(entry, name)
                .and_then(|()| building.contradiction(entry.kind).map_or(Ok(()), Err))
                .map_err(|problem| RequirementsError {
                    line: entry.line,
                    option: entry.option.clone(),
                    problem,
                })?;
        }
        Ok(building.requirements)
    }
}

impl Requirements {
    /// Whether they name the very unit they belong to.
    fn names(&self, name: &UnitName) -> bool {
        self.machine_of.contains(name) || self.replaces.contains(name)
    }
}

/// Requirements in the making.
#[derive(Default)]
struct Building {
    requirements: Requirements,
    /// Options given, so that values with specifiers contradict others too.
    given: Vec<Kind>,
}

impl Building {
    fn add(&mut self, entry: &Entry, name: Option<&UnitName>) -> Result<(), String> {
        let requirements = &mut self.requirements;
        self.given.push(entry.kind);
        for word in &entry.words {
            match name {
                // A template has no instance to put in. A pattern is at least worth showing.
                Some(unit) if unit.is_template() && has_specifier(word) => {
                    if entry.kind == Kind::Conflicts {
                        requirements.add(entry.kind, word, name)?;
                    }
                }
                Some(unit) => requirements.add(entry.kind, &expand(word, unit), name)?,
                None => requirements.add(entry.kind, word, name)?,
            }
        }
        Ok(())
    }

    /// What makes the option just added impossible beside those before it.
    fn contradiction(&self, added: Kind) -> Option<String> {
        let has = |kind| match kind {
            Kind::Global => self.requirements.global,
            _ => self.given.contains(&kind),
        };
        EXCLUSIVE.iter().find_map(|(one, other)| {
            let other = match added {
                kind if kind == *one => other,
                kind if kind == *other => one,
                _ => return None,
            };
            (has(added) && has(*other)).then(|| format!("it cannot stand beside {other}="))
        })
    }
}

impl Requirements {
    /// Takes one word of a value, specifiers expanded.
    fn add(&mut self, kind: Kind, word: &str, name: Option<&UnitName>) -> Result<(), String> {
        match kind {
            Kind::MachineId => {
                word.parse::<MachineId>().map_err(|error| error.to_string())?;
                if let Some(other) = self.machine_id.as_ref().filter(|other| *other != word) {
                    return Err(format!(
                        "{other} was named before, and a unit runs on one machine"
                    ));
                }
                self.machine_id = Some(word.to_owned());
            }
            Kind::MachineOf => {
                let unit = placeable(word)?;
                if name == Some(&unit) {
                    return Err("it names the unit itself".to_owned());
                }
                let pattern = self.conflicts.iter().find(|pattern| pattern.matches(word));
                if let Some(pattern) = pattern {
                    return Err(contradiction(&unit, "Conflicts", pattern.as_str()));
                }
                if self.replaces.contains(&unit) {
                    return Err(contradiction(&unit, "Replaces", word));
                }
                self.machine_of.insert(unit);
            }
            Kind::MachineMetadata => match word.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    self.metadata.entry(key.to_owned()).or_default().insert(value.to_owned());
                }
                _ => return Err(format!("{word:?} is not key=value")),
            },
            Kind::Conflicts => {
                let pattern: Glob =
                    word.parse().map_err(|error: super::GlobError| error.to_string())?;
                let unit = self.machine_of.iter().find(|unit| pattern.matches(unit.as_str()));
                if let Some(unit) = unit {
                    return Err(contradiction(unit, "Conflicts", word));
                }
                if !self.conflicts.contains(&pattern) {
                    self.conflicts.push(pattern);
                }
            }
            Kind::Global => self.global = truth(word)?,
            Kind::DeleteOnDestroy => self.delete_on_destroy = truth(word)?,
            Kind::Replaces => {
                let unit = placeable(word)?;
                if self.machine_of.contains(&unit) {
                    return Err(contradiction(&unit, "Replaces", word));
                }
                if name != Some(&unit) {
                    self.replaces.insert(unit);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// The entries that no later one takes back: an empty value forgets its option, and the last `Global=` or
/// `DeleteOnDestroy=` wins.
fn in_force(entries: Vec<Entry>) -> Vec<Entry> {
    let mut settled = Vec::new();
    let mut kept: Vec<_> = entries
        .into_iter()
        .rev()
        .filter(|entry| {
            if settled.contains(&entry.kind) {
                return false;
            }
            let last_wins = matches!(entry.kind, Kind::Global | Kind::DeleteOnDestroy);
            if entry.words.is_empty() || last_wins {
                settled.push(entry.kind);
            }
            !entry.words.is_empty()
        })
        .collect();
    kept.reverse();
    kept
}

fn kind(option: &str) -> Result<Kind, String> {
    NAMES.iter().find(|(name, _)| *name == option).map(|(_, kind)| *kind).ok_or_else(|| {
        suggestion::or_hint("unknown option", option, NAMES.iter().map(|(name, _)| *name))
    })
}

fn placeable(word: &str) -> Result<UnitName, String> {
    let unit: UnitName = word.parse().map_err(|error: super::InvalidUnitName| error.to_string())?;
    if unit.is_template() {
        return Err(format!("{unit} is a template, which is never placed"));
    }
    Ok(unit)
}

/// A unit that must be beside another and must not.
fn contradiction(beside: &UnitName, option: &str, value: &str) -> String {
    format!("MachineOf={beside} and {option}={value} contradict one another")
}

/// fleet takes anything that is not true for false; a slip is refused here instead.
fn truth(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" | "t" => Ok(true),
        "false" | "no" | "0" | "off" | "f" => Ok(false),
        _ => Err(format!("{word:?} is neither true nor false")),
    }
}

/// The words of a value.
fn words(kind: Kind, value: &str) -> Result<Vec<String>, String> {
    // fleet splits quoted values only: a single pair may have spaces in its value without quotes.
    if kind == Kind::MachineMetadata
        && !value.contains(['"', '\''])
        && value.matches('=').count() == 1
    {
        return Ok(vec![value.to_owned()]);
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in value.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if BLANKS.contains(&c) => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed"));
    }
    words.extend(word);
    // fleet takes "" for no value.
    words.retain(|word| !word.is_empty());
    Ok(words)
}

#[cfg(test)]
#[path = "requirements_tests.rs"]
mod tests;
