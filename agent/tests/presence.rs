//! What a machine's record says of its container engine, as that comes and goes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::time::Duration;

use muster_common::machine::{ContainerEngine, Machine, RunnerKind};
use muster_store::Registry;
use musterd::Health;
use musterd::machine::registration::RegistrationLoop;
use musterd::telemetry::health;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(200);

/// A machine whose container engine comes and goes as a test wants.
struct Case {
    registry: Registry,
    engine: watch::Sender<ContainerEngine>,
    _registrar: AbortOnDropHandle<()>,
    _disk: tempfile::TempDir,
}

impl Case {
    fn new(silence_grace: Duration) -> Self {
        let (registry, disk) = support::timed_store();
        let machine: Machine = serde_json::from_value(serde_json::json!({
            "id": "m1", "address": "192.0.2.1", "runners": ["systemd"],
        }))
        .unwrap();
        let engine = watch::Sender::new(ContainerEngine::Absent);
        let ttl = Duration::from_secs(10);
        let registrar =
            RegistrationLoop::new(machine, ttl, registry.clone(), disk.path(), Health::new())
                .with_container_engine(engine.subscribe())
                .with_silence_grace(silence_grace);
        let registrar =
            AbortOnDropHandle::new(tokio::spawn(registrar.run(CancellationToken::new())));
        Self { registry, engine, _registrar: registrar, _disk: disk }
    }

    /// Waits until the record says whether the engine runs units, and why it does not answer.
    async fn until_record_says(&self, runs: bool, lost: Option<&str>) {
        let id = "m1".parse().unwrap();
        let what = format!("runs: {runs}, lost: {lost:?}");
        support::wait_until(&self.registry, &what, |snapshot| {
            snapshot.machines.get(&id).is_some_and(|machine| {
                machine.runners.contains(&RunnerKind::Systemd)
                    && machine.runners.contains(&RunnerKind::Docker) == runs
                    && machine.containers_lost.as_deref() == lost
            })
        })
        .await;
    }

    fn set_engine(&self, engine: ContainerEngine) {
        self.engine.send_replace(engine);
    }
}

fn lost_engine() -> ContainerEngine {
    ContainerEngine::Lost("no such file".to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_silent_for_a_moment_is_recorded_and_keeps_its_units() {
    let case = Case::new(LONG);
    case.until_record_says(false, None).await;
    case.set_engine(ContainerEngine::Up);
    case.until_record_says(true, None).await;
    case.set_engine(lost_engine());
    case.until_record_says(true, Some("no such file")).await;
    case.set_engine(ContainerEngine::Up);
    case.until_record_says(true, None).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_is_withdrawn_and_recorded_again_when_it_is_back() {
    let case = Case::new(SHORT);
    case.set_engine(ContainerEngine::Up);
    case.until_record_says(true, None).await;
    case.set_engine(lost_engine());
    case.until_record_says(false, Some("no such file")).await;
    case.set_engine(ContainerEngine::Up);
    case.until_record_says(true, None).await;
    // Its next silence is a new one.
    case.set_engine(lost_engine());
    case.until_record_says(false, Some("no such file")).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_lost_its_lease_meanwhile_records_the_same() {
    let case = Case::new(SHORT);
    case.set_engine(lost_engine());
    case.until_record_says(false, Some("no such file")).await;
    let found = case.registry.read_registration(&"m1".parse().unwrap()).await.unwrap().unwrap();
    case.registry.revoke_lease(found.lease.unwrap()).await.unwrap();
    support::wait_until(&case.registry, "gone", |snapshot| snapshot.machines.is_empty()).await;
    case.until_record_says(false, Some("no such file")).await;
}

#[tokio::test(start_paused = true)]
async fn the_daemon_is_unwell_while_an_engine_that_it_had_is_away() {
    let health = Health::new();
    let engine = watch::Sender::new(ContainerEngine::Absent);
    let task = tokio::spawn({
        let (health, engine) = (health.clone(), engine.subscribe());
        async move { health::watch_containers(&health, engine).await }
    });
    let until_recorded = async |ok: Option<bool>| {
        let mut status = health.subscribe();
        let seen_status = status.wait_for(|status| {
            let part = status.required_components().find(|(name, _)| *name == "containers");
            part.map(|(_, part)| part.ok) == ok
        });
        tokio::time::timeout(Duration::from_secs(30), seen_status).await.unwrap().unwrap();
    };
    until_recorded(None).await;
    engine.send_replace(ContainerEngine::Up);
    until_recorded(Some(true)).await;
    engine.send_replace(lost_engine());
    until_recorded(Some(false)).await;
    assert_eq!(
        health.status().containers.problem.as_deref(),
        Some("the container engine does not answer: no such file")
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_configured_anew_is_recorded_without_a_restart() {
    let (registry, disk) = support::timed_store();
    let machine: Machine = serde_json::from_value(serde_json::json!({
        "id": "m1", "address": "192.0.2.1", "metadata": {"zone": "a", "disk": "ssd"},
    }))
    .unwrap();
    let metadata = watch::Sender::new(machine.metadata.clone());
    let ttl = Duration::from_secs(10);
    let registrar =
        RegistrationLoop::new(machine, ttl, registry.clone(), disk.path(), Health::new())
            .with_metadata(metadata.subscribe());
    let _registrar = AbortOnDropHandle::new(tokio::spawn(registrar.run(CancellationToken::new())));
    let id = "m1".parse().unwrap();
    let until_recorded = async |wanted: &[(&str, &str)]| {
        let wanted = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        support::wait_until(&registry, "its metadata", |snapshot| {
            snapshot.machines.get(&id).is_some_and(|machine| machine.metadata == wanted)
        })
        .await;
        registry.read_snapshot().await.unwrap().machines.get(&id).unwrap().created
    };
    let created = until_recorded(&[("disk", "ssd"), ("zone", "a")]).await;
    metadata.send_replace([("zone".to_owned(), "b".to_owned())].into());
    assert_eq!(until_recorded(&[("zone", "b")]).await, created, "the registration is the same");
}
