//! The directives systemd knows, for warnings at submit.

use std::fmt;

use super::{UnitFile, UnitName};

/// Something in a unit file that systemd would ignore, and that its author probably did not mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Line of the unit file's text, from 1; 0 when it came without text.
    pub line: usize,
    /// What is wrong, naming section and option.
    pub problem: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// The warnings for a file that is to be a unit of this name.
pub fn warnings(_name: &UnitName, _file: &UnitFile) -> Vec<Warning> {
    Vec::new()
}
