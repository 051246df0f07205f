//! Flags and environment variables of `musterd`.
//!
//! Owns their names: each is the configuration key with dashes, or `MUSTER_` and the key in capitals.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Parser;
use muster_common::machine::MachineId;
use muster_common::text::FreeText;

use super::listeners::{self, HostName, Listener};
use super::reboot::RebootFlags;
use super::roles::Role;
use super::values::{
    BodyLimit, ClusterChoice, ContainerRunner, Endpoint, LogFormat, Metadata, Prefix, Ttl,
};

/// The configuration file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/muster/muster.toml";

/// Muster's daemon: registers its machine, places units when it leads, and runs its machine's share.
///
/// Without any configuration it runs one machine with an embedded store. With etcd endpoints it joins the cluster
/// whose records are there. Flags win over MUSTER_* variables, which win over the configuration file.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "musterd", version)]
pub struct Flags {
    /// Configuration file; the default one may be absent
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,

    /// Read the configuration, say what is wrong with it, and start nothing
    #[arg(long)]
    pub check_config: bool,

    /// Say that this machine belongs to the store's cluster from now on, by its identity, or `none` to begin one in an empty store;
    /// what that store does not place here is stopped. Start nothing
    #[arg(long, value_name = "ID|none")]
    pub adopt_cluster: Option<ClusterChoice>,

    /// Say that what this machine was last told to run is to be started without the store, though it may run elsewhere. Start
    /// nothing by this command itself
    #[arg(long)]
    pub start_last_known: bool,

    /// Write the manual page into the directory and start nothing
    #[arg(long, value_name = "DIR", hide = true)]
    pub man: Option<PathBuf>,

    /// etcd members, comma separated; none: the embedded store in the state directory
    #[arg(long, env = "MUSTER_ETCD_ENDPOINTS", value_name = "URL,...", value_delimiter = ',')]
    pub etcd_endpoints: Option<Vec<Endpoint>>,

    /// User at etcd
    #[arg(long, env = "MUSTER_ETCD_USERNAME", value_name = "NAME")]
    pub etcd_username: Option<String>,

    /// Password of that user; better: a file
    #[arg(long, env = "MUSTER_ETCD_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub etcd_password: Option<String>,

    /// File with that password
    #[arg(long, env = "MUSTER_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,

    /// Authorities to trust for etcd, PEM
    #[arg(long, env = "MUSTER_ETCD_CA_FILE", value_name = "FILE")]
    pub etcd_ca_file: Option<PathBuf>,

