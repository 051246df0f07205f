//! Names of units that every systemd machine has of its own.
//!
//! Owns the list: units that systemd makes itself or treats by their names (systemd.special(7)), and this project's own
//! daemon. A unit of such a name could run nowhere, since no machine's own units are touched; so it is refused before it
//! is stored. What else a machine may have is not known here.

use super::{ClaimKind, UnitFile, UnitName, UnitType, Warning, list_claims};

/// Units other than targets. `-.slice`, `init.scope`, `system.slice` and `-.mount` have no file anywhere: systemd has them
/// in itself.
const UNITS: [&str; 26] = [
    "-.mount",
    "-.slice",
    "dbus-broker.service",
    "dbus.service",
    "dbus.socket",
    "display-manager.service",
    "init.scope",
    "machine.slice",
    "musterd.service",
    "musterd.socket",
    "syslog.socket",
    "system.slice",
    "systemd-hostnamed.service",
    "systemd-initctl.socket",
    "systemd-journald-audit.socket",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timedated.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "user.slice",
];

/// Targets that systemd knows by name: it brings the machine up and down by them.
const TARGETS: [&str; 61] = [
    "basic.target",
    "bluetooth.target",
    "boot-complete.target",
    "cryptsetup-pre.target",
    "cryptsetup.target",
    "ctrl-alt-del.target",
    "default.target",
    "emergency.target",
    "exit.target",
    "factory-reset.target",
    "final.target",
    "first-boot-complete.target",
    "getty-pre.target",
    "getty.target",
    "graphical.target",
    "halt.target",
    "hibernate.target",
    "hybrid-sleep.target",
    "initrd-fs.target",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.target",
    "initrd-usr-fs.target",
    "initrd.target",
    "integritysetup-pre.target",
    "integritysetup.target",
    "kbrequest.target",
    "kexec.target",
    "local-fs-pre.target",
    "local-fs.target",
    "machines.target",
    "multi-user.target",
    "network-online.target",
    "network-pre.target",
    "network.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "paths.target",
    "poweroff.target",
    "printer.target",
    "reboot.target",
    "remote-cryptsetup.target",
    "remote-fs-pre.target",
    "remote-fs.target",
    "remote-veritysetup.target",
    "rescue.target",
    "rpcbind.target",
    "shutdown.target",
    "sigpwr.target",
    "sleep.target",
    "slices.target",
    "smartcard.target",
    "sockets.target",
    "soft-reboot.target",
    "sound.target",
    "suspend-then-hibernate.target",
    "suspend.target",
    "swap.target",
    "sysinit.target",
    "system-update.target",
    "timers.target",
];

/// Templates whose instances systemd makes for users and terminals.
const TEMPLATES: [&str; 4] =
    ["autovt@.service", "getty@.service", "user-runtime-dir@.service", "user@.service"];

/// True when every machine with systemd has a unit of that name, or its template, of its own.
pub fn is_reserved(unit: &UnitName) -> bool {
    let name = unit.as_str();
    let template = unit.template_name();
    let template = template.as_ref().map_or(name, UnitName::as_str);
    let listed = |list: &[&str], name: &str| list.binary_search(&name).is_ok();
    // The mounts of a machine's file systems, and slices of users, are made by systemd as they are needed.
    let of_user = unit.unit_type() == UnitType::Slice && name.starts_with("user-");
    listed(&UNITS, name) || listed(&TARGETS, name) || listed(&TEMPLATES, template) || of_user
}

/// Warnings about a unit of this name with this file, before any machine has seen it.
pub fn reserved_warnings(unit: &UnitName, file: &UnitFile) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if is_reserved(unit) {
        let problem = format!(
            "every machine with systemd has a unit {unit} of its own and refuses this one; give it another name"
        );
        warnings.push(Warning { line: 0, problem });
    }
    let claims = list_claims(unit, file, &|_| None);
    for claim in claims.iter().filter(|claim| claim.kind != ClaimKind::StartedBy) {
        let name = claim.name.as_ref().and_then(|name| name.parse::<UnitName>().ok());
        if let Some(name) = name.filter(is_reserved) {
            let problem = format!(
                "[Install] {}={}: every machine with systemd has a unit {name} of its own and refuses this one; take the \
                 name out",
                claim.option, claim.written
            );
            warnings.push(Warning { line: claim.line, problem });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        for list in [&UNITS[..], &TARGETS[..], &TEMPLATES[..]] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn a_name_that_no_machine_gives_away_is_warned_of() {
        let warned = |name: &str, text: &str| {
            let warnings = reserved_warnings(&name.parse().unwrap(), &text.parse().unwrap());
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let plain =
            "[Service]\nExecStart=a\n[Install]\nWantedBy=multi-user.target\nAlias=b.service\n";
        assert_eq!(warned("a.service", plain), [""; 0]);
        assert_eq!(
            warned("dbus.service", plain),
            [
                "every machine with systemd has a unit dbus.service of its own and refuses this one; give it another name"
            ]
        );
        let taking = "[Install]\nAlias=b.service %p-logind.service\nAlso=dbus.socket\n";
        assert_eq!(
            warned("systemd.service", taking),
            [
                "line 2: [Install] Alias=%p-logind.service: every machine with systemd has a unit systemd-logind.service \
                 of its own and refuses this one; take the name out",
                "line 3: [Install] Also=dbus.socket: every machine with systemd has a unit dbus.socket of its own and \
                 refuses this one; take the name out",
            ]
        );
    }

    #[test]
    fn what_systemd_has_of_its_own_is_reserved_and_nothing_like_it() {
        for name in [
            "init.scope",
            "-.slice",
            "system.slice",
            "user-1000.slice",
            "dbus.service",
            "systemd-logind.service",
            "multi-user.target",
            "user@4242.service",
            "user@.service",
            "getty@tty9.service",
            "musterd.service",
        ] {
            assert!(is_reserved(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "web.service",
            "init.service",
            "system.service",
            "systemd-exporter.service",
            "user.service",
            "my-multi-user.target",
            "web@4242.service",
            "user-db.service",
        ] {
            assert!(!is_reserved(&name.parse().unwrap()), "{name}");
        }
    }
}
