//! This machine's presence in the cluster: its registration under a lease, kept alive.
//!
//! Owns the lease and the machine's record. Everything else that lives under the lease (published states, leadership)
//! belongs to others, who learn from [`Registration`] which lease is good. It never starts or stops a unit.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::machine::{ContainerEngine, Machine, MachineId, RunnerKind};
use muster_store::{Lease, LeaseId, Presence, Registry, RegistryError, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stdx::disk::{Disk, HostDisk};
use crate::stdx::errors::error_chain;
use crate::stdx::files::{Durability, replace_file};
use crate::stdx::sync::lock;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;

/// Pause between attempts while the store does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// How long one attempt may take; a store that needs longer is tried anew.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Shortest lease worth having: below it an etcd election alone costs a machine its lease.
const SHORTEST: Duration = Duration::from_secs(2);
/// How long a container engine may be silent before the cluster is told that it is gone: it may be on its way up again.
const SILENCE_GRACE: Duration = Duration::from_secs(30);

/// Where this machine stands with the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Registration {
    /// Not known yet, or about to register again.
    Waiting,
    /// The store does not answer and this machine holds no lease that it knows of.
    Unreachable,
    /// Another machine has our id.
    Refused,
    /// Registered under this lease, as far as is known.
    Registered(Presence),
}

/// The lease asked for so that a machine silent for `ttl` is gone even when etcd's leader went with it; see
/// docs/decisions/0001-lease-shorter-than-ttl.md.
pub fn lease_for(ttl: Duration) -> Duration {
    (ttl * 3 / 5).max(SHORTEST)
}

/// What the record says that may change: whether the container engine runs units, why not although it did, and metadata.
type Told = (bool, Option<String>, BTreeMap<String, String>);

/// Keeps this machine registered.
pub struct RegistrationLoop {
    machine: Machine,
    containers: watch::Receiver<ContainerEngine>,
    metadata: watch::Receiver<BTreeMap<String, String>>,
    /// How long it may be silent before it counts as gone.
    silence_grace: Duration,
    /// Since when it has been.
    silent: Mutex<Option<Instant>>,
    told: Mutex<Option<Told>>,
    ttl: Duration,
    registry: Registry,
    disk: Arc<dyn Disk>,
    memory: PathBuf,
    health: Health,
    standing: watch::Sender<Registration>,
    doubt: Arc<Notify>,
}

/// The lease of an earlier daemon of this boot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    machine: MachineId,
    boot: String,
    lease: i64,
}

enum Found {
    Nobody,
    Us,
    Another(Box<Machine>),
}

impl RegistrationLoop {
    /// A keeper that has not begun. It remembers its lease in `run_dir`.
    pub fn new(
        machine: Machine,
        ttl: Duration,
        registry: Registry,
        run_dir: &Path,
        health: Health,
    ) -> Self {
        Self {
            metadata: watch::channel(machine.metadata.clone()).1,
            machine,
            containers: watch::channel(ContainerEngine::Absent).1,
            silence_grace: SILENCE_GRACE,
            silent: Mutex::new(None),
            told: Mutex::new(None),
            ttl: lease_for(ttl),
            registry,
            disk: Arc::new(HostDisk),
            memory: run_dir.join("lease.json"),
            health,
            standing: watch::Sender::new(Registration::Waiting),
            doubt: Arc::new(Notify::new()),
        }
    }

    /// The same with another disk than the host's.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The same for a machine whose container engine comes and goes.
    #[must_use]
    pub fn with_container_engine(self, containers: watch::Receiver<ContainerEngine>) -> Self {
        Self { containers, ..self }
    }

    /// The same for a machine whose metadata may be configured anew.
    #[must_use]
    pub fn with_metadata(self, metadata: watch::Receiver<BTreeMap<String, String>>) -> Self {
        Self { metadata, ..self }
    }

    /// The same with another time that an engine may be silent before it counts as gone.
    #[must_use]
    pub fn with_silence_grace(self, silence_grace: Duration) -> Self {
        Self { silence_grace, ..self }
    }

    /// What is to be told now, and when that changes by itself.
    fn due(&self) -> (Told, Option<Instant>) {
        let containers = self.containers.borrow().clone();
        let metadata = self.metadata.borrow().clone();
        let mut silent = lock(&self.silent);
        match containers {
            ContainerEngine::Lost(problem) => {
                let gone = *silent.get_or_insert_with(Instant::now) + self.silence_grace;
                // It may be on its way up again: its units stay its own, and new ones may come.
                let silence_grace = Instant::now() < gone;
                ((silence_grace, Some(problem), metadata), silence_grace.then_some(gone))
            }
            other => {
                *silent = None;
                ((other == ContainerEngine::Up, None, metadata), None)
            }
        }
    }

