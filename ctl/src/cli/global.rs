//! Flags of every command.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser};

use muster_client::Endpoints;

use super::values::{parse_duration, parse_seconds};
use crate::output::console::Format;
use crate::ssh::SshHost;

/// Flags of every command. Each is also an environment variable `MUSTERCTL_…`, and what fleetctl had is read from
/// `FLEETCTL_…` where that is not set ([`super::fleet`]).
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon to ask, as `unix:///path` or `http://host:port`; several, separated by commas, are tried in order
    #[arg(long, global = true, env = "MUSTERCTL_ENDPOINT", default_value = muster_client::DEFAULT_ENDPOINT)]
    pub(crate) endpoint: Endpoints,

    /// Ask through ssh: the endpoint is one on this host
    ///
    /// The system's ssh makes the connection, so that its configuration, agent and known hosts hold.
    #[arg(long, global = true, value_name = "[USER@]HOST[:PORT]", env = "MUSTERCTL_TUNNEL")]
    pub(crate) tunnel: Option<SshHost>,

    /// Who to be on the far side of ssh; what its configuration says if none is given
    #[arg(long, global = true, value_name = "NAME", env = "MUSTERCTL_SSH_USERNAME")]
    pub(crate) ssh_username: Option<String>,

    #[arg(
        help = "How long ssh may take to connect, in seconds",
        long,
        global = true,
        value_name = "SECONDS",
        env = "MUSTERCTL_SSH_TIMEOUT",
        default_value = "10",
        value_parser = parse_seconds
    )]
    pub(crate) ssh_timeout: Duration,

    #[arg(
        help = "Whether ssh checks host keys: `true` asks about one it does not know, `false` checks none",
        long,
        global = true,
        value_name = "BOOL",
        env = "MUSTERCTL_STRICT_HOST_KEY_CHECKING",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) strict_host_key_checking: Option<bool>,

    /// The file of host keys that ssh knows, in the place of the one its configuration names
    #[arg(long, global = true, value_name = "FILE", env = "MUSTERCTL_KNOWN_HOSTS_FILE")]
    pub(crate) known_hosts_file: Option<PathBuf>,

    #[arg(
        help = "How long one request may take, in seconds",
        long_help = "How long one request may take, in seconds\n\nWaiting for units is not limited by it; `--timeout` does that.",
        long,
        global = true,
        value_name = "SECONDS",
        env = "MUSTERCTL_REQUEST_TIMEOUT",
        default_value = "10",
        value_parser = parse_seconds
    )]
    pub(crate) request_timeout: Duration,

    #[arg(
        help = "How long a wait may be without news before it says what it waits for; 0: it never does",
        long,
        global = true,
        value_name = "DURATION",
        env = "MUSTERCTL_NOTICE_AFTER",
        default_value = "10s",
        value_parser = parse_duration
    )]
    pub(crate) notice_after: Duration,

    // A string, because `journal` has an option of the same id and name with other values, and clap hands the values of
    // global options to the commands and back.
    #[arg(
        help = "What standard output carries",
        short,
        long,
        global = true,
        value_name = "FORMAT",
        env = "MUSTERCTL_OUTPUT",
        value_parser = PossibleValuesParser::new(["table", "json"])
    )]
    pub(super) output: Option<String>,

    /// Say on standard error what is asked of the daemon
    #[arg(long, global = true, env = "MUSTERCTL_DEBUG", value_parser = BoolishValueParser::new())]
    pub(crate) debug: bool,

    #[command(flatten)]
    pub(super) without_meaning: WithoutMeaning,
}

/// Flags of fleetctl's that mean nothing here. They are taken, so that a command line of old says what is wrong with it.
#[derive(Debug, Default, Args)]
pub(super) struct WithoutMeaning {
    /// fleetctl's way to its records
    #[arg(long, global = true, hide = true)]
    pub(super) driver: Option<String>,

    /// fleetctl's old word for its driver
    #[arg(
        long,
        global = true,
        hide = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub(super) experimental_api: Option<bool>,

    /// fleetctl's certificate authority
    #[arg(long, global = true, hide = true, alias = "etcd-cafile")]
    pub(super) ca_file: Option<PathBuf>,

    /// fleetctl's certificate
    #[arg(long, global = true, hide = true, alias = "etcd-certfile")]
    pub(super) cert_file: Option<PathBuf>,

    /// fleetctl's key
    #[arg(long, global = true, hide = true, alias = "etcd-keyfile")]
    pub(super) key_file: Option<PathBuf>,

    /// fleetctl's prefix in etcd
    #[arg(long, global = true, hide = true)]
    pub(super) etcd_key_prefix: Option<String>,
}

impl Global {
    /// The form of the output.
    pub(crate) fn output_format(&self) -> Format {
        match self.output.as_deref() {
            Some("json") => Format::Json,
            _ => Format::Table,
        }
    }

    /// Returns how long a wait may be without news; `None`: for ever.
    pub(crate) fn notice_limit(&self) -> Option<Duration> {
        Some(self.notice_after).filter(|after| !after.is_zero())
    }
}
