//! What every runner must do, as one suite.
//!
//! It runs against the runner in memory always, so that the loops' tests rest on a runner that is true; and against
//! systemd when `MUSTER_CONFORMANCE=systemd` says that this is a host made for it (`tests/tests/conformance.rs` runs it as root inside a
//! host of the lab); and against a Docker engine when it says `docker`. Then `MUSTER_DOCKER` is the engine's socket,
//! `MUSTER_DOCKER_IMAGE` an image it has with `sleep` and `false`, and `MUSTER_DOCKER_RESTART` a command that restarts the engine
//! and leaves its containers running. With `podman` it is systemd again, with container units that this machine's Podman makes services
//! of; `MUSTER_PODMAN_IMAGE` is such an image.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

mod support;
#[path = "runner_conformance/systemd_only.rs"]
mod systemd_only;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use musterd::runner::podman::generator::PodmanGenerator;
use musterd::runner::podman::{HostProcesses, Podman, PodmanProgram, PodmanSettings, PodmanUnits};
use musterd::runner::systemd::Systemd;
use musterd::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, Sources, StartOutcome, UnitObservation,
};
use support::engine::Engine;
use support::{ScriptedHost, ScriptedRunner, name};
use tokio::sync::mpsc;

/// A runner, and what a test does to its machine behind its back.
struct Case {
    runner: Arc<dyn Runner>,
    events: mpsc::Receiver<RunnerEvent>,
    machine: Machine,
}

/// What is behind it.
enum Machine {
    Memory(Arc<ScriptedHost>),
    Systemd,
    Docker(Engine),
    /// Podman before systemd, with this image.
    Podman(String),
}

/// The cluster knows nothing that others name: none of these units names any.
struct NoFiles;

#[async_trait]
impl Sources for NoFiles {
    async fn fetch_files(
        &self,
        _: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        Ok(BTreeMap::new())
    }
}

/// The runner of this machine's Podman, before its systemd.
fn podman_runner() -> (Podman, RunnerEvents) {
    let (unit_dir, run_dir) =
        (PathBuf::from("/run/systemd/system"), PathBuf::from("/run/muster-conformance"));
    let (systemd, events) = Systemd::new(unit_dir.clone());
    let copies = run_dir.join("copies");
    std::fs::create_dir_all(&copies).unwrap();
    let settings = PodmanSettings {
        generator: Arc::new(PodmanGenerator::find_program(run_dir.join("made"))),
        units: PodmanUnits::in_directory(run_dir.join("quadlet")),
        unit_dir,
        sources: Arc::new(NoFiles),
        copies,
        cluster: "/conformance".to_owned(),
        made: Arc::new(PodmanProgram),
        watch: Arc::new(HostProcesses),
    };
    Podman::new((Arc::new(systemd), events), settings)
}

const GOOD: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const BAD: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
const UNLOADABLE: &str = "[Service]\nType=simple\n";

impl Case {
    async fn all() -> Vec<Self> {
        let host = ScriptedHost::new();
        let mut cases = vec![Self::of(ScriptedRunner::on_host(&host), Machine::Memory(host))];
        match std::env::var("MUSTER_CONFORMANCE").as_deref() {
            Ok("systemd") => {
                let systemd = Systemd::new(PathBuf::from("/run/systemd/system"));
                cases.push(Self::of(systemd, Machine::Systemd));
            }
            Ok("docker") => {
                let engine = Engine::of_environment();
                cases.push(Self::of(engine.runner_and_events(), Machine::Docker(engine)));
            }
            Ok("podman") => {
                let image = std::env::var("MUSTER_PODMAN_IMAGE").unwrap();
                cases.push(Self::of(podman_runner(), Machine::Podman(image)));
            }
            _ => {}
        }
        for case in &mut cases {
            let ready = async { while case.events.recv().await != Some(RunnerEvent::Relist) {} };
            tokio::time::timeout(Duration::from_secs(30), ready).await.unwrap();
        }
        cases
    }

    fn of((runner, events): (impl Runner, RunnerEvents), machine: Machine) -> Self {
        Self { runner: Arc::new(runner), events, machine }
    }

    /// A unit of the suite's own, of the kind this runner runs.
    fn unit(&self, stem: &str) -> UnitName {
        match &self.machine {
            Machine::Docker(_) | Machine::Podman(_) => {
                name(&format!("conformance-{stem}.container"))
            }
            _ => name(&format!("conformance-{stem}.service")),
        }
    }

