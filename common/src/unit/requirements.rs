//! What a unit's `[X-Fleet]` section asks of the scheduler.
//!
//! Owns the meaning of the section's words: specifiers, names, patterns, contradictions. Which words there are is
//! [`super::section`]'s. It never looks at a cluster, so whether a named unit or machine exists is not its question.
//!
//! A value may hold several words, separated by white space and quoted with `"` or `'`. A backslash is not special
//! outside globs. An empty value forgets what the option was given before, as in systemd.
//!
//! What fleet took and then ignored is ignored here too, with a warning: a file that ran under fleet runs here, and its
//! author learns what of it means nothing. What would leave the unit without any machine for ever is an error: fleet kept
//! such a unit and never said why it did not run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directives::Warning;
use super::podman::list_references;
use super::requirements_error::RequirementsError;
use super::section::{self, Entry, OptionKind};
use super::service_type::is_oneshot;
use super::specifier::{expand_specifiers, has_specifier};
use super::{Glob, UnitFile, UnitName, UnitType};
use crate::container::obstacle::find_docker_obstacle;
use crate::machine::{MachineId, RunnerDemand, RunnerKind};

/// Most values the section may hold, of all options together. Each is matched against names of units or machines
/// whenever the unit is placed; a unit that needs more wants a pattern or metadata instead.
const MAX_VALUES: usize = 1_000;

/// The instance a template is checked with, one that no file is likely to name.
const STAND_IN: &str = "INSTANCE";

/// The requirements of one unit, specifiers expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `MachineID=`: only the machine that [`MachineId::goes_by`] this, as written (it may be unknown to the cluster).
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
    /// `Replaces=` with patterns: units whose name matches make room too. A pattern that matches the unit itself is
    /// normal and says nothing about it.
    pub replaces_matching: Vec<Glob>,
    /// `DeleteOnDestroy=`: what machines have made of a volume or network goes with its unit. It has no say in placement.
    pub delete_on_destroy: bool,
    /// `Job=`: it is begun once for each time somebody starts it, on one machine, whatever becomes of that.
    pub job: bool,
    /// `Runner=`: the kind of runner that a container unit is for, where it says so.
    pub runner: Option<RunnerKind>,
    /// Why only Podman runs a container unit, by a line of its file: what Docker cannot do, or that it is asked for.
    pub podman_reason: Option<Arc<str>>,
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
    /// See [`Requirements::podman_reason`].
    podman_reason: Option<Arc<str>>,
}

/// Options that cannot stand beside one another.
const EXCLUSIVE: [(OptionKind, OptionKind); 5] = [
    (OptionKind::Global, OptionKind::MachineId),
    (OptionKind::Global, OptionKind::MachineOf),
    (OptionKind::Global, OptionKind::Replaces),
    (OptionKind::Global, OptionKind::Job),
    (OptionKind::Replaces, OptionKind::Conflicts),
];

