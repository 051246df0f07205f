//! Whom we believe when systemd is spoken for: a real bus, one that owns systemd's name, and one that does not.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use muster_common::unit::UnitName;
use tokio::sync::mpsc;
use zbus::{Connection, OwnedObjectPath, Variant};

use super::*;
use crate::bus::test_bus::{TestBus, shout};
use crate::runner::RunnerEvent;
use crate::runner::files::UnitFiles;
use crate::runner::systemd::SharedReader;
use crate::runner::systemd::host_units::HostUnits;
use crate::runner::systemd::manager::JobResult;
use crate::runner::systemd::runs::OwnRuns;
use crate::runner::systemd::signals::SignalReader;
use crate::runner::systemd::wire::path_of;
use crate::stdx::clock::Wall;
use crate::stdx::disk::HostDisk;

const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Of a machine that has no unit files.
fn reader_of(signals: Arc<Mutex<SignalReader>>) -> SharedReader {
    let files = UnitFiles::new_public(Arc::new(HostDisk), PathBuf::from("/nonexistent"));
    let host = HostUnits::new(Arc::new(HostDisk), None);
    let runs = OwnRuns::new(Arc::new(Mutex::new(files)), Arc::new(Mutex::new(host)));
    SharedReader { signals, runs: Arc::new(runs) }
}

struct BusListener {
    signals: Arc<Mutex<SignalReader>>,
    events: mpsc::Receiver<RunnerEvent>,
    _reader: tokio::task::JoinHandle<()>,
}

impl BusListener {
    fn on(bus: &TestBus) -> Self {
        let (mut signals, events) = SignalReader::new(Wall::default());
        signals.watch_unit(&unit());
        let signals = Arc::new(Mutex::new(signals));
        let sink = Arc::new(reader_of(Arc::clone(&signals)));
        let line = Bus::new(Some(bus.address.clone()), sink);
        let reader = tokio::spawn(async move { line.keep_connected().await });
        Self { signals, events, _reader: reader }
    }

    async fn next(&mut self) -> RunnerEvent {
        tokio::time::timeout(EVENT_TIMEOUT, self.events.recv()).await.unwrap().unwrap()
    }

