//! The environment of fleetctl's users: `FLEETCTL_…`, for every flag that fleetctl had for all its commands.
//!
//! Owns what each of them means here. One counts only where neither the flag nor its `MUSTERCTL_…` is given, and an empty
//! one does not count, as in fleetctl. What means nothing here is said; what would ask etcd, or believe itself encrypted, is refused
//! or warned of.

use std::path::PathBuf;
use std::str::FromStr;

use muster_client::{Endpoint, Endpoints};

use super::global::Global;
use super::values::parse_seconds;

/// The ports of etcd, by which fleetctl knew that an endpoint is not fleet's.
const ETCD_PORTS: [u16; 2] = [2379, 4001];

/// The sockets at which fleetd listens unless it is told otherwise.
const FLEET_SOCKETS: [&str; 2] = ["/var/run/fleet.sock", "/run/fleet.sock"];

/// A setting of fleetctl's that cannot be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FleetError {
    /// Its value cannot be read.
    #[error("{variable}={value}: {problem}")]
    Value {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The problem with it.
        problem: String,
    },
    /// It asks for etcd.
    #[error("{setting} asks for etcd: musterctl asks a daemon and nobody else")]
    Etcd {
        /// The setting and its value.
        setting: String,
    },
    /// There is no such driver.
    #[error(
        "{setting}: there is no such driver; fleetctl had API and etcd, and musterctl has only the API"
    )]
    Driver {
        /// The setting and its value.
        setting: String,
    },
}

impl FleetError {
    /// The way out.
    pub(crate) fn way_out(&self) -> String {
        match self {
            Self::Value { variable, .. } => {
                let own = variable.replace("FLEETCTL", "MUSTERCTL");
                format!("unset it, or set {own}, which is read first")
            }
            Self::Etcd { .. } | Self::Driver { .. } => {
                "unset it; `--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask".to_owned()
            }
        }
    }
}

/// Takes from the environment what was not given. `given` says whether a flag was, or its own variable; the notes that come back
/// are for the user.
pub(crate) fn fall_back(
    global: &mut Global,
    given: impl Fn(&str) -> bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, FleetError> {
    let read = |id: &str, name: &'static str| {
        let value = if given(id) { None } else { variable(name) };
        value.filter(|value| !value.is_empty()).map(|value| (name, value))
    };
    let mut notes = Vec::new();
    check_driver(global, read("driver", "FLEETCTL_DRIVER"))?;
    if let Some((name, value)) = read("endpoint", "FLEETCTL_ENDPOINT") {
        take_endpoints(global, name, value, &mut notes)?;
    }
    if let Some(found) = read("tunnel", "FLEETCTL_TUNNEL") {
        global.tunnel = Some(parse(found)?);
    }
    if let Some((_, value)) = read("ssh_username", "FLEETCTL_SSH_USERNAME") {
        global.ssh_username = Some(value);
    }
    if let Some(found) = read("ssh_timeout", "FLEETCTL_SSH_TIMEOUT") {
        global.ssh_timeout = parse_by(found, parse_seconds)?;
    }
    if let Some(found) = read("strict_host_key_checking", "FLEETCTL_STRICT_HOST_KEY_CHECKING") {
        global.strict_host_key_checking = Some(parse_by(found, parse_boolean)?);
    }
    if let Some((_, value)) = read("known_hosts_file", "FLEETCTL_KNOWN_HOSTS_FILE") {
        global.known_hosts_file = Some(PathBuf::from(value));
    }
    if let Some(found) = read("request_timeout", "FLEETCTL_REQUEST_TIMEOUT") {
        global.request_timeout = parse_by(found, parse_seconds)?;
    }
    if let Some(found) = read("debug", "FLEETCTL_DEBUG") {
        global.debug = parse_by(found, parse_boolean)?;
    }
    let flags = &global.without_meaning;
    let tls = [
        ("ca_file", "--ca-file", "FLEETCTL_CA_FILE", flags.ca_file.is_some()),
        ("cert_file", "--cert-file", "FLEETCTL_CERT_FILE", flags.cert_file.is_some()),
        ("key_file", "--key-file", "FLEETCTL_KEY_FILE", flags.key_file.is_some()),
        ("", "", "FLEETCTL_ETCD_CAFILE", false),
        ("", "", "FLEETCTL_ETCD_CERTFILE", false),
        ("", "", "FLEETCTL_ETCD_KEYFILE", false),
    ];
    for (id, flag, name, is_given) in tls {
        let found = read(id, name).map(|(name, _)| name);
        if let Some(setting) = is_given.then_some(flag).or(found) {
            notes.push(format!(
                "{setting} has no effect: the way to a daemon is a socket, plain HTTP, or `--tunnel`, which is encrypted by ssh"
            ));
        }
    }
    let flag = flags.experimental_api.is_some().then_some("--experimental-api");
    let variable = read("experimental_api", "FLEETCTL_EXPERIMENTAL_API").map(|(name, _)| name);
    if let Some(setting) = flag.or(variable) {
        notes.push(format!("{setting} has no effect: a daemon's API is all that is asked"));
    }
    let prefix = read("etcd_key_prefix", "FLEETCTL_ETCD_KEY_PREFIX").map(|(name, _)| name);
    let flag = flags.etcd_key_prefix.is_some().then_some("--etcd-key-prefix");
    if let Some(setting) = flag.or(prefix) {
        notes
            .push(format!("{setting} has no effect: the daemon's `prefix` says where records are"));
    }
    Ok(notes)
}

