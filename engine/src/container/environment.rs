//! A container's environment, put together from what its file says and what its machine knows.
//!
//! Owns who wins: what the file sets, over files, over the daemon's own; a secret over all of them. It prints no value.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::container::{
    Environment, Secret, SecretTarget, Sensitive, VariableFile, is_proxy, is_withheld,
};

use super::body::Variable;

/// The values on a machine that a container's environment refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentInputs {
    /// The daemon's own environment.
    pub host: BTreeMap<String, Sensitive>,
    /// The text of each file, by its path.
    pub files: BTreeMap<String, Sensitive>,
    /// The value of each secret, by its name.
    pub secrets: BTreeMap<String, Sensitive>,
}

/// An environment that cannot be put together on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvironment {
    /// A file that is not there.
    #[error("EnvironmentFile={0}: this machine does not have it")]
    NoFile(String),
    /// A line that sets nothing.
    #[error("{path}: line {line}: it is neither NAME=value nor NAME")]
    BadLine {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A secret that is not there.
    #[error("Secret={0}: this machine does not have it")]
    NoSecret(String),
    /// A value that no environment can hold.
    #[error("{0} has a NUL in its value")]
    Nul(String),
}

/// The variables of a container, by name.
///
/// # Errors
///
/// A file or secret the machine does not have, a line of a file that sets nothing, a NUL.
pub fn assemble_environment(
    environment: &Environment,
    secrets: &[Secret],
    known: &EnvironmentInputs,
) -> Result<Vec<Variable>, BadEnvironment> {
    let mut variables: BTreeMap<String, Sensitive> = BTreeMap::new();
    let inherited = known.host.iter().filter(|(name, _)| {
        environment.of_host && !is_withheld(name) || environment.of_proxy && is_proxy(name)
    });
    variables.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
    variables.extend(environment.of_service.clone());
    for VariableFile { path, optional } in &environment.files {
        let Some(text) = known.files.get(path) else {
            if *optional {
                continue;
            }
            return Err(BadEnvironment::NoFile(path.clone()));
        };
        for (index, line) in text.expose_value().lines().enumerate() {
            let bad = || BadEnvironment::BadLine { path: path.clone(), line: index + 1 };
            match read_line(line).ok_or_else(bad)? {
                Line::Nothing => {}
                Line::Sets(name, value) => {
                    variables.insert(name.to_owned(), Sensitive::new(value));
                }
                Line::Asks(name) => variables.extend(known.requested_variables(name)),
            }
        }
    }
    for (name, value) in &environment.set {
        if let Some(value) = value.clone().or_else(|| known.of_host(name)) {
            variables.insert(name.clone(), value);
        }
    }
    for secret in secrets {
        let SecretTarget::Variable(name) = &secret.target else { continue };
        let value = known.secrets.get(&secret.name);
        let value = value.ok_or_else(|| BadEnvironment::NoSecret(secret.name.clone()))?;
        variables.insert(name.clone(), value.clone());
    }
    variables
        .into_iter()
        .map(|(name, value)| {
            if value.expose_value().contains('\0') {
                Err(BadEnvironment::Nul(name))
            } else {
                Ok(Variable { name, value })
            }
        })
        .collect()
}

/// The variables of the daemon's that a container's file, or a file it names, asks for and does not get: they are the daemon's
/// own.
pub fn withheld_variables(
    environment: &Environment,
    known: &EnvironmentInputs,
) -> BTreeSet<String> {
    let asked =
        environment.set.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str());
    let files = environment.files.iter().filter_map(|file| known.files.get(&file.path));
    let lines =
        files.flat_map(|text| text.expose_value().lines()).filter_map(|line| {
            match read_line(line) {
                Some(Line::Asks(name)) => Some(name),
                _ => None,
            }
        });
    let own = asked.chain(lines).filter(|name| is_withheld(name) && known.host.contains_key(*name));
    own.map(str::to_owned).collect()
}

impl EnvironmentInputs {
    /// The daemon's own value of a variable, unless it is one that concerns the daemon alone.
    fn of_host(&self, name: &str) -> Option<Sensitive> {
        self.host.get(name).filter(|_| !is_withheld(name)).cloned()
    }

    /// The daemon's own variables that a line of a file asks for: one name, or, as in Podman, all that begin with what stands before
    /// a `*`.
    fn requested_variables(&self, name: &str) -> BTreeMap<String, Sensitive> {
        let is_meant = |given: &str| match name.strip_suffix('*') {
            Some(prefix) => given.starts_with(prefix),
            None => given == name,
        };
        let names = self.host.keys().filter(|given| is_meant(given));
        names.filter_map(|name| Some((name.clone(), self.of_host(name)?))).collect()
    }
}

/// The meaning of a line of a file.
enum Line<'a> {
    Nothing,
    Sets(&'a str, &'a str),
    /// It takes the daemon's.
    Asks(&'a str),
}

/// Reads one line of a file, in the form `docker run --env-file` has: nothing is quoted, a name by itself takes the daemon's
/// value, blank lines and those that begin with a `#` say nothing.
fn read_line(line: &str) -> Option<Line<'_>> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Some(Line::Nothing);
    }
    let (name, read) = match line.split_once('=') {
        Some((name, value)) => (name, Line::Sets(name, value)),
        None => (line.trim_end(), Line::Asks(line.trim_end())),
    };
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(read)
}
