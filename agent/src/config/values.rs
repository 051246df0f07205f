//! Values that are written as text in the file, the environment and flags alike.
//!
//! Owns their spelling and their limits. It reads nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use muster_common::cluster_id::{ClusterId, InvalidClusterId};
use muster_common::text::{self, quote_text};
use serde::Deserialize;

/// Shortest TTL. etcd checks leases every half second; below two seconds a busy disk looks like a dead machine.
const MIN_TTL: Duration = Duration::from_secs(2);

/// Longest TTL: after ten minutes people have moved the units themselves.
const MAX_TTL: Duration = Duration::from_secs(600);

/// Smallest body limit: one unit file of the largest size in its JSON form fits.
const MIN_BODY_LIMIT: usize = 1024 * 1024;

/// The time for which a silent machine keeps its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub Duration);

/// The cluster that a person says a machine belongs to; `None`: whichever its store holds, or a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterChoice(pub Option<ClusterId>);

impl FromStr for ClusterChoice {
    type Err = InvalidClusterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|id| Self(Some(id))) }
    }
}

/// Most bytes of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

/// `http://host:port` or `https://host:port` of an etcd member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(pub String);

/// The beginning of the keys of the cluster's records; it starts and ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(pub String);

/// `k=v,k=v`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub BTreeMap<String, String>);

/// A program and its arguments. In the file a list; elsewhere words, or a list in JSON where an argument has spaces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    /// The program.
    pub fn program_path(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Its arguments.
    pub fn program_arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = InvalidValue;

    fn try_from(words: Vec<String>) -> Result<Self, Self::Error> {
        if words.first().is_none_or(String::is_empty) {
            return Err(invalid_value(&words.join(" "), "a command: a program and its arguments"));
        }
        Ok(Self(words))
    }
}

impl FromStr for CommandLine {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<String> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text)
                .map_err(|_| invalid_value(text, "a command as a JSON list"))?
        } else {
            text.split_ascii_whitespace().map(str::to_owned).collect()
        };
        Self::try_from(words)
    }
}

/// The runner of container units whose files name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerRunner {
    /// Docker.
    #[default]
    Docker,
    /// Podman.
    Podman,
    /// Podman where the machine's has Quadlet, else Docker.
    Auto,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A text that is not one of these values; it says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {wanted}", quote_text(.given))]
pub struct InvalidValue {
    given: String,
    wanted: &'static str,
}

pub(super) fn invalid_value(given: &str, wanted: &'static str) -> InvalidValue {
    InvalidValue { given: given.to_owned(), wanted }
}

impl FromStr for Ttl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || invalid_value(text, "a time from 2s to 10m, such as \"10s\"");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
        let seconds = match text.strip_prefix(digits) {
            Some("" | "s") => Some(number),
            Some("m" | "min") => number.checked_mul(60),
            _ => None,
        };
        let ttl = Duration::from_secs(seconds.ok_or_else(wrong)?);
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Err(wrong());
        }
        Ok(Self(ttl))
    }
}

impl FromStr for BodyLimit {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || invalid_value(text, "a size of at least 1M, such as \"8M\"");
        let (digits, unit) = match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1024 * 1024),
            None => match text.strip_suffix(['K', 'k']) {
                Some(digits) => (digits, 1024),
                None => (text, 1),
            },
        };
        let number: usize = digits.parse().map_err(|_| wrong())?;
        let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
        if bytes < MIN_BODY_LIMIT {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Endpoint {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || invalid_value(text, "an etcd endpoint, http://HOST:PORT or https://HOST:PORT");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().is_some_and(|s| s == "http" || s == "https");
        if let Some((_, member)) = uri.authority().and_then(|a| a.as_str().rsplit_once('@')) {
            // Whoever reads the error is not to read the password.
            let scheme = uri.scheme_str().unwrap_or_default();
            return Err(invalid_value(
                &format!("{scheme}://...@{member}"),
                "an etcd endpoint: a login is given as etcd.username and etcd.password_file, not in the address",
            ));
        }
        let bare = uri.path() == "/" && uri.query().is_none();
        if !scheme || !bare || uri.port_u16().is_none() {
            return Err(wrong());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl FromStr for Prefix {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
        if !text.starts_with('/') || text.len() > 200 || !text.chars().all(word) {
            return Err(invalid_value(text, "a key prefix such as \"/muster/v1/\""));
        }
        Ok(Self(format!("{}/", text.trim_end_matches('/'))))
    }
}

impl FromStr for Metadata {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut metadata = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    let (key, value) = (key.trim(), value.trim());
                    if text::check(key).and(text::check(value)).is_err() {
                        return Err(invalid_value(
                            text,
                            "keys and values of at most 256 visible bytes",
                        ));
                    }
                    metadata.insert(key.to_owned(), value.to_owned());
                }
                _ => return Err(invalid_value(text, "metadata, KEY=VALUE,KEY=VALUE")),
            }
        }
        Ok(Self(metadata))
    }
}

impl FromStr for ContainerRunner {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "docker" => Ok(Self::Docker),
            "podman" => Ok(Self::Podman),
            "auto" => Ok(Self::Auto),
            _ => Err(invalid_value(text, "a runner of containers: docker, podman or auto")),
        }
    }
}

impl fmt::Display for ContainerRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Auto => "auto",
        })
    }
}

impl FromStr for LogFormat {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(invalid_value(text, "a log format: text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}
