//! What container units do on a real Docker engine, where `MUSTER_CONFORMANCE=docker` tells of one; see
//! `runner_conformance.rs`. Without one these tests have nothing to run against and say so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

#[path = "docker/conditions.rs"]
mod conditions;
#[path = "docker/images.rs"]
mod images;
#[path = "docker/looks.rs"]
mod looks;
mod support;

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::RemoveVolumeOptions;
use futures::StreamExt as _;
use muster_common::machine::ContainerEngine;
use muster_common::state::{ActiveState, sub};
use muster_common::unit::{FileHash, UnitName};
use musterd::runner::docker::Docker;
use musterd::runner::{Runner, RunnerError, StartOutcome, UnitObservation};
use support::engine::Engine;
use support::name;

/// The engine to test on, if there is one.
fn engine() -> Option<Engine> {
    if std::env::var("MUSTER_CONFORMANCE").is_ok_and(|v| v == "docker") {
        return Some(Engine::of_environment());
    }
    eprintln!("MUSTER_CONFORMANCE is not docker: nothing to test on");
    None
}

/// A runner with one unit, whose container goes with it.
struct Case {
    engine: Engine,
    runner: Docker,
    unit: UnitName,
}

impl Case {
    fn new(stem: &str) -> Option<Self> {
        let engine = engine()?;
        let runner = engine.runner();
        Some(Self { engine, runner, unit: name(&format!("{stem}.container")) })
    }

    async fn write(&self, lines: &str) {
        let text = self.engine.container(lines);
        self.runner.write(&self.unit, FileHash::of_text(&text), &text).await.unwrap();
    }

    async fn start(&self) -> StartOutcome {
        self.runner.start(&self.unit, 7).await.unwrap()
    }

    async fn see(&self) -> UnitObservation {
        let mut seen = self.runner.observe_units(&[self.unit.clone()].into()).await.unwrap();
        seen.remove(&self.unit).unwrap()
    }

