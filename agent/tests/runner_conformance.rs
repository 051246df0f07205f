//! What every runner must do, as one suite.
//!
//! It runs against the runner in memory always, so that the loops' tests rest on a runner that is true; and against
//! systemd when `MUSTER_CONFORMANCE=systemd` says that this is a host made for it (`tests/tests/conformance.rs` runs it as root inside a
//! host of the lab).

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use muster_common::unit::{FileHash, UnitName};
use musterd::runner::systemd::Systemd;
use musterd::runner::{Outcome, Runner, RunnerEvent, Seen};
use support::{Host, Scripted, name};
use tokio::sync::mpsc;

/// A runner, and what a test does to its machine behind its back.
struct Case {
    runner: Arc<dyn Runner>,
    events: mpsc::Receiver<RunnerEvent>,
    /// In memory; `None` is the real thing.
    host: Option<Arc<Host>>,
}

const GOOD: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const BAD: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n";

impl Case {
    async fn all() -> Vec<Self> {
        let host = Host::new();
        let mut cases = vec![Self::of(Arc::new(Scripted::on(&host)), Some(host))];
        if std::env::var_os("MUSTER_CONFORMANCE").is_some_and(|v| v == "systemd") {
            let systemd = Systemd::new(PathBuf::from("/run/systemd/system"));
            cases.push(Self::of(Arc::new(systemd), None));
        }
        for case in &mut cases {
            let ready = async { while case.events.recv().await != Some(RunnerEvent::Relist) {} };
            tokio::time::timeout(Duration::from_secs(30), ready).await.unwrap();
        }
        cases
    }

    fn of(runner: Arc<dyn Runner>, host: Option<Arc<Host>>) -> Self {
        let events = runner.events();
        Self { runner, events, host }
    }

    async fn see(&self, unit: &UnitName) -> Seen {
        let mut seen: BTreeMap<_, _> = self.runner.observe(&[unit.clone()].into()).await.unwrap();
        seen.remove(unit).unwrap()
    }

    async fn write(&self, unit: &UnitName, text: &str) {
        self.runner.write(unit, FileHash::of(text), text).await.unwrap();
    }