/// Warnings about what of a unit's `[X-Fleet]` section means nothing or not what it seems to, by line. Nothing where the section is
/// refused.
pub(super) fn requirement_warnings(name: &UnitName, file: &UnitFile) -> Vec<Warning> {
    let Ok(template) = RequirementsTemplate::parse(file) else { return Vec::new() };
    let stand_in = name.with_instance(STAND_IN).ok();
    let building = template.build(Some(stand_in.as_ref().unwrap_or(name)));
    let noted = template.entries.iter().flat_map(|entry| {
        entry.notes.iter().map(|note| (entry.line, entry.option.as_str(), note.clone()))
    });
    let found = building.map(|building| building.notes).unwrap_or_default();
    let found = found.iter().map(|(line, option, note)| (*line, option.as_str(), note.clone()));
    let mut warnings: Vec<Warning> = noted
        .chain(found)
        .map(|(line, option, note)| Warning {
            line,
            problem: format!("[X-Fleet] {option}: {note}"),
        })
        .collect();
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

impl Requirements {
    /// The runner that a unit of this name needs.
    pub fn runner_demand(&self, name: &UnitName) -> RunnerDemand {
        chosen_runner(name, self.runner, self.podman_reason.is_some())
    }

    /// True when it wants any other unit to make room.
    pub fn replaces_any(&self) -> bool {
        !self.replaces.is_empty() || !self.replaces_matching.is_empty()
    }

    /// True when a unit, another than the one it belongs to, is to make room.
    pub fn replaces_unit(&self, other: &UnitName) -> bool {
        self.replaces.contains(other)
            || self.replaces_matching.iter().any(|pattern| pattern.matches_name(other.as_str()))
    }

    /// The requirements of a unit made from a file.
    ///
    /// For a template every value is checked with an instance made up; values with a specifier are left out of the
    /// answer, but for patterns.
    ///
    /// # Errors
    ///
    /// The first option that is unknown, malformed or contradicts another.
    pub fn from_file(name: &UnitName, file: &UnitFile) -> Result<Self, RequirementsError> {
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
        let mut entries = section::read(file)?;
        tie_to_named(&mut entries, file);
        if let Some(entry) = job_entry(&entries).filter(|_| !is_oneshot(file)) {
            return Err(RequirementsError {
                line: entry.line,
                option: entry.option.clone(),
                problem: "a job does its work and ends: it needs Type=oneshot in [Service]"
                    .to_owned(),
            });
        }
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
        let podman_reason = podman_reason(&entries, file);
        let mut template = Self { entries, shared: None, podman_reason };
        if !dynamic {
            template.shared = Some(Arc::new(template.build(None)?.requirements));
        }
        Ok(template)
    }

    /// True when its units are jobs; the name has no say in that.
    pub fn is_job(&self) -> bool {
        job_entry(&self.entries).is_some()
    }

    /// The runner that its units ask for; the name has no say in that. None where the value means nothing, which is an error of
    /// every unit.
    pub fn asked_runner(&self) -> Option<RunnerKind> {
        asked_runner(&self.entries)
    }

    /// True when units of different names have different requirements.
    pub fn depends_on_name(&self) -> bool {
        self.shared.is_none()
    }

    /// The requirements of one unit; see [`Requirements::from_file`] for those of a template.
    ///
    /// # Errors
    ///
    /// As [`Requirements::from_file`].
    pub fn for_unit(&self, name: &UnitName) -> Result<Arc<Requirements>, RequirementsError> {
        let mut in_force = self.entries.iter().filter(|entry| !entry.words.is_empty());
        let kept = in_force.find(|entry| entry.kind == OptionKind::DeleteOnDestroy);
        if let Some(entry) = kept.filter(|_| name.unit_type().starts_by_itself()) {
            return Err(RequirementsError {
                line: entry.line,
                option: entry.option.clone(),
                problem: "it is for .volume and .network units, which are otherwise kept"
                    .to_owned(),
            });
        }
        let mut in_force = self.entries.iter().filter(|entry| !entry.words.is_empty());
        let runner = in_force.find(|entry| entry.kind == OptionKind::Runner);
        if let Some(entry) = runner.filter(|_| name.runner_kind() == RunnerKind::Systemd) {
            return Err(RequirementsError {
                line: entry.line,
                option: entry.option.clone(),
                problem: "it is for container units; every other is systemd's to run".to_owned(),
            });
        }
        if let Some(entry) = runner.filter(|_| name.unit_type().needs_podman())
            && self.asked_runner() == Some(RunnerKind::Docker)
        {
            return Err(RequirementsError {
                line: entry.line,
                option: entry.option.clone(),
                problem: format!("Docker runs no .{} units", name.unit_type().as_str()),
            });
        }
        match &self.shared {
            Some(shared) if !shared.names(name) => return Ok(Arc::clone(shared)),
            _ => {}
        }
        if let Ok(stand_in) = name.with_instance(STAND_IN) {
            self.build(Some(&stand_in))?;
        }
        self.build(Some(name)).map(|building| Arc::new(building.requirements))
    }

    /// Checks and collects every entry; without a name there must be no specifiers.
    fn build(&self, name: Option<&UnitName>) -> Result<RequirementsBuilder, RequirementsError> {
        let mut building = RequirementsBuilder::default();
        building.requirements.podman_reason.clone_from(&self.podman_reason);
        for entry in self.entries.iter().filter(|entry| !entry.words.is_empty()) {
            building
                .add(entry, name)
                .and_then(|()| building.contradiction(entry.kind).map_or(Ok(()), Err))
                .map_err(|problem| RequirementsError {
                    line: entry.line,
                    option: entry.option.clone(),
                    problem,
                })?;
        }
        Ok(building)
    }
}

impl Requirements {
    /// True when they name the very unit they belong to.
    fn names(&self, name: &UnitName) -> bool {
        self.machine_of.contains(name) || self.replaces.contains(name)
    }
}

/// Requirements in the making.
#[derive(Default)]
struct RequirementsBuilder {
    requirements: Requirements,
    /// Options given, so that values with specifiers contradict others too.
    given: Vec<OptionKind>,
    /// Line, option, and what is to be told of it.
    notes: Vec<(usize, String, String)>,
}

impl RequirementsBuilder {
    fn add(&mut self, entry: &Entry, name: Option<&UnitName>) -> Result<(), String> {
        self.given.push(entry.kind);
        for word in &entry.words {
            let word = match name {
                // A template has no instance to put in. A pattern is at least worth showing.
                Some(unit) if unit.is_template() && has_specifier(word) => {
                    if entry.kind != OptionKind::Conflicts {
                        continue;
                    }
                    word.into()
                }
                Some(unit) => expand_specifiers(word, unit),
                None => word.into(),
            };
            if let Some(note) = self.requirements.add(entry.kind, &word, name)? {
                self.notes.push((entry.line, entry.option.clone(), note));
            }
        }
        Ok(())
    }

    /// The conflict that makes the option just added impossible beside those before it.
    fn contradiction(&self, added: OptionKind) -> Option<String> {
        let has = |kind| match kind {
            OptionKind::Global => self.requirements.global,
            OptionKind::Job => self.requirements.job,
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
    /// Takes one word of a value, specifiers expanded; the answer is what is to be told of it.
    fn add(
        &mut self,
        kind: OptionKind,
        word: &str,
        name: Option<&UnitName>,
    ) -> Result<Option<String>, String> {
        match kind {
            OptionKind::MachineId => {
                self.machine_id = Some(word.to_owned());
                return Ok(of_machine_id(word));
            }
            OptionKind::MachineOf => self.be_beside(word, name)?,
            OptionKind::MachineMetadata => match word.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    self.metadata.entry(key.to_owned()).or_default().insert(value.to_owned());
                }
                _ => {
                    return Ok(Some(format!(
                        "{word:?} is not key=value and is ignored, as in fleet"
                    )));
                }
            },
            OptionKind::Conflicts => return self.keep_from(word),
            OptionKind::Global => {
                // fleet takes anything that is not true for false.
                self.global = parse_truth(word).unwrap_or(false);
                return Ok(parse_truth(word).is_none().then(|| {
                    format!("{word:?} is neither true nor false and counts as false, as in fleet")
                }));
            }
            OptionKind::Job => {
                self.job = parse_truth(word)
                    .ok_or_else(|| format!("{word:?} is neither true nor false"))?;
            }
            OptionKind::DeleteOnDestroy => {
                self.delete_on_destroy = parse_truth(word)
                    .ok_or_else(|| format!("{word:?} is neither true nor false"))?;
            }
            OptionKind::Replaces => return self.replace(word, name),
            OptionKind::Runner => {
                self.runner = Some(
                    parse_runner(word)
                        .ok_or_else(|| format!("{word:?} is neither podman nor docker"))?,
                );
            }
        }
        Ok(None)
    }

    fn be_beside(&mut self, word: &str, name: Option<&UnitName>) -> Result<(), String> {
        let unit: UnitName =
            word.parse().map_err(|error: super::InvalidUnitName| error.to_string())?;
        if unit.is_template() {
            return Err(format!("{unit} is a template, which is never placed"));
        }
        if name == Some(&unit) {
            return Err("it names the unit itself".to_owned());
        }
        if let Some(pattern) = self.conflicts.iter().find(|pattern| pattern.matches_name(word)) {
            return Err(contradiction(&unit, OptionKind::Conflicts, pattern.as_str()));
        }
        if let Some(replaced) = self.replacement_of(&unit) {
            return Err(contradiction(&unit, OptionKind::Replaces, &replaced));
        }
        self.machine_of.insert(unit);
        Ok(())
    }

    fn keep_from(&mut self, word: &str) -> Result<Option<String>, String> {
        let pattern: Glob = match word.parse() {
            Ok(pattern) => pattern,
            Err(error) => return Ok(Some(matches_nothing(&error))),
        };
        if let Some(unit) = self.machine_of.iter().find(|unit| pattern.matches_name(unit.as_str()))
        {
            return Err(contradiction(unit, OptionKind::Conflicts, word));
        }
        if !self.conflicts.contains(&pattern) {
            self.conflicts.push(pattern);
        }
        Ok(None)
    }

    fn replace(&mut self, word: &str, name: Option<&UnitName>) -> Result<Option<String>, String> {
        let pattern: Glob = match word.parse() {
            Ok(pattern) => pattern,
            Err(error) => return Ok(Some(matches_nothing(&error))),
        };
        if let Some(unit) = self.machine_of.iter().find(|unit| pattern.matches_name(unit.as_str()))
        {
            return Err(contradiction(unit, OptionKind::Replaces, word));
        }
        if pattern.literal_name().is_none() {
            if !self.replaces_matching.contains(&pattern) {
                self.replaces_matching.push(pattern);
            }
            return Ok(None);
        }
        match word.parse::<UnitName>() {
            Ok(unit) if unit.is_template() => Ok(Some(format!(
                "{unit} is a template, which is never placed; it is ignored, as in fleet"
            ))),
            Ok(unit) => {
                if name != Some(&unit) {
                    self.replaces.insert(unit);
                }
                Ok(None)
            }
            Err(error) => Ok(Some(format!("{error}; it is ignored, as in fleet"))),
        }
    }

    /// The pattern of `Replaces=` that a unit has to make room for, as written.
    fn replacement_of(&self, unit: &UnitName) -> Option<String> {
        if self.replaces.contains(unit) {
            return Some(unit.to_string());
        }
        let mut patterns = self.replaces_matching.iter();
        patterns.find(|pattern| pattern.matches_name(unit.as_str())).map(ToString::to_string)
    }
}

/// The warning on a machine's id that is given as fleet took it.
fn of_machine_id(word: &str) -> Option<String> {
    if word.parse::<MachineId>().is_err() {
        return Some(format!(
            "{word:?} is no machine's id, so that no machine takes the unit, as in fleet"
        ));
    }
    (word.len() == MachineId::SHORT).then(|| {
        format!(
            "{word} stands for every machine whose id begins with it; the whole id names one alone"
        )
    })
}

fn matches_nothing(error: &super::GlobError) -> String {
    format!("{error}; it matches nothing and is ignored, as in fleet")
}

/// A unit that must be beside another and must not.
fn contradiction(beside: &UnitName, option: OptionKind, value: &str) -> String {
    format!("MachineOf={beside} and {option}={value} contradict one another")
}

/// The entry that makes a job of a unit.
fn job_entry(entries: &[Entry]) -> Option<&Entry> {
    let given = |entry: &&Entry| entry.kind == OptionKind::Job;
    entries
        .iter()
        .filter(given)
        .find(|entry| entry.words.iter().any(|w| parse_truth(w) == Some(true)))
}

/// Has a container belong where the pod is that it is part of, and where the container is whose network it shares: by what `[Container]`
/// names, as if `MachineOf=` named it. Global units are where they are, each with a pod of its own. A file that names no runner may come to
/// Podman by its machine's choice, and a network is shared on one machine with either; one that asks for Docker is left to say where.
fn tie_to_named(entries: &mut Vec<Entry>, file: &UnitFile) {
    let is_global = |entry: &Entry| {
        entry.kind == OptionKind::Global
            && entry.words.iter().any(|word| parse_truth(word) == Some(true))
    };
    let is_dockers = asked_runner(entries) == Some(RunnerKind::Docker);
    if is_dockers || entries.iter().any(is_global) {
        return;
    }
    for named in list_references(file).into_iter().filter(|named| named.is_tied) {
        entries.push(Entry {
            line: named.line,
            option: format!("MachineOf (by {})", named.option),
            kind: OptionKind::MachineOf,
            words: vec![named.unit.to_string()],
            notes: Vec::new(),
        });
    }
}

/// True when a unit of this name made from this file is started for its own sake: see [`UnitType::starts_by_itself`]. With Podman
/// each is, for each is a service.
///
/// [`UnitType::starts_by_itself`]: super::UnitType::starts_by_itself
pub fn is_startable(name: &UnitName, file: &UnitFile) -> bool {
    name.unit_type().starts_by_itself() || runner_of(name, file) == RunnerKind::Podman
}

/// The runner for a unit of this name made from this file, where its machine has Docker run what names none; see [`runner_demand_of`].
pub fn runner_of(name: &UnitName, file: &UnitFile) -> RunnerKind {
    runner_demand_of(name, file).resolve_kind(RunnerKind::Docker)
}

/// The runner that a unit of this name made from this file needs: the unit's type says so, and of container units `Runner=` in
/// `[X-Fleet]`, else what of the file Docker cannot do. One whose section cannot be read has its type's.
pub fn runner_demand_of(name: &UnitName, file: &UnitFile) -> RunnerDemand {
    match RequirementsTemplate::parse(file) {
        Ok(template) => {
            chosen_runner(name, template.asked_runner(), template.podman_reason.is_some())
        }
        Err(_) => chosen_runner(name, None, false),
    }
}

/// Why Docker cannot run a container unit made from this file, where that does not say who is to; with its line.
pub fn docker_obstacle(name: &UnitName, file: &UnitFile) -> Option<(usize, String)> {
    let template = RequirementsTemplate::parse(file).ok()?;
    if name.runner_kind() != RunnerKind::Docker || template.asked_runner().is_some() {
        return None;
    }
    find_docker_obstacle(file)
}

fn chosen_runner(name: &UnitName, asked: Option<RunnerKind>, needs_podman: bool) -> RunnerDemand {
    match (name.runner_kind(), asked) {
        (RunnerKind::Docker, Some(asked)) => RunnerDemand::Kind(asked),
        (RunnerKind::Docker, None) if needs_podman => RunnerDemand::Kind(RunnerKind::Podman),
        (RunnerKind::Docker, None) => RunnerDemand::MachineChoice,
        (by_type, _) => RunnerDemand::Kind(by_type),
    }
}

/// The runner that entries ask for.
fn asked_runner(entries: &[Entry]) -> Option<RunnerKind> {
    let mut given = entries.iter().filter(|entry| entry.kind == OptionKind::Runner);
    given.find_map(|entry| parse_runner(entry.words.first()?))
}

/// Why only Podman runs what this file says, where that is so.
fn podman_reason(entries: &[Entry], file: &UnitFile) -> Option<Arc<str>> {
    let asks = |entry: &&Entry| entry.kind == OptionKind::Runner && !entry.words.is_empty();
    if let Some(asked) = entries.iter().find(asks) {
        let is_podman = asked_runner(entries) == Some(RunnerKind::Podman);
        return is_podman.then(|| format!("line {}: [X-Fleet] Runner=podman", asked.line).into());
    }
    let own = podmans_section(file)
        .map(|(line, section)| (line, format!("[{section}] is Podman's alone")));
    let (line, problem) = own.or_else(|| find_docker_obstacle(file))?;
    Some(format!("line {line}: {problem}").into())
}

/// The section by which a file is of a type that only Podman runs, with its line. It is the first of Quadlet's in the file.
fn podmans_section(file: &UnitFile) -> Option<(usize, &'static str)> {
    let named = |line: &str| {
        let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
        UnitType::ALL.iter().find(|of| of.quadlet_parts().is_some_and(|(own, _)| own == name))
    };
    let mut sections =
        (1..).zip(file.text().lines()).filter_map(|(at, line)| Some((at, named(line)?)));
    let (line, of) = sections.next()?;
    let (section, _) = of.quadlet_parts().filter(|_| of.needs_podman())?;
    Some((line, section))
}

/// The runners that a container unit may ask for.
fn parse_runner(word: &str) -> Option<RunnerKind> {
    [RunnerKind::Docker, RunnerKind::Podman].into_iter().find(|runner| runner.as_str() == word)
}

/// fleet's words for true, and those for false.
fn parse_truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" | "t" => Some(true),
        "false" | "no" | "0" | "off" | "f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[path = "requirements_tests.rs"]
mod tests;
