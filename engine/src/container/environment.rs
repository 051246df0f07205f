//! A container's environment, put together from what its file says and what its machine knows.
//!
//! Owns who wins: what the file sets, over files, over the daemon's own; a secret over all of them. It prints no value.

use std::collections::BTreeMap;

use muster_common::container::{Environment, Secret, SecretTarget, Sensitive};

use super::body::Variable;

/// What a machine knows of what a container's environment refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
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

/// Variables that say how the world is reached.
const PROXY: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

/// The variables of a container, by name.
///
/// # Errors
///
/// A file or secret the machine does not have, a line of a file that sets nothing, a NUL.
pub fn assemble(
    environment: &Environment,
    secrets: &[Secret],
    known: &Known,
) -> Result<Vec<Variable>, BadEnvironment> {
    let mut variables: BTreeMap<String, Sensitive> = BTreeMap::new();
    let inherited = known.host.iter().filter(|(name, _)| {
        environment.of_host
            || environment.of_proxy && PROXY.contains(&name.to_ascii_lowercase().as_str())
    });
    variables.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
    for path in &environment.files {
        let text = known.files.get(path).ok_or_else(|| BadEnvironment::NoFile(path.clone()))?;
        for (index, line) in text.expose().lines().enumerate() {
            let bad = || BadEnvironment::BadLine { path: path.clone(), line: index + 1 };
            set_line(&mut variables, line, &known.host).ok_or_else(bad)?;
        }
    }
    for (name, value) in &environment.set {
        if let Some(value) = value.as_ref().or_else(|| known.host.get(name)) {
            variables.insert(name.clone(), value.clone());
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
            if value.expose().contains('\0') {
                Err(BadEnvironment::Nul(name))
            } else {
                Ok(Variable { name, value })
            }
        })
        .collect()
}

/// Takes one line of a file, in the form `docker run --env-file` has: nothing is quoted, a name by itself takes the
/// daemon's value, blank lines and those that begin with a `#` say nothing.
fn set_line(
    variables: &mut BTreeMap<String, Sensitive>,
    line: &str,
    host: &BTreeMap<String, Sensitive>,
) -> Option<()> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Some(());
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(Sensitive::new(value))),
        None => (line.trim_end(), host.get(line.trim_end()).cloned()),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    if let Some(value) = value {
        variables.insert(name.to_owned(), value);
    }
    Some(())
}
