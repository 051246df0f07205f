//! A machine that pretends to reboot, its disk, and the role on it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a module of a test binary, in which a panic is the failure"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser as _;
use muster_common::machine::MachineId;
use muster_common::reboot::{
    Group, HistoryEntry, HostStatus, Journal, Phase, RebootMethod, Request,
};
use muster_engine::reboot::phase::Inhibitor;
use muster_store::Registry;
use musterd::Health;
use musterd::config::{Config, Flags};
use musterd::host::power::{HostError, HostPower};
use musterd::reboot::{Lock, role};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::HostDisk;
use musterd::telemetry::health::NameStanding;
use musterd::view::View;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What survives its daemons.
pub struct Machine {
    pub registry: Registry,
    pub host: Arc<Pretended>,
    pub health: Health,
    pub config: Config,
    pub agent: bool,
    status: watch::Sender<HostStatus>,
    pub state: tempfile::TempDir,
    _store: Option<tempfile::TempDir>,
}

/// The machine as the role meets it.
#[derive(Debug)]
pub struct Pretended {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    began: Instant,
}

#[derive(Debug, Default)]
pub struct State {
    pub boot: u32,
    /// Counts soft-reboots as well.
    pub userspace: u32,
    /// Whether systemd tells it.
    pub silent: bool,
    /// The way in which it was asked to reboot last.
    pub method: Option<RebootMethod>,
    /// Why it cannot reboot in another way than as a whole.
    pub cannot: Option<String>,
    pub going_down: bool,
    pub reboots: u32,
    pub said: Vec<String>,
    pub inhibitors: Vec<Inhibitor>,
    pub sessions: u64,
    pub refuses: bool,
}

/// A role that runs.
pub struct Running(JoinHandle<()>);