    /// Waits until it is like that.
    async fn wait_until(&self, active: &str, sub: &str) {
        let wait = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                let seen = self.see().await.observed;
                if (seen.active.as_str(), seen.sub.as_str()) == (active, sub) {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(waited.is_ok(), "not {active} ({sub}) but {:?}", self.see().await.observed);
    }

    fn container(&self) -> String {
        format!("systemd-{}", self.unit.name_stem())
    }

    async fn inspect(&self) -> ContainerInspectResponse {
        self.engine.client().inspect_container(&self.container(), None).await.unwrap()
    }

    async fn end(self) {
        self.runner.stop(&self.unit).await.unwrap();
        self.runner.remove(&self.unit).await.unwrap();
        assert!(!self.engine.is_there(&self.container()).await, "its container is left behind");
    }
}

fn failed(outcome: StartOutcome) -> String {
    match outcome {
        StartOutcome::Failed { problem } => problem,
        StartOutcome::Done => panic!("it did not fail"),
    }
}

#[tokio::test]
async fn a_container_is_marked_with_what_it_is() {
    let Some(case) = Case::new("docker-marked") else { return };
    case.write("RunInit=yes\nExec=sleep 1000000\nLabel=role=web").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let answer = case.inspect().await;
    let labels = answer.config.unwrap().labels.unwrap();
    let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(label("muster.unit"), "docker-marked.container");
    assert_eq!(
        (label("muster.generation"), label("muster.cluster"), label("role")),
        ("7", "/test/", "web")
    );
    let invocation = case.see().await.invocation;
    assert_eq!(invocation.len(), 32);
    assert!(answer.id.unwrap().starts_with(&invocation));
    case.end().await;
}

#[tokio::test]
async fn a_new_daemon_finds_the_same_container() {
    let Some(mut case) = Case::new("docker-adopted") else { return };
    case.write("RunInit=yes\nExec=sleep 1000000\n[Service]\nRestart=always\nRestartSec=0").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let before = case.see().await;
    case.runner = case.engine.runner();
    case.wait_until("active", "running").await;
    assert_eq!(case.see().await.invocation, before.invocation);
    // And it still knows that it is to run.
    case.engine.kill_container(&case.container()).await;
    let wait = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        while case.see().await.invocation == before.invocation
            || case.see().await.observed.active != ActiveState::Active
        {
            // It may have ended before this daemon had looked at it: then it goes on once somebody knows that it belongs here.
            if case.see().await.observed.sub == sub::INTERRUPTED {
                case.start().await;
            }
            again.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok());
    case.end().await;
}

#[tokio::test]
async fn a_container_that_keeps_failing_meets_its_start_limit() {
    let Some(case) = Case::new("docker-crashing") else { return };
    case.write("Exec=sh -c 'exit 3'\n[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n[Service]\nRestart=on-failure\nRestartSec=0").await;
    case.start().await;
    case.wait_until("failed", "failed").await;
    assert_eq!(failed(case.start().await), "start failed: start-limit-hit");
    case.end().await;
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed() {
    let Some(case) = Case::new("docker-stubborn") else { return };
    case.write(
        "Exec=sh -c \"trap '' TERM; while :; do sleep 1; done\"\n[Service]\nTimeoutStopSec=1",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    assert_eq!(case.runner.stop(&case.unit).await.unwrap(), StartOutcome::Done);
    assert_eq!(case.inspect().await.state.unwrap().exit_code, Some(137));
    case.end().await;
}

#[tokio::test]
async fn an_image_that_is_missing_is_told() {
    let Some(case) = Case::new("docker-imageless") else { return };
    case.write("Image=localhost/none:1").await;
    assert_eq!(
        failed(case.start().await),
        "start failed: the image localhost/none:1 is not on this machine and Pull=never forbids fetching it"
    );
    assert_eq!(case.see().await.observed.active, ActiveState::Failed);
    case.write("Image=localhost:1/none:1\nPull=missing\nRetry=0").await;
    let problem = failed(case.start().await);
    assert!(
        problem.starts_with("start failed: cannot fetch the image localhost:1/none:1: "),
        "{problem}"
    );
    case.end().await;
}

#[tokio::test]
async fn health_decides_when_it_is_up_and_what_happens_when_it_is_not() {
    let Some(case) = Case::new("docker-healthy") else { return };
    case.write(
        "RunInit=yes\nExec=sh -c 'sleep 2; touch /tmp/well; sleep 1000000'\nHealthCmd=test -e /tmp/well\n\
         HealthInterval=1s\nHealthRetries=2\nHealthStartPeriod=20s\nNotify=healthy\nHealthOnFailure=kill",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let state = case.inspect().await.state.unwrap();
    assert_eq!(state.health.unwrap().status.unwrap().to_string(), "healthy");
    case.end().await;
}

#[tokio::test]
async fn secrets_and_variables_come_from_the_machine() {
    let Some(case) = Case::new("docker-secret") else { return };
    std::fs::write(case.engine.secrets().join("db"), "hunter2").unwrap();
    case.write(
        "Secret=db\nSecret=db,type=env,target=DB\nExec=sh -c 'test \"$$DB\" = hunter2 && test \"$$(cat /run/secrets/db)\" = hunter2'\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    assert_eq!(case.see().await.observed.sub, "exited");
    std::fs::remove_file(case.engine.secrets().join("db")).unwrap();
    assert_eq!(
        failed(case.runner.restart(&case.unit, 8).await.unwrap()),
        "restart failed: Secret=db: this machine does not have it"
    );
    case.end().await;
}

#[tokio::test]
async fn a_volume_is_made_first_and_kept() {
    let Some(case) = Case::new("docker-volume") else { return };
    case.write("Volume=docker-data.volume:/data\nExec=true\n[Service]\nType=oneshot").await;
    let problem = failed(case.start().await);
    assert!(problem.contains("docker-data.volume, which it names, is not known"), "{problem}");
    case.engine.files.put_file("docker-data.volume", "[Volume]\nLabel=a=b\n");
    assert_eq!(case.start().await, StartOutcome::Done);
    let engine = case.engine.client();
    case.end().await;
    let volume = engine.inspect_volume("systemd-docker-data").await.unwrap();
    assert_eq!(volume.labels.get("muster.unit").map(String::as_str), Some("docker-data.volume"));
    engine.remove_volume("systemd-docker-data", None::<RemoveVolumeOptions>).await.unwrap();
}

#[tokio::test]
async fn a_container_starts_from_copies_while_the_store_is_away() {
    let Some(mut case) = Case::new("docker-storeless") else { return };
    case.engine.files.put_file("docker-copied.volume", "[Volume]\n");
    case.write("RunInit=yes\nVolume=docker-copied.volume:/data\nExec=sleep 1000000").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    case.engine.files.set_away(true);
    assert_eq!(case.runner.restart(&case.unit, 8).await.unwrap(), StartOutcome::Done);
    case.runner = case.engine.runner();
    assert_eq!(case.runner.restart(&case.unit, 9).await.unwrap(), StartOutcome::Done);
    case.write("RunInit=yes\nVolume=docker-uncopied.volume:/data\nExec=sleep 1000000").await;
    let problem = failed(case.runner.restart(&case.unit, 10).await.unwrap());
    assert_eq!(problem, "restart failed: the store is away");
    let engine = case.engine.client();
    case.end().await;
    engine.remove_volume("systemd-docker-copied", None::<RemoveVolumeOptions>).await.unwrap();
}

#[tokio::test]
async fn a_volume_goes_with_its_unit_only_where_its_file_says_so() {
    let Some(case) = Case::new("docker-volumes") else { return };
    case.engine.files.put_file("docker-kept.volume", "[Volume]\n");
    case.engine.files.put_file("docker-gone.volume", "[Volume]\n[X-Fleet]\nDeleteOnDestroy=yes\n");
    case.write(
        "RunInit=yes\nVolume=docker-kept.volume:/a\nVolume=docker-gone.volume:/b\nExec=sleep 1000000",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let client = case.engine.client();
    let there = async |volume: &str| client.inspect_volume(volume).await.is_ok();

    // The container leaves the machine: what it wrote is kept.
    case.runner.stop(&case.unit).await.unwrap();
    case.runner.remove(&case.unit).await.unwrap();
    case.write("Volume=docker-kept.volume:/a\nVolume=docker-gone.volume:/b\nExec=true\n[Service]\nType=oneshot").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    assert!(there("systemd-docker-gone").await);

    // Nothing is concluded from a store that is away.
    case.engine.files.remove_file("docker-kept.volume");
    case.engine.files.remove_file("docker-gone.volume");
    case.engine.files.set_away(true);
    case.runner.remove(&case.unit).await.unwrap();
    assert!(there("systemd-docker-gone").await);
    case.engine.files.set_away(false);
    let runner = case.engine.runner();
    so("the volume is gone", || async { !there("systemd-docker-gone").await }).await;
    assert!(there("systemd-docker-kept").await);
    drop(runner);
    client.remove_volume("systemd-docker-kept", None::<RemoveVolumeOptions>).await.unwrap();
}

#[tokio::test]
async fn a_network_goes_with_the_last_container_on_it_where_its_file_says_so() {
    let Some(case) = Case::new("docker-networked") else { return };
    case.engine.files.put_file(
        "docker-net.network",
        "[Network]\nInternal=yes\nSubnet=10.231.7.0/24\nNetworkDeleteOnStop=yes\n",
    );
    let text = format!(
        "[Container]\nImage={}\nPull=never\nNetwork=docker-net.network\nRunInit=yes\nExec=sleep 1000000\n",
        case.engine.image
    );
    case.runner.write(&case.unit, FileHash::of_text(&text), &text).await.unwrap();
    assert_eq!(case.start().await, StartOutcome::Done);
    let client = case.engine.client();
    let there = || async { client.inspect_network("systemd-docker-net", None).await.is_ok() };
    assert!(there().await);
    case.runner.stop(&case.unit).await.unwrap();
    so("the network is gone", || async { !there().await }).await;
    assert_eq!(case.start().await, StartOutcome::Done, "it is made again");
    case.end().await;
}

#[tokio::test]
async fn an_image_comes_from_an_archive_on_the_machine() {
    let Some(case) = Case::new("docker-archive") else { return };
    let archive = case.engine.directory.path().join("image.tar");
    let mut chunks = std::pin::pin!(case.engine.client().export_image(&case.engine.image));
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    std::fs::write(&archive, bytes).unwrap();
    let lines = "Pull=missing\nRunInit=yes\nExec=sleep 1000000";
    case.write(&format!("Image=docker-archive:{}\n{lines}", archive.display())).await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let image = case.engine.image.clone();
    assert_eq!(case.inspect().await.config.unwrap().image, Some(image));

    case.write(&format!("Image=docker-archive:{}:other:1\n{lines}", archive.display())).await;
    let problem = failed(case.runner.restart(&case.unit, 8).await.unwrap());
    assert!(
        problem.ends_with(&format!("it holds {}, not other:1", case.engine.image)),
        "{problem}"
    );
    std::fs::write(&archive, "no archive").unwrap();
    let problem = failed(case.start().await);
    assert!(problem.starts_with("start failed: cannot load the image from "), "{problem}");
    case.end().await;
}

/// Waits until something is so.
async fn so<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let wait = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        while !is().await {
            again.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn what_a_reboot_leaves_behind_is_removed_and_what_is_anothers_is_not() {
    let Some(engine) = engine() else { return };
    engine.make_container_of("systemd-docker-left", "docker-left.container", "/test/").await;
    engine.make_container_of("systemd-docker-theirs", "docker-theirs.container", "/other/").await;
    engine.make_foreign("docker-own").await;
    let runner = engine.runner();
    so("the leftover is removed", || async { !engine.is_there("systemd-docker-left").await }).await;
    runner.observe_units(&[name("docker-left.container")].into()).await.unwrap();
    for container in ["systemd-docker-theirs", "docker-own"] {
        assert!(engine.is_there(container).await, "{container} was touched");
        engine.remove_container(container).await;
    }
}

#[tokio::test]
async fn a_unit_whose_file_has_vanished_is_seen_stopped_and_removed() {
    let Some(mut case) = Case::new("docker-vanished") else { return };
    case.write("RunInit=yes\nExec=sleep 1000000").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let before = case.see().await;
    let run = case.engine.directory.path().join("run");
    std::fs::remove_file(run.join("containers/docker-vanished.container")).unwrap();
    case.runner = case.engine.runner();
    case.wait_until("active", "running").await;
    let seen = case.see().await;
    assert_eq!((seen.invocation, seen.observed.file), (before.invocation.clone(), None));

    // With its file back it is the same container.
    case.write("RunInit=yes\nExec=sleep 1000000").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    assert_eq!(case.see().await.invocation, before.invocation);

    std::fs::remove_file(run.join("containers/docker-vanished.container")).unwrap();
    case.runner = case.engine.runner();
    case.wait_until("active", "running").await;
    assert_eq!(case.runner.stop(&case.unit).await.unwrap(), StartOutcome::Done);
    case.wait_until("inactive", "dead").await;
    case.end().await;
}

#[tokio::test]
async fn a_container_that_has_got_another_name_meanwhile_is_not_run_twice() {
    let Some(mut case) = Case::new("docker-renamed") else { return };
    case.write("RunInit=yes\nExec=sleep 1000000").await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let run = case.engine.directory.path().join("run");
    let renamed =
        case.engine.container("RunInit=yes\nExec=sleep 1000000\nContainerName=docker-new");
    std::fs::write(run.join("containers/docker-renamed.container"), &renamed).unwrap();
    case.runner = case.engine.runner();
    case.wait_until("active", "running").await;
    assert!(!case.engine.is_there("docker-new").await);
    assert_eq!(case.runner.restart(&case.unit, 8).await.unwrap(), StartOutcome::Done);
    assert!(case.engine.is_there("docker-new").await);
    assert!(!case.engine.is_there("systemd-docker-renamed").await);
    case.runner.stop(&case.unit).await.unwrap();
    case.runner.remove(&case.unit).await.unwrap();
    assert!(!case.engine.is_there("docker-new").await);
}

#[tokio::test]
async fn a_start_waits_for_the_removal_of_the_container_before_it() {
    let Some(case) = Case::new("docker-removed") else { return };
    // Many files take their time to remove.
    case.write("RunInit=yes\nExec=sh -c 'mkdir /m && cd /m && seq 1 30000 | xargs touch && exec sleep 1000000'")
        .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let client = case.engine.client();
    so("it has made its files", || async {
        let changes =
            client.container_changes(&case.container()).await.unwrap().unwrap_or_default();
        changes.len() > 30_000
    })
    .await;
    let container = case.container();
    let (first, second) = (case.engine.remove_quietly(&container), async {
        case.wait_until("failed", "failed").await;
        case.start().await
    });
    let ((), outcome) = tokio::join!(first, second);
    assert_eq!(outcome, StartOutcome::Done);
    case.end().await;
}

#[tokio::test]
async fn what_has_a_units_name_is_told_before_its_file_is_taken_in() {
    let Some(case) = Case::new("docker-taken") else { return };
    for (cluster, said) in [
        (
            "/other/",
            "the container systemd-docker-taken is another cluster's, /other/; give one of them another ContainerName=",
        ),
        (
            "",
            "this machine has a container systemd-docker-taken of its own, which Muster does not touch; rename one of them",
        ),
    ] {
        match cluster {
            "" => case.engine.make_foreign(&case.container()).await,
            _ => {
                case.engine.make_container_of(&case.container(), case.unit.as_str(), cluster).await;
            }
        }
        case.runner
            .watch_engine_state()
            .wait_for(|engine| *engine == ContainerEngine::Up)
            .await
            .unwrap();
        assert!(!case.see().await.observed.foreign, "how could it know?");
        let text = case.engine.container("RunInit=yes\nExec=sleep 1000000");
        let refused = case.runner.write(&case.unit, FileHash::of_text(&text), &text).await;
        assert_eq!(refused, Err(RunnerError::Taken { problem: said.to_owned() }));
        let seen = case.see().await.observed;
        assert_eq!((seen.foreign, seen.obstacle.as_str(), seen.file), (true, said, None));
        case.engine.remove_container(&case.container()).await;
        assert!(!case.see().await.observed.foreign);
        case.runner.write(&case.unit, FileHash::of_text(&text), &text).await.unwrap();
        case.runner.remove(&case.unit).await.unwrap();
    }
    case.end().await;
}

/// What the engine has as a container's environment.
async fn environment(case: &Case) -> Vec<String> {
    case.inspect().await.config.unwrap().env.unwrap_or_default()
}

#[tokio::test]
async fn the_daemons_own_variables_reach_no_container() {
    let Some(case) = Case::new("docker-environment") else { return };
    // The tests are told of their engine by variables of Muster's name, so there are some.
    case.write(
        "EnvironmentHost=true\nEnvironment=MUSTER_CONFORMANCE MUSTER_SAID=1 HOME\n\
         EnvironmentFile=-/nowhere/at/all.env\nExec=true\n[Service]\nType=oneshot\nRemainAfterExit=yes",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let environment = environment(&case).await;
    let muster: Vec<_> = environment.iter().filter(|one| one.starts_with("MUSTER_")).collect();
    assert_eq!(muster, ["MUSTER_SAID=1"]);
    assert!(environment.iter().any(|one| one.starts_with("PATH=")), "{environment:?}");
    case.end().await;
}

#[tokio::test]
async fn no_file_of_the_daemons_own_is_read_for_a_container() {
    let Some(case) = Case::new("docker-environ") else { return };
    case.write("EnvironmentFile=/proc/self/environ\nExec=true").await;
    let problem = failed(case.start().await);
    assert!(
        problem
            .starts_with("start failed: EnvironmentFile=/proc/self/environ: it tells of processes"),
        "{problem}"
    );
    case.end().await;
}

#[tokio::test]
async fn a_health_check_may_begin_with_podmans_keywords() {
    let Some(case) = Case::new("docker-keywords") else { return };
    for check in ["CMD-SHELL test -d /bin || exit 1", "CMD test -d /bin", "[\"CMD\", \"true\"]"] {
        let lines = "HealthInterval=1s\nNotify=healthy\nRunInit=yes\nExec=sleep 1000000";
        case.write(&format!("HealthCmd={check}\n{lines}")).await;
        assert_eq!(case.start().await, StartOutcome::Done, "{check}");
        let state = case.inspect().await.state.unwrap();
        assert_eq!(state.health.unwrap().status.unwrap().to_string(), "healthy", "{check}");
        assert_eq!(case.runner.stop(&case.unit).await.unwrap(), StartOutcome::Done);
    }
    case.end().await;
}

#[tokio::test]
async fn what_an_engine_is_too_old_for_is_refused_with_its_version() {
    let Some(case) = Case::new("docker-too-old") else { return };
    let version = case.engine.client().version().await.unwrap().api_version.unwrap();
    let minor: u32 = version.strip_prefix("1.").and_then(|minor| minor.parse().ok()).unwrap();
    // The image is not there either; what the engine cannot do is told before anything is looked for.
    case.write(
        "Image=localhost/none:1\nMount=type=volume,source=docker-too-old,target=/x,volume-subpath=logs",
    )
    .await;
    let problem = failed(case.start().await);
    if minor < 45 {
        let expected = format!(
            "start failed: subpath=logs in Mount= needs version 1.45 (Docker 26.0) of Docker's API or a later one, \
             and this machine's container engine speaks {version}"
        );
        assert!(problem.starts_with(&expected), "{problem}");
        assert!(case.see().await.remark.contains("needs version 1.45"));
    } else {
        assert!(problem.contains("localhost/none:1"), "{problem}");
    }
    case.write("AddDevice=vendor.example/none=all\nExec=true").await;
    let problem = failed(case.start().await);
    assert!(problem.contains("vendor.example/none=all"), "{problem}");
    case.end().await;
}
