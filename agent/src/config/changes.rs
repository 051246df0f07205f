//! The differences between two configurations, option by option.
//!
//! Owns the list of options, the words for their values, and which of them a running daemon takes on. A new option does not
//! compile until it is in the list. It applies nothing.

use std::fmt::Debug;

use super::{Config, DockerConfig, EtcdConfig, HttpConfig, LogConfig, RebootConfig};

/// The options that a running daemon takes on.
const LIVE: [&str; 2] = ["log.level", "metadata"];

/// One option that is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionChange {
    /// Its name.
    pub option: &'static str,
    /// Its old value; of a secret, that it was set.
    pub old: String,
    /// Its new value.
    pub new: String,
    /// True if a running daemon takes it on; otherwise it needs a restart.
    pub live: bool,
}

/// An option and its value.
pub(super) struct OptionValue {
    pub(super) option: &'static str,
    value: String,
    secret: bool,
}

impl Config {
    /// The options that are different in another configuration.
    pub fn changes_to(&self, new: &Self) -> Vec<OptionChange> {
        let pairs = self.option_values().into_iter().zip(new.option_values());
        let changed = pairs.filter(|(old, new)| old.value != new.value);
        let changed = changed.map(|(old, new)| OptionChange {
            option: old.option,
            live: LIVE.contains(&old.option),
            old: old.display_text(),
            new: new.display_text(),
        });
        changed.collect()
    }

    /// Every option in a fixed order.
    pub(super) fn option_values(&self) -> Vec<OptionValue> {
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
            container_runner,
            docker,
            reboot,
            log,
            secrets: _,
        } = self;
        let mut given = etcd_given(etcd.as_ref());
        given.extend([
            shown_value("prefix", prefix),
            shown_value("address", address),
            shown_value("machine_id", machine_id),
            shown_value("metadata", metadata),
            shown_value("ttl", ttl),
            shown_value("roles", &roles.to_string()),
            shown_value("token_limit", token_limit),
            shown_value("state_dir", state_dir),
        ]);
        let HttpConfig { socket, listeners, insecure, names, body_limit } = http;
        let listeners: Vec<String> = listeners
            .iter()
            .map(|listener| format!("{}={}", listener.address, listener.serves))
            .collect();
        given.extend([
            shown_value("http.socket", socket),
            shown_value("http.listener", &listeners),
            shown_value("http.insecure", insecure),
            shown_value("http.names", &names.iter().map(|name| &name.0).collect::<Vec<_>>()),
            shown_value("http.body_limit", body_limit),
        ]);
        let DockerConfig { socket, credentials, secrets } = docker;
        given.extend([
            shown_value("containers.runner", &container_runner.to_string()),
            shown_value("docker.socket", socket),
            shown_value("docker.credentials", credentials),
            shown_value("docker.secrets", secrets),
        ]);
        given.extend(reboot_given(reboot));
        let LogConfig { format, level } = log;
        given.extend([shown_value("log.format", format), shown_value("log.level", level)]);
        given
    }
}

fn etcd_given(etcd: Option<&EtcdConfig>) -> Vec<OptionValue> {
    let none =
        EtcdConfig { endpoints: Vec::new(), login: None, ca_file: None, identity_files: None };
    let EtcdConfig { endpoints, login, ca_file, identity_files } = etcd.unwrap_or(&none);
    let password = login.as_ref().map(|(_, password)| password);
    vec![
        shown_value("etcd.endpoints", endpoints),
        shown_value("etcd.username", &login.as_ref().map(|(user, _)| user)),
        OptionValue { option: "etcd.password", value: format!("{password:?}"), secret: true },
        shown_value("etcd.ca_file", ca_file),
        shown_value("etcd.cert_file", &identity_files.as_ref().map(|(certificate, _)| certificate)),
        shown_value("etcd.key_file", &identity_files.as_ref().map(|(_, key)| key)),
    ]
}

fn reboot_given(reboot: &RebootConfig) -> Vec<OptionValue> {
    let RebootConfig {
        strategy,
        method,
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
        shown_value("reboot.strategy", strategy),
        shown_value("reboot.method", method),
        shown_value("reboot.group", group),
        shown_value("reboot.groups", groups),
        shown_value("reboot.windows", &windows.iter().map(ToString::to_string).collect::<Vec<_>>()),
        shown_value("reboot.time_zone", zone),
        shown_value("reboot.sources", sources),
        shown_value("reboot.reboot_required_path", mark),
        shown_value("reboot.command", command),
        shown_value("reboot.command_interval", command_interval),
        shown_value("reboot.check", check),
        shown_value("reboot.before_drain", before_drain),
        shown_value("reboot.before_reboot", before_reboot),
        shown_value("reboot.after_boot", after_boot),
        shown_value("reboot.command_timeout", timeout),
        shown_value("reboot.warn", warn),
        shown_value("reboot.drain_timeout", drain),
        shown_value("reboot.at_deadline", stuck),
        shown_value("reboot.settle", settle),
        shown_value("reboot.pause", pause),
        shown_value("reboot.retry", retry),
        shown_value("reboot.block_on_failed_units", block_on_failed),
    ]
}

fn shown_value(option: &'static str, value: &impl Debug) -> OptionValue {
    OptionValue { option, value: format!("{value:?}"), secret: false }
}

impl OptionValue {
    fn display_text(self) -> String {
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