    /// The state that the next event tells of.
    async fn state(&mut self) -> String {
        match self.next().await {
            RunnerEvent::Changed { active, .. } => active.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The end that is told of a job.
    async fn job(&self, job: &str) -> JobResult {
        let end = self.signals.lock().unwrap().jobs.wait(&JobId(job.to_owned()));
        tokio::time::timeout(EVENT_TIMEOUT, end).await.unwrap().unwrap()
    }
}

fn unit() -> UnitName {
    "web.service".parse().unwrap()
}

/// One that owns systemd's name, and takes subscriptions.
async fn systemd(bus: &TestBus) -> Connection {
    bus.service(SYSTEMD, |_| Some(())).await
}

async fn say_state(from: &Connection, path: &str, interface: &str, of: &str, active: &str) {
    let properties: HashMap<&str, Variant<'_>> =
        [("ActiveState", Variant::from(active)), ("SubState", Variant::from("dead"))].into();
    let body = (of, properties, Vec::<&str>::new());
    shout(from, path, interface, "PropertiesChanged", &body).await;
}

async fn say_job(from: &Connection, path: &str, interface: &str, job: &str, result: &str) {
    let job = OwnedObjectPath::try_from(job).unwrap();
    let body = (1_u32, job, "web.service", result);
    shout(from, path, interface, "JobRemoved", &body).await;
}

/// Everything that one may say of systemd, as it would say it, and once more with each of its words wrong.
async fn lie(from: &Connection) {
    let path = path_of(&unit());
    say_state(from, &path, PROPERTIES, UNIT, "failed").await;
    say_job(from, MANAGER_PATH, MANAGER, "/job/1", "failed").await;
    shout(from, MANAGER_PATH, MANAGER, "Reloading", &false).await;
    let names = (SYSTEMD, ":1.1", from.unique_name().unwrap().as_str());
    shout(from, "/org/freedesktop/DBus", bus::BUS, "NameOwnerChanged", &names).await;
    shout(from, MANAGER_PATH, MANAGER, "NameOwnerChanged", &names).await;
    misspeak(from).await;
}

/// Says in its place the things that systemd would never say.
async fn misspeak(from: &Connection) {
    let path = path_of(&unit());
    say_state(from, &path, MANAGER, UNIT, "failed").await;
    say_state(from, &path, PROPERTIES, "org.freedesktop.systemd1.Service", "failed").await;
    say_state(from, MANAGER_PATH, PROPERTIES, UNIT, "failed").await;
    say_state(from, "/elsewhere", PROPERTIES, UNIT, "failed").await;
    say_job(from, &path, MANAGER, "/job/1", "failed").await;
    say_job(from, MANAGER_PATH, UNIT, "/job/1", "failed").await;
    shout(from, &path, MANAGER, "Reloading", &false).await;
    shout(from, MANAGER_PATH, UNIT, "Reloading", &false).await;
    shout(from, MANAGER_PATH, MANAGER, "Reloading", &"false").await;
    // Of other types than systemd's, and large.
    shout(from, MANAGER_PATH, MANAGER, "JobRemoved", &("/job/1", "failed")).await;
    let properties: HashMap<&str, Variant<'_>> =
        [("ActiveState", Variant::from(1_u32)), ("SubState", Variant::from("dead"))].into();
    let body = (UNIT, properties, Vec::<&str>::new());
    shout(from, &path, PROPERTIES, "PropertiesChanged", &body).await;
    shout(from, &path, PROPERTIES, "PropertiesChanged", &vec![7_u8; 1 << 16]).await;
}

/// Asserts that the words of systemd are heard, and nothing of what was said before it.
async fn is_believed(systemd: &Connection, heard: &mut BusListener, job: &str) {
    say_job(systemd, MANAGER_PATH, MANAGER, job, "done").await;
    say_state(systemd, &path_of(&unit()), PROPERTIES, UNIT, "active").await;
    // Broadcast and straight.
    assert_eq!(heard.state().await, "active");
    assert_eq!(heard.state().await, "active");
    assert_eq!(heard.job(job).await, JobResult::Done);
}

#[tokio::test]
async fn nobody_speaks_for_systemd_but_the_owner_of_its_name() {
    let bus = TestBus::start().await;
    let first = systemd(&bus).await;
    let foreign = bus.connection().await;
    let mut heard = BusListener::on(&bus);
    assert_eq!(heard.next().await, RunnerEvent::Relist);

    lie(&foreign).await;
    misspeak(&first).await;
    is_believed(&first, &mut heard, "/job/1").await;

    // systemd executes itself anew, with another connection; the earlier one is a stranger from then on.
    first.release_name(SYSTEMD).await.unwrap();
    lie(&foreign).await;
    lie(&first).await;
    let second = systemd(&bus).await;
    assert_eq!(heard.next().await, RunnerEvent::Relist);
    lie(&first).await;
    is_believed(&second, &mut heard, "/job/1").await;
}

#[tokio::test]
async fn systemd_is_asked_for_nothing_while_nobody_owns_its_name() {
    let bus = TestBus::start().await;
    let (signals, mut events) = SignalReader::new(Wall::default());
    let sink = Arc::new(reader_of(Arc::new(Mutex::new(signals))));
    let line = Arc::new(Bus::new(Some(bus.address.clone()), sink));
    let keeping = tokio::spawn({
        let line = Arc::clone(&line);
        async move { line.keep_connected().await }
    });
    let lost = tokio::time::timeout(EVENT_TIMEOUT, events.recv()).await.unwrap();
    assert!(matches!(lost, Some(RunnerEvent::Lost { .. })), "{lost:?}");
    let asked: Result<(), _> = line.call_method(MANAGER_PATH, MANAGER, "Reload", &()).await;
    assert!(matches!(asked, Err(RunnerError::Lost { .. })), "{asked:?}");
    let _systemd = systemd(&bus).await;
    assert_eq!(events.recv().await, Some(RunnerEvent::Relist));
    line.call_method::<_, ()>(MANAGER_PATH, MANAGER, "Reload", &()).await.unwrap();
    keeping.abort();
}
