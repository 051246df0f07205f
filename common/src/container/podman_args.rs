//! `PodmanArgs=`: options of `podman run`, of which those are taken that say what an option of Docker's says too.
//!
//! Quadlet puts them behind all that it makes of the other options, so they come last: of a single value they win, to a list
//! they add. Owns which option stands for which, and that one without a counterpart is refused by its name. Most have a
//! key of `[Container]` that says the same, and are read as that; the rest go by their own name.

use super::keys::Section;

/// The treatment of an option of `podman run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArgumentKind {
    /// It has a value, and says what this key of `[Container]` says.
    Key(&'static str),
    /// As a key, with several values between commas.
    Keys(&'static str),
    /// It is true or false, and says what this key says.
    Flag(&'static str),
    /// It has a value, and no key; it goes by its own name.
    Own(&'static str),
    /// It is true or false, and has no key.
    OwnFlag(&'static str),
    /// It has a value and is about the podman command alone.
    Idle,
    /// It is true or false, and is about the podman command alone, or what is the case anyway.
    IdleFlag,
    /// `--gpus`, which is short for devices by the names that one vendor gives them.
    Gpus,
    /// `--security-opt`, which says one of many things.
    Security,
    /// `--user`, which says two.
    User,
}

use ArgumentKind::{Flag, Idle, IdleFlag, Key, Keys, Own, OwnFlag};

/// The options that are taken.
const OPTIONS: &[(&str, ArgumentKind)] = &[
    ("--add-host", Key("AddHost")),
    ("--annotation", Key("Annotation")),
    ("--cap-add", Keys("AddCapability")),
    ("--cap-drop", Keys("DropCapability")),
    ("--cpu-shares", Own("--cpu-shares")),
    ("--cpus", Own("--cpus")),
    ("--cpuset-cpus", Own("--cpuset-cpus")),
    ("--cpuset-mems", Own("--cpuset-mems")),
    ("--detach", IdleFlag),
    ("--device", Key("AddDevice")),
    ("--device-cgroup-rule", Own("--device-cgroup-rule")),
    ("--dns", Key("DNS")),
    ("--dns-option", Key("DNSOption")),
    ("--dns-search", Key("DNSSearch")),
    ("--entrypoint", Key("Entrypoint")),
    ("--env", Key("Environment")),
    ("--env-file", Key("EnvironmentFile")),
    ("--expose", Key("ExposeHostPort")),
    ("--gpus", ArgumentKind::Gpus),
    ("--group-add", Key("GroupAdd")),
    ("--health-cmd", Key("HealthCmd")),
    ("--health-interval", Key("HealthInterval")),
    ("--health-on-failure", Key("HealthOnFailure")),
    ("--health-retries", Key("HealthRetries")),
    ("--health-start-period", Key("HealthStartPeriod")),
    ("--health-timeout", Key("HealthTimeout")),
    ("--hostname", Key("HostName")),
    ("--http-proxy", Flag("HttpProxy")),
    ("--init", Flag("RunInit")),
    ("--interactive", OwnFlag("--interactive")),
    ("--ip", Key("IP")),
    ("--ip6", Key("IP6")),
    ("--ipc", Own("--ipc")),
    ("--label", Key("Label")),
    ("--log-driver", Key("LogDriver")),
    ("--log-level", Idle),
    ("--log-opt", Key("LogOpt")),
    ("--memory", Key("Memory")),
    ("--memory-reservation", Own("--memory-reservation")),
    ("--memory-swap", Own("--memory-swap")),
    ("--mount", Key("Mount")),
    ("--name", Key("ContainerName")),
    ("--net", Key("Network")),
    ("--network", Key("Network")),
    ("--network-alias", Key("NetworkAlias")),
    ("--oom-score-adj", Own("--oom-score-adj")),
    ("--pid", Own("--pid")),
    ("--pids-limit", Key("PidsLimit")),
    ("--privileged", OwnFlag("--privileged")),
    ("--publish", Key("PublishPort")),
    ("--pull", Key("Pull")),
    ("--quiet", IdleFlag),
    ("--read-only", Flag("ReadOnly")),
    ("--read-only-tmpfs", Flag("ReadOnlyTmpfs")),
    ("--replace", IdleFlag),
    ("--rm", IdleFlag),
    ("--secret", Key("Secret")),
    ("--security-opt", ArgumentKind::Security),
    ("--shm-size", Key("ShmSize")),
    ("--sig-proxy", IdleFlag),
    ("--stop-signal", Key("StopSignal")),
    ("--stop-timeout", Key("StopTimeout")),
    ("--sysctl", Key("Sysctl")),
    ("--tmpfs", Key("Tmpfs")),
    ("--tty", OwnFlag("--tty")),
    ("--tz", Key("Timezone")),
    ("--ulimit", Key("Ulimit")),
    ("--user", ArgumentKind::User),
    ("--userns", Key("UserNS")),
    ("--uts", Own("--uts")),
    ("--volume", Key("Volume")),
    ("--workdir", Key("WorkingDir")),
    ("-d", IdleFlag),
    ("-e", Key("Environment")),
    ("-h", Key("HostName")),
    ("-i", OwnFlag("--interactive")),
    ("-l", Key("Label")),
    ("-m", Key("Memory")),
    ("-p", Key("PublishPort")),
    ("-q", IdleFlag),
    ("-t", OwnFlag("--tty")),
    ("-u", ArgumentKind::User),
    ("-v", Key("Volume")),
    ("-w", Key("WorkingDir")),
];

/// The keys that values of `--security-opt` stand for, by their beginnings.
const SECURITY: &[(&str, &str)] = &[
    ("apparmor=", "AppArmor"),
    ("seccomp=", "SeccompProfile"),
    ("label=level:", "SecurityLabelLevel"),
    ("label=type:", "SecurityLabelType"),
    ("mask=", "Mask"),
    ("unmask=", "Unmask"),
];

/// The meaning of one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MeantOption {
    /// A value of this key of `[Container]`, or of an option without one.
    Value(&'static str, String),
    /// Nothing to a container; the option's name.
    Nothing(&'static str),
}

/// Reads the words of one `PodmanArgs=`.
pub(super) fn read(words: Vec<String>) -> Result<Vec<MeantOption>, String> {
    let mut meanings = Vec::new();
    let mut words = words.into_iter().flat_map(|word| split_short_options(&word));
    while let Some(word) = words.next() {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let Some((option, meaning)) = OPTIONS.iter().find(|(option, _)| *option == name) else {
            return Err(describe_unknown(name));
        };
        if let Flag(_) | OwnFlag(_) | IdleFlag = meaning {
            let value = given.unwrap_or_else(|| "true".to_owned());
            meanings.push(match meaning {
                Flag(key) | OwnFlag(key) => MeantOption::Value(key, value),
                _ => MeantOption::Nothing(option),
            });
            continue;
        }
        let Some(value) = given.or_else(|| words.next()) else {
            return Err(format!("{option} needs a value"));
        };
        match meaning {
            Key(key) | Own(key) => meanings.push(MeantOption::Value(key, value)),
            Keys(key) => {
                meanings.extend(
                    value.split(',').map(|value| MeantOption::Value(key, value.to_owned())),
                );
            }
            ArgumentKind::Gpus => {
                meanings.push(MeantOption::Value("AddDevice", format!("nvidia.com/gpu={value}")));
            }
            ArgumentKind::Security => meanings.push(parse_security_option(&value)?),
            ArgumentKind::User => {
                let (user, group) =
                    value.split_once(':').map_or((value.as_str(), None), |(u, g)| (u, Some(g)));
                meanings.push(MeantOption::Value("User", user.to_owned()));
                meanings.extend(group.map(|group| MeantOption::Value("Group", group.to_owned())));
            }
            Idle | Flag(_) | OwnFlag(_) | IdleFlag => meanings.push(MeantOption::Nothing(option)),
        }
    }
    Ok(meanings)
}

/// Short options that are written together, `-it`, and a short one with its value, `-eA=b`, taken apart.
fn split_short_options(word: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = match word.strip_prefix('-') {
        Some(rest) if !rest.starts_with('-') => rest,
        _ => return vec![word.to_owned()],
    };
    while let Some(c) = rest.chars().next() {
        let name = format!("-{c}");
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        let meaning = OPTIONS.iter().find(|(option, _)| *option == name).map(|(_, m)| m);
        parts.push(name);
        if !matches!(meaning, Some(OwnFlag(_) | IdleFlag)) {
            break;
        }
    }
    if !rest.is_empty() {
        parts.push(rest.strip_prefix('=').unwrap_or(rest).to_owned());
    }
    parts
}

fn parse_security_option(value: &str) -> Result<MeantOption, String> {
    let found = SECURITY.iter().find_map(|(start, key)| {
        Some(MeantOption::Value(key, value.strip_prefix(start)?.to_owned()))
    });
    match (found, value) {
        (Some(meanings), _) => Ok(meanings),
        (None, "label=disable") => {
            Ok(MeantOption::Value("SecurityLabelDisable", "true".to_owned()))
        }
        (None, "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true") => {
            Ok(MeantOption::Value("NoNewPrivileges", "true".to_owned()))
        }
        (None, _) => Err(format!("Docker has nothing like --security-opt {value}")),
    }
}

fn describe_unknown(name: &str) -> String {
    if !name.starts_with('-') {
        return format!(
            "{name:?} is no option of podman's; write the option before it with its value behind an ="
        );
    }
    let key = name.trim_start_matches('-').replace('-', "");
    let key = Section::Container.own_keys().iter().find(|k| k.name.eq_ignore_ascii_case(&key));
    match key {
        Some(key) => format!("{name} is not taken here; use {}=", key.name),
        None => format!("Docker has nothing like podman's {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(args: &str) -> Result<Vec<String>, String> {
        let meanings = read(args.split_whitespace().map(str::to_owned).collect())?;
        Ok(meanings
            .into_iter()
            .map(|meanings| match meanings {
                MeantOption::Value(key, value) => format!("{key}={value}"),
                MeantOption::Nothing(option) => format!("({option})"),
            })
            .collect())
    }

    #[test]
    fn the_table_is_sorted_without_repeats() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
        let keys = Section::Container.own_keys();
        for (option, meaning) in OPTIONS {
            if let Key(key) | Keys(key) | Flag(key) = meaning {
                assert!(keys.iter().any(|known| known.name == *key), "{option}: {key}");
            }
        }
    }

    #[test]
    fn options_have_their_value_behind_an_equals_sign_or_in_the_next_word() {
        assert_eq!(
            meanings("--privileged --device /dev/net/tun --dns=1.1.1.1 -e A=b=c --init=false")
                .unwrap(),
            [
                "--privileged=true",
                "AddDevice=/dev/net/tun",
                "DNS=1.1.1.1",
                "Environment=A=b=c",
                "RunInit=false"
            ]
        );
        assert_eq!(
            meanings("--cap-add SYS_ADMIN,MKNOD -u 1000:100 --rm --log-level=warn").unwrap(),
            [
                "AddCapability=SYS_ADMIN",
                "AddCapability=MKNOD",
                "User=1000",
                "Group=100",
                "(--rm)",
                "(--log-level)"
            ]
        );
        assert_eq!(
            meanings("-it -eA=b=c -m=1g").unwrap(),
            ["--interactive=true", "--tty=true", "Environment=A=b=c", "Memory=1g"]
        );
        assert_eq!(
            meanings("--security-opt label=disable --security-opt=seccomp=unconfined").unwrap(),
            ["SecurityLabelDisable=true", "SeccompProfile=unconfined"]
        );
    }

    #[test]
    fn what_docker_does_not_have_is_refused_by_its_name() {
        let refused = |args| meanings(args).unwrap_err();
        assert_eq!(refused("--cgroup-conf=a=b"), "Docker has nothing like podman's --cgroup-conf");
        assert_eq!(refused("--replace-all"), "Docker has nothing like podman's --replace-all");
        assert_eq!(refused("--cpus"), "--cpus needs a value");
        assert_eq!(
            refused("--init false"),
            "\"false\" is no option of podman's; write the option before it with its value behind an ="
        );
        assert_eq!(
            refused("--security-opt proc-opts=hidepid=2"),
            "Docker has nothing like --security-opt proc-opts=hidepid=2"
        );
    }
}