impl Running {
    /// Ends it as `kill -9` would.
    pub async fn kill(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Machine {
    /// With an embedded store of its own. `reboot`: the table `[reboot]`, beside what makes it quick.
    pub fn new(reboot: &str) -> Self {
        let (registry, disk) = crate::support::store();
        Self { _store: Some(disk), ..Self::with(registry, reboot) }
    }

    /// With a store that others may use as well.
    pub fn with(registry: Registry, reboot: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("muster.toml");
        let settle = if reboot.contains("settle") { "" } else { "settle = \"0s\"" };
        std::fs::write(&file, format!("[reboot]\n{settle}\n{reboot}\n")).unwrap();
        let file = file.display().to_string();
        let flags = ["musterd", "--config", &file, "--machine-id", "m1"];
        let config = Config::load(Flags::try_parse_from(flags).unwrap()).unwrap();
        let host = Pretended {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            began: Instant::now(),
        };
        Self {
            registry,
            host: Arc::new(host),
            health: Health::new(),
            config,
            agent: false,
            status: watch::Sender::new(HostStatus::default()),
            state,
            _store: None,
        }
    }

    pub fn start(&self) -> Running {
        // What an earlier one said is not waited for.
        self.status.send_replace(HostStatus::default());
        if self.agent {
            self.health.set_name_standing(NameStanding::Ours);
        }
        let groups = self.config.reboot.known_groups();
        let setup = role::RoleSetup {
            machine: self.id(),
            config: self.config.reboot.clone(),
            agent: self.agent,
            registry: self.registry.clone(),
            view: View::new(self.registry.clone()),
            lock: Lock::new(self.registry.clone(), groups),
            host: Arc::clone(&self.host) as Arc<dyn HostPower>,
            disk: Arc::new(HostDisk),
            state_dir: self.state.path().to_owned(),
            health: self.health.clone(),
            wall: Wall::default(),
            status: self.status.clone(),
            look_interval: Duration::from_millis(20),
        };
        Running(tokio::spawn(role::run(setup, CancellationToken::new())))
    }

    pub fn id(&self) -> MachineId {
        self.config.machine_id.clone()
    }

    pub async fn wish(&self, by: &str, at: u64) {
        self.wish_for(by, at, None).await;
    }

    pub async fn wish_for(&self, by: &str, at: u64, method: Option<RebootMethod>) {
        let request = Request { by: by.to_owned(), at, because: None, method };
        self.registry.request_reboot(&self.id(), &request).await.unwrap();
    }

    pub async fn wished(&self) -> Option<Request> {
        self.registry.reboot_request(&self.id()).await.unwrap().map(|(request, _)| request)
    }

    pub fn reboots(&self) -> u32 {
        self.host.state.lock().unwrap().reboots
    }

    /// Waits until it has been asked to reboot.
    pub async fn goes_down(&self) {
        self.host.wait_until("goes down", |state| state.going_down).await;
    }

    /// It has gone down and comes up again.
    pub fn boots(&self) {
        self.host.with(|state| {
            state.boot += 1;
            state.userspace += 1;
            state.going_down = false;
        });
    }

    /// Its userspace has gone down and comes up again.
    pub fn boots_softly(&self) {
        self.host.with(|state| {
            state.userspace += 1;
            state.going_down = false;
        });
    }

    pub async fn status(&self) -> HostStatus {
        self.registry.reboot_host(&self.id()).await.unwrap().unwrap_or_default()
    }

    /// Waits until the machine's status is as it should be.
    pub async fn wait_until(&self, what: &str, holds: impl Fn(&HostStatus) -> bool) -> HostStatus {
        let mut status = self.status.subscribe();
        let found =
            tokio::time::timeout(CONDITION_TIMEOUT, status.wait_for(|status| holds(status))).await;
        // What was found locks what is told: a second look at it meanwhile would wait for a writer that waits for the first.
        let found = found.map(|status| status.unwrap().clone());
        let Ok(found) = found else {
            panic!("{what}: never came to be; it is {:#?}", *self.status.borrow())
        };
        found
    }

    /// Waits until nothing is due and no slot is held.
    pub async fn comes_to_rest(&self) {
        let rests = |status: &HostStatus| {
            status.phase == Phase::Idle
                && status.boot == self.host.boot_id()
                && status.due.is_empty()
        };
        self.wait_until("comes to rest", rests).await;
        assert_eq!(self.holders().await, Vec::<String>::new(), "a slot is held");
    }

    pub async fn holders(&self) -> Vec<String> {
        let group = self.registry.reboot_group(&Group::default()).await.unwrap();
        let holders = group.map(|group| group.semaphore.holders).unwrap_or_default();
        holders.iter().map(|holder| holder.id.to_string()).collect()
    }

    pub async fn history(&self) -> Vec<HistoryEntry> {
        self.registry.reboot_history(&Group::default()).await.unwrap()
    }

    /// What is on its disk.
    pub fn journal(&self) -> Journal {
        let bytes = std::fs::read(self.state.path().join("reboot.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

pub const CONDITION_TIMEOUT: Duration = Duration::from_secs(30);

impl Pretended {
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    pub async fn wait_until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = changed.wait_for(|_| holds(&self.state.lock().unwrap()));
        assert!(tokio::time::timeout(CONDITION_TIMEOUT, wait).await.is_ok(), "{what}: never");
    }
}

#[async_trait]
impl HostPower for Pretended {
    fn boot_id(&self) -> String {
        match self.state.lock().unwrap().boot {
            // The same boot as a scripted host that has been cut off once.
            1 => "boot-1".to_owned(),
            boot => format!("b{boot}"),
        }
    }

    async fn userspace_id(&self) -> Option<String> {
        let state = self.state.lock().unwrap();
        (!state.silent).then(|| format!("u{}", state.userspace))
    }

    fn up_millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    async fn shutdown_inhibitors(&self) -> Result<Vec<Inhibitor>, HostError> {
        Ok(self.state.lock().unwrap().inhibitors.clone())
    }

    async fn user_sessions(&self) -> Result<u64, HostError> {
        Ok(self.state.lock().unwrap().sessions)
    }

    async fn is_stopping(&self) -> bool {
        self.state.lock().unwrap().going_down
    }

    async fn wait_for_shutdown(&self, _known: bool) -> bool {
        std::future::pending().await
    }

    async fn tell_users(&self, text: &str) -> Result<(), HostError> {
        self.with(|state| state.said.push(text.to_owned()));
        Ok(())
    }

    async fn check_reboot(&self, method: RebootMethod) -> Result<(), HostError> {
        let cannot = self.state.lock().unwrap().cannot.clone();
        match cannot {
            Some(problem) if method != RebootMethod::Reboot => Err(HostError::Impossible(problem)),
            _ => Ok(()),
        }
    }

    async fn reboot(&self, method: RebootMethod) -> Result<(), HostError> {
        self.with(|state| {
            state.method = Some(method);
            if state.refuses {
                let problem = "not today".to_owned();
                return Err(HostError::Refused { during: "reboot", problem });
            }
            // Asked once more while it goes down: nothing new.
            if !state.going_down {
                state.going_down = true;
                state.reboots += 1;
            }
            Ok(())
        })
    }
}