/// Refuses every driver but the one there is.
fn check_driver(global: &Global, found: Option<(&str, String)>) -> Result<(), FleetError> {
    let given = global.without_meaning.driver.clone().map(|value| ("--driver", value));
    let Some((name, value)) = given.or(found) else { return Ok(()) };
    let setting = format!("{name}={value}");
    match value.to_ascii_lowercase().as_str() {
        "api" => Ok(()),
        "etcd" => Err(FleetError::Etcd { setting }),
        _ => Err(FleetError::Driver { setting }),
    }
}

/// Takes the daemons that are named, but neither fleetd nor etcd, which would not understand a word.
fn take_endpoints(
    global: &mut Global,
    name: &'static str,
    value: String,
    notes: &mut Vec<String>,
) -> Result<(), FleetError> {
    let setting = format!("{name}={value}");
    let mut endpoints: Endpoints = parse((name, value))?;
    let etcd =
        |one: &Endpoint| matches!(one, Endpoint::Tcp { port, .. } if ETCD_PORTS.contains(port));
    if endpoints.0.iter().any(etcd) {
        return Err(FleetError::Etcd { setting });
    }
    let count = endpoints.0.len();
    endpoints.0.retain(|one| {
        !one.socket_path().is_some_and(|path| FLEET_SOCKETS.iter().any(|fleet| path == *fleet))
    });
    if endpoints.0.len() < count {
        let asked =
            if endpoints.0.is_empty() { muster_client::DEFAULT_ENDPOINT } else { "the others" };
        notes.push(format!(
            "{setting} names fleet's own socket, where no musterd listens; {asked} is asked, and MUSTERCTL_ENDPOINT says otherwise"
        ));
    }
    if !endpoints.0.is_empty() {
        global.endpoint = endpoints;
    }
    Ok(())
}

