//! Names that engines and networks take.

use super::reader::Reader;
use crate::unit::UnitName;

/// Longest name of what an engine makes, in bytes. Volumes are directories of that name.
const LONGEST: usize = 255;

/// The name of a container, a volume or a network, by Docker's rule.
pub(super) fn parse_resource_name(name: &str) -> Result<String, String> {
    if name.len() > LONGEST {
        return Err(format!(
            "{name:?} has {} bytes, and what an engine makes has names of at most {LONGEST}",
            name.len()
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is no name Docker takes: letters, digits, and _ . - behind the first"))
}

/// The name of what a unit makes, where its file gives none: Quadlet's `systemd-` before its own. An instance's has no
/// `@`, which engines do not take.
pub(super) fn of_unit(unit: &UnitName) -> Result<String, String> {
    let stem = match unit.instance_name() {
        Some(instance) => format!("{}_{instance}", unit.name_prefix()),
        None => unit.name_stem().to_owned(),
    };
    parse_resource_name(&format!("systemd-{stem}"))
        .map_err(|problem| format!("{problem}; give it another name"))
}

/// The name of a host or an alias of one.
pub(super) fn parse_host_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.is_empty() && name.len() <= 253 && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not the name of a host"))
}

/// An absolute path, on the machine or in the container.
pub(super) fn path(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} is not an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("{path:?} has a .. in it"));
    }
    Ok(path.to_owned())
}

/// Where Podman has the files of the machine's own units. A path that is relative to its unit's file is looked for there: the
/// file itself lies in the cluster.
const PLACE: &str = "/etc/containers/systemd";

/// A path on the machine that may be relative to the unit's file.
pub(super) fn path_beside(reader: &Reader<'_>, path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return self::path(path);
    }
    if path.is_empty() {
        return Err("it names no file".to_owned());
    }
    let mut parts: Vec<&str> = PLACE.split('/').collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.len() > 1 => {
                parts.pop();
            }
            ".." => return Err(format!("{path:?} leads out of every directory")),
            part => parts.push(part),
        }
    }
    let path_on_machine = parts.join("/");
    if path_on_machine.is_empty() {
        return Err(format!("{path:?} is no file"));
    }
    reader.add_note(format!(
        "{path:?} is relative to the unit's file, which lies in the cluster; on the machine it is looked for as {path_on_machine}"
    ));
    Ok(path_on_machine)
}

/// Linux' signals by number; those above have no names worth one.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal, given as such or by its name, with or without `SIG`.
pub fn signal_number(name: &str) -> Option<u8> {
    if let Ok(number) = name.parse::<u8>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time_signal(short) {
        return Some(number);
    }
    let at = SIGNALS.iter().position(|signal| *signal == short)?;
    u8::try_from(at + 1).ok()
}

/// The number of a real-time signal, `RTMIN`, `RTMIN+3`, `RTMAX-1`, as Podman and systemd count them.
fn real_time_signal(name: &str) -> Option<u8> {
    const MIN: u8 = 34;
    const MAX: u8 = 64;
    let number = match name {
        "RTMIN" => Some(MIN),
        "RTMAX" => Some(MAX),
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(above), _) => MIN.checked_add(above.parse().ok()?),
            (None, Some(below)) => MAX.checked_sub(below.parse().ok()?),
            (None, None) => None,
        },
    };
    number.filter(|number| (MIN..=MAX).contains(number))
}

/// A signal, as Docker takes it.
pub(super) fn stop_signal(name: &str) -> Result<String, String> {
    let number = signal_number(name).ok_or_else(|| format!("{name:?} is not a signal"))?;
    let known = SIGNALS.get(usize::from(number) - 1);
    Ok(known.map_or_else(|| number.to_string(), |name| format!("SIG{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_unit_makes_is_named_as_by_quadlet() {
        let named = |unit: &str| of_unit(&unit.parse().unwrap());
        assert_eq!(named("web.container").as_deref(), Ok("systemd-web"));
        assert_eq!(named("web@1.container").as_deref(), Ok("systemd-web_1"));
        assert!(named("a:b.container").is_err());
        let long = |bytes: usize| named(&format!("{}.volume", "x".repeat(bytes)));
        assert_eq!(long(247).map(|name| name.len()), Ok(255));
        let refusal = long(248).unwrap_err();
        assert!(refusal.ends_with("has 256 bytes, and what an engine makes has names of at most 255; give it another name"), "{refusal}");
    }

    #[test]
    fn signals_go_by_name_or_number() {
        assert_eq!(stop_signal("term").as_deref(), Ok("SIGTERM"));
        assert_eq!(stop_signal("SIGINT").as_deref(), Ok("SIGINT"));
        assert_eq!(stop_signal("3").as_deref(), Ok("SIGQUIT"));
        assert_eq!(stop_signal("37").as_deref(), Ok("37"));
        assert_eq!(stop_signal("SIGRTMIN+3").as_deref(), Ok("37"));
        assert_eq!(signal_number("rtmax-1"), Some(63));
        for name in ["0", "65", "SIGFOO", "", "RTMIN+31", "RTMAX-99", "RTMIN+", "RTMIN-1"] {
            assert!(stop_signal(name).is_err(), "{name}");
        }
    }
}
