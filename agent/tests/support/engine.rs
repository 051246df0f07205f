//! A real Docker engine to test against, named by the environment, and runners on it.

#![allow(clippy::panic, reason = "in a test a panic is the failure")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use musterd::runner::RunnerEvents;
use musterd::runner::Sources;
use musterd::runner::docker::{Docker, Settings};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// An engine, and a directory for what a runner on it remembers.
pub struct Engine {
    socket: PathBuf,
    /// What runners reach it through.
    relay: Relay,
    pub image: String,
    pub directory: tempfile::TempDir,
    /// Files of volumes and networks.
    pub files: Arc<Files>,
}

/// Files of units that are placed nowhere, and whether whoever has them is away.
#[derive(Default)]
pub struct Files {
    known: Mutex<BTreeMap<UnitName, Arc<UnitFile>>>,
    away: AtomicBool,
}

impl Files {
    pub fn put_file(&self, unit: &str, text: &str) {
        self.known.lock().unwrap().insert(unit.parse().unwrap(), Arc::new(text.parse().unwrap()));
    }

    pub fn remove_file(&self, unit: &str) {
        self.known.lock().unwrap().remove(&unit.parse::<UnitName>().unwrap());
    }

    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

#[async_trait]
impl Sources for Files {
    async fn fetch_files(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        if self.away.load(Ordering::SeqCst) {
            return Err("the store is away".to_owned());
        }
        let files = self.known.lock().unwrap();
        Ok(units.iter().filter_map(|u| Some((u.clone(), files.get(u)?.clone()))).collect())
    }
}

/// A socket that passes everything on to another, and can be cut.
struct Relay {
    path: PathBuf,
    /// How often it was cut.
    lines: watch::Sender<u64>,
}

impl Relay {
    fn new(path: PathBuf, to: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let lines = watch::Sender::new(0);
        let cuts = lines.subscribe();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let (to, mut cut) = (to.clone(), cuts.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    // An engine that is down is what the caller is to find.
                    let Ok(mut engine) = UnixStream::connect(to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut caller, &mut engine) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { path, lines }
    }
}

impl Engine {
    /// The engine that `MUSTER_DOCKER` and `MUSTER_DOCKER_IMAGE` name.
    pub fn of_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let socket = PathBuf::from(variable("MUSTER_DOCKER"));
        let directory = tempfile::tempdir().unwrap();
        Self {
            relay: Relay::new(directory.path().join("engine.sock"), socket.clone()),
            socket,
            image: variable("MUSTER_DOCKER_IMAGE"),
            directory,
            files: Arc::default(),
        }
    }

    /// A runner that knows what one before it on this engine remembered.
    pub fn runner(&self) -> Docker {
        self.runner_and_events().0
    }

    /// The same, with where its events arrive.
    pub fn runner_and_events(&self) -> (Docker, RunnerEvents) {
        std::fs::create_dir_all(self.secrets()).unwrap();
        Docker::new(Settings {
            socket: self.relay.path.clone(),
            machine: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            userspace: None,
            cluster: "/test/".to_owned(),
            run_dir: self.directory.path().join("run"),
            state_dir: self.directory.path().join("state"),
            secrets: self.secrets(),
            credentials: Some(self.credentials()).filter(|path| path.exists()),
            sources: self.files.clone(),
        })
        .unwrap()
    }

    pub fn secrets(&self) -> PathBuf {
        self.directory.path().join("secrets")
    }

    /// Where credentials for registries are, if a test has put any there.
    pub fn credentials(&self) -> PathBuf {
        self.directory.path().join("config.json")
    }

    /// A container's file. It needs no network.
    pub fn container(&self, lines: &str) -> String {
        format!("[Container]\nImage={}\nPull=never\nNetwork=none\n{lines}\n", self.image)
    }

    pub fn client(&self) -> bollard::Docker {
        let socket = self.socket.to_string_lossy();
        bollard::Docker::connect_with_unix(&socket, 60, bollard::API_DEFAULT_VERSION).unwrap()
    }

    pub async fn kill_container(&self, container: &str) {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.client().kill_container(container, Some(options)).await.unwrap();
    }

    /// A container that is somebody else's.
    pub async fn make_foreign(&self, container: &str) {
        self.make_container(container, &[]).await;
    }

    /// A container of this unit's that has never run.
    pub async fn make_container_of(&self, container: &str, unit: &str, cluster: &str) {
        let file = FileHash::of_text("").to_string();
        let labels = [
            ("muster.unit", unit),
            ("muster.file", file.as_str()),
            ("muster.generation", "1"),
            ("muster.cluster", cluster),
        ];
        self.make_container(container, &labels).await;
    }

    async fn make_container(&self, container: &str, labels: &[(&str, &str)]) {
        let options = CreateContainerOptionsBuilder::new().name(container).build();
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(vec!["sleep".to_owned(), "1000000".to_owned()]),
            labels: Some(labels.collect()),
            ..ContainerCreateBody::default()
        };
        self.client().create_container(Some(options), body).await.unwrap();
    }

    pub async fn is_there(&self, container: &str) -> bool {
        self.client().inspect_container(container, None).await.is_ok()
    }

    pub async fn remove_container(&self, container: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.client().remove_container(container, Some(options)).await.unwrap();
    }

    /// Removes a container, whoever else does or has done.
    pub async fn remove_quietly(&self, container: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        let _ = self.client().remove_container(container, Some(options)).await;
    }

    /// Breaks every line that runners have to it. They can call again at once.
    pub fn cut_connections(&self) {
        self.relay.lines.send_modify(|cut| *cut += 1);
    }

    /// Restarts the engine under its containers.
    pub async fn restart_engine(&self) {
        let command = std::env::var("MUSTER_DOCKER_RESTART").unwrap_or_else(|_| {
            panic!("MUSTER_DOCKER_RESTART is not set: how is the engine restarted?")
        });
        let restarted = tokio::task::spawn_blocking(move || {
            Command::new("sh").arg("-c").arg(command).status().unwrap()
        });
        assert!(restarted.await.unwrap().success());
    }
}