fn parse<T: FromStr<Err: std::fmt::Display>>(
    found: (&'static str, String),
) -> Result<T, FleetError> {
    parse_by(found, |value| value.parse::<T>().map_err(|error| error.to_string()))
}

fn parse_by<T>(
    (variable, value): (&'static str, String),
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, FleetError> {
    read(&value).map_err(|problem| FleetError::Value { variable, value: value.clone(), problem })
}

/// Reads a boolean as Go does, and as we do.
fn parse_boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        "0" | "f" | "false" | "n" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::cli::Cli;

    fn with(line: &str, variables: &[(&str, &str)]) -> Result<(Global, Vec<String>), FleetError> {
        let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let command = Cli::command().mut_args(|argument| argument.env(None::<&str>));
        let matches = command.get_matches_from(line);
        let mut global = Cli::from_arg_matches(&matches).unwrap().global;
        let notes = fall_back(
            &mut global,
            |id| super::super::is_given(&matches, id),
            |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            },
        )?;
        Ok((global, notes))
    }

    #[test]
    fn every_setting_of_fleetctls_counts_where_none_of_ours_is_given() {
        let variables = [
            ("FLEETCTL_ENDPOINT", "http://10.0.0.1:49153,file:///x.sock"),
            ("FLEETCTL_TUNNEL", "core@bastion:2222"),
            ("FLEETCTL_SSH_USERNAME", "core"),
            ("FLEETCTL_SSH_TIMEOUT", "2.5"),
            ("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false"),
            ("FLEETCTL_KNOWN_HOSTS_FILE", "/k"),
            ("FLEETCTL_REQUEST_TIMEOUT", "3.0"),
            ("FLEETCTL_DEBUG", "T"),
            ("FLEETCTL_DRIVER", "API"),
        ];
        let (global, notes) = with("musterctl list-units", &variables).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(global.endpoint, "http://10.0.0.1:49153,unix:///x.sock".parse().unwrap());
        assert_eq!(global.tunnel, Some("core@bastion:2222".parse().unwrap()));
        assert_eq!(global.ssh_username.as_deref(), Some("core"));
        assert_eq!(global.ssh_timeout, Duration::from_millis(2500));
        assert_eq!(global.strict_host_key_checking, Some(false));
        assert_eq!(global.known_hosts_file, Some("/k".into()));
        assert_eq!(global.request_timeout, Duration::from_secs(3));
        assert!(global.debug);
        let (global, _) =
            with("musterctl --endpoint /a.sock list-units --ssh-timeout 7", &variables).unwrap();
        assert_eq!(global.endpoint, "/a.sock".parse().unwrap());
        assert_eq!(global.ssh_timeout, Duration::from_secs(7));
        let (global, _) = with("musterctl list-units", &[("FLEETCTL_TUNNEL", "")]).unwrap();
        assert_eq!(global.tunnel, None);
    }

    #[test]
    fn fleets_own_socket_is_not_asked() {
        for socket in ["unix:///var/run/fleet.sock", "file:///run/fleet.sock"] {
            let (global, notes) =
                with("musterctl list-units", &[("FLEETCTL_ENDPOINT", socket)]).unwrap();
            assert_eq!(global.endpoint, muster_client::DEFAULT_ENDPOINT.parse().unwrap());
            assert_eq!(notes.len(), 1, "{notes:?}");
        }
    }

    #[test]
    fn etcd_is_not_asked_and_what_cannot_be_read_says_so() {
        let problem =
            |name, value| with("musterctl list-units", &[(name, value)]).unwrap_err().to_string();
        assert_eq!(
            problem("FLEETCTL_DRIVER", "etcd"),
            "FLEETCTL_DRIVER=etcd asks for etcd: musterctl asks a daemon and nobody else"
        );
        assert_eq!(
            problem("FLEETCTL_ENDPOINT", "http://127.0.0.1:2379"),
            "FLEETCTL_ENDPOINT=http://127.0.0.1:2379 asks for etcd: musterctl asks a daemon and nobody else"
        );
        assert!(problem("FLEETCTL_DRIVER", "x").contains("no such driver"));
        assert!(
            problem("FLEETCTL_REQUEST_TIMEOUT", "soon")
                .starts_with("FLEETCTL_REQUEST_TIMEOUT=soon: ")
        );
        assert!(problem("FLEETCTL_TUNNEL", "-oProxyCommand=x").starts_with("FLEETCTL_TUNNEL="));
        assert!(problem("FLEETCTL_DEBUG", "2").ends_with("expected true or false"));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let (_, notes) =
            with("musterctl --ca-file x list-units", &[("FLEETCTL_ETCD_KEY_PREFIX", "/a")])
                .unwrap();
        assert!(notes[0].starts_with("--ca-file has no effect"), "{notes:?}");
        assert!(notes[1].starts_with("FLEETCTL_ETCD_KEY_PREFIX has no effect"), "{notes:?}");
    }
}
