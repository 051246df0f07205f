//! The system's ssh: what it is told, and `musterctl ssh`'s words for it.
//!
//! Owns the arguments. The user's own configuration decides whatever is not said here. Nothing that comes from a machine or a user
//! is ever taken for an option: hosts are checked and stand behind `--`, and so does the command.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The program.
pub(crate) const PROGRAM: &str = "ssh";

/// A host as ssh is to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshHost {
    user: Option<String>,
    name: String,
    port: Option<u16>,
}

/// A string that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} names no host: {problem}; expected HOST, HOST:PORT or USER@HOST:PORT, with an IPv6 address in brackets"
)]
pub(crate) struct InvalidHost {
    given: String,
    problem: &'static str,
}

/// The options of every connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct SshOptions {
    /// The user to be there.
    pub(crate) username: Option<String>,
    /// Longest time for connecting.
    pub(crate) timeout: Duration,
    /// True if host keys are checked; absent if nothing was said.
    pub(crate) strict: Option<bool>,
    /// The file of known host keys, if one was named.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// ssh failed, or cannot be told what it would have to be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    /// No such host.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// A name that ssh could take for something else.
    #[error("{given:?} is no name to log in with: {problem}")]
    Username {
        /// The text given.
        given: String,
        /// The problem with it.
        problem: &'static str,
    },
    /// A path that ssh's syntax has no way to say.
    #[error("{} cannot be told to ssh: it has a character that means something there", .0.display())]
    Path(PathBuf),
    /// It cannot be run.
    #[error("cannot run ssh")]
    Run(#[source] io::Error),
    /// The directory for the tunnel's socket.
    #[error("cannot make a directory for the tunnel's socket")]
    Directory(#[source] io::Error),
    /// It ended before there was a tunnel.
    #[error("ssh to {host} ended{} before there was a tunnel", code.map(|code| format!(" with exit code {code}")).unwrap_or_default())]
    Ended {
        /// The host.
        host: String,
        /// Its exit code.
        code: Option<i32>,
    },
    /// It ended while a command relied on it.
    #[error("the tunnel through {host} broke: ssh ended{}", code.map(|code| format!(" with exit code {code}")).unwrap_or_default())]
    Broke {
        /// The host.
        host: String,
        /// Its exit code.
        code: Option<i32>,
    },
    /// Nothing to connect to was named.
    #[error("no machine or unit is named")]
    NoTarget,
    /// It may mean either.
    #[error("{given:?} names both a machine and a unit")]
    Ambiguous {
        /// The text given.
        given: String,
    },
    /// A pattern that means many units.
    #[error("{given:?} matches {names}, and ssh goes to one of them")]
    Several {
        /// The text given.
        given: String,
        /// The units.
        names: String,
    },
    /// It means neither.
    #[error("{given:?} names no machine, and there is no unit {unit}")]
    Nobody {
        /// The text given.
        given: String,
        /// The unit that it would be.
        unit: String,
    },
    /// A unit that is on many.
    #[error("{0} is global: it is on every machine that takes it")]
    Global(String),
    /// A unit that is on none.
    #[error("{0} is on no machine")]
    Unplaced(String),
    /// A machine that cannot be reached.
    #[error("{0}... is not registered now, so its address is not known")]
    Away(String),
    /// A machine without an address.
    #[error("{0}... has registered no address")]
    NoAddress(String),
}

impl SshError {
    /// The way out, where there is one.
    pub(crate) fn way_out(&self) -> Option<String> {
        let hint = match self {
            Self::Run(error) if error.kind() == io::ErrorKind::NotFound => {
                "the system's ssh makes the connection; install it (Debian: openssh-client)"
            }
            Self::Ended { .. } => "what ssh says above tells why; `ssh HOST` has to work by itself",
            Self::Broke { .. } => {
                "what was requested before stays so; the same command takes it up again"
            }
            Self::Several { .. } => "name the unit",
            Self::NoTarget => {
                "`musterctl list-machines` shows the machines, `list-units` the units"
            }
            Self::Ambiguous { .. } => "`--machine` or `--unit` says which is meant",
            Self::Global(_) => "name the machine: `musterctl list-units` shows where it is",
            Self::Unplaced(_) => "`musterctl list-unit-files` shows what is wanted of it",
            Self::Nobody { .. } | Self::Away(_) => {
                "`musterctl list-machines` shows the machines there are"
            }
            Self::NoAddress(_) => "`address` in its muster.toml sets one",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl FromStr for SshHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = |problem| InvalidHost { given: text.to_owned(), problem };
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        if user.is_some_and(|user| check_username(user).is_err()) {
            return Err(invalid("its user cannot be one"));
        }
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (name, port) = match bracketed {
            Some((name, "")) => (name, None),
            Some((name, port)) => (
                name,
                Some(port.strip_prefix(':').ok_or(invalid("what follows the bracket is no port"))?),
            ),
            None => match rest.split_once(':') {
                // An IPv6 address without brackets, which can have no port.
                Some(_) if rest.matches(':').count() > 1 => (rest, None),
                Some((name, port)) => (name, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
        let port = match port {
            Some(None) => return Err(invalid("its port is not a number from 1 to 65535")),
            Some(port) => port,
            None => None,
        };
        let user = user.map(str::to_owned);
        match name.chars().all(is_plain) {
            _ if name.is_empty() => Err(invalid("it is empty")),
            _ if name.starts_with('-') => Err(invalid("it begins like an option")),
            false => Err(invalid("it has a character that no host name or address has")),
            true => Ok(Self { user, name: name.to_owned(), port }),
        }
    }
}

/// A character of host names and addresses, or of the names that ssh's configuration gives hosts.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-:%+".contains(c)
}

fn check_username(name: &str) -> Result<(), SshError> {
    let problem = match name {
        "" => "it is empty",
        name if name.starts_with('-') => "it begins like an option",
        name if name.chars().all(|c| c.is_alphanumeric() || "._-+@\\".contains(c)) => return Ok(()),
        _ => "it has a character that no user's name has",
    };
    Err(SshError::Username { given: name.to_owned(), problem })
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.name.contains(':') => write!(f, "[{}]:{port}", self.name),
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl SshHost {
    /// The host at an address, by a port if one is given.
    pub(crate) fn at_address(address: &str, port: Option<u16>) -> Result<Self, InvalidHost> {
        let bracketed =
            if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let host: Self = bracketed.parse()?;
        Ok(Self { port: port.or(host.port), ..host })
    }
}

impl SshOptions {
    /// Options that go before all others, and the host behind `--`.
    fn connection_options(&self, host: &SshHost) -> Result<Vec<String>, SshError> {
        let seconds = self.timeout.as_secs() + u64::from(self.timeout.subsec_nanos() > 0);
        let mut options = vec![format!("-oConnectTimeout={}", seconds.max(1))];
        match self.strict {
            // fleetctl asks about a key that it does not know.
            Some(true) => options.push("-oStrictHostKeyChecking=ask".to_owned()),
            Some(false) => options.extend(
                ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"].map(str::to_owned),
            ),
            None => {}
        }
        if let Some(file) = self.known_hosts.as_ref().filter(|_| self.strict != Some(false)) {
            let path = file.to_str().filter(|path| !path.contains(['"', '\n', '\\']));
            let path = path.ok_or_else(|| SshError::Path(file.clone()))?;
            options.push(format!("-oUserKnownHostsFile=\"{}\"", path.replace('%', "%%")));
        }
        if let Some(name) = host.user.as_ref().or(self.username.as_ref()) {
            check_username(name)?;
            options.push(format!("-l{name}"));
        }
        if let Some(port) = host.port {
            options.push(format!("-p{port}"));
        }
        Ok(options)
    }

    /// ssh's arguments for a tunnel: each of these forwards, and nothing is run there.
    pub(crate) fn tunnel_arguments(
        &self,
        host: &SshHost,
        forwards: &[String],
    ) -> Result<Vec<String>, SshError> {
        let mut arguments = self.connection_options(host)?;
        // A connection of its own, which ends with it; a shared one would keep the forwards.
        let own = [
            "-N",
            "-T",
            "-oControlMaster=no",
            "-oControlPath=none",
            "-oExitOnForwardFailure=yes",
            "-oClearAllForwardings=no",
            "-oStreamLocalBindMask=0177",
            "-oServerAliveInterval=10",
            "-oServerAliveCountMax=3",
        ];
        arguments.extend(own.map(str::to_owned));
        arguments.extend(forwards.iter().map(|forward| format!("-L{forward}")));
        arguments.extend(["--".to_owned(), host.name.clone()]);
        Ok(arguments)
    }

    /// ssh's arguments for a command on a host, or a shell, perhaps by way of another host.
    pub(crate) fn session_arguments(
        &self,
        host: &SshHost,
        through: Option<&SshHost>,
        agent: bool,
        terminal: bool,
        command: &[String],
    ) -> Result<Vec<String>, SshError> {
        let mut arguments = self.connection_options(host)?;
        if let Some(through) = through {
            let mut proxy = vec![PROGRAM.to_owned()];
            proxy.extend(self.connection_options(through)?);
            let words = proxy.iter().map(|word| quote_word(word).replace('%', "%%"));
            let words: Vec<String> = words.collect();
            let name = through.name.replace('%', "%%");
            arguments.push(format!("-oProxyCommand={} -W '[%h]:%p' -- {name}", words.join(" ")));
        }
        if agent {
            arguments.push("-A".to_owned());
        }
        // fleetctl gives a command a terminal too, where there is one.
        if terminal && !command.is_empty() {
            arguments.push("-t".to_owned());
        }
        arguments.extend(["--".to_owned(), host.name.clone()]);
        if !command.is_empty() {
            arguments.push(command.join(" "));
        }
        Ok(arguments)
    }
}

/// A word as a shell takes it.
fn quote_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn settings() -> SshOptions {
        SshOptions { timeout: Duration::from_millis(2500), ..SshOptions::default() }
    }

    #[test]
    fn a_host_is_read_in_every_form_and_shown_as_it_was() {
        for text in
            ["n1", "n1:2222", "core@n1", "core@n1:22", "10.0.0.1", "[::1]:22", "fe80::1%eth0"]
        {
            assert_eq!(text.parse::<SshHost>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]".parse::<SshHost>().unwrap(), SshHost::at_address("::1", None).unwrap());
    }

    #[test]
    fn what_ssh_could_take_for_something_else_is_no_host() {
        for text in [
            "",
            "-oProxyCommand=id",
            "a b",
            "n1:0",
            "n1:x",
            "a;b",
            "@n1",
            "-l@n1",
            "$(id)",
            "a\nb",
            "[::1]22",
        ] {
            assert!(text.parse::<SshHost>().is_err(), "{text:?}");
        }
        assert!(SshHost::at_address("-oProxyCommand=id", None).is_err());
    }

    #[test]
    fn what_is_not_said_is_left_to_the_configuration() {
        let host = "n1".parse().unwrap();
        let arguments = settings().session_arguments(&host, None, false, true, &[]).unwrap();
        assert_eq!(arguments, ["-oConnectTimeout=3", "--", "n1"]);
    }

    #[test]
    fn everything_that_can_be_said_is_said_to_both_hosts() {
        let settings = SshOptions {
            username: Some("core".to_owned()),
            strict: Some(true),
            known_hosts: Some("/srv/a b/50%".into()),
            ..settings()
        };
        let (host, through) =
            (SshHost::at_address("::1", Some(2222)).unwrap(), "me@bastion:23".parse().unwrap());
        let command = ["-oProxyCommand=id".to_owned(), "a b".to_owned()];
        let arguments =
            settings.session_arguments(&host, Some(&through), true, true, &command).unwrap();
        assert_snapshot!(arguments.join("\n"), @r#"
        -oConnectTimeout=3
        -oStrictHostKeyChecking=ask
        -oUserKnownHostsFile="/srv/a b/50%%"
        -lcore
        -p2222
        -oProxyCommand='ssh' '-oConnectTimeout=3' '-oStrictHostKeyChecking=ask' '-oUserKnownHostsFile="/srv/a b/50%%%%"' '-lme' '-p23' -W '[%h]:%p' -- bastion
        -A
        -t
        --
        ::1
        -oProxyCommand=id a b
        "#);
    }

    #[test]
    fn without_checks_no_file_of_keys_is_read_or_written() {
        let settings =
            SshOptions { strict: Some(false), known_hosts: Some("/k".into()), ..settings() };
        let arguments = settings.tunnel_arguments(&"n1".parse().unwrap(), &[]).unwrap();
        assert!(arguments.contains(&"-oUserKnownHostsFile=/dev/null".to_owned()));
        assert!(!arguments.iter().any(|argument| argument.contains("/k")));
    }

    #[test]
    fn a_name_that_is_no_users_is_refused() {
        for name in ["-x", "", "a b", "$(id)"] {
            let settings = SshOptions { username: Some(name.to_owned()), ..settings() };
            assert!(settings.tunnel_arguments(&"n1".parse().unwrap(), &[]).is_err(), "{name:?}");
        }
    }
}
