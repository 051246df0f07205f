//! Small values of `[Container]`: devices, limits, masks and what else has a notation of its own.

use super::names;
use super::quantity;
use super::reader::{ContainerError, Reader};
use crate::unit::words::Backslash;

/// A device of the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path on the machine.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// The accesses that are allowed: `r`, `w` and `m` for making a node.
    pub permissions: String,
    /// True when it is left out where the machine does not have it.
    pub optional: bool,
}

/// A device by the name that a description of CDI's gives it, such as `nvidia.com/gpu=all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiDevice {
    /// Its name: vendor, class and device.
    pub name: String,
    /// True when it is left out where the machine does not have it.
    pub optional: bool,
}

/// One `AddDevice=`.
pub(super) enum AddedDevice {
    Path(Device),
    Cdi(CdiDevice),
}

/// A limit of setrlimit(2); -1 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Its name without `RLIMIT_`, in lower case.
    pub name: String,
    /// The soft limit.
    pub soft: i64,
    /// The hard limit.
    pub hard: i64,
}

/// Paths that a container cannot read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// More than the engine masks anyway.
    pub more: Vec<String>,
    /// Not these.
    pub less: Vec<String>,
    /// None of the engine's, and none read-only.
    pub none: bool,
}

/// The filter of a container's system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// None.
    Unconfined,
    /// The one in this file on the machine.
    File(String),
}

/// A container's time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timezone {
    /// The machine's.
    Local,
    /// One by name, such as `Europe/Paris`.
    Zone(String),
}

/// One `AddDevice=`: `[-]host[:container][:permissions]`, or `[-]vendor/class=device`.
pub(super) fn parse_device(value: &str) -> Result<AddedDevice, String> {
    let (value, optional) = match value.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (value, false),
    };
    if is_cdi_name(value) {
        return Ok(AddedDevice::Cdi(CdiDevice { name: value.to_owned(), optional }));
    }
    if !value.starts_with('/') {
        return Err(format!(
            "{value:?} is neither an absolute path such as /dev/fuse nor a CDI name such as nvidia.com/gpu=all"
        ));
    }
    device_path(value, optional).map(AddedDevice::Path)
}

/// True when a text is a device's name by the rules of the Container Device Interface: a letter at the beginning of vendor and
/// class, a letter or digit at every other end.
fn is_cdi_name(text: &str) -> bool {
    let Some((kind, device)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let good = |part: &str, first: fn(&char) -> bool, inside: &str| {
        part.chars().next().is_some_and(|c| first(&c))
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || inside.contains(c))
    };
    good(vendor, char::is_ascii_alphabetic, "_-.")
        && good(class, char::is_ascii_alphabetic, "_-.")
        && good(device, char::is_ascii_alphanumeric, "_-.:")
}

fn device_path(value: &str, optional: bool) -> Result<Device, String> {
    let mut parts = value.split(':');
    let host = names::path(parts.next().unwrap_or_default())?;
    let rest: Vec<&str> = parts.collect();
    let (container, permissions) = match rest.as_slice() {
        [] => (host.as_str(), "rwm"),
        [one] if one.starts_with('/') => (*one, "rwm"),
        [one] => (host.as_str(), *one),
        [container, permissions] => (*container, *permissions),
        _ => return Err(format!("{value:?} is not host[:container][:permissions]")),
    };
    if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
        return Err(format!("{permissions:?} is not made of r, w and m"));
    }
    Ok(Device {
        container: names::path(container)?,
        permissions: permissions.to_owned(),
        host,
        optional,
    })
}

