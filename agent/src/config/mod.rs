//! The configuration of the daemon: file, environment and flags, checked and put together.
//!
//! Owns keys, defaults and their limits. Flags win over the environment, which wins over the file. It reads the
//! configuration file, the password file and `/etc/machine-id`, and starts nothing.

mod changes;
mod error;
mod error_line;
mod exposures;
mod file;
mod file_error;
mod flags;
mod listeners;
pub mod manual;
mod reboot;
mod roles;
mod secrets;
mod texts;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_store::{EtcdOptions, StoreError};

use crate::host::identity;

pub use changes::OptionChange;
pub use error::ConfigError;
pub use file_error::FileError;
pub use flags::{DEFAULT_FILE, Flags};
pub use listeners::{ApiPart, HostName, Listener, ServedParts};
pub use reboot::{DueSource, RebootConfig, RebootFlags, TimeSpan};
pub use roles::{Role, Roles};
pub use values::{
    BodyLimit, ClusterChoice, CommandLine, ContainerRunner, Endpoint, InvalidValue, LogFormat,
    Metadata, Prefix, Ttl,
};

/// The file in which systemd keeps a machine's identity.
const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// Default TTL: an etcd election and a busy disk fit in, and units move soon enough.
const DEFAULT_TTL: Duration = Duration::from_secs(10);

/// Default body limit: a thousand units with a file of their own each, at the size of ordinary unit files.
const DEFAULT_BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Longest path of the unix socket, in bytes. The kernel takes 107 (unix(7)), and the name under which the socket is made
/// before it is moved into place has a dot and a process's number more.
const LONGEST_SOCKET: usize = 107 - 8;

/// fleet's page size.
const DEFAULT_TOKEN_LIMIT: u16 = 100;

/// Everything the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// etcd; `None`: the embedded store.
    pub etcd: Option<EtcdConfig>,
    /// The beginning of the keys of the cluster's records.
    pub prefix: String,
    /// Address shown to people; `None`: to be found.
    pub address: Option<String>,
    /// This machine.
    pub machine_id: MachineId,
    /// Configured metadata.
    pub metadata: BTreeMap<String, String>,
    /// Time to live of the machine's lease.
    pub ttl: Duration,
    /// The roles of this daemon.
    pub roles: Roles,
    /// Entries on a page of fleet's API.
    pub token_limit: u16,
    /// Embedded store and last known placements.
    pub state_dir: PathBuf,
    /// The API's sockets.
    pub http: HttpConfig,
    /// The runner of container units whose files name none.
    pub container_runner: ContainerRunner,
    /// Its machine's container engine.
    pub docker: DockerConfig,
    /// Its machine's reboots.
    pub reboot: RebootConfig,
    /// Logs.
    pub log: LogConfig,
    /// The files that hold secrets.
    secrets: secrets::Secrets,
}

/// The options of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Members.
    pub endpoints: Vec<String>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity_files: Option<(PathBuf, PathBuf)>,
}

/// Where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The unix socket.
    pub socket: PathBuf,
    /// TCP addresses, and what each serves.
    pub listeners: Vec<Listener>,
    /// True if plain TCP may carry the whole API.
    pub insecure: bool,
    /// Further names by which clients may call this daemon over TCP.
    pub names: Vec<HostName>,
    /// Most bytes of a body.
    pub body_limit: usize,
}

/// The options of the container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// The engine's socket.
    pub socket: PathBuf,
    /// Credentials for registries, a file such as `docker login` writes.
    pub credentials: Option<PathBuf>,
    /// The machine's secrets, a file for each.
    pub secrets: PathBuf,
}

/// The options of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Their format.
    pub format: LogFormat,
    /// Their filter.
    pub level: String,
}

impl EtcdConfig {
    /// The same as the store wants it.
    pub fn store_options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: self.endpoints.clone(),
            login: self.login.clone(),
            ca_file: self.ca_file.clone(),
            identity_files: self.identity_files.clone(),
            ..EtcdOptions::default()
        }
    }

    /// An error of the store, with the option of the file that it names.
    pub fn explain_error(&self, error: StoreError) -> anyhow::Error {
        let text = error.to_string();
        let identity = self.identity_files.iter().flat_map(|(certificate, key)| {
            [("etcd.cert_file", certificate), ("etcd.key_file", key)]
        });
        let authorities = self.ca_file.iter().map(|path| ("etcd.ca_file", path));
        let mut files = authorities.chain(identity);
        match files.find(|(_, path)| text.contains(&path.display().to_string())) {
            Some((key, _)) => anyhow::Error::new(error).context(key),
            None => error.into(),
        }
    }
}