    /// Waits for an event that says so.
    async fn told(&mut self, unit: &UnitName, wanted: &str) {
        let wait = async {
            loop {
                match self.events.recv().await.unwrap() {
                    RunnerEvent::Changed { unit: u, active, .. }
                        if u == *unit && active == wanted =>
                    {
                        return;
                    }
                    _ => {}
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(waited.is_ok(), "nobody said that {unit} is {wanted}");
    }

    async fn clean(&self, unit: &UnitName) {
        self.runner.stop(unit).await.unwrap();
        self.runner.remove(unit).await.unwrap();
    }
}

fn systemctl(arguments: &[&str]) {
    assert!(Command::new("systemctl").args(arguments).status().unwrap().success());
}

#[tokio::test]
async fn a_unit_is_written_started_stopped_and_removed() {
    for mut case in Case::all().await {
        let unit = name("conformance-start.service");
        assert_eq!(case.see(&unit).await.observed.load, "not-found");
        case.write(&unit, GOOD).await;
        assert_eq!(case.see(&unit).await.observed.file, Some(FileHash::of(GOOD)));
        assert_eq!(case.runner.start(&unit).await.unwrap(), Outcome::Done);
        case.told(&unit, "active").await;
        let seen = case.see(&unit).await;
        assert_eq!(
            (seen.observed.load.as_str(), seen.observed.active.as_str()),
            ("loaded", "active")
        );
        assert_eq!((seen.observed.foreign, seen.invocation.len()), (false, 32));

        assert_eq!(case.runner.restart(&unit).await.unwrap(), Outcome::Done);
        let again = case.see(&unit).await;
        assert_ne!(again.invocation, seen.invocation);

        assert_eq!(case.runner.stop(&unit).await.unwrap(), Outcome::Done);
        case.told(&unit, "inactive").await;
        assert_eq!(case.see(&unit).await.observed.active, "inactive");
        case.runner.remove(&unit).await.unwrap();
        assert_eq!(case.see(&unit).await.observed.file, None);
    }
}

#[tokio::test]
async fn a_start_that_fails_says_so() {
    for case in Case::all().await {
        let unit = name("conformance-bad.service");
        if let Some(host) = &case.host {
            host.fail("conformance-bad.service");
        }
        case.write(&unit, BAD).await;
        let outcome = case.runner.start(&unit).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { problem: "start failed: exit status 1".to_owned() });
        assert_eq!(case.see(&unit).await.observed.active, "failed");
        case.clean(&unit).await;
        assert_eq!(case.see(&unit).await.observed.load, "not-found", "no failure is left behind");
    }
}

#[tokio::test]
async fn a_file_that_is_no_good_is_known_before_it_is_started() {
    for case in Case::all().await {
        let unit = name("conformance-load.service");
        case.write(&unit, GOOD).await;
        assert_eq!(case.runner.load(&unit).await.unwrap(), Outcome::Done);
        assert_eq!(case.see(&unit).await.observed.active, "inactive", "nothing is started");
        case.write(&unit, "[Service]\nType=simple\n").await;
        let Outcome::Failed { problem } = case.runner.load(&unit).await.unwrap() else {
            panic!("a service that would run nothing was loaded");
        };
        assert!(problem.contains("bad-setting"), "{problem}");
        case.write(&unit, GOOD).await;
        assert_eq!(case.runner.load(&unit).await.unwrap(), Outcome::Done);
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn a_crash_is_told() {
    for mut case in Case::all().await {
        let unit = name("conformance-crash.service");
        case.write(&unit, GOOD).await;
        case.runner.start(&unit).await.unwrap();
        match &case.host {
            Some(host) => host.crash(unit.as_str()),
            None => systemctl(&["kill", "--signal=KILL", unit.as_str()]),
        }
        case.told(&unit, "failed").await;
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn stopping_what_does_not_run_is_no_failure() {
    for case in Case::all().await {
        let unit = name("conformance-nothing.service");
        assert_eq!(case.runner.stop(&unit).await.unwrap(), Outcome::Done);
    }
}

#[tokio::test]
async fn a_unit_of_the_hosts_own_is_known_as_such() {
    for case in Case::all().await {
        let unit = name("dbus.service");
        if let Some(host) = &case.host {
            host.foreign(unit.as_str());
        }
        let seen = case.see(&unit).await;
        assert!(seen.observed.foreign);
        assert_eq!(seen.observed.active, "active");
    }
}

#[tokio::test]
async fn a_changed_file_is_what_the_next_start_runs() {
    for case in Case::all().await {
        let unit = name("conformance-changed.service");
        case.write(&unit, GOOD).await;
        case.runner.start(&unit).await.unwrap();
        case.write(&unit, BAD).await;
        if let Some(host) = &case.host {
            host.fail(unit.as_str());
        }
        let outcome = case.runner.restart(&unit).await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn after_the_runner_executes_itself_anew_nothing_is_missed() {
    for mut case in Case::all().await {
        let unit = name("conformance-reexec.service");
        case.write(&unit, GOOD).await;
        case.runner.start(&unit).await.unwrap();
        let before = case.see(&unit).await;
        match &case.host {
            Some(host) => {
                host.lose(true);
                host.lose(false);
            }
            None => systemctl(&["daemon-reexec"]),
        }
        let relist = async { while case.events.recv().await != Some(RunnerEvent::Relist) {} };
        tokio::time::timeout(Duration::from_secs(30), relist).await.unwrap();
        assert_eq!(case.see(&unit).await.invocation, before.invocation);
        case.runner.stop(&unit).await.unwrap();
        case.told(&unit, "inactive").await;
        case.runner.remove(&unit).await.unwrap();
    }
}
