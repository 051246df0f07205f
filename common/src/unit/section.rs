//! The lines of an `[X-Fleet]` section: options, their old names, and the words of their values.
//!
//! Owns which lines are in force and what they say, and what fleet left unsaid about them: where fleet took a line and
//! did nothing with it, or something else than it says, that is what becomes of it here too, with a note. It never looks
//! at a unit's name, so specifiers are still in the words.

use std::fmt;

use super::blank::BLANKS;
use super::requirements_error::RequirementsError;
use super::{UnitFile, suggestion};

/// The section this module reads.
const SECTION: &str = "X-Fleet";

/// One option, its value split into words.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) option: String,
    pub(super) kind: OptionKind,
    pub(super) words: Vec<String>,
    /// A warning about the line, whatever unit it belongs to.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionKind {
    MachineId,
    MachineOf,
    MachineMetadata,
    Conflicts,
    Global,
    Replaces,
    DeleteOnDestroy,
    Job,
    Runner,
}

/// Every name an option goes by, present names first. A boot id was fleet's first way to name a machine; fleet came
/// to compare it with machine ids, so that a unit that still has one runs nowhere rather than anywhere.
pub(super) const NAMES: [(&str, OptionKind); 14] = [
    ("MachineID", OptionKind::MachineId),
    ("MachineOf", OptionKind::MachineOf),
    ("MachineMetadata", OptionKind::MachineMetadata),
    ("Conflicts", OptionKind::Conflicts),
    ("Global", OptionKind::Global),
    ("Replaces", OptionKind::Replaces),
    ("DeleteOnDestroy", OptionKind::DeleteOnDestroy),
    ("Job", OptionKind::Job),
    ("Runner", OptionKind::Runner),
    ("X-ConditionMachineID", OptionKind::MachineId),
    ("X-ConditionMachineBootID", OptionKind::MachineId),
    ("X-ConditionMachineOf", OptionKind::MachineOf),
    ("X-ConditionMachineMetadata", OptionKind::MachineMetadata),
    ("X-Conflicts", OptionKind::Conflicts),
];

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// The entries of a file's section. Those that are not in force have no words any more.
pub(super) fn read(file: &UnitFile) -> Result<Vec<Entry>, RequirementsError> {
    let mut entries = file
        .numbered_options()
        .filter(|(_, option)| option.section == SECTION)
        .map(|(line, option)| {
            let kind = kind(&option.name).map_err(|problem| RequirementsError {
                line,
                option: option.name.clone(),
                problem,
            })?;
            let mut notes = Vec::new();
            let words = split_words(kind, &option.joined_value(), &mut notes);
            Ok(Entry { line, option: option.name.clone(), kind, words, notes })
        })
        .collect::<Result<Vec<_>, _>>()?;
    take_back(&mut entries);
    one_machine(&mut entries);
    Ok(entries)
}

/// Empties the entries that a later one takes back: an empty value forgets its option, and the last `Global=`,
/// `DeleteOnDestroy=`, `Job=` or `Runner=` wins.
fn take_back(entries: &mut [Entry]) {
    let mut settled: Vec<OptionKind> = Vec::new();
    for entry in entries.iter_mut().rev() {
        if settled.contains(&entry.kind) {
            entry.words.clear();
            continue;
        }
        let last_wins = matches!(
            entry.kind,
            OptionKind::Global | OptionKind::DeleteOnDestroy | OptionKind::Job | OptionKind::Runner
        );
        if entry.words.is_empty() || last_wins {
            settled.push(entry.kind);
        }
    }
}

/// Leaves one machine's id of several, the one fleet took: the first under the present name, else the first under the old
/// one, else the first boot id.
fn one_machine(entries: &mut [Entry]) {
    let rank = |option: &str| NAMES.iter().position(|(name, _)| *name == option);
    let ids = entries.iter().filter(|e| e.kind == OptionKind::MachineId && !e.words.is_empty());
    let Some(taken) = ids.min_by_key(|entry| (rank(&entry.option), entry.line)) else { return };
    let (line, option) = (taken.line, taken.option.clone());
    let Some(id) = taken.words.first().cloned() else { return };
    let mut found = false;
    for entry in entries.iter_mut().filter(|entry| entry.kind == OptionKind::MachineId) {
        let is_taken = !found && entry.line == line && entry.option == option;
        let ignored: Vec<String> = entry.words.drain(usize::from(is_taken)..).collect();
        found |= is_taken;
        if ignored.iter().any(|word| *word != id) {
            let ignored = ignored.join(" ");
            entry.notes.push(format!(
                "a unit runs on one machine, and {option}={id} says which; {ignored} is ignored, as in fleet"
            ));
        }
    }
}

fn kind(option: &str) -> Result<OptionKind, String> {
    NAMES.iter().find(|(name, _)| *name == option).map(|(_, kind)| *kind).ok_or_else(|| {
        suggestion::or_hint("unknown option", option, NAMES.iter().map(|(name, _)| *name))
    })
}

/// The words of a value. Those of a quote that is not closed are taken as they stand, quote and all, as fleet took them.
fn split_words(kind: OptionKind, value: &str, notes: &mut Vec<String>) -> Vec<String> {
    let quoted = value.contains(['"', '\'']);
    // fleet splits quoted values only: a single pair may have spaces in its value without quotes.
    let whole = match kind {
        OptionKind::MachineMetadata => value.matches('=').count() == 1,
        OptionKind::Global => !value.is_empty(),
        _ => false,
    };
    if whole && !quoted {
        return vec![value.to_owned()];
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
        notes.push(format!(
            "a {open} is not closed, and is taken for a part of the value, as in fleet"
        ));
        return value.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    }
    words.extend(word);
    // fleet takes "" for no value.
    words.retain(|word| !word.is_empty());
    words
}