    /// A file that runs until it is stopped.
    fn good(&self) -> String {
        match &self.machine {
            Machine::Docker(engine) => engine.container("RunInit=yes\nExec=sleep 1000000"),
            // To systemd a container has failed that its stop signal has ended.
            Machine::Podman(image) => podman_container(
                image,
                "RunInit=yes\nExec=sleep 1000000\n[Service]\nSuccessExitStatus=143",
            ),
            _ => GOOD.to_owned(),
        }
    }

    /// A file that fails at once; a runner in memory is told that it does.
    fn bad(&self, unit: &UnitName) -> String {
        match &self.machine {
            Machine::Docker(engine) => engine.container("Exec=false\n[Service]\nType=oneshot"),
            Machine::Podman(image) => {
                podman_container(image, "Exec=false\n[Service]\nType=oneshot")
            }
            Machine::Systemd => BAD.to_owned(),
            Machine::Memory(host) => {
                host.fail_starts(unit.as_str());
                BAD.to_owned()
            }
        }
    }

    /// A file that nothing can be started from, and what is said of it.
    fn unloadable(&self) -> (String, &'static str) {
        match &self.machine {
            Machine::Docker(_) | Machine::Podman(_) => {
                ("[Container]\nExec=true\n".to_owned(), "Image")
            }
            _ => (UNLOADABLE.to_owned(), "bad-setting"),
        }
    }

    async fn see(&self, unit: &UnitName) -> UnitObservation {
        let mut seen: BTreeMap<_, _> =
            self.runner.observe_units(&[unit.clone()].into()).await.unwrap();
        seen.remove(unit).unwrap()
    }

