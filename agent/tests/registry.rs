//! Images from a registry that wants a password, where `MUSTER_REGISTRY_IMAGE` names one in such a registry and
//! `MUSTER_CONFORMANCE=docker` tells of an engine that reaches it. `MUSTER_REGISTRY_LOGIN` is `user:password`, and
//! `MUSTER_REGISTRY_DOWN` and `MUSTER_REGISTRY_UP` are commands that stop and start it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]
#![allow(dead_code, reason = "every test binary uses a part of what they share")]

mod support;

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use muster_common::unit::{FileHash, UnitName};
use musterd::runner::docker::Docker;
use musterd::runner::{Runner, StartOutcome};
use support::engine::Engine;
use support::name;

/// A runner on an engine, and an image that its registry has.
struct Case {
    engine: Engine,
    runner: Docker,
    unit: UnitName,
    image: String,
}

impl Case {
    async fn new(stem: &str) -> Option<Self> {
        let docker = std::env::var("MUSTER_CONFORMANCE").is_ok_and(|v| v == "docker");
        let Some(image) = std::env::var("MUSTER_REGISTRY_IMAGE").ok().filter(|_| docker) else {
            eprintln!("MUSTER_REGISTRY_IMAGE is not set: no registry to test on");
            return None;
        };
        run("UP").await;
        let engine = Engine::of_environment();
        let login = std::env::var("MUSTER_REGISTRY_LOGIN").unwrap();
        log_in(&engine, &image, &login);
        let runner = engine.runner();
        let case = Self { engine, runner, unit: name(&format!("{stem}.container")), image };
        case.forget_image().await;
        Some(case)
    }

    async fn start(&self, lines: &str) -> StartOutcome {
        let text = format!(
            "[Container]\nImage={}\nNetwork=none\nRunInit=yes\nExec=sleep 1000000\n{lines}\n[Unit]\nStartLimitIntervalSec=0\n",
            self.image
        );
        self.runner.write(&self.unit, FileHash::of_text(&text), &text).await.unwrap();
        self.runner.restart(&self.unit, 7).await.unwrap()
    }

    async fn forget_image(&self) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let _ = self.engine.client().remove_image(&self.image, Some(options), None).await;
    }

    async fn remark(&self) -> String {
        let mut seen = self.runner.observe_units(&[self.unit.clone()].into()).await.unwrap();
        seen.remove(&self.unit).unwrap().remark
    }

    async fn end(self) {
        self.runner.stop(&self.unit).await.unwrap();
        self.runner.remove(&self.unit).await.unwrap();
        self.forget_image().await;
    }
}

fn log_in(engine: &Engine, image: &str, login: &str) {
    let (registry, _) = image.split_once('/').unwrap();
    let auth = STANDARD.encode(login);
    let text = format!("{{\"auths\":{{\"{registry}\":{{\"auth\":\"{auth}\"}}}}}}");
    std::fs::write(engine.credentials(), text).unwrap();
}

async fn run(what: &str) {
    let command = std::env::var(format!("MUSTER_REGISTRY_{what}")).unwrap();
    let run = move || Command::new("sh").arg("-c").arg(command).status().unwrap();
    assert!(tokio::task::spawn_blocking(run).await.unwrap().success());
}

fn failed(outcome: StartOutcome) -> String {
    match outcome {
        StartOutcome::Failed { problem } => problem,
        StartOutcome::Done => panic!("it did not fail"),
    }
}

#[tokio::test]
async fn an_image_is_fetched_with_the_machines_credentials() {
    let Some(case) = Case::new("registry-login").await else { return };
    assert_eq!(case.start("Retry=0").await, StartOutcome::Done);

    // Not with wrong ones, which are in no message.
    case.forget_image().await;
    case.runner.stop(&case.unit).await.unwrap();
    case.runner.remove(&case.unit).await.unwrap();
    case.forget_image().await;
    log_in(&case.engine, &case.image, "me:hunter2");
    let problem = failed(case.start("Retry=0").await);
    assert!(problem.contains(&format!("cannot fetch the image {}: ", case.image)), "{problem}");
    assert!(!problem.contains("hunter2") && !problem.contains("aHVudGVyMg"), "{problem}");
    case.end().await;
}

#[tokio::test]
async fn pull_decides_whether_the_registry_is_asked() {
    let Some(case) = Case::new("registry-pull").await else { return };
    assert!(failed(case.start("Pull=never").await).contains("Pull=never forbids fetching it"));
    assert_eq!(case.start("Pull=newer").await, StartOutcome::Done);
    run("DOWN").await;
    // With the image there, only `always` needs the registry.
    for pull in ["missing", "never", "newer"] {
        assert_eq!(case.start(&format!("Pull={pull}")).await, StartOutcome::Done, "{pull}");
    }
    let problem = failed(case.start("Pull=always\nRetry=0").await);
    assert!(problem.contains("cannot fetch the image"), "{problem}");
    run("UP").await;
    assert_eq!(case.start("Pull=always").await, StartOutcome::Done);
    case.end().await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_asked_again_until_it_is_back() {
    let Some(case) = Case::new("registry-away").await else { return };
    run("DOWN").await;
    let (started, ()) = tokio::join!(case.start("Retry=1000\nRetryDelay=200ms"), async {
        let attempt_seen = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                let remark = case.remark().await;
                // The fourth, or whichever is seen after it.
                let attempt = remark.split_once("next try in 200ms, ");
                let attempt = attempt.and_then(|(_, rest)| rest.split_once(" of 1001"));
                if attempt.is_some_and(|(number, _)| number.parse().is_ok_and(|n: u32| n >= 4)) {
                    return remark;
                }
            }
        };
        let remark = tokio::time::timeout(Duration::from_secs(60), attempt_seen).await.unwrap();
        let begin = format!("cannot fetch the image {} (", case.image);
        assert!(remark.starts_with(&begin), "{remark}");
        run("UP").await;
    });
    assert_eq!(started, StartOutcome::Done);
    case.end().await;
}
