//! The directives systemd knows, for warnings at submit.
//!
//! Owns noticing what systemd would skip with a line in its journal: sections it does not read in a unit of that
//! type, and directives it does not know. It never refuses anything: a newer systemd may know more. Sections and
//! directives that begin with `X-` are for others, and fine, unless one looks like a slip of `[X-Fleet]`.

use std::collections::BTreeSet;
use std::fmt;

use super::blank::InvisibleChar;
use super::directive_names as names;
use super::syntax::BROKEN_OFF;
use super::{UnitFile, UnitName, UnitOption, UnitType, suggestion};

/// Something in a unit file that systemd would ignore, and that its author probably did not mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Line of the unit file's text, from 1; 0 when it came without text.
    pub line: usize,
    /// The problem, naming section and option.
    pub problem: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.problem)
    }
}

/// Most warnings for one file.
const MAX_WARNINGS: usize = 100;

/// The warnings for a file that is to be a unit of this name, by line; one for each unknown section, and a last one
/// where there would be more than a hundred.
pub(super) fn directive_warnings(name: &UnitName, file: &UnitFile) -> Vec<Warning> {
    let unit_type = name.unit_type();
    let mut unknown_sections = BTreeSet::new();
    let mut warnings = Vec::new();
    for (line, option) in file.numbered_options() {
        // Nobody reads more, and finding what each directive was meant to be takes time.
        if warnings.len() > MAX_WARNINGS {
            break;
        }
        let section = option.section.as_str();
        if !unknown_sections.contains(section) {
            if let Some(problem) = section_problem(unit_type, section) {
                unknown_sections.insert(section);
                let header = file.line_of_section(section);
                warnings.push(Warning { line: if header > 0 { header } else { line }, problem });
            } else if let Some(problem) = directive_problem(unit_type, section, &option.name) {
                warnings.push(Warning { line, problem });
            }
        }
        warnings.extend(unseen_problem(line, option));
    }
    // A container's file is refused for it.
    if !unit_type.is_quadlet() {
        let lines = file.broken_off().take(MAX_WARNINGS + 1);
        warnings.extend(lines.map(|line| Warning { line, problem: BROKEN_OFF.to_owned() }));
    }
    warnings.sort_by_key(|warning| warning.line);
    if warnings.len() > MAX_WARNINGS {
        warnings.truncate(MAX_WARNINGS + 1);
        if let Some(last) = warnings.last_mut() {
            "and more from here on".clone_into(&mut last.problem);
        }
    }
    warnings
}

/// The problem of a value that holds a character nobody sees. Text that is only shown may have what it likes inside.
fn unseen_problem(line: usize, option: &UnitOption) -> Option<Warning> {
    let value = option.value.as_str();
    let (at, unseen) = InvisibleChar::first_in(value)?;
    let (before, after) = value.split_at_checked(at)?;
    let (is_first, is_last) = (before.is_empty(), after.chars().nth(1).is_none());
    if option.name == "Description" && !is_first && !is_last {
        return None;
    }
    let place = match (is_first, is_last) {
        (true, _) => "its value begins with",
        (false, true) => "its value ends in",
        (false, false) => "its value holds",
    };
    let problem = format!(
        "[{}] {}: {place} {unseen}, which is no white space to systemd but a part of the value",
        option.section,
        option.name.escape_debug()
    );
    Some(Warning { line: line + before.matches('\n').count(), problem })
}

