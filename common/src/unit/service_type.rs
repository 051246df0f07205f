//! When a unit counts as started, as far as its file says.
//!
//! Owns what follows from `Type=` by systemd.service(5) and podman-systemd.unit(5): whether being started says that the unit
//! works, and whether it ends by itself. It never looks at a machine.

use super::UnitFile;
use crate::machine::RunnerKind;

/// True when a unit that has just been started may be about to fail: nothing but the birth of its process was waited for.
///
/// So it is with `Type=simple`, which is what a service is that says nothing, and `idle`; and with a container that runs
/// until it is stopped and is not asked for its health. Every other type has a way to say that it is up.
pub fn is_up_at_birth(runner: RunnerKind, file: &UnitFile) -> bool {
    let given = last_value(file, "Service", "Type");
    match runner {
        RunnerKind::Systemd => match given.as_deref() {
            Some(kind) => matches!(kind, "simple" | "idle"),
            None => {
                last_value(file, "Service", "ExecStart").is_some()
                    && last_value(file, "Service", "BusName").is_none()
            }
        },
        RunnerKind::Docker | RunnerKind::Podman => {
            (last_value(file, "Container", "Image").is_some()
                || last_value(file, "Container", "Rootfs").is_some()
                || last_value(file, "Kube", "Yaml").is_some())
                && given.as_deref() != Some("oneshot")
                && last_value(file, "Container", "Notify").as_deref() != Some("healthy")
        }
    }
}

/// True when a unit of this file does its work and ends, and counts as started when it has.
pub fn is_oneshot(file: &UnitFile) -> bool {
    match last_value(file, "Service", "Type") {
        Some(kind) => kind == "oneshot",
        // A service without a main program is one too.
        None => file.values_of("Service", "ExecStop").next().is_some() && is_idle(file),
    }
}

fn is_idle(file: &UnitFile) -> bool {
    last_value(file, "Service", "ExecStart").is_none()
        && !file.options().iter().any(|option| option.section == "Container")
}

/// The last value of an option; none where an empty one took it back.
fn last_value(file: &UnitFile, section: &str, name: &str) -> Option<String> {
    let mut given = file.options().iter().filter(|o| o.section == section && o.name == name);
    given
        .next_back()
        .map(|option| option.joined_value().into_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_birth(runner: RunnerKind, text: &str) -> bool {
        is_up_at_birth(runner, &text.parse().unwrap())
    }

    #[test]
    fn a_service_that_says_nothing_of_itself_is_up_at_birth() {
        let service = |lines: &str| at_birth(RunnerKind::Systemd, &format!("[Service]\n{lines}\n"));
        for lines in [
            "ExecStart=/a",
            "ExecStart=/a\nType=simple",
            "ExecStart=/a\nType=idle",
            "ExecStart=/a\nType=notify\nType=",
            "Type=notify\nExecStart=/a\nType=simple",
        ] {
            assert!(service(lines), "{lines}");
        }
        for kind in ["exec", "forking", "oneshot", "notify", "notify-reload", "dbus"] {
            assert!(!service(&format!("ExecStart=/a\nType={kind}")), "{kind}");
        }
        assert!(!service("ExecStart=/a\nBusName=org.example"));
        assert!(!service("ExecStop=/a"));
        assert!(!at_birth(RunnerKind::Systemd, "[Timer]\nOnBootSec=1\n"));
    }

    #[test]
    fn a_container_that_is_not_asked_for_its_health_is_up_at_birth() {
        let container =
            |lines: &str| at_birth(RunnerKind::Docker, &format!("[Container]\nImage=a\n{lines}\n"));
        assert!(container(""));
        assert!(container("Notify=healthy\nNotify="));
        assert!(!container("Notify=healthy"));
        assert!(!container("[Service]\nType=oneshot"));
        assert!(!at_birth(RunnerKind::Docker, "[Volume]\n"));
        assert!(at_birth(RunnerKind::Podman, "[Kube]\nYaml=/a\n"));
        assert!(!at_birth(RunnerKind::Podman, "[Pod]\n"));
    }

    #[test]
    fn a_oneshot_says_so_or_has_nothing_to_start() {
        let oneshot = |text: &str| is_oneshot(&text.parse().unwrap());
        assert!(oneshot("[Service]\nType=oneshot\nExecStart=/a\n"));
        assert!(oneshot("[Service]\nExecStop=/a\n"));
        assert!(oneshot("[Container]\nImage=a\n[Service]\nType=oneshot\n"));
        assert!(!oneshot("[Service]\nExecStart=/a\n"));
        assert!(!oneshot("[Service]\nExecStart=/a\nType=oneshot\nType=simple\n"));
        assert!(!oneshot("[Container]\nImage=a\n"));
    }
}
