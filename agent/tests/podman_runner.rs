//! What stands between a container unit and its service, with a generator and a systemd that do what a script says.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::unit::{FileHash, UnitFile, UnitName, list_references, quadlet_service};
use muster_doubles::{ScriptedHost, ScriptedRunner};
use musterd::runner::podman::generator::{
    GeneratedService, GeneratorError, GeneratorInput, QuadletGenerator, Translation,
};
use musterd::runner::podman::{
    ActivityWatch, MadeResources, Podman, PodmanSettings, PodmanUnits, ServiceActivity,
};
use musterd::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, Sources, StartOutcome, UnitObservation,
};

/// Makes a service of every file but those with a bad line; it names the files of the units that its own names.
struct ScriptedGenerator;

#[async_trait]
impl QuadletGenerator for ScriptedGenerator {
    async fn translate_files(&self, input: &GeneratorInput) -> Result<Translation, GeneratorError> {
        let mut services = BTreeMap::new();
        let shown: BTreeSet<PathBuf> = input
            .directories
            .iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && path.extension().is_some())
            .collect();
        for source in &shown {
            let text = fs::read_to_string(source).unwrap();
            let file: UnitFile = text.parse().unwrap();
            let unit: UnitName = file_name(source).parse().unwrap();
            if text.contains("Bad=") {
                continue;
            }
            let members = shown.iter().filter(|other| {
                let file: UnitFile = fs::read_to_string(other).unwrap().parse().unwrap();
                list_references(&file).iter().any(|of| of.is_tied && of.unit == unit)
            });
            let members: Vec<String> = members.map(|path| file_name(path)).collect();
            let text =
                format!("[Unit]\nSourcePath={}\n# with {members:?}\n# {text}", source.display());
            let name = quadlet_service(&unit, &file).unwrap();
            services.insert(source.clone(), GeneratedService { name, text });
        }
        if input.needed.iter().all(|source| services.contains_key(source)) {
            return Ok(Translation { services, warnings: Vec::new() });
        }
        Err(GeneratorError::Refused { problem: "line 3: Bad".to_owned() })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A systemd that does what a script says, and has its files on disk.
struct FileKeeper {
    inner: ScriptedRunner,
    unit_dir: PathBuf,
}

#[async_trait]
impl Runner for FileKeeper {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        self.inner.observe_units(units).await
    }
    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        fs::write(self.unit_dir.join(unit.as_str()), text).unwrap();
        self.inner.write(unit, hash, text).await
    }
    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let _ = fs::remove_file(self.unit_dir.join(unit.as_str()));
        self.inner.remove(unit).await
    }
    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.inner.enable(units).await
    }
    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.inner.disable(units).await
    }
    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.inner.load(unit).await
    }
    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.inner.start(unit, generation).await
    }
    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.inner.restart(unit, generation).await
    }
    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.inner.stop(unit).await
    }
}

/// The files that the cluster knows.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<BTreeMap<UnitName, Arc<UnitFile>>>>);

impl Cluster {
    fn forget(&self, unit: &str) {
        self.0.lock().unwrap().remove(&name(unit));
    }

    fn put(&self, unit: &str, text: &str) {
        self.0.lock().unwrap().insert(name(unit), Arc::new(text.parse().unwrap()));
    }
}

#[async_trait]
impl Sources for Cluster {
    async fn fetch_files(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        let known = self.0.lock().unwrap();
        Ok(units.iter().filter_map(|unit| Some((unit.clone(), known.get(unit)?.clone()))).collect())
    }
}

/// A Podman whose volumes and networks are asked to go, and which of them it has kept because they are in use.
#[derive(Clone, Default)]
struct Made {
    asked: Arc<Mutex<Vec<String>>>,
    is_used: Arc<AtomicBool>,
}

#[async_trait]
impl MadeResources for Made {
    async fn delete_made(&self, unit: &UnitName, cluster: &str) -> Result<Vec<String>, String> {
        if self.is_used.load(Ordering::SeqCst) {
            return Err("it is in use".to_owned());
        }
        self.asked.lock().unwrap().push(format!("{unit} of {cluster}"));
        Ok(Vec::new())
    }
}

/// Whatever starts is fetching an image.
struct Fetching;

impl ActivityWatch for Fetching {
    fn read_activity(&self, _: &UnitName) -> ServiceActivity {
        ServiceActivity { fetched: Some(20_000_000), has_container: false }
    }
}

/// A machine with Podman.
struct Machine {
    place: tempfile::TempDir,
    host: Arc<ScriptedHost>,
    cluster: Cluster,
    made: Made,
}