    /// Our certificate for etcd, PEM
    #[arg(long, env = "MUSTER_ETCD_CERT_FILE", value_name = "FILE")]
    pub etcd_cert_file: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, env = "MUSTER_ETCD_KEY_FILE", value_name = "FILE")]
    pub etcd_key_file: Option<PathBuf>,

    /// Where the cluster's records begin [default: /muster/v1/]
    #[arg(long, env = "MUSTER_PREFIX", value_name = "PREFIX")]
    pub prefix: Option<Prefix>,

    /// Address shown in lists [default: found by itself]
    #[arg(long, env = "MUSTER_ADDRESS", value_name = "ADDRESS")]
    pub address: Option<FreeText>,

    /// Identity of this machine [default: /etc/machine-id]
    #[arg(long, env = "MUSTER_MACHINE_ID", value_name = "ID")]
    pub machine_id: Option<MachineId>,

    /// Metadata of this machine
    #[arg(
        long,
        help = "What `MachineMetadata=` is matched against",
        env = "MUSTER_METADATA",
        value_name = "KEY=VALUE,..."
    )]
    pub metadata: Option<Metadata>,

    /// A machine silent for this long is gone and its units move [default: 10s]
    #[arg(long, env = "MUSTER_TTL", value_name = "TIME")]
    pub ttl: Option<Ttl>,

    /// True if this daemon may lead
    #[arg(long, help = "Whether this daemon may lead [default: true]", env = "MUSTER_ENGINE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub engine: Option<bool>,

    /// The roles of this daemon
    #[arg(
        long,
        help = "What this daemon is there for: engine, agent, reboot [default: all]",
        env = "MUSTER_ROLES",
        value_name = "ROLE,...",
        value_delimiter = ','
    )]
    pub roles: Option<Vec<Role>>,

    /// Entries on a page of /fleet/v1 [default: 100]
    #[arg(long, env = "MUSTER_TOKEN_LIMIT", value_name = "N")]
    pub token_limit: Option<NonZeroU16>,

    /// Embedded store and last known placements [default: /var/lib/muster]
    #[arg(long, env = "MUSTER_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Unix socket of the API [default: /run/muster/muster.sock]
    #[arg(long, env = "MUSTER_HTTP_SOCKET", value_name = "PATH")]
    pub http_socket: Option<PathBuf>,

    /// TCP addresses of the API, comma separated [default: none]
    #[arg(long, env = "MUSTER_HTTP_LISTEN", value_name = "IP:PORT,...", value_delimiter = ',', value_parser = listeners::parse_address)]
    pub http_listen: Option<Vec<SocketAddr>>,

    /// TCP addresses that serve only a part: fleetlock, metrics, api [default: none]
    #[arg(
        long,
        env = "MUSTER_HTTP_LISTENER",
        value_name = "IP:PORT=PART+PART,...",
        value_delimiter = ','
    )]
    pub http_listener: Option<Vec<Listener>>,

    /// Further names by which clients may call this daemon over TCP [default: none]
    #[arg(long, env = "MUSTER_HTTP_NAMES", value_name = "NAME,...", value_delimiter = ',')]
    pub http_names: Option<Vec<HostName>>,

    /// Allow the API over plain TCP, on loopback too: who can reach the port can start units as root
    #[arg(long, env = "MUSTER_HTTP_INSECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub http_insecure: Option<bool>,

    /// Largest request body [default: 8M]
    #[arg(long, env = "MUSTER_HTTP_BODY_LIMIT", value_name = "SIZE")]
    pub http_body_limit: Option<BodyLimit>,

    /// Who runs `.container` units whose files name no runner: docker, podman, or auto for Podman where it has Quadlet [default: docker]
    #[arg(long, env = "MUSTER_CONTAINERS_RUNNER", value_name = "RUNNER")]
    pub containers_runner: Option<ContainerRunner>,

    /// Socket of the container engine that runs `.container` units [default: /run/docker.sock]
    #[arg(long, env = "MUSTER_DOCKER_SOCKET", value_name = "PATH")]
    pub docker_socket: Option<PathBuf>,

    /// Credentials for registries, a file such as `docker login` writes [default: none]
    #[arg(long, env = "MUSTER_DOCKER_CREDENTIALS", value_name = "FILE")]
    pub docker_credentials: Option<PathBuf>,

    /// Secrets that `Secret=` names, a file for each [default: /etc/muster/secrets]
    #[arg(long, env = "MUSTER_DOCKER_SECRETS", value_name = "DIR")]
    pub docker_secrets: Option<PathBuf>,

    /// text, or json for machines [default: text]
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// error, warn, info, debug, trace, or `RUST_LOG`'s filters [default: info]
    #[arg(long, env = "MUSTER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// `[reboot]`
    #[command(flatten)]
    pub reboot: RebootFlags,
}

impl Flags {
    /// True if an option, by its key in the file, is given here, so that the file's word for it does not count. Of those that
    /// can be at fault together with others.
    pub(super) fn sets_option(&self, key: &str) -> bool {
        match key {
            "http.listen" => self.http_listen.is_some(),
            "http.listener" => self.http_listener.is_some(),
            "http.socket" => self.http_socket.is_some(),
            "state_dir" => self.state_dir.is_some(),
            "roles" => self.roles.is_some(),
            "engine" => self.engine.is_some(),
            "log.level" => self.log_level.is_some(),
            "etcd.endpoints" => self.etcd_endpoints.is_some(),
            "etcd.username" => self.etcd_username.is_some(),
            "etcd.password" => self.etcd_password.is_some(),
            "etcd.password_file" => self.etcd_password_file.is_some(),
            "etcd.ca_file" => self.etcd_ca_file.is_some(),
            "etcd.cert_file" => self.etcd_cert_file.is_some(),
            "etcd.key_file" => self.etcd_key_file.is_some(),
            _ => false,
        }
    }
}