    /// Writes the machine's record, with the runners it has now.
    async fn tell(&self, lease: Lease) -> Result<Presence, RegistryError> {
        let mut machine = self.machine.clone();
        let (told, _) = self.due();
        if told.0 {
            machine.runners.insert(RunnerKind::Docker);
        }
        machine.containers_lost.clone_from(&told.1);
        machine.metadata.clone_from(&told.2);
        let presence = self.registry.register_machine(&machine, lease).await?;
        *lock(&self.told) = Some(told);
        Ok(presence)
    }

    /// Writes the record again if it has become untrue. Returns when to look again.
    async fn retell(&self, lease: Lease) -> Option<Instant> {
        let (due, next) = self.due();
        let told = lock(&self.told).clone();
        if told.as_ref() == Some(&due) {
            return next;
        }
        match tokio::time::timeout(ATTEMPT, self.tell(lease)).await {
            Ok(Ok(_)) => next,
            Ok(Err(_)) | Err(_) => Some(Instant::now() + RETRY),
        }
    }

    /// Where the machine stands, as it changes.
    pub fn registration(&self) -> watch::Receiver<Registration> {
        self.standing.subscribe()
    }

    /// To be told when a write under the lease was refused: then the keeper looks at once.
    pub fn lease_suspect(&self) -> Arc<Notify> {
        Arc::clone(&self.doubt)
    }