impl Machine {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for directory in ["system", "copies"] {
            fs::create_dir(place.path().join(directory)).unwrap();
        }
        Self {
            place,
            host: ScriptedHost::new(),
            cluster: Cluster::default(),
            made: Made::default(),
        }
    }

    /// The runner of a daemon that begins now.
    fn daemon(&self) -> (Podman, RunnerEvents) {
        let (inner, events) = ScriptedRunner::on_host(&self.host);
        let path = |name: &str| self.place.path().join(name);
        let systemd = FileKeeper { inner, unit_dir: path("system") };
        let settings = PodmanSettings {
            generator: Arc::new(ScriptedGenerator),
            units: PodmanUnits::in_directory(path("quadlet")),
            unit_dir: path("system"),
            sources: Arc::new(self.cluster.clone()),
            copies: path("copies"),
            cluster: "/here".to_owned(),
            made: Arc::new(self.made.clone()),
            watch: Arc::new(Fetching),
        };
        Podman::new((Arc::new(systemd), events), settings)
    }

    fn services(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place.path().join("system")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| file_name(&entry.unwrap().path())).collect();
        names.sort();
        names
    }

    fn service_text(&self, service: &str) -> String {
        fs::read_to_string(self.place.path().join("system").join(service)).unwrap()
    }

    fn count_requests(&self, beginning: &str) -> usize {
        self.host.requests_made().into_iter().filter(|asked| asked.starts_with(beginning)).count()
    }
}

fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

/// Moves the clock, which is paused, past two looks whether something has to go.
async fn let_two_looks_pass() {
    let long = Duration::from_secs(61);
    let _ = tokio::time::timeout(long, std::future::pending::<()>()).await;
}

async fn write(podman: &Podman, unit: &str, text: &str) -> Result<(), RunnerError> {
    podman.write(&name(unit), FileHash::of_text(text), text).await
}

#[tokio::test]
async fn a_later_daemon_starts_no_service_of_the_file_before() {
    let machine = Machine::new();
    let unit = name("a.container");
    let (podman, _events) = machine.daemon();
    write(&podman, "a.container", "[Container]\nImage=a\n").await.unwrap();
    assert_eq!(machine.services(), ["a.service"]);

    write(&podman, "a.container", "[Container]\nImage=a\nBad=1\n").await.unwrap();
    let refused = StartOutcome::Failed { problem: "Podman's generator: line 3: Bad".to_owned() };
    assert_eq!(podman.start(&unit, 2).await.unwrap(), refused);
    let (next, _events) = machine.daemon();
    assert_eq!(next.start(&unit, 2).await.unwrap(), refused);
    assert_eq!(machine.count_requests("start"), 0);
}

