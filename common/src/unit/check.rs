//! The one door a unit goes through before it is stored, in the client and in the daemon alike.

use std::fmt;

use super::{ParseError, Requirements, RequirementsError, UnitFile, UnitName, Warning, directives};

/// A unit that may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it asks of the scheduler; see [`Requirements::of`] for a template.
    pub requirements: Requirements,
    /// What its runner would ignore.
    pub warnings: Vec<Warning>,
}

/// A unit that must not be stored, with the place of the fault.
///
/// It reads `web.service: line 7: [X-Fleet] MachineOff: unknown option; did you mean MachineOf?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidUnit {
    /// The unit.
    pub name: UnitName,
    /// Line of its file, from 1; 0 when the file as a whole is at fault.
    pub line: usize,
    /// The `[X-Fleet]` option at fault, as written, if it is one.
    pub option: Option<String>,
    /// What is wrong, and the way out where one is likely.
    pub problem: String,
}

impl fmt::Display for InvalidUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(option) = &self.option {
            write!(f, "[X-Fleet] {option}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Checks a file that is to be a unit of this name.
pub fn check(name: &UnitName, file: &UnitFile) -> Result<Checked, InvalidUnit> {
    let requirements = Requirements::of(name, file)
        .map_err(|error| InvalidUnit::from_requirements(name, error))?;
    Ok(Checked { requirements, warnings: directives::warnings(name, file) })
}

/// Reads and checks a file that is to be a unit of this name.
pub fn check_bytes(name: &UnitName, bytes: &[u8]) -> Result<(UnitFile, Checked), InvalidUnit> {
    let file = UnitFile::parse(bytes).map_err(|error| InvalidUnit::from_parse(name, error))?;
    let checked = check(name, &file)?;
    Ok((file, checked))
}

impl InvalidUnit {
    /// A file that cannot be read, of the unit it was meant for.
    pub fn from_parse(name: &UnitName, error: ParseError) -> Self {
        let ParseError { line, problem } = error;
        Self { name: name.clone(), line, option: None, problem }
    }

    /// A file whose `[X-Fleet]` section cannot be used, of the unit it was meant for.
    pub fn from_requirements(name: &UnitName, error: RequirementsError) -> Self {
        let RequirementsError { line, option, problem } = error;
        Self { name: name.clone(), line, option: Some(option), problem }
    }
}