impl Config {
    /// Reads the file that the flags name and puts everything together.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let path = flags.config.clone();
        let file = match file::ConfigFile::read(&path)? {
            Some(file) => file,
            None if path == Path::new(DEFAULT_FILE) => file::ConfigFile::default(),
            None => return Err(ConfigError::Missing(path.display().to_string())),
        };
        let password_file = flags.etcd_password_file.as_ref().or(file.etcd.password_file.as_ref());
        let secrets = secrets::Secrets::of_files(Some(&path), &file.etcd, password_file);
        let (text, given) = (file.text.clone(), flags.clone());
        let merged = Self::merge_layers(file, flags);
        let merged = merged.map_err(|error| error.with_line(&path, &text, &given))?;
        Ok(Self { secrets, ..merged })
    }

    fn merge_layers(file: file::ConfigFile, flags: Flags) -> Result<Self, ConfigError> {
        let insecure = flags.http_insecure.or(file.http.insecure).unwrap_or(false);
        let listen = flags.http_listen.clone().or(file.http.listen.clone()).unwrap_or_default();
        let parts = flags.http_listener.clone().or(file.http.listeners.clone());
        let listeners = listeners::merge_listeners(&listen, parts.unwrap_or_default(), insecure)?;
        let level = flags.log_level.clone().or(file.log.level.clone());
        let level = level.unwrap_or_else(|| "info".to_owned());
        if level.parse::<tracing_subscriber::filter::Targets>().is_err() {
            return Err(ConfigError::LogLevel { level });
        }
        let etcd = merge_etcd(&file.etcd, &flags)?;
        let roles = flags.roles.as_deref().or(file.roles.as_deref());
        let roles = Roles::from_keys(roles, flags.engine.or(file.engine))?;
        let reboot = RebootConfig::merge_sources(file.reboot, flags.reboot, etcd.is_some())?;
        let machine_id = match flags.machine_id.or(file.machine_id) {
            Some(id) => id,
            None => identity::machine_id(Path::new(MACHINE_ID_FILE))?,
        };
        let written = file.metadata.into_iter().map(|(key, value)| (key.into(), value.into()));
        let metadata = flags.metadata.map_or_else(|| written.collect(), |given| given.0);
        Ok(Self {
            etcd,
            prefix: flags.prefix.or(file.prefix).map_or_else(|| "/muster/v1/".to_owned(), |p| p.0),
            address: flags.address.or(file.address).map(Into::into),
            machine_id,
            metadata,
            ttl: flags.ttl.or(file.ttl).map_or(DEFAULT_TTL, |ttl| ttl.0),
            roles,
            reboot,
            token_limit: flags
                .token_limit
                .or(file.token_limit)
                .map_or(DEFAULT_TOKEN_LIMIT, std::num::NonZero::get),
            state_dir: state_dir(flags.state_dir.or(file.state_dir))?,
            http: HttpConfig {
                socket: socket_path(flags.http_socket.or(file.http.socket))?,
                listeners,
                insecure,
                names: flags.http_names.or(file.http.names).unwrap_or_default(),
                body_limit: flags
                    .http_body_limit
                    .or(file.http.body_limit)
                    .map_or(DEFAULT_BODY_LIMIT, |limit| limit.0),
            },
            container_runner: flags
                .containers_runner
                .or(file.containers.runner)
                .unwrap_or_default(),
            docker: DockerConfig {
                socket: flags
                    .docker_socket
                    .or(file.docker.socket)
                    .unwrap_or("/run/docker.sock".into()),
                credentials: flags.docker_credentials.or(file.docker.credentials),
                secrets: flags
                    .docker_secrets
                    .or(file.docker.secrets)
                    .unwrap_or("/etc/muster/secrets".into()),
            },
            log: LogConfig {
                format: flags.log_format.or(file.log.format).unwrap_or_default(),
                level,
            },
            secrets: secrets::Secrets::default(),
        })
    }

    /// This machine's address as others reach it: the one that is configured, else the one the API is served on.
    /// `None`: it has to be found.
    pub fn own_address(&self) -> Option<String> {
        let specific = |a: &SocketAddr| !a.ip().is_unspecified();
        let served = || self.open_api().find(specific).map(|a| a.ip().to_canonical().to_string());
        self.address.clone().or_else(served)
    }

    /// `host:port` where other daemons reach this one's API: at the machine's own address and nowhere else, for a record
    /// that sends others to a third place is believed by nobody.
    pub fn advertised_api(&self, address: &str) -> Option<String> {
        let own: IpAddr = address.parse().ok()?;
        let there = |ip: IpAddr| ip.is_unspecified() || ip.to_canonical() == own.to_canonical();
        let port = self.open_api().find(|a| there(a.ip()))?.port();
        Some(SocketAddr::new(own, port).to_string())
    }

    /// Tells whether the API is served to the network, and yet where no other daemon asks: not at the machine's address.
    pub fn api_is_elsewhere(&self, address: &str) -> bool {
        self.advertised_api(address).is_none() && self.open_api().next().is_some()
    }

    /// Where the API is served to the network.
    fn open_api(&self) -> impl Iterator<Item = SocketAddr> {
        let open = |l: &&Listener| l.serves.api && !l.address.ip().is_loopback();
        self.http.listeners.iter().filter(open).map(|listener| listener.address)
    }
}