#[tokio::test]
async fn what_a_unit_names_comes_and_goes_with_it() {
    let machine = Machine::new();
    machine.cluster.put("d.volume", "[Volume]\n");
    machine.cluster.put("i.image", "[Image]\nImage=i\n");
    let (podman, _events) = machine.daemon();
    let file = |image: &str| format!("[Container]\nImage={image}\nVolume=d.volume:/d\n");
    write(&podman, "a.container", &file("i.image")).await.unwrap();
    write(&podman, "b.container", &file("b")).await.unwrap();
    let all = ["a.service", "b.service", "d-volume.service", "i-image.service"];
    assert_eq!(machine.services(), all);
    let volume = name("d.volume");
    assert!(!podman.has_unit(&volume), "it is nobody's own");

    // Another daemon knows what came with what.
    let (podman, _events) = machine.daemon();
    podman.remove(&name("a.container")).await.unwrap();
    assert_eq!(machine.services(), ["b.service", "d-volume.service"]);
    assert_eq!(machine.count_requests("stop i-image.service"), 1);

    // As a unit of its own it stays when the last that names it goes, and as long as one does.
    write(&podman, "d.volume", "[Volume]\n").await.unwrap();
    assert!(podman.has_unit(&volume));
    podman.remove(&volume).await.unwrap();
    assert_eq!(machine.services(), ["b.service", "d-volume.service"]);
    podman.remove(&name("b.container")).await.unwrap();
    assert_eq!(machine.services(), [""; 0]);
    let left = fs::read_dir(machine.place.path().join("quadlet")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_pod_knows_its_members_as_they_come_and_go() {
    let machine = Machine::new();
    machine.cluster.put("p.pod", "[Pod]\n");
    let (podman, _events) = machine.daemon();
    let member = "[Container]\nImage=a\nPod=p.pod\n";
    write(&podman, "a.container", member).await.unwrap();
    assert!(machine.service_text("p-pod.service").contains("with [\"a.container\"]"));
    write(&podman, "p.pod", "[Pod]\n").await.unwrap();
    write(&podman, "b.container", member).await.unwrap();
    assert!(machine.service_text("p-pod.service").contains("\"a.container\", \"b.container\""));
    podman.remove(&name("a.container")).await.unwrap();
    assert!(machine.service_text("p-pod.service").contains("with [\"b.container\"]"));
    assert_eq!(machine.services(), ["b.service", "p-pod.service"]);
}

#[tokio::test]
async fn what_cannot_be_brought_is_told_at_the_start() {
    let machine = Machine::new();
    let (podman, _events) = machine.daemon();
    write(&podman, "a.container", "[Container]\nImage=a\nVolume=d.volume:/d\n").await.unwrap();
    let problem = "line 3: [Container] Volume names d.volume, which the cluster does not know; submit it first";
    let refused = StartOutcome::Failed { problem: problem.to_owned() };
    assert_eq!(podman.start(&name("a.container"), 1).await.unwrap(), refused);

    machine.cluster.put("d.volume", "[Volume]\n");
    assert_eq!(podman.start(&name("a.container"), 1).await.unwrap(), StartOutcome::Done);
    assert_eq!(machine.services(), ["a.service", "d-volume.service"]);
}

#[tokio::test]
async fn two_files_that_would_be_one_service_are_told_apart() {
    let machine = Machine::new();
    let (podman, _events) = machine.daemon();
    write(&podman, "a.container", "[Container]\nImage=a\nServiceName=one\n").await.unwrap();
    assert_eq!(machine.services(), ["one.service"]);
    let taken = write(&podman, "one.kube", "[Kube]\nYaml=/a\n").await.unwrap_err().to_string();
    assert!(taken.contains("one.service, which is that of a.container"), "{taken}");
    let taken = write(&podman, "one.service", "[Service]\n").await.unwrap_err().to_string();
    assert_eq!(taken, "one.service is the service of a.container on this machine");

    // Who looks again is told, too, for as long as it is so; and the one that has the service says nothing of it.
    let twin = "[Container]\nImage=b\nServiceName=one\n";
    let taken = write(&podman, "b.container", twin).await.unwrap_err().to_string();
    let pair = BTreeSet::from([name("a.container"), name("b.container")]);
    let seen = podman.observe_units(&pair).await.unwrap();
    let hindered = &seen[&name("b.container")].observed;
    assert!(hindered.foreign && hindered.file.is_none());
    assert_eq!(hindered.obstacle, taken);
    assert_eq!(seen[&name("a.container")].observed.obstacle, "");

    // What runs of an earlier file runs on, with the reason why it does not have the next.
    write(&podman, "c.container", "[Container]\nImage=c\n").await.unwrap();
    podman.start(&name("c.container"), 1).await.unwrap();
    write(&podman, "c.container", twin).await.unwrap_err();
    let only = BTreeSet::from([name("c.container")]);
    let seen = podman.observe_units(&only).await.unwrap();
    let running = &seen[&name("c.container")].observed;
    assert!(!running.foreign && running.file.is_some() && running.active.is_up());
    assert!(running.obstacle.contains("that of a.container"), "{running:?}");
    podman.remove(&name("c.container")).await.unwrap();

    // A file that says another name gives the first one up.
    podman.start(&name("a.container"), 1).await.unwrap();
    write(&podman, "a.container", "[Container]\nImage=a\nServiceName=two\n").await.unwrap();
    assert_eq!(machine.services(), ["two.service"]);
    assert_eq!(machine.count_requests("stop one.service"), 1);
    let seen = podman.observe_units(&pair).await.unwrap();
    let hindered = &seen[&name("b.container")].observed;
    assert!(!hindered.foreign && hindered.obstacle.is_empty(), "{hindered:?}");
    write(&podman, "one.kube", "[Kube]\nYaml=/a\n").await.unwrap();

    machine.cluster.put("v.volume", "[Volume]\nServiceName=same\n");
    let both = "[Container]\nImage=a\nVolume=v.volume:/v\nServiceName=same\n";
    write(&podman, "c.container", both).await.unwrap();
    let refused = podman.start(&name("c.container"), 1).await.unwrap();
    let problem = "c.container and v.volume would be one service, same.service".to_owned();
    assert_eq!(refused, StartOutcome::Failed { problem });
}

#[tokio::test]
async fn what_there_was_no_room_for_is_podmans_all_the_same() {
    let machine = Machine::new();
    let quadlet = machine.place.path().join("quadlet");
    fs::write(&quadlet, "in the way of a directory").unwrap();
    let (podman, _events) = machine.daemon();
    let (unit, text) = (name("a.container"), "[Container]\nImage=a\n");
    let refused = write(&podman, "a.container", text).await.unwrap_err();
    assert!(matches!(refused, RunnerError::Files { .. }), "{refused}");
    assert!(podman.has_unit(&unit));
    let seen = podman.observe_units(&[unit.clone()].into()).await.unwrap();
    assert!(!seen[&unit].observed.foreign && seen[&unit].observed.file.is_none());

    fs::remove_file(&quadlet).unwrap();
    write(&podman, "a.container", text).await.unwrap();
    assert_eq!(machine.services(), ["a.service"]);
    podman.remove(&unit).await.unwrap();
    assert!(!podman.has_unit(&unit));
}

#[tokio::test(start_paused = true)]
async fn what_a_volume_made_goes_with_its_unit_only_where_its_file_says_so() {
    let machine = Machine::new();
    let goes = "[Volume]\n[X-Fleet]\nDeleteOnDestroy=yes\n";
    machine.cluster.put("gone.volume", goes);
    machine.cluster.put("kept.volume", "[Volume]\n");
    let (podman, _events) = machine.daemon();
    let unit = name("a.container");
    let text = "[Container]\nImage=a\nVolume=gone.volume:/g\nVolume=kept.volume:/k\n";
    write(&podman, "a.container", text).await.unwrap();
    let asked = || machine.made.asked.lock().unwrap().clone();

    // The container leaves the machine: what it wrote is kept as long as the cluster knows the volume.
    podman.remove(&unit).await.unwrap();
    let_two_looks_pass().await;
    assert_eq!(asked(), [""; 0]);

    // Nor does it go while another here names it still, or while it is in use; a daemon that comes later sees to it, too.
    write(&podman, "a.container", text).await.unwrap();
    machine.cluster.forget("gone.volume");
    machine.cluster.forget("kept.volume");
    let_two_looks_pass().await;
    assert_eq!(asked(), [""; 0]);
    machine.made.is_used.store(true, Ordering::SeqCst);
    podman.remove(&unit).await.unwrap();
    let_two_looks_pass().await;
    drop(podman);
    machine.made.is_used.store(false, Ordering::SeqCst);
    let (podman, _events) = machine.daemon();
    let_two_looks_pass().await;
    assert_eq!(asked(), ["gone.volume of /here"]);

    // One that was started for its own sake is no other.
    write(&podman, "own.network", "[Network]\n[X-Fleet]\nDeleteOnDestroy=yes\n").await.unwrap();
    podman.remove(&name("own.network")).await.unwrap();
    let_two_looks_pass().await;
    assert_eq!(asked(), ["gone.volume of /here", "own.network of /here"]);
    assert_eq!(fs::read_dir(machine.place.path().join("copies")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_long_says_how_far_it_is() {
    let machine = Machine::new();
    let (podman, mut events) = machine.daemon();
    let podman = Arc::new(podman);
    let unit = name("a.container");
    write(&podman, "a.container", "[Container]\nImage=b\nVolume=/d:/d\n").await.unwrap();
    machine.host.hold_starts("a.service", true);
    let start = tokio::spawn({
        let (podman, unit) = (Arc::clone(&podman), unit.clone());
        async move { podman.start(&unit, 1).await.unwrap() }
    });
    let said = next_remark(&mut events, &unit).await;
    assert_eq!(said, "fetches b: 20 MB so far");
    let seen = podman.observe_units(&[unit.clone()].into()).await.unwrap();
    assert_eq!(seen[&unit].remark, said);

    machine.host.hold_starts("a.service", false);
    assert_eq!(start.await.unwrap(), StartOutcome::Done);
    let seen = podman.observe_units(&[unit.clone()].into()).await.unwrap();
    assert_eq!(seen[&unit].remark, "");
}

/// The next words on a unit.
async fn next_remark(events: &mut RunnerEvents, unit: &UnitName) -> String {
    loop {
        match events.recv().await.unwrap() {
            RunnerEvent::Changed { unit: of, remark, .. } if of == *unit && !remark.is_empty() => {
                return remark;
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_an_earlier_daemon_began_says_how_far_it_is() {
    let machine = Machine::new();
    let (podman, _events) = machine.daemon();
    let podman = Arc::new(podman);
    let unit = name("a.container");
    write(&podman, "a.container", "[Container]\nImage=b\n").await.unwrap();
    machine.host.hold_starts("a.service", true);
    let start = tokio::spawn({
        let (podman, unit) = (Arc::clone(&podman), unit.clone());
        async move { podman.start(&unit, 1).await }
    });
    machine.host.until_asked("start a.service").await;
    start.abort();
    drop((podman, start.await));

    let (next, mut events) = machine.daemon();
    let only = [unit.clone()].into();
    next.observe_units(&only).await.unwrap();
    assert_eq!(next_remark(&mut events, &unit).await, "fetches b: 20 MB so far");
    assert_eq!(next.observe_units(&only).await.unwrap()[&unit].remark, "fetches b: 20 MB so far");

    // Asked once more it waits with the rest, and with the end of the start there is nothing to say.
    machine.host.hold_starts("a.service", false);
    assert_eq!(next.start(&unit, 1).await.unwrap(), StartOutcome::Done);
    let_two_looks_pass().await;
    assert_eq!(next.observe_units(&only).await.unwrap()[&unit].remark, "");
}