    /// Registers, keeps the lease alive, registers again when it is gone; until `shutdown`. The lease is left alive.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.keep() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn keep(&self) {
        let mut lease = self.remembered();
        loop {
            let asked = Instant::now();
            match tokio::time::timeout(ATTEMPT, self.register(lease)).await {
                Ok(Ok(Some(presence))) => {
                    self.health.set_ok(|s| &mut s.store);
                    self.health.set_ok(|s| &mut s.lease);
                    tracing::info!(machine = %self.machine.id, lease = presence.lease.id.0, "registered");
                    let granted = presence.lease;
                    lease = Some(granted.id);
                    self.stand(Registration::Registered(presence));
                    self.prolong(granted, asked).await;
                    // The lease may only be in doubt; registering takes it over when it is alive.
                    self.stand(Registration::Waiting);
                    continue;
                }
                Ok(Ok(None)) => self.stand(Registration::Refused),
                Ok(Err(error)) => self.unreachable(&error_chain(&error)),
                Err(_) => self.unreachable("the store does not answer in time"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn unreachable(&self, problem: &str) {
        self.health.set_failed(|s| &mut s.store, problem.to_owned());
        self.health
            .set_failed(|s| &mut s.lease, "not registered: the store does not answer".to_owned());
        self.stand(Registration::Unreachable);
    }

    fn stand(&self, standing: Registration) {
        self.standing.send_if_modified(|s| {
            let changed = *s != standing;
            *s = standing;
            changed
        });
    }

    /// One attempt to register, under the lease of before if it is alive. `None`: another machine has our id.
    async fn register(&self, lease: Option<LeaseId>) -> Result<Option<Presence>, RegistryError> {
        match self.look(lease).await? {
            Found::Another(other) => {
                let problem = format!(
                    "machine id {} is already in use by the machine at {}: two machines must not share an id; on one of \
                     them remove /etc/machine-id and /var/lib/dbus/machine-id, run systemd-machine-id-setup and restart musterd",
                    self.machine.id,
                    if other.address.is_empty() { "an unknown address" } else { &other.address },
                );
                if self.health.status().lease.problem.as_ref() != Some(&problem) {
                    tracing::error!(problem, "this machine cannot be registered");
                }
                self.health.set_ok(|s| &mut s.store);
                self.health.set_failed(|s| &mut s.lease, problem);
                return Ok(None);
            }
            Found::Nobody | Found::Us => {}
        }
        let alive = match lease {
            Some(id) => match self.registry.keep_alive(id).await {
                Ok(lease) => Some(lease),
                Err(StoreError::LeaseGone { .. }) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let lease = match alive {
            Some(lease) => lease,
            None => self.registry.grant_lease(self.ttl).await?,
        };
        self.remember(lease.id);
        self.tell(lease).await.map(Some)
    }

    /// Who is registered under our id. A machine under our lease or with our address is us: before a restart or a reboot.
    /// The boot tells nothing here: before a reboot it was another.
    async fn look(&self, lease: Option<LeaseId>) -> Result<Found, RegistryError> {
        let found = match self.registry.read_registration(&self.machine.id).await {
            Ok(found) => found,
            // A record nobody can read is nobody's; ours replaces it.
            Err(RegistryError::Unreadable { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some((other, held)) = found else { return Ok(Found::Nobody) };
        let ours = &self.machine;
        let same_address = !ours.address.is_empty() && other.address == ours.address;
        let same_lease = lease.is_some() && held == lease;
        Ok(if same_address || same_lease { Found::Us } else { Found::Another(Box::new(other)) })
    }

    /// Keeps the lease alive until it is gone or in doubt. Its time counts from the sending of the last request that
    /// was answered.
    async fn prolong(&self, lease: Lease, sent: Instant) {
        let mut next = sent + lease.ttl / 3;
        let mut ends = sent + lease.ttl;
        let mut containers = self.containers.clone();
        let mut metadata = self.metadata.clone();
        // Whoever registered has told what was the case then, or a moment before.
        let mut retell = Some(Instant::now());
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.doubt.notified() => {}
                Ok(()) = containers.changed() => {
                    containers.mark_unchanged();
                    retell = Some(Instant::now());
                    continue;
                }
                Ok(()) = metadata.changed() => {
                    retell = Some(Instant::now());
                    continue;
                }
                () = sleep_until_opt(retell) => {
                    retell = self.retell(lease).await;
                    continue;
                }
            }
            // Nobody can say that it is gone while the store is away; our own clock says when it cannot be relied on.
            if Instant::now() >= ends {
                let problem = "the lease has run out, and the store does not answer".to_owned();
                self.health.set_failed(|s| &mut s.lease, problem);
            }
            let sent = Instant::now();
            let patience = (lease.ttl / 3).max(RETRY);
            match tokio::time::timeout(patience, self.registry.keep_alive(lease.id)).await {
                Ok(Ok(prolonged)) => {
                    self.health.set_ok(|s| &mut s.store);
                    self.health.set_ok(|s| &mut s.lease);
                    match self.registration_is_ours(lease.id).await {
                        Some(true) | None => {
                            next = sent + prolonged.ttl / 3;
                            ends = sent + prolonged.ttl;
                        }
                        Some(false) => return,
                    }
                }
                Ok(Err(StoreError::LeaseGone { .. })) => {
                    tracing::warn!(lease = lease.id.0, "the lease is gone; registering again");
                    self.health.set_failed(|s| &mut s.lease, "the lease was lost".to_owned());
                    return;
                }
                Ok(Err(error)) => {
                    self.health.set_failed(|s| &mut s.store, error_chain(&error));
                    next = Instant::now() + RETRY;
                }
                // The next try goes to another endpoint.
                Err(_) => {
                    self.health.set_failed(
                        |s| &mut s.store,
                        "the store does not answer in time".to_owned(),
                    );
                    next = Instant::now();
                }
            }
        }
    }

    /// Whether the record under our id lives under our lease; `None` when that cannot be found out now.
    async fn registration_is_ours(&self, lease: LeaseId) -> Option<bool> {
        let looked =
            tokio::time::timeout(RETRY, self.registry.read_registration(&self.machine.id)).await;
        looked.ok()?.ok().map(|found| found.is_some_and(|(_, held)| held == Some(lease)))
    }

    fn remembered(&self) -> Option<LeaseId> {
        let bytes = self.disk.read(&self.memory).ok()?;
        let found: Remembered = serde_json::from_slice(&bytes).ok()?;
        let same = found.machine == self.machine.id && found.boot == self.machine.boot;
        same.then_some(LeaseId(found.lease))
    }

    fn remember(&self, lease: LeaseId) {
        let record = Remembered {
            machine: self.machine.id.clone(),
            boot: self.machine.boot.clone(),
            lease: lease.0,
        };
        let written = serde_json::to_vec(&record).map_err(io::Error::from).and_then(|bytes| {
            replace_file(&*self.disk, &self.memory, &bytes, Durability::OutlivesDaemon)
        });
        if let Err(error) = written {
            tracing::warn!(path = %self.memory.display(), %error, "cannot remember the lease");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_leaves_room_for_an_election() {
        for (ttl, lease) in [(5, 3), (10, 6), (30, 18), (2, 2), (1, 2)] {
            assert_eq!(lease_for(Duration::from_secs(ttl)), Duration::from_secs(lease));
        }
    }
}
