//! The status of a container unit, in the manner of `systemctl status`.
//!
//! Owns the text and the exit code. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

use crate::runner::docker::{Container, InspectedUnit};

/// Digits of an id that are shown: Docker's own abbreviation.
const SHORT: usize = 12;

/// systemctl's exit codes, after the LSB's.
const RUNS: i32 = 0;
const RUNS_NOT: i32 = 3;
/// systemctl's code for a unit that is not there.
pub(super) const UNKNOWN: i32 = 4;

/// The exit code.
pub(super) fn exit_code(inspected: &InspectedUnit) -> i32 {
    if inspected.active.is_up() { RUNS } else { RUNS_NOT }
}

/// The text, without log lines.
pub(super) fn text(
    unit: &UnitName,
    inspected: &InspectedUnit,
    now: u64,
    zone: &TimeZone,
) -> String {
    let mut text = String::new();
    let dot = match inspected.active {
        ActiveState::Failed => '×',
        ActiveState::Inactive => '○',
        _ => '●',
    };
    let _ = write!(text, "{dot} {unit}");
    if !inspected.description.is_empty() && inspected.description != unit.as_str() {
        let _ = write!(text, " - {}", inspected.description);
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:>11}: {value}");
    };
    line("Loaded", &format!("{} ({})", inspected.load, inspected.file.display()));
    line("Active", &active_line(inspected, now, zone));
    line("Machine", &inspected.machine);
    if let Some(container) = &inspected.container {
        of_container(container, &mut line);
    }
    if inspected.restarts > 0 {
        line("Restarts", &inspected.restarts.to_string());
    }
    if let Some(problem) = &inspected.engine {
        line("Engine", problem);
    }
    if !inspected.remark.is_empty() {
        line("Remark", &inspected.remark);
    }
    if !inspected.problem.is_empty() {
        line("Problem", &inspected.problem);
    }
    text
}

fn of_container(container: &Container, line: &mut impl FnMut(&str, &str)) {
    let ended = match container.code {
        Some(code) if container.oom => format!(" (code=exited, status={code}, out of memory)"),
        Some(code) => format!(" (code=exited, status={code})"),
        None => String::new(),
    };
    line("Container", &format!("{} {}{ended}", short_id(&container.id), container.name));
    line("Image", &format!("{} ({})", container.image, short_id(&container.image_id)));
    if let Some(pid) = container.pid {
        line("Main PID", &pid.to_string());
    }
    if let Some((health, detail)) = &container.health {
        let detail = detail.lines().next().unwrap_or_default().trim();
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        line("Health", &format!("{health}{detail}"));
    }
    if !container.error.is_empty() {
        line("Error", &container.error);
    }
}

fn active_line(inspected: &InspectedUnit, now: u64, zone: &TimeZone) -> String {
    let mut text = format!("{} ({})", inspected.active, inspected.sub);
    if inspected.active == ActiveState::Failed {
        // systemctl does not say the same word twice.
        text = format!("failed (Result: {})", or_unknown(&inspected.result));
    }
    let since =
        i64::try_from(inspected.since).ok().filter(|at| *at > 0).map(Timestamp::from_second);
    if let Some(Ok(since)) = since {
        let at = since.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z");
        let ago = Duration::from_secs(now.saturating_sub(inspected.since));
        let ago = humantime::format_duration(ago).to_string();
        let ago: Vec<&str> = ago.split(' ').take(2).collect();
        let _ = write!(text, " since {at}; {} ago", ago.join(" "));
    }
    text
}

fn or_unknown(word: &str) -> &str {
    if word.is_empty() { "unknown" } else { word }
}

fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..SHORT).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn inspected(active: &str, sub: &str) -> InspectedUnit {
        InspectedUnit {
            file: "/run/muster/containers/web@1.container".into(),
            machine: "n1 (0123456789abcdef0123456789abcdef)".to_owned(),
            description: "The web".to_owned(),
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.to_owned(),
            since: 1_700_000_000,
            container: Some(Container {
                id: "0123456789abcdef0123".to_owned(),
                name: "systemd-web_1".to_owned(),
                image: "web:1".to_owned(),
                image_id: "sha256:fedcba9876543210".to_owned(),
                ..Container::default()
            }),
            ..InspectedUnit::default()
        }
    }

    fn shown(inspected: &InspectedUnit) -> String {
        let unit: UnitName = "web@1.container".parse().unwrap();
        format!(
            "{}exit {}",
            text(&unit, inspected, 1_700_000_090, &TimeZone::UTC),
            exit_code(inspected)
        )
    }

    #[test]
    fn one_that_runs() {
        let mut inspected = inspected("active", "running");
        inspected.restarts = 2;
        if let Some(container) = &mut inspected.container {
            container.pid = Some(4711);
            container.health = Some(("healthy".to_owned(), "all is well\nreally".to_owned()));
        }
        assert_snapshot!(shown(&inspected), @"
        ● web@1.container - The web
             Loaded: loaded (/run/muster/containers/web@1.container)
             Active: active (running) since Tue 2023-11-14 22:13:20 UTC; 1m 30s ago
            Machine: n1 (0123456789abcdef0123456789abcdef)
          Container: 0123456789ab systemd-web_1
              Image: web:1 (fedcba987654)
           Main PID: 4711
             Health: healthy (all is well)
           Restarts: 2
        exit 0
        ");
    }

    #[test]
    fn one_that_has_failed() {
        let mut inspected = inspected("failed", "failed");
        "exit-code".clone_into(&mut inspected.result);
        "exit-code, code 3".clone_into(&mut inspected.remark);
        if let Some(container) = &mut inspected.container {
            container.code = Some(3);
        }
        assert_snapshot!(shown(&inspected), @"
        × web@1.container - The web
             Loaded: loaded (/run/muster/containers/web@1.container)
             Active: failed (Result: exit-code) since Tue 2023-11-14 22:13:20 UTC; 1m 30s ago
            Machine: n1 (0123456789abcdef0123456789abcdef)
          Container: 0123456789ab systemd-web_1 (code=exited, status=3)
              Image: web:1 (fedcba987654)
             Remark: exit-code, code 3
        exit 3
        ");
    }

    #[test]
    fn one_that_is_being_fetched() {
        let remark = "fetching the image web:1: 30% of 10 MB".to_owned();
        let inspected =
            InspectedUnit { container: None, remark, ..inspected("activating", "start-pre") };
        assert_snapshot!(shown(&inspected), @"
        ● web@1.container - The web
             Loaded: loaded (/run/muster/containers/web@1.container)
             Active: activating (start-pre) since Tue 2023-11-14 22:13:20 UTC; 1m 30s ago
            Machine: n1 (0123456789abcdef0123456789abcdef)
             Remark: fetching the image web:1: 30% of 10 MB
        exit 3
        ");
    }

    #[test]
    fn one_whose_engine_is_away() {
        let engine = Some("the container engine does not answer: No such file".to_owned());
        let inspected = InspectedUnit { container: None, engine, ..inspected("active", "running") };
        assert_snapshot!(shown(&inspected), @"
        ● web@1.container - The web
             Loaded: loaded (/run/muster/containers/web@1.container)
             Active: active (running) since Tue 2023-11-14 22:13:20 UTC; 1m 30s ago
            Machine: n1 (0123456789abcdef0123456789abcdef)
             Engine: the container engine does not answer: No such file
        exit 0
        ");
    }

    #[test]
    fn one_that_was_never_started() {
        let inspected =
            InspectedUnit { container: None, since: 0, ..inspected("inactive", "dead") };
        assert_snapshot!(shown(&inspected), @"
        ○ web@1.container - The web
             Loaded: loaded (/run/muster/containers/web@1.container)
             Active: inactive (dead)
            Machine: n1 (0123456789abcdef0123456789abcdef)
        exit 3
        ");
    }
}
