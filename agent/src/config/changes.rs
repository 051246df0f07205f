//! What differs between two configurations, option by option.
//!
//! Owns the list of options, the words for their values, and which of them a running daemon takes on. A new option does not
//! compile until it is in the list. It applies nothing.

use std::fmt::Debug;

use super::{Config, Docker, Etcd, Http, Log, Reboot};

/// The options that a running daemon takes on.
const LIVE: [&str; 2] = ["log.level", "metadata"];

/// One option that is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionChange {
    /// Its name.
    pub option: &'static str,
    /// What it was; of a secret, that it was set.
    pub old: String,
    /// What it is.
    pub new: String,
    /// Whether a running daemon takes it on; otherwise it needs a restart.
    pub live: bool,
}

/// An option and its value.
pub(super) struct Given {
    pub(super) option: &'static str,
    value: String,
    secret: bool,
}

impl Config {
    /// What is different in another configuration.
    pub fn changes(&self, new: &Self) -> Vec<OptionChange> {
        let pairs = self.given().into_iter().zip(new.given());
        let changed = pairs.filter(|(old, new)| old.value != new.value);
        let changed = changed.map(|(old, new)| OptionChange {
            option: old.option,
            live: LIVE.contains(&old.option),
            old: old.shown(),
            new: new.shown(),
        });
        changed.collect()
    }

    /// Every option in a fixed order.
    pub(super) fn given(&self) -> Vec<Given> {
        let Self {
            etcd,
            prefix,
            address,
            machine_id,
            metadata,
            ttl,
            roles,
            token_limit,
            state_dir,
            http,
            docker,
            reboot,
            log,
            secrets: _,
        } = self;
        let mut given = etcd_given(etcd.as_ref());
        given.extend([
            plain("prefix", prefix),
            plain("address", address),
            plain("machine_id", machine_id),
            plain("metadata", metadata),
            plain("ttl", ttl),
            plain("roles", &roles.to_string()),
            plain("token_limit", token_limit),
            plain("state_dir", state_dir),
        ]);
        let Http { socket, listeners, insecure, names, body_limit } = http;
        let listeners: Vec<String> = listeners
            .iter()
            .map(|listener| format!("{}={}", listener.address, listener.serves))
            .collect();
        given.extend([
            plain("http.socket", socket),
            plain("http.listener", &listeners),
            plain("http.insecure", insecure),
            plain("http.names", &names.iter().map(|name| &name.0).collect::<Vec<_>>()),
            plain("http.body_limit", body_limit),
        ]);
        let Docker { socket, credentials, secrets } = docker;
        given.extend([
            plain("docker.socket", socket),
            plain("docker.credentials", credentials),
            plain("docker.secrets", secrets),
        ]);
        given.extend(reboot_given(reboot));
        let Log { format, level } = log;
        given.extend([plain("log.format", format), plain("log.level", level)]);
        given
    }
}

fn etcd_given(etcd: Option<&Etcd>) -> Vec<Given> {
    let none = Etcd { endpoints: Vec::new(), login: None, ca_file: None, identity_files: None };
    let Etcd { endpoints, login, ca_file, identity_files } = etcd.unwrap_or(&none);
    let password = login.as_ref().map(|(_, password)| password);
    vec![
        plain("etcd.endpoints", endpoints),
        plain("etcd.username", &login.as_ref().map(|(user, _)| user)),
        Given { option: "etcd.password", value: format!("{password:?}"), secret: true },
        plain("etcd.ca_file", ca_file),
        plain("etcd.cert_file", &identity_files.as_ref().map(|(certificate, _)| certificate)),
        plain("etcd.key_file", &identity_files.as_ref().map(|(_, key)| key)),
    ]
}

fn reboot_given(reboot: &Reboot) -> Vec<Given> {
    let Reboot {
        strategy,
        group,
        groups,
        windows,
        zone,
        sources,
        mark,
        command,
        command_interval,
        check,
        before_drain,
        before_reboot,
        after_boot,
        timeout,
        warn,
        drain,
        stuck,
        settle,
        pause,
        retry,
        block_on_failed,
    } = reboot;
    vec![
        plain("reboot.strategy", strategy),
        plain("reboot.group", group),
        plain("reboot.groups", groups),
        plain("reboot.windows", &windows.iter().map(ToString::to_string).collect::<Vec<_>>()),
        plain("reboot.time_zone", zone),
        plain("reboot.sources", sources),
        plain("reboot.reboot_required_path", mark),
        plain("reboot.command", command),
        plain("reboot.command_interval", command_interval),
        plain("reboot.check", check),
        plain("reboot.before_drain", before_drain),
        plain("reboot.before_reboot", before_reboot),
        plain("reboot.after_boot", after_boot),
        plain("reboot.command_timeout", timeout),
        plain("reboot.warn", warn),
        plain("reboot.drain_timeout", drain),
        plain("reboot.at_deadline", stuck),
        plain("reboot.settle", settle),
        plain("reboot.pause", pause),
        plain("reboot.retry", retry),
        plain("reboot.block_on_failed_units", block_on_failed),
    ]
}

fn plain(option: &'static str, value: &impl Debug) -> Given {
    Given { option, value: format!("{value:?}"), secret: false }
}

impl Given {
    fn shown(self) -> String {
        match (self.secret, self.value.as_str()) {
            (true, "None") => "not set".to_owned(),
            (true, _) => "set, not shown".to_owned(),
            (false, value) => {
                // An option that may be absent is shown as it is written.
                let inner = value.strip_prefix("Some(").and_then(|value| value.strip_suffix(')'));
                let value = inner.unwrap_or(value);
                // A text that needs no quotes has none.
                let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                match bare.filter(|bare| !bare.contains(['"', '\\'])) {
                    Some(bare) => bare.to_owned(),
                    None if value == "None" => "not set".to_owned(),
                    None => value.to_owned(),
                }
            }
        }
    }
}
