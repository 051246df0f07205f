//! A container's environment and secrets: what the file says, and what only the machine knows.
//!
//! Owns the references; the machine resolves them when it makes the container. A value is shown to nobody who prints
//! one of these for debugging.

use std::collections::BTreeMap;
use std::fmt;

use super::names;
use super::quantity;
use super::reader::{ContainerError, Reader};
use super::variable_files::VariableFile;
use super::variables::is_variable_name;
use crate::unit::words::Backslash;

/// Something that may be a secret. It prints as `…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sensitive(String);

impl Sensitive {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that needs it.
    pub fn expose_value(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where a container's environment comes from, weakest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// All of the daemon's own, `EnvironmentHost=`.
    pub of_host: bool,
    /// The daemon's proxy variables, `HttpProxy=`.
    pub of_proxy: bool,
    /// The variables of `[Service]` that go on to the container: all of it with `EnvironmentHost=`, and the proxies unless
    /// `HttpProxy=` says no. With Podman it is what the podman command finds in its environment.
    pub of_service: BTreeMap<String, Sensitive>,
    /// Files on the machine, later ones over earlier ones.
    pub files: Vec<VariableFile>,
    /// The variables that the file sets; one without a value takes the daemon's, and is left out where that has none.
    pub set: BTreeMap<String, Option<Sensitive>>,
}

/// A secret of the machine's, `Secret=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name, which is that of a file.
    pub name: String,
    /// Where the container finds it.
    pub target: SecretTarget,
}

/// Where a container finds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretTarget {
    /// In a variable of this name.
    Variable(String),
    /// In a file.
    File {
        /// Its path in the container.
        path: String,
        /// Its owner in the container.
        uid: u32,
        /// Its group in the container.
        gid: u32,
        /// Its permissions.
        mode: u32,
    },
}

/// The variables that systemd gives a service for itself, by name; see "Environment Variables in Spawned Processes" in systemd.exec(5). It
/// speaks of the daemon's own process, descriptors, directories and unit, and would mislead whoever takes it for its own.
const OF_THE_SERVICE: [&str; 17] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "DEBUG_INVOCATION",
    "EXIT_CODE",
    "EXIT_STATUS",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LOGS_DIRECTORY",
    "LOG_NAMESPACE",
    "MAINPID",
    "PIDFILE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "RUNTIME_DIRECTORY",
    "SERVICE_RESULT",
    "STATE_DIRECTORY",
];

/// The same by the beginning of a name: the daemon's own settings, its password for etcd among them; the sockets it was
/// passed and the one it reports to; its credentials; what else systemd tells it.
const OF_THE_SERVICE_PREFIXES: [&str; 11] = [
    "CREDENTIALS_",
    "ENCRYPTED_CREDENTIALS_",
    "LISTEN_",
    "MANAGERPID",
    "MEMORY_PRESSURE_",
    "MONITOR_",
    "MUSTER_",
    "NOTIFY_",
    "SYSTEMD_",
    "TRIGGER_",
    "WATCHDOG_",
];

/// Variables that say how the world is reached.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

/// True when a variable says how the world is reached.
pub fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name.to_ascii_lowercase().as_str())
}

/// True when a variable of the daemon's is for the daemon alone, so that no container is given its value.
pub fn is_withheld(name: &str) -> bool {
    OF_THE_SERVICE.contains(&name)
        || OF_THE_SERVICE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl Environment {
    /// Reads the options; variables that `[Service]` sets have their value from there.
    pub(super) fn read(
        reader: &Reader<'_>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ContainerError> {
        let set = reader.read_pairs("Environment", |name, value| {
            // One by itself is asked of the daemon, or is the rest of a value that wanted quotes.
            if !(is_variable_name(name) || value.is_some() && is_settable(name)) {
                return Err(format!("{name:?} is not the name of a variable"));
            }
            if value.is_none() && is_withheld(name) && !variables.contains_key(name) {
                reader.add_note(format!(
                    "{name} is the daemon's own and is not passed on; the container gets none"
                ));
            }
            Ok(())
        })?;
        let valued = |(name, value): (String, Option<String>)| {
            let value = value.or_else(|| variables.get(&name).cloned());
            (name, value.map(Sensitive))
        };
        let of_host =
            reader.last_value("EnvironmentHost", quantity::parse_flag)?.unwrap_or_default();
        let proxy = reader.last_value("HttpProxy", quantity::parse_flag)?;
        let goes_on = |name: &str| of_host || proxy != Some(false) && is_proxy(name);
        Ok(Self {
            of_host,
            of_proxy: proxy.unwrap_or_default(),
            of_service: variables
                .iter()
                .filter(|(name, _)| goes_on(name))
                .map(|(name, value)| (name.clone(), Sensitive::new(value)))
                .collect(),
            files: reader.list_words("EnvironmentFile", Backslash::Escapes, |value| {
                parse_environment_file(reader, value)
            })?,
            set: set.into_iter().map(valued).collect(),
        })
    }
}

/// True when a container can be given a variable of this name. Programs have names with dots in them, such as `discovery.type`.
fn is_settable(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control())
}

/// One `EnvironmentFile=`. As in `[Service]`, a leading `-` is for one that may be missing.
fn parse_environment_file(reader: &Reader<'_>, value: &str) -> Result<VariableFile, String> {
    let (path, optional) = match value.strip_prefix('-') {
        Some(path) => (path, true),
        None => (value, false),
    };
    Ok(VariableFile { path: names::path_beside(reader, path)?, optional })
}