type Tables = &'static [&'static [&'static str]];

const SERVICE: Tables = &[names::SERVICE, names::EXEC, names::KILL, names::RESOURCE_CONTROL];
const SOCKET: Tables = &[names::SOCKET, names::EXEC, names::KILL, names::RESOURCE_CONTROL];
const MOUNT: Tables = &[names::MOUNT, names::EXEC, names::KILL, names::RESOURCE_CONTROL];
const SWAP: Tables = &[names::SWAP, names::EXEC, names::KILL, names::RESOURCE_CONTROL];
const SCOPE: Tables = &[names::SCOPE, names::KILL, names::RESOURCE_CONTROL];
const SLICE: Tables = &[names::SLICE, names::RESOURCE_CONTROL];

/// The section a type of unit has to itself, with its directives.
fn own_section(unit_type: UnitType) -> Option<(&'static str, Tables)> {
    Some(match unit_type {
        UnitType::Automount => ("Automount", &[names::AUTOMOUNT]),
        UnitType::Mount => ("Mount", MOUNT),
        UnitType::Path => ("Path", &[names::PATH]),
        UnitType::Scope => ("Scope", SCOPE),
        UnitType::Service => ("Service", SERVICE),
        UnitType::Slice => ("Slice", SLICE),
        UnitType::Socket => ("Socket", SOCKET),
        UnitType::Swap => ("Swap", SWAP),
        UnitType::Timer => ("Timer", &[names::TIMER]),
        UnitType::Artifact
        | UnitType::Build
        | UnitType::Container
        | UnitType::Device
        | UnitType::Image
        | UnitType::Kube
        | UnitType::Network
        | UnitType::Pod
        | UnitType::Target
        | UnitType::Volume => return None,
    })
}

/// Every section systemd reads in a unit of this type, with its directives.
fn known_sections(unit_type: UnitType) -> impl Iterator<Item = (&'static str, Tables)> {
    let common: [(_, Tables); 2] = [("Unit", &[names::UNIT]), ("Install", &[names::INSTALL])];
    common.into_iter().chain(own_section(unit_type))
}

fn directive_tables(unit_type: UnitType, section: &str) -> Option<Tables> {
    known_sections(unit_type).find(|(name, _)| *name == section).map(|(_, tables)| tables)
}

fn known_directives(tables: Tables, directive: &str) -> bool {
    tables.iter().any(|table| table.binary_search(&directive).is_ok())
}

/// The problem of a whole section. One that slipped from `[X-Fleet]` would leave its unit without everything it
/// asks of the scheduler; only systemd's units have other sections that matter here.
fn section_problem(unit_type: UnitType, section: &str) -> Option<String> {
    if section.starts_with("X-") {
        let slipped = section != "X-Fleet"
            && suggestion::closest_section(section, ["X-Fleet"].into_iter()).is_some();
        return slipped.then(|| format!("[{section}] is read by nobody; did you mean [X-Fleet]?"));
    }
    let fine = unit_type.is_quadlet() || directive_tables(unit_type, section).is_some();
    (!fine).then(|| unknown_section(unit_type, section))
}

/// The problem of a directive in a section of systemd's.
fn directive_problem(unit_type: UnitType, section: &str, name: &str) -> Option<String> {
    let tables = directive_tables(unit_type, section)?;
    let fine = unit_type.is_quadlet() || name.starts_with("X-") || known_directives(tables, name);
    (!fine).then(|| unknown_directive(unit_type, section, name))
}

fn unknown_section(unit_type: UnitType, section: &str) -> String {
    let kind = unit_type.as_str();
    let elsewhere = UnitType::ALL.into_iter().filter_map(own_section).any(|(s, _)| s == section);
    if elsewhere {
        return format!("[{section}] is not a section of {kind} units; systemd ignores it");
    }
    let mut problem = format!("[{section}] is not a section systemd knows; systemd ignores it");
    if let Some((_, unseen)) = InvisibleChar::first_in(section) {
        problem = format!("{problem}; there is {unseen} in its name");
    }
    let candidates = known_sections(unit_type).map(|(name, _)| name).chain(["X-Fleet"]);
    match suggestion::closest_section(section, candidates) {
        Some(candidate) => format!("{problem}; did you mean [{candidate}]?"),
        None => problem,
    }
}

fn unknown_directive(unit_type: UnitType, section: &str, name: &str) -> String {
    let renamed = names::RENAMED.iter().find(|(old, _)| section == "Unit" && *old == name);
    if let Some((_, new)) = renamed {
        return format!("[{section}] {name}: an old name; use {new}");
    }
    let home = known_sections(unit_type).find(|(_, tables)| known_directives(tables, name));
    if let Some((home, _)) = home {
        return format!("[{section}] {name}: belongs into [{home}]; systemd ignores it here");
    }
    suggestion::or_hint(
        &format!("[{section}] {name}: unknown directive; systemd ignores it"),
        name,
        directive_tables(unit_type, section).unwrap_or_default().iter().copied().flatten().copied(),
    )
}

#[cfg(test)]
#[path = "directives_tests.rs"]
mod tests;