/// The state directory; an empty name is none.
fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    let given = given.unwrap_or("/var/lib/muster".into());
    if given.as_os_str().is_empty() {
        let problem = "it is empty; expected a directory such as /var/lib/muster".to_owned();
        return Err(ConfigError::Value { key: "state_dir", problem });
    }
    Ok(given)
}

/// The socket's path, as long as the socket can be made there.
fn socket_path(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    let given = given.unwrap_or("/run/muster/muster.sock".into());
    let length = given.as_os_str().len();
    if length == 0 || length > LONGEST_SOCKET {
        let problem = format!(
            "{:?} has {length} bytes; expected a path of 1 to {LONGEST_SOCKET}, such as /run/muster/muster.sock",
            given.display().to_string()
        );
        return Err(ConfigError::Value { key: "http.socket", problem });
    }
    Ok(given)
}

fn merge_etcd(file: &file::EtcdTable, flags: &Flags) -> Result<Option<EtcdConfig>, ConfigError> {
    let endpoints = flags.etcd_endpoints.as_ref().unwrap_or(&file.endpoints);
    let endpoints: Vec<String> = endpoints.iter().map(|e| e.0.clone()).collect();
    let username = flags.etcd_username.as_ref().or(file.username.as_ref());
    let password = flags.etcd_password.as_ref().or(file.password.as_ref());
    let password_file = flags.etcd_password_file.as_ref().or(file.password_file.as_ref());
    let ca_file = flags.etcd_ca_file.as_ref().or(file.ca_file.as_ref());
    let cert_file = flags.etcd_cert_file.as_ref().or(file.cert_file.as_ref());
    let key_file = flags.etcd_key_file.as_ref().or(file.key_file.as_ref());
    let given = username.is_some() || ca_file.is_some() || cert_file.is_some();
    if endpoints.is_empty() {
        if given {
            return Err(ConfigError::Contradiction {
                keys: &["etcd.username", "etcd.ca_file", "etcd.cert_file"],
                problem: "etcd: there are no etcd.endpoints to use these settings with",
            });
        }
        return Ok(None);
    }
    let password = match (password, password_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Contradiction {
                keys: &["etcd.password_file", "etcd.password"],
                problem: "etcd.password and etcd.password_file: only one of them can be given",
            });
        }
        (Some(password), None) => Some(password.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                key: "etcd.password_file",
                path: path.display().to_string(),
                source,
            })?;
            let password = text.trim_end_matches(['\r', '\n']);
            if password.is_empty() {
                let problem = format!("there is no password in {}", path.display());
                return Err(ConfigError::Value { key: "etcd.password_file", problem });
            }
            Some(password.to_owned())
        }
        (None, None) => None,
    };
    let login = match (username, password) {
        (Some(username), Some(password)) => Some((username.clone(), password)),
        (None, None) => None,
        _ => {
            return Err(ConfigError::Contradiction {
                keys: &["etcd.username", "etcd.password", "etcd.password_file"],
                problem: "etcd.username needs etcd.password or etcd.password_file, and they need it",
            });
        }
    };
    if login.is_some()
        && let Some(plain) = endpoints.iter().find(|e| e.starts_with("http://"))
    {
        return Err(ConfigError::PlainPassword(plain.clone()));
    }
    let identity_files = match (cert_file, key_file) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        _ => {
            return Err(ConfigError::Contradiction {
                keys: &["etcd.cert_file", "etcd.key_file"],
                problem: "etcd.cert_file and etcd.key_file: one is of no use without the other",
            });
        }
    };
    Ok(Some(EtcdConfig { endpoints, login, ca_file: ca_file.cloned(), identity_files }))
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
