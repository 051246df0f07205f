//! What systemd's runner does beside the suite: processes that outlive a stop, links in a unit's place, files of the host's that win.

use std::path::PathBuf;
use std::sync::Arc;

use muster_common::state::ActiveState;
use musterd::runner::StartOutcome;

use super::support::name;
use super::{Case, GOOD, Machine, systemctl};

/// Services that do not end when they are stopped, or that end by themselves and leave something behind: the file says what
/// lets the rest go. Those that must have come to a point before a stop are up once they have.
const LINGERING: [(&str, &str); 4] = [
    ("none", "KillMode=none\nExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.1; done'"),
    (
        "process",
        "KillMode=process\nExecStart=/bin/sh -c '(touch /run/ready; until test -e /run/go; do sleep 0.1; done) & exec sleep infinity'\nExecStartPost=/bin/sh -c 'until test -e /run/ready; do sleep 0.05; done'",
    ),
    (
        "spared",
        "SendSIGKILL=no\nTimeoutStopSec=1\nExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/ready; until test -e /run/go; do sleep 0.1; done'\nExecStartPost=/bin/sh -c 'until test -e /run/ready; do sleep 0.05; done'",
    ),
    (
        "itself",
        "Type=oneshot\nKillMode=process\nExecStart=/bin/sh -c '(until test -e /run/go; do sleep 0.1; done) >/dev/null 2>&1 &'",
    ),
];

#[tokio::test]
async fn a_unit_is_not_down_before_the_last_of_its_processes_is() {
    for mut case in Case::all().await {
        let Machine::Systemd = &case.machine else { continue };
        for (stem, service) in LINGERING {
            for file in ["/run/go", "/run/ready"] {
                let _ = std::fs::remove_file(file);
            }
            let unit = case.unit(&format!("lingers-{stem}"));
            case.write(&unit, &format!("[Service]\n{service}\n")).await;
            // Known before, as whatever the daemon starts is.
            case.see(&unit).await;
            assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done, "{stem}");
            if stem != "itself" {
                case.wait_for_event(&unit, "active").await;
                assert!(!case.runner.wait_until_empty(&unit).await.unwrap(), "{stem}: it runs");
                case.runner.stop(&unit).await.unwrap();
            }
            case.wait_for_event(&unit, "deactivating").await;
            let seen = case.see(&unit).await;
            assert_eq!(seen.observed.active, ActiveState::Deactivating, "{stem}");
            assert!(seen.remark.contains("left behind: "), "{stem}: {}", seen.remark);

            // One that has just begun on this machine sees the same, and waits as well.
            let next = case.another().await;
            let again = next.observe_units(&[unit.clone()].into()).await.unwrap();
            assert_eq!(
                again.get(&unit).unwrap().observed.active,
                ActiveState::Deactivating,
                "{stem}"
            );
            let waits = tokio::spawn({
                let (unit, next) = (unit.clone(), Arc::clone(&next));
                async move { next.wait_until_empty(&unit).await }
            });
            case.see(&unit).await;
            assert!(!waits.is_finished(), "{stem}: it is not gone");
            std::fs::write("/run/go", "").unwrap();
            assert_eq!(waits.await.unwrap(), Ok(true), "{stem}");
            let ended = if stem == "spared" { "failed" } else { "inactive" };
            case.wait_for_event(&unit, ended).await;
            assert_eq!(case.see(&unit).await.observed.active.as_str(), ended, "{stem}");
            assert!(case.runner.wait_until_empty(&unit).await.unwrap());
            case.clean(&unit).await;
        }
    }
}

/// Units that do not stop and have no process, so that nothing is in their control groups.
const EMPTY_AND_UP: [(&str, &str); 2] = [
    (
        "remains.service",
        "[Unit]\nRefuseManualStop=yes\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    ),
    (
        "listens.socket",
        "[Unit]\nRefuseManualStop=yes\n[Socket]\nListenStream=/run/listens\nService=none.service\n",
    ),
];

#[tokio::test]
async fn a_unit_without_a_process_is_not_down_while_systemd_has_it_up() {
    for mut case in Case::all().await {
        let Machine::Systemd = &case.machine else { continue };
        // What the socket is for, never started.
        let service = name("none.service");
        case.write(&service, GOOD).await;
        for (unit, text) in EMPTY_AND_UP {
            let unit = name(unit);
            case.write(&unit, text).await;
            case.see(&unit).await;
            assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done, "{unit}");
            case.wait_for_event(&unit, "active").await;
            let stopped = case.runner.stop(&unit).await;
            assert!(matches!(stopped, Ok(StartOutcome::Failed { .. })), "{unit}: {stopped:?}");
            assert!(!case.runner.wait_until_empty(&unit).await.unwrap(), "{unit} is up");

            let text = text.replace("RefuseManualStop=yes", "");
            case.write(&unit, &text).await;
            systemctl(&["daemon-reload"]);
            assert_eq!(case.runner.stop(&unit).await, Ok(StartOutcome::Done), "{unit}");
            assert!(case.runner.wait_until_empty(&unit).await.unwrap(), "{unit}");
            case.clean(&unit).await;
        }
        case.clean(&service).await;
    }
}

#[tokio::test]
async fn what_lies_in_a_units_place_as_a_link_is_the_hosts() {
    for case in Case::all().await {
        let Machine::Systemd = &case.machine else { continue };
        for (unit, to) in
            [("sshd.service", "/dev/null"), ("alias.service", "/run/systemd/system/other.service")]
        {
            let path = PathBuf::from("/run/systemd/system").join(unit);
            std::os::unix::fs::symlink(to, &path).unwrap();
            let unit = name(unit);
            let seen = case.see(&unit).await.observed;
            assert!(seen.foreign, "{unit}");
            assert!(seen.obstacle.contains(to), "{}", seen.obstacle);
            case.runner.remove(&unit).await.unwrap();
            assert_eq!(std::fs::read_link(&path).unwrap(), PathBuf::from(to));
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[tokio::test]
async fn a_unit_that_the_host_comes_to_have_is_ours_until_that_run_is_over() {
    for mut case in Case::all().await {
        let Machine::Systemd = &case.machine else { continue };
        for seen_before in [true, false] {
            let unit = case.unit("overtaken");
            case.write(&unit, GOOD).await;
            case.see(&unit).await;
            assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done);
            case.wait_for_event(&unit, "active").await;
            if seen_before {
                case.see(&unit).await;
            }
            let theirs = PathBuf::from("/etc/systemd/system").join(unit.as_str());
            std::fs::write(&theirs, GOOD).unwrap();
            // Neither its file nor what systemd makes of it changes what runs.
            for reloaded in [false, true] {
                if reloaded {
                    systemctl(&["daemon-reload"]);
                }
                let seen = case.see(&unit).await.observed;
                assert!(!seen.foreign, "reloaded: {reloaded}");
                assert!(seen.obstacle.contains("has come to have"), "{}", seen.obstacle);
            }
            // The next run is not ours.
            systemctl(&["restart", unit.as_str()]);
            assert!(case.see(&unit).await.observed.foreign);
            systemctl(&["stop", unit.as_str()]);
            std::fs::remove_file(&theirs).unwrap();
            systemctl(&["daemon-reload"]);
            case.clean(&unit).await;
        }
    }
}
