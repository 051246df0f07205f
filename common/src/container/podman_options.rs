//! Options of `podman run` that no key of `[Container]` says, and Docker has all the same.

use super::names;
use super::quantity;
use super::reader::{ContainerError, Reader};

/// The options of a container that only `PodmanArgs=` can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodmanOptions {
    /// True when it may do whatever the machine's root may, `--privileged`.
    pub privileged: bool,
    /// Whose System V and POSIX queues it sees, `--ipc`.
    pub ipc: Option<String>,
    /// Whose processes it sees, `--pid`.
    pub pid: Option<String>,
    /// Whose host name it has, `--uts`.
    pub uts: Option<String>,
    /// Devices it may open by their numbers, `--device-cgroup-rule`.
    pub device_rules: Vec<String>,
    /// True when its output is a terminal, `--tty`.
    pub tty: bool,
    /// True when its input stays open, `--interactive`.
    pub interactive: bool,
}

impl PodmanOptions {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ContainerError> {
        let flag = |name| Ok(reader.last_value(name, quantity::parse_boolean)?.unwrap_or_default());
        Ok(Self {
            privileged: flag("--privileged")?,
            ipc: reader.last_value("--ipc", |value| {
                parse_namespace(value, &["host", "none", "private", "shareable"])
            })?,
            pid: reader.last_value("--pid", |value| parse_namespace(value, &["host"]))?,
            uts: reader.last_value("--uts", |value| match value {
                "host" => Ok(value.to_owned()),
                _ => Err(format!("{value:?} is not host, which is all Docker shares of it")),
            })?,
            device_rules: reader.lines("--device-cgroup-rule", device_rule)?,
            tty: flag("--tty")?,
            interactive: flag("--interactive")?,
        })
    }
}

/// A namespace that Docker has: one of these, or another container's.
fn parse_namespace(value: &str, known: &[&str]) -> Result<String, String> {
    if known.contains(&value) {
        return Ok(value.to_owned());
    }
    match value.strip_prefix("container:") {
        Some(name) => Ok(format!("container:{}", names::parse_resource_name(name)?)),
        None => Err(format!("{value:?} is neither {} nor container:NAME", known.join(" nor "))),
    }
}

/// A rule such as `c 226:* rwm`.
fn device_rule(value: &str) -> Result<String, String> {
    let bad = || format!("{value:?} is not a rule such as c 226:* rwm");
    let parts: Vec<&str> = value.split(' ').collect();
    let [kind, numbers, access] = parts.as_slice() else { return Err(bad()) };
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let good = matches!(*kind, "a" | "b" | "c")
        && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        && !access.is_empty()
        && access.chars().all(|c| "rwm".contains(c));
    good.then(|| value.to_owned()).ok_or_else(bad)
}
