//! The facts that a container unit's file may ask about this machine, and the clock its life goes by.
//!
//! Owns the look at the kernel and the translation of its words into systemd's.

use std::path::Path;
use std::time::Duration;

use muster_common::container::{HostFacts, Release};
use muster_common::machine::MachineId;
use rustix::time::{ClockId, clock_gettime};

/// The journal's socket: there where it runs.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// This machine.
pub(crate) fn read_host_facts(machine: &MachineId) -> HostFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    let name = read("/proc/sys/kernel/hostname").trim().to_owned();
    let called = read("/etc/machine-info");
    let release = match read("/etc/os-release") {
        text if text.is_empty() => read("/usr/lib/os-release"),
        text => text,
    };
    HostFacts {
        pretty_name: assigned_value(&called, "PRETTY_HOSTNAME").unwrap_or_else(|| name.clone()),
        release: parse_release(&release),
        name,
        machine_id: machine.to_string(),
        boot_id: read("/proc/sys/kernel/random/boot_id").trim().replace('-', ""),
        kernel: uname.release().to_string_lossy().into_owned(),
        architecture: systemd_architecture(&uname.machine().to_string_lossy()).to_owned(),
    }
}

/// The release that runs here, by the text of its os-release(5).
fn parse_release(text: &str) -> Release {
    let of = |name| assigned_value(text, name).unwrap_or_default();
    Release {
        id: assigned_value(text, "ID").unwrap_or_else(|| "linux".to_owned()),
        version: of("VERSION_ID"),
        build: of("BUILD_ID"),
        variant: of("VARIANT_ID"),
        image: of("IMAGE_ID"),
        image_version: of("IMAGE_VERSION"),
    }
}

/// The last value of a name in a file of shell's assignments, such as os-release(5) and machine-info(5).
fn assigned_value(text: &str, name: &str) -> Option<String> {
    let mut values =
        text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    let value = unquoted(values.next_back()?);
    (!value.is_empty()).then_some(value)
}

/// A value of shell's, in single quotes, in double quotes with backslashes, or bare.
fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        text.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    text
}

/// systemd's word for an architecture, `%a`; see `ConditionArchitecture=` in systemd.unit(5).
fn systemd_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "armv8b" | "armv8l" | "armv7l" | "armv6l" | "armv5tel" => "arm",
        "armv7b" | "armv6b" => "arm-be",
        "ppc64le" => "ppc64-le",
        "ppcle" => "ppc-le",
        "mips64" => "mips64",
        "riscv64" => "riscv64",
        "loongarch64" => "loongarch64",
        other => other,
    }
}

/// The time since the machine booted, which goes on while it sleeps and over a restart of the daemon.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// True when this machine runs the journal.
pub(crate) fn has_journal() -> bool {
    Path::new(JOURNAL).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_systemds() {
        assert_eq!(systemd_architecture("x86_64"), "x86-64");
        assert_eq!(systemd_architecture("aarch64"), "arm64");
        assert_eq!(systemd_architecture("s390x"), "s390x");
    }

    #[test]
    fn a_release_is_what_its_file_says() {
        let text = "# of a distribution's\nNAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nIMAGE_ID='my image'\nVARIANT_ID=\n";
        let release = parse_release(text);
        assert_eq!((release.id.as_str(), release.version.as_str()), ("debian", "12"));
        assert_eq!((release.image.as_str(), release.variant.as_str()), ("my image", ""));
        assert_eq!(parse_release("").id, "linux");
        let called = assigned_value("PRETTY_HOSTNAME=\"Anna's \\\"box\\\"\"\n", "PRETTY_HOSTNAME");
        assert_eq!(called.as_deref(), Some("Anna's \"box\""));
        assert_eq!(assigned_value("PRETTY_HOSTNAME=\"\"", "PRETTY_HOSTNAME"), None);
    }

    #[test]
    fn a_machine_has_all_its_facts() {
        let facts = read_host_facts(&"0123456789abcdef0123456789abcdef".parse().unwrap());
        assert_eq!(facts.machine_id, "0123456789abcdef0123456789abcdef");
        let release = &facts.release.id;
        let called = &facts.pretty_name;
        for fact in
            [&facts.name, &facts.boot_id, &facts.kernel, &facts.architecture, release, called]
        {
            assert!(!fact.is_empty() && fact.trim() == fact, "{facts:?}");
        }
    }
}