/// A capability, as Docker writes them.
pub(super) fn parse_capability(value: &str) -> Result<String, String> {
    let upper = value.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if short.is_empty() || !short.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        return Err(format!("{value:?} is not a capability"));
    }
    Ok(format!("CAP_{short}"))
}

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One `Ulimit=`: `name=soft[:hard]`.
pub(super) fn parse_ulimit(value: &str) -> Result<Ulimit, String> {
    if value == "host" {
        return Err(
            "the machine's own limits are Podman's to copy; give them one by one".to_owned()
        );
    }
    let Some((name, limits)) = value.split_once('=') else {
        return Err(format!("{value:?} is not name=soft[:hard]"));
    };
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    if !ULIMITS.contains(&name) {
        return Err(format!("{name:?} is none of {}", ULIMITS.join(", ")));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |text: &str| match text {
        "unlimited" => Ok(-1),
        _ => quantity::parse_number::<i64>(text).and_then(|limit| {
            if limit >= -1 {
                Ok(limit)
            } else {
                Err(format!("{limit} is less than -1, which is no limit"))
            }
        }),
    };
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("{value:?}: the soft limit is above the hard one"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// One word of `Sysctl=`: `name=value`.
pub(super) fn parse_sysctl(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{value:?} is not name=value")),
    }
}

impl Masks {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ContainerError> {
        let paths = |value: &str| value.split(':').map(names::path).collect::<Result<Vec<_>, _>>();
        let mut masks = Self {
            more: reader
                .list_words("Mask", Backslash::Escapes, paths)?
                .into_iter()
                .flatten()
                .collect(),
            ..Self::default()
        };
        let unmasked = reader.list_words("Unmask", Backslash::Escapes, |value| match value {
            "ALL" | "all" => Ok(None),
            _ if value.contains(['*', '?', '[']) => {
                Err(format!("{value:?}: patterns are Podman's own; name each path, or ALL"))
            }
            _ => paths(value).map(Some),
        })?;
        for paths in unmasked {
            match paths {
                Some(paths) => masks.less.extend(paths),
                None => masks.none = true,
            }
        }
        Ok(masks)
    }
}

pub(super) fn parse_seccomp(value: &str) -> Result<Seccomp, String> {
    match value {
        "unconfined" => Ok(Seccomp::Unconfined),
        _ => names::path(value).map(Seccomp::File),
    }
}

pub(super) fn parse_timezone(value: &str) -> Result<Timezone, String> {
    if value == "local" {
        return Ok(Timezone::Local);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    if value.chars().all(allowed)
        && !value.is_empty()
        && !value.starts_with('/')
        && !value.ends_with('/')
        && !value.contains("//")
    {
        return Ok(Timezone::Zone(value.to_owned()));
    }
    Err(format!("{value:?} is neither local nor a time zone such as Europe/Paris"))
}

pub(super) fn cgroups_mode(value: &str) -> Result<(), String> {
    match value {
        "enabled" => Ok(()),
        "split" | "no-conmon" | "disabled" => {
            Err(format!("{value} is Podman's own; Docker gives every container a control group"))
        }
        _ => Err(format!("{value:?} is not a mode; Docker's is enabled")),
    }
}

/// Takes `host` alone, with which the container shares the users of the machine even where the engine maps them.
pub(super) fn check_user_namespace(value: &str) -> Result<(), String> {
    match value {
        "host" => Ok(()),
        _ => Err(format!(
            "{value:?} is Podman's own; Docker maps users for the whole engine, or not with host"
        )),
    }
}

/// Docker's drivers; a plugin's name has a colon or a slash in it.
const LOG_DRIVERS: [&str; 11] = [
    "awslogs",
    "etwlogs",
    "fluentd",
    "gcplogs",
    "gelf",
    "journald",
    "json-file",
    "local",
    "none",
    "splunk",
    "syslog",
];

pub(super) fn log_driver(value: &str) -> Result<String, String> {
    match value {
        // Podman has one driver for both names.
        "k8s-file" => Ok("json-file".to_owned()),
        "passthrough" | "passthrough-tty" => {
            Err(format!("{value} is Podman's own; Docker has {}", LOG_DRIVERS.join(", ")))
        }
        _ if LOG_DRIVERS.contains(&value) || value.contains([':', '/']) => Ok(value.to_owned()),
        _ => Err(format!("{value:?} is none of {}", LOG_DRIVERS.join(", "))),
    }
}

pub(super) fn log_option(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some(("path", _)) => Err("Docker keeps logs in a place of its own".to_owned()),
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{value:?} is not name=value")),
    }
}

/// A user's or a group's name or number.
pub(super) fn parse_account(value: &str) -> Result<String, String> {
    if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == ':') {
        return Err(format!("{value:?} is neither a name nor a number"));
    }
    Ok(value.to_owned())
}

/// One `User=`: a user, or, as Podman takes it, `user:group`.
pub(super) fn parse_user(value: &str) -> Result<(String, Option<String>), String> {
    match value.split_once(':') {
        Some((user, group)) => Ok((parse_account(user)?, Some(parse_account(group)?))),
        None => Ok((parse_account(value)?, None)),
    }
}

/// One `GroupAdd=`.
pub(super) fn parse_group(value: &str) -> Result<String, String> {
    if value == "keep-groups" {
        return Err("keep-groups is for containers without root; name the groups".to_owned());
    }
    parse_account(value)
}

/// A command line, or a JSON array of its words.
pub(super) fn parse_entrypoint(value: &str) -> Vec<String> {
    serde_json::from_str(value).unwrap_or_else(|_| vec![value.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_have_another_path_inside() {
        let device = |value| match super::parse_device(value)? {
            AddedDevice::Path(d) => Ok((d.host, d.container, d.permissions, d.optional)),
            AddedDevice::Cdi(device) => Err(format!("{device:?}")),
        };
        let all = |host: &str, container: &str, permissions: &str, optional| {
            Ok((host.to_owned(), container.to_owned(), permissions.to_owned(), optional))
        };
        assert_eq!(device("/dev/a"), all("/dev/a", "/dev/a", "rwm", false));
        assert_eq!(device("-/dev/a:/dev/b:r"), all("/dev/a", "/dev/b", "r", true));
        assert_eq!(device("/dev/a:rw"), all("/dev/a", "/dev/a", "rw", false));
        for value in ["", "a", "/dev/a:x", "/dev/a:/b:r:w", "/dev/a:"] {
            assert!(super::parse_device(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_device_may_go_by_a_name_of_cdis() {
        let cdi = |value| match parse_device(value) {
            Ok(AddedDevice::Cdi(device)) => Some((device.name, device.optional)),
            _ => None,
        };
        assert_eq!(cdi("nvidia.com/gpu=all"), Some(("nvidia.com/gpu=all".to_owned(), false)));
        assert_eq!(
            cdi("-vendor-1.example/net_x=0:1"),
            Some(("vendor-1.example/net_x=0:1".to_owned(), true))
        );
        for value in
            ["gpu=all", "nvidia.com/gpu", "/gpu=all", "nvidia.com/=a", "1x/gpu=a", "a/b=c-"]
        {
            assert_eq!(cdi(value), None, "{value}");
        }
        let Err(problem) = parse_device("dev/fuse") else { panic!("taken") };
        assert_eq!(
            problem,
            "\"dev/fuse\" is neither an absolute path such as /dev/fuse nor a CDI name such as nvidia.com/gpu=all"
        );
    }

    #[test]
    fn a_limit_has_a_soft_and_a_hard_side() {
        let limit = |value| parse_ulimit(value).map(|limit| (limit.name, limit.soft, limit.hard));
        assert_eq!(limit("nofile=10:20"), Ok(("nofile".to_owned(), 10, 20)));
        assert_eq!(limit("RLIMIT_CORE=-1"), Ok(("core".to_owned(), -1, -1)));
        for value in ["host", "nofile", "files=1", "nofile=2:1", "nofile=-1:5", "nofile=-2"] {
            assert!(parse_ulimit(value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_podmans_own_is_refused() {
        assert_eq!(
            cgroups_mode("split").unwrap_err(),
            "split is Podman's own; Docker gives every container a control group"
        );
        assert!(check_user_namespace("keep-id:uid=1").is_err());
        assert!(log_driver("passthrough").is_err());
        assert_eq!(log_driver("k8s-file").as_deref(), Ok("json-file"));
        assert_eq!(
            parse_group("keep-groups").unwrap_err(),
            "keep-groups is for containers without root; name the groups"
        );
        assert_eq!(parse_capability("net_admin").as_deref(), Ok("CAP_NET_ADMIN"));
        assert!(parse_timezone("../etc").is_err());
        assert!(parse_timezone("").is_err(), "a variable without a value");
    }
}