    /// The same of a runner that is on its way back: until it is, it says so.
    async fn see_when_back(&self, unit: &UnitName) -> UnitObservation {
        let units = [unit.clone()].into();
        let see = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                if let Ok(mut seen) = self.runner.observe_units(&units).await {
                    return seen.remove(unit).unwrap();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), see).await.unwrap()
    }

    async fn write(&self, unit: &UnitName, text: &str) {
        self.runner.write(unit, FileHash::of_text(text), text).await.unwrap();
    }

    /// Waits for an event that says so.
    async fn wait_for_event(&mut self, unit: &UnitName, wanted: &str) {
        let wait = async {
            loop {
                match self.events.recv().await.unwrap() {
                    RunnerEvent::Changed { unit: u, active, .. }
                        if u == *unit && active.as_str() == wanted =>
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

    /// A runner that has just begun on the same machine.
    async fn another(&self) -> Arc<dyn Runner> {
        fn boxed((runner, events): (impl Runner, RunnerEvents)) -> (Arc<dyn Runner>, RunnerEvents) {
            (Arc::new(runner), events)
        }
        let (runner, mut events) = match &self.machine {
            Machine::Memory(host) => boxed(ScriptedRunner::on_host(host)),
            Machine::Systemd => boxed(Systemd::new(PathBuf::from("/run/systemd/system"))),
            Machine::Docker(engine) => boxed(engine.runner_and_events()),
            Machine::Podman(_) => boxed(podman_runner()),
        };
        let ready = async { while events.recv().await != Some(RunnerEvent::Relist) {} };
        tokio::time::timeout(Duration::from_secs(30), ready).await.unwrap();
        runner
    }

    /// Breaks the line over which events come, and whatever else is on it.
    fn cut(&self) {
        match &self.machine {
            Machine::Memory(host) => {
                host.cut_line(true);
                host.cut_line(false);
            }
            // It is started again by its socket when somebody calls.
            Machine::Systemd | Machine::Podman(_) => {
                systemctl(&["kill", "--signal=KILL", "dbus.service"]);
            }
            Machine::Docker(engine) => engine.cut_connections(),
        }
    }

    async fn clean(&self, unit: &UnitName) {
        self.runner.stop(unit).await.unwrap();
        self.runner.remove(unit).await.unwrap();
    }
}

/// A container of this image, with these lines, that asks for nothing a host may not give.
fn podman_container(image: &str, lines: &str) -> String {
    format!("[Container]\nImage={image}\nPull=never\nNetwork=none\nStopTimeout=1\n{lines}\n")
}

fn systemctl(arguments: &[&str]) {
    assert!(Command::new("systemctl").args(arguments).status().unwrap().success());
}

#[tokio::test]
async fn a_unit_is_written_started_stopped_and_removed() {
    for mut case in Case::all().await {
        let unit = case.unit("start");
        assert_eq!(case.see(&unit).await.observed.load, "not-found");
        case.write(&unit, &case.good()).await;
        assert_eq!(case.see(&unit).await.observed.file, Some(FileHash::of_text(&case.good())));
        assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done);
        case.wait_for_event(&unit, "active").await;
        let seen = case.see(&unit).await;
        assert_eq!(
            (seen.observed.load.as_str(), seen.observed.active.as_str()),
            ("loaded", "active")
        );
        assert_eq!((seen.observed.foreign, seen.invocation.len()), (false, 32));

        assert_eq!(case.runner.restart(&unit, 2).await.unwrap(), StartOutcome::Done);
        let again = case.see(&unit).await;
        assert_ne!(again.invocation, seen.invocation);

        assert_eq!(case.runner.stop(&unit).await.unwrap(), StartOutcome::Done);
        case.wait_for_event(&unit, "inactive").await;
        assert_eq!(case.see(&unit).await.observed.active, ActiveState::Inactive);
        case.runner.remove(&unit).await.unwrap();
        assert_eq!(case.see(&unit).await.observed.file, None);
    }
}

#[tokio::test]
async fn a_start_that_fails_says_so() {
    for case in Case::all().await {
        let unit = case.unit("bad");
        case.write(&unit, &case.bad(&unit)).await;
        let outcome = case.runner.start(&unit, 1).await.unwrap();
        assert_eq!(
            outcome,
            StartOutcome::Failed { problem: "start failed: exit status 1".to_owned() }
        );
        assert_eq!(case.see(&unit).await.observed.active, ActiveState::Failed);
        case.clean(&unit).await;
        assert_eq!(case.see(&unit).await.observed.load, "not-found", "no failure is left behind");
    }
}

#[tokio::test]
async fn a_file_that_is_no_good_is_known_before_it_is_started() {
    for case in Case::all().await {
        let unit = case.unit("load");
        case.write(&unit, &case.good()).await;
        assert_eq!(case.runner.load(&unit).await.unwrap(), StartOutcome::Done);
        assert_eq!(
            case.see(&unit).await.observed.active,
            ActiveState::Inactive,
            "nothing is started"
        );
        let (unloadable, why) = case.unloadable();
        case.write(&unit, &unloadable).await;
        let StartOutcome::Failed { problem } = case.runner.load(&unit).await.unwrap() else {
            panic!("a service that would run nothing was loaded");
        };
        assert!(problem.contains(why), "{problem}");
        case.write(&unit, &case.good()).await;
        assert_eq!(case.runner.load(&unit).await.unwrap(), StartOutcome::Done);
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn a_crash_is_told() {
    for mut case in Case::all().await {
        let unit = case.unit("crash");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        match &case.machine {
            Machine::Memory(host) => host.crash_unit(unit.as_str()),
            Machine::Systemd => systemctl(&["kill", "--signal=KILL", unit.as_str()]),
            Machine::Docker(engine) => engine.kill_container("systemd-conformance-crash").await,
            Machine::Podman(_) => {
                let kill = ["kill", "--signal=KILL", "systemd-conformance-crash"];
                assert!(Command::new("podman").args(kill).status().unwrap().success());
            }
        }
        case.wait_for_event(&unit, "failed").await;
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn stopping_what_does_not_run_is_no_failure() {
    for case in Case::all().await {
        let unit = case.unit("nothing");
        assert_eq!(case.runner.stop(&unit).await.unwrap(), StartOutcome::Done);
    }
}

#[tokio::test]
async fn a_unit_of_the_hosts_own_is_known_as_such() {
    for case in Case::all().await {
        let unit = match &case.machine {
            Machine::Docker(_) => case.unit("foreign"),
            _ => name("dbus.service"),
        };
        match &case.machine {
            Machine::Memory(host) => host.add_foreign_unit(unit.as_str()),
            Machine::Systemd | Machine::Podman(_) => {}
            Machine::Docker(engine) => {
                // What a container will be called is known from its file.
                engine.make_foreign("systemd-conformance-foreign").await;
                case.see(&unit).await;
                let text = case.good();
                let written = case.runner.write(&unit, FileHash::of_text(&text), &text).await;
                assert!(matches!(written, Err(RunnerError::Taken { .. })), "{written:?}");
            }
        }
        let seen = case.see(&unit).await;
        assert!(seen.observed.foreign);
        if let Machine::Docker(engine) = &case.machine {
            let problem = &seen.observed.obstacle;
            assert!(problem.contains("of its own, which Muster does not touch"), "{problem}");
            let outcome = case.runner.start(&unit, 1).await.unwrap();
            assert!(matches!(outcome, StartOutcome::Failed { .. }), "it took another's place");
            case.clean(&unit).await;
            assert!(engine.is_there("systemd-conformance-foreign").await, "it was touched");
            engine.remove_container("systemd-conformance-foreign").await;
        } else {
            assert_eq!(seen.observed.active, ActiveState::Active);
        }
    }
}

#[tokio::test]
async fn a_changed_file_is_what_the_next_start_runs() {
    for case in Case::all().await {
        let unit = case.unit("changed");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        case.write(&unit, &case.bad(&unit)).await;
        let outcome = case.runner.restart(&unit, 2).await.unwrap();
        assert!(matches!(outcome, StartOutcome::Failed { .. }), "{outcome:?}");
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn what_runs_already_is_left_alone_by_a_start() {
    for case in Case::all().await {
        let unit = case.unit("already");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        let before = case.see(&unit).await;
        // Several times: Podman's generator writes one service in several ways.
        for _ in 0..8 {
            case.write(&unit, &case.good()).await;
            assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done);
            assert_eq!(case.see(&unit).await.invocation, before.invocation);
        }
        case.clean(&unit).await;
    }
}

#[tokio::test]
async fn a_new_runner_takes_over_what_runs() {
    for mut case in Case::all().await {
        let unit = case.unit("adopted");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        let before = case.see(&unit).await;
        // The one before it is gone, as after an upgrade.
        case.runner = case.another().await;
        let after = case.see(&unit).await;
        assert_eq!(
            (after.observed.active.as_str(), &after.invocation),
            ("active", &before.invocation)
        );
        assert_eq!(after.observed.file, before.observed.file);
        assert_eq!(case.runner.stop(&unit).await.unwrap(), StartOutcome::Done);
        assert_eq!(case.see(&unit).await.observed.active, ActiveState::Inactive);
        case.runner.remove(&unit).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_stream_that_breaks_loses_nothing() {
    for mut case in Case::all().await {
        let unit = case.unit("cut");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        let before = case.see(&unit).await;
        case.cut();
        let relist = async { while case.events.recv().await != Some(RunnerEvent::Relist) {} };
        tokio::time::timeout(Duration::from_secs(30), relist).await.unwrap();
        let after = case.see_when_back(&unit).await;
        assert_eq!(after.invocation, before.invocation, "it was started anew");
        // And what happens from now on is told again.
        case.runner.stop(&unit).await.unwrap();
        case.wait_for_event(&unit, "inactive").await;
        case.runner.remove(&unit).await.unwrap();
    }
}

#[tokio::test]
async fn after_the_runner_executes_itself_anew_nothing_is_missed() {
    for mut case in Case::all().await {
        let unit = case.unit("reexec");
        case.write(&unit, &case.good()).await;
        case.runner.start(&unit, 1).await.unwrap();
        let before = case.see(&unit).await;
        match &case.machine {
            Machine::Memory(host) => {
                host.cut_line(true);
                host.cut_line(false);
            }
            Machine::Systemd | Machine::Podman(_) => systemctl(&["daemon-reexec"]),
            Machine::Docker(engine) => engine.restart_engine().await,
        }
        let relist = async { while case.events.recv().await != Some(RunnerEvent::Relist) {} };
        tokio::time::timeout(Duration::from_secs(30), relist).await.unwrap();
        assert_eq!(case.see_when_back(&unit).await.invocation, before.invocation);
        case.runner.stop(&unit).await.unwrap();
        case.wait_for_event(&unit, "inactive").await;
        case.runner.remove(&unit).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_of_any_length_that_systemd_takes_runs() {
    for mut case in Case::all().await {
        let kind = match &case.machine {
            Machine::Docker(_) | Machine::Podman(_) => ".container",
            _ => ".service",
        };
        for length in [230, 244, 245, 246, 250, 254, 255] {
            let unit = name(&format!("{}{kind}", "x".repeat(length - kind.len())));
            case.write(&unit, &case.good()).await;
            assert_eq!(case.runner.start(&unit, 1).await.unwrap(), StartOutcome::Done, "{length}");
            case.wait_for_event(&unit, "active").await;
            let seen = case.see(&unit).await;
            assert_eq!(seen.observed.file, Some(FileHash::of_text(&case.good())), "{length}");
            assert_eq!((seen.observed.active.as_str(), seen.invocation.len()), ("active", 32));
            case.clean(&unit).await;
            assert_eq!(case.see(&unit).await.observed.file, None, "{length}");
        }
    }
}
