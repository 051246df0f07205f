//! The configuration file, TOML.
//!
//! Owns its keys. Every error names the file and the line; an unknown key is one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use muster_common::machine::MachineId;
use muster_common::text::FreeText;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file_error::FileError;
use super::listeners::{self, HostName, Listener, ListenerTable};
use super::reboot::RebootTable;
use super::roles::Role;
use super::texts::{parse_list, parse_text};
use super::values::{BodyLimit, ContainerRunner, Endpoint, LogFormat, Prefix, Ttl};

/// The configuration file; what it leaves out is `None` or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) etcd: EtcdTable,
    #[serde(deserialize_with = "parse_text")]
    pub(super) prefix: Option<Prefix>,
    pub(super) address: Option<FreeText>,
    pub(super) machine_id: Option<MachineId>,
    pub(super) metadata: BTreeMap<FreeText, FreeText>,
    #[serde(deserialize_with = "parse_text")]
    pub(super) ttl: Option<Ttl>,
    pub(super) engine: Option<bool>,
    #[serde(deserialize_with = "parse_list")]
    pub(super) roles: Option<Vec<Role>>,
    pub(super) token_limit: Option<std::num::NonZeroU16>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) http: HttpTable,
    pub(super) containers: ContainersTable,
    pub(super) docker: DockerTable,
    pub(super) reboot: RebootTable,
    pub(super) log: LogTable,
    /// The text that was read.
    #[serde(skip)]
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EtcdTable {
    #[serde(deserialize_with = "parse_endpoints")]
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpTable {
    pub(super) socket: Option<PathBuf>,
    #[serde(deserialize_with = "parse_addresses")]
    pub(super) listen: Option<Vec<SocketAddr>>,
    listener: Option<Vec<Spanned<ListenerTable>>>,
    /// The listeners that `listener` names.
    #[serde(skip)]
    pub(super) listeners: Option<Vec<Listener>>,
    pub(super) insecure: Option<bool>,
    #[serde(deserialize_with = "parse_list")]
    pub(super) names: Option<Vec<HostName>>,
    #[serde(deserialize_with = "parse_text")]
    pub(super) body_limit: Option<BodyLimit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ContainersTable {
    #[serde(deserialize_with = "parse_text")]
    pub(super) runner: Option<ContainerRunner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DockerTable {
    pub(super) socket: Option<PathBuf>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) secrets: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogTable {
    #[serde(deserialize_with = "parse_text")]
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<String>,
}

impl ConfigFile {
    /// Reads a file; `Ok(None)` when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, FileError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::Read { path: path.display().to_string(), source }),
        }
    }

    /// Parses the text of a file.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let content = |start: usize, problem: &str| {
            let before = text.get(..start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            FileError::Content {
                path: path.display().to_string(),
                line,
                problem: problem.to_owned(),
            }
        };
        let mut file: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line = text.lines().nth(before.matches('\n').count()).unwrap_or_default();
            content(start, &reword_problem(error.message(), line))
        })?;
        text.clone_into(&mut file.text);
        let Some(tables) = file.http.listener.take() else { return Ok(file) };
        let mut listeners = Vec::with_capacity(tables.len());
        for table in tables {
            let start = table.span().start;
            let listener = table.get_ref().to_listener();
            listeners.push(listener.map_err(|problem| content(start, problem))?);
            if let Some((first, _)) = listeners::find_duplicate(&listeners) {
                let problem = format!(
                    "listener: what comes to this address goes to {first} already; one address has one listener, which serves \
                     several parts as serves = [\"fleetlock\", \"metrics\"]"
                );
                return Err(content(start, &problem));
            }
        }
        file.http.listeners = Some(listeners);
        Ok(file)
    }
}

/// The line of a key, with the names of its tables before it and dots between them; of a list the line of the last entry
/// in which a value is written. `None`: it is not there.
pub(super) fn line_of(text: &str, key: &str, value: &str) -> Option<usize> {
    let mut table = DeTable::parse(text).ok()?.into_inner();
    let (inner, last) = key.rsplit_once('.').unwrap_or(("", key));
    for name in inner.split('.').filter(|name| !name.is_empty()) {
        match table.remove(name)?.into_inner() {
            DeValue::Table(found) => table = found,
            _ => return None,
        }
    }
    let (key, found) = table.iter().find(|(key, _)| key.get_ref() == last)?;
    let mut entries = found.get_ref().as_array().into_iter().flat_map(|entries| entries.iter());
    let has = |entry: &&Spanned<DeValue<'_>>| format!("{:?}", entry.get_ref()).contains(value);
    let entry = entries.rfind(has).map(Spanned::span);
    let start = entry.unwrap_or_else(|| key.span()).start;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

/// The parser's words, in ours: keys instead of fields, and the key at fault where the message has only the value.
fn reword_problem(message: &str, line: &str) -> String {
    let message = message
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
        .replace("expected a sequence", "expected a list, such as [\"a\", \"b\"]");
    let table = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    if let Some(name) = table
        && message.starts_with("invalid type: map")
    {
        return format!("there may be several of [{name}], so it is written as [[{name}]]");
    }
    match line.split_once('=') {
        Some((key, _)) if !message.contains("unknown key") && !key.trim().is_empty() => {
            format!("{}: {message}", key.trim())
        }
        _ => message,
    }
}

fn parse_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<SocketAddr>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| listeners::parse_address(text).map_err(D::Error::custom);
    texts.iter().map(read).collect::<Result<_, _>>().map(Some)
}

fn parse_endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Endpoint>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| text.parse().map_err(D::Error::custom))
        .collect()
}
