//! Units that a soft-reboot leaves running.
//!
//! Owns the judgement whether a file asks for that, by systemd-soft-reboot.service(8). It never looks at a machine.
//!
//! Such a unit is not killed at the end (`SurviveFinalKillSignal=`), and nothing stops it on the way: it is left out when
//! systemd isolates `soft-reboot.target` (`IgnoreOnIsolate=`), it has no default dependencies, and conflicts with none of the
//! targets on the way.

use super::UnitFile;
use super::blank::BLANKS;

/// Targets that a soft-reboot goes through; what conflicts with one of them is stopped.
const WAY_DOWN: [&str; 3] = ["shutdown.target", "soft-reboot.target", "umount.target"];

/// True if a file asks for its unit to be left running over a soft-reboot.
pub fn survives_soft_reboot(file: &UnitFile) -> bool {
    let conflicts = file.values_of("Unit", "Conflicts");
    let is_stopped =
        conflicts.flat_map(|value| value.split(BLANKS)).any(|name| WAY_DOWN.contains(&name));
    let has = |name, value| last_flag(file, name) == Some(value);
    has("SurviveFinalKillSignal", true)
        && has("IgnoreOnIsolate", true)
        && has("DefaultDependencies", false)
        && !is_stopped
}

/// The last word on a flag of `[Unit]`, as systemd reads it.
fn last_flag(file: &UnitFile, name: &str) -> Option<bool> {
    match file.values_of("Unit", name).last()?.trim_matches(BLANKS).to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_survives_if_nothing_stops_or_kills_it() {
        const SURVIVES: &str =
            "[Unit]\nSurviveFinalKillSignal=yes\nIgnoreOnIsolate=1\nDefaultDependencies=no\n";
        for (more, survives) in [
            ("", true),
            ("Conflicts=reboot.target kexec.target poweroff.target halt.target\n", true),
            ("Conflicts=reboot.target shutdown.target\n", false),
            ("Conflicts=umount.target\n", false),
            ("DefaultDependencies=yes\n", false),
            ("SurviveFinalKillSignal=off\n", false),
            ("IgnoreOnIsolate=\n", false),
        ] {
            let file: UnitFile = format!("{SURVIVES}{more}").parse().unwrap();
            assert_eq!(survives_soft_reboot(&file), survives, "{more}");
        }
        for one in ["SurviveFinalKillSignal=yes", "IgnoreOnIsolate=yes", "DefaultDependencies=no"] {
            let file: UnitFile = format!("[Unit]\n{one}\n").parse().unwrap();
            assert!(!survives_soft_reboot(&file), "{one} alone");
        }
    }
}
