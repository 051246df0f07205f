//! The files that give the variables of `[Service]` their values, `EnvironmentFile=`.
//!
//! Owns which files those are and what their texts add to the settings. It reads no file: the texts come from the machine.

use super::names;
use super::reader::{ContainerError, Reader};
use super::variables::{VariableTexts, Variables, parse_assignments};

/// A file of variables, `EnvironmentFile=` of `[Service]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableFile {
    /// Its path on the machine.
    pub path: String,
    /// True when it may be missing.
    pub optional: bool,
}

/// Reads the variables of `[Service]`; without `texts` the values that its files give are left open.
pub(super) fn read_variables(
    service: &Reader<'_>,
    texts: Option<&VariableTexts>,
) -> Result<Variables, ContainerError> {
    let mut known = service.read_assignments("Environment")?;
    let files = list_variable_files(service)?;
    let is_open = !files.is_empty() && texts.is_none();
    for file in files {
        let Some(texts) = texts else { break };
        match texts.get(&file.path) {
            Some(text) => known.extend(parse_assignments(text)),
            None if file.optional => {}
            None => {
                let problem = format!("this machine does not have {}", file.path);
                return Err(service.error("EnvironmentFile", problem));
            }
        }
    }
    Ok(Variables::new(known, is_open))
}

/// The files that a unit's variables come from.
pub(super) fn list_variable_files(
    service: &Reader<'_>,
) -> Result<Vec<VariableFile>, ContainerError> {
    service.list_specified("EnvironmentFile", |value| {
        let (path, optional) = match value.strip_prefix('-') {
            Some(path) => (path, true),
            None => (value, false),
        };
        if path.contains(['*', '?', '[']) {
            return Err(format!("{path:?}: patterns are systemd's to look up; name each file"));
        }
        Ok(VariableFile { path: names::path(path)?, optional })
    })
}