/// One `Secret=`: `name[,option=value…]`, or options alone, `source=` among them.
pub(super) fn parse_secret(value: &str) -> Result<Secret, String> {
    const OPTIONS: &str = "source=, type=mount, type=env, target=, uid=, gid= and mode=";
    let parts: Vec<&str> = value.split(',').collect();
    let (mut source, options) = match parts.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(*first), rest),
        _ => (None, parts.as_slice()),
    };
    let (mut kind, mut target, mut owner, mut mode) = (None, None, [None, None], None);
    for option in options {
        let number = |value: &str| quantity::parse_number::<u32>(value).map(Some);
        let [uid, gid] = &mut owner;
        match option.split_once('=') {
            Some(("source", name)) => source = Some(name),
            Some(("type", _)) if kind.is_some() => return Err("it has two types".to_owned()),
            Some(("type", value @ ("mount" | "env"))) => kind = Some(value),
            Some(("target", path)) => target = Some(path).filter(|path| !path.is_empty()),
            Some(("uid" | "UID", value)) => *uid = number(value)?,
            Some(("gid" | "GID", value)) => *gid = number(value)?,
            Some(("mode", value)) => mode = Some(octal_mode(value)?),
            _ => return Err(format!("{option:?} is none of {OPTIONS}")),
        }
    }
    // A name that were more than a name would be a way out of the directory secrets lie in.
    let name = match source {
        Some(name) => names::parse_resource_name(name)?,
        None => return Err("it names no secret; say source=NAME".to_owned()),
    };
    let target = if kind == Some("env") {
        if owner != [None, None] || mode.is_some() {
            return Err("a variable has no owner and no mode".to_owned());
        }
        let variable = target.unwrap_or(&name);
        if !is_settable(variable) {
            return Err(format!(
                "{variable:?} is not the name of a variable; give it one with target="
            ));
        }
        SecretTarget::Variable(variable.to_owned())
    } else {
        let target = target.unwrap_or(&name);
        let path = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/run/secrets/{target}")
        };
        let [uid, gid] = owner.map(Option::unwrap_or_default);
        SecretTarget::File { path: names::path(&path)?, uid, gid, mode: mode.unwrap_or(0o444) }
    };
    Ok(Secret { name, target })
}

/// The permissions of a file, in octal.
fn octal_mode(value: &str) -> Result<u32, String> {
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("{value:?} is not an octal mode"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_printed() {
        let set = BTreeMap::from([("PASSWORD".to_owned(), Some(Sensitive::new("hunter2")))]);
        let printed = format!("{:?}", Environment { set, ..Environment::default() });
        assert!(printed.contains("PASSWORD") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let file =
            |path: &str, mode| SecretTarget::File { path: path.to_owned(), uid: 0, gid: 0, mode };
        assert_eq!(
            parse_secret("db").map(|secret| secret.target),
            Ok(file("/run/secrets/db", 0o444))
        );
        assert_eq!(
            parse_secret("db,target=/etc/db,mode=0400").map(|secret| secret.target),
            Ok(file("/etc/db", 0o400))
        );
        assert_eq!(
            parse_secret("db,type=env,target=DB").map(|secret| secret.target),
            Ok(SecretTarget::Variable("DB".to_owned()))
        );
        let variable = |name: &str| Ok(SecretTarget::Variable(name.to_owned()));
        assert_eq!(parse_secret("a.b-c,type=env").map(|secret| secret.target), variable("a.b-c"));
        let of = |value| parse_secret(value).map(|secret| (secret.name, secret.target));
        assert_eq!(
            of("source=token,type=env,target=TOKEN"),
            variable("TOKEN").map(|target| ("token".to_owned(), target))
        );
        assert_eq!(
            of("type=env,target=TOKEN,source=token"),
            variable("TOKEN").map(|target| ("token".to_owned(), target))
        );
        assert_eq!(
            of("type=mount,uid=7,GID=8,mode=400,source=db,target=sub/db"),
            Ok((
                "db".to_owned(),
                SecretTarget::File {
                    path: "/run/secrets/sub/db".to_owned(),
                    uid: 7,
                    gid: 8,
                    mode: 0o400
                }
            ))
        );
        for value in [
            "",
            "../x",
            "a/b",
            "a,type=other",
            "a,type=env,target=a b",
            "a,type=env,mode=1",
            "a,type=env,uid=0",
            "a,type=mount,type=env",
            "a,target=../x",
            "a,mode=77777",
            "a,x",
            "type=env,target=X",
            "source=,type=mount",
        ] {
            assert!(parse_secret(value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_the_daemons_own_is_withheld() {
        for name in [
            "MUSTER_ETCD_PASSWORD",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "CREDENTIALS_DIRECTORY",
            "WATCHDOG_USEC",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "SYSTEMD_EXEC_PID",
            "MAINPID",
            "MANAGERPIDFDID",
            "MEMORY_PRESSURE_WATCH",
            "STATE_DIRECTORY",
        ] {
            assert!(is_withheld(name), "{name}");
        }
        for name in ["HOME", "PATH", "LANG", "HTTPS_PROXY", "MUSTERED", "UNITS", "my_MUSTER_X"] {
            assert!(!is_withheld(name), "{name}");
        }
    }
}
