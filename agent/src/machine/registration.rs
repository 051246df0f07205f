//! This machine's presence in the cluster: its registration under a lease, kept alive.
//!
//! Owns the loop around [`Registrar`], which decides: it feeds it with the time, the store's answers and news of the machine, and
//! carries out what it says. Everything else that lives under the lease (published states, leadership) belongs to others,
//! who learn from [`Registration`] which lease is good. It never starts or stops a unit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::errors::error_chain;
use muster_common::machine::{ContainerEngine, Machine, MachineId};
use muster_engine::contact::StoreContact;
use muster_engine::machine::cluster::{RememberedCluster, StoredCluster};
pub use muster_engine::machine::registration::Registration;
use muster_engine::machine::registration::{
    FoundRecord, LeaseProblem, Registrar, RegistrarAnswer, RegistrarEffect, RegistrarInput,
    RegistrarRequest, SILENCE_GRACE, UnitsReported,
};
use muster_runtime::Instant;
use muster_store::{Registry, RegistryError, StoreError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::machine::cluster_memory::ClusterMemory;
use crate::machine::lease_memory::LeaseMemory;
use crate::machine::outage_note::OutageNote;
use crate::stdx::disk::{Disk, HostDisk};
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::{Health, NameStanding};

/// Keeps this machine registered.
pub struct RegistrationLoop {
    machine: Machine,
    ttl: Duration,
    silence_grace: Duration,
    container_engine: watch::Receiver<ContainerEngine>,
    metadata: watch::Receiver<BTreeMap<String, String>>,
    leaving: watch::Receiver<bool>,
    wakes: watch::Receiver<()>,
    reported: watch::Receiver<UnitsReported>,
    memory: LeaseMemory,
    outage: OutageNote,
    store: RegistrarStore,
    health: Health,
    registration: watch::Sender<Registration>,
    contact: watch::Sender<Option<StoreContact>>,
    lease_ends: watch::Sender<Option<Instant>>,
    /// When the registrar's clock was at zero.
    started: Instant,
    lease_suspect: Arc<Notify>,
}

/// A machine's registration and its contact with the store, for those who follow both.
#[derive(Clone)]
pub struct FollowedRegistration {
    /// Where the machine stands.
    pub registration: watch::Receiver<Registration>,
    /// Contact with the store, in times of the clock.
    pub contact: watch::Receiver<Option<StoreContact>>,
    /// When the clock was at zero.
    pub clock: Instant,
}

/// The store, as a registrar asks it.
struct RegistrarStore {
    registry: Registry,
    machine: MachineId,
    cluster: ClusterMemory,
}

impl RegistrationLoop {
    /// Makes a loop that has not begun. It remembers its lease in `run_dir`, and what outlives a boot there, too, unless
    /// [`Self::with_memory`] says where.
    pub fn new(
        machine: Machine,
        ttl: Duration,
        registry: Registry,
        run_dir: &Path,
        health: Health,
    ) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(HostDisk);
        let cluster = ClusterMemory::new(Arc::clone(&disk), run_dir, &run_dir.join("owned"), "");
        Self {
            metadata: watch::channel(machine.metadata.clone()).1,
            leaving: watch::channel(false).1,
            wakes: watch::channel(()).1,
            reported: watch::channel(UnitsReported::NoUnits).1,
            ttl,
            silence_grace: SILENCE_GRACE,
            container_engine: watch::channel(ContainerEngine::Absent).1,
            memory: LeaseMemory::new(Arc::clone(&disk), run_dir, &machine),
            outage: OutageNote::new(disk, run_dir, &machine.id),
            store: RegistrarStore { registry, machine: machine.id.clone(), cluster },
            machine,
            health,
            registration: watch::Sender::new(Registration::Pending),
            contact: watch::Sender::new(None),
            lease_ends: watch::Sender::new(None),
            started: Instant::now(),
            lease_suspect: Arc::new(Notify::new()),
        }
    }

    /// The same for a machine whose container engine comes and goes.
    #[must_use]
    pub fn with_container_engine(self, engine: watch::Receiver<ContainerEngine>) -> Self {
        Self { container_engine: engine, ..self }
    }

    /// The same for a machine whose metadata may be configured anew.
    #[must_use]
    pub fn with_metadata(self, metadata: watch::Receiver<BTreeMap<String, String>>) -> Self {
        Self { metadata, ..self }
    }

    /// The same for a machine that says when it is about to go down.
    #[must_use]
    pub fn with_leaving(self, leaving: watch::Receiver<bool>) -> Self {
        Self { leaving, ..self }
    }

    /// The same for a machine that says when it has slept.
    #[must_use]
    pub fn with_wakes(self, wakes: watch::Receiver<()>) -> Self {
        Self { wakes, ..self }
    }

    /// The same for a machine with units, which says how much of them has been reported.
    #[must_use]
    pub fn with_units_reported(self, reported: watch::Receiver<UnitsReported>) -> Self {
        Self { reported, ..self }
    }

    /// The same with another time that a container engine may be silent before it counts as gone.
    #[must_use]
    pub fn with_silence_grace(self, silence_grace: Duration) -> Self {
        Self { silence_grace, ..self }
    }

    /// The same with another disk than the host's.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { memory: self.memory.on_disk(disk), ..self }
    }

    /// The same with a memory of its cluster and of outages that outlives the boot.
    #[must_use]
    pub fn with_memory(mut self, cluster: ClusterMemory, outage: OutageNote) -> Self {
        self.store.cluster = cluster;
        self.outage = outage;
        self
    }

    /// Where the machine stands, as it changes.
    pub fn watch_registration(&self) -> watch::Receiver<Registration> {
        self.registration.subscribe()
    }

    /// When the machine's lease is over, unless the store says otherwise; `None` while it has none.
    pub fn watch_lease_end(&self) -> watch::Receiver<Option<Instant>> {
        self.lease_ends.subscribe()
    }

    /// The same with the contact with the store, for whoever judges others by it.
    pub fn follow_registration(&self) -> FollowedRegistration {
        FollowedRegistration {
            registration: self.watch_registration(),
            contact: self.contact.subscribe(),
            clock: self.started,
        }
    }

    /// To be notified when a write under the lease was refused: then the lease is looked at at once.
    pub fn lease_suspect(&self) -> Arc<Notify> {
        Arc::clone(&self.lease_suspect)
    }

    /// Registers, keeps the lease alive, registers again when it is gone; until `shutdown`. The lease is left alive.
    pub async fn run(self, shutdown: CancellationToken) {
        // In boxes, here and below: they would be the largest parts of the daemon's core.
        shutdown.run_until_cancelled(Box::pin(self.keep_registered())).await;
    }

    async fn keep_registered(mut self) {
        let started = self.started;
        self.machine.metadata = self.metadata.borrow_and_update().clone();
        let mut registrar =
            Registrar::new(self.machine.clone(), self.ttl, self.memory.load_lease())
                .with_silence_grace(self.silence_grace);
        // What is known at the beginning is told like everything that changes.
        self.reported.mark_changed();
        let engine = self.container_engine.borrow_and_update().clone();
        let mut input = RegistrarInput::ContainerEngine(engine);
        loop {
            let effects = registrar.step(started.elapsed(), input);
            // Before the registration: whoever hears of that looks at this.
            self.contact.send_if_modified(|contact| {
                let now = registrar.store_contact();
                std::mem::replace(contact, now) != now
            });
            self.lease_ends.send_replace(registrar.lease_ends().map(|at| started + at));
            input = if let Some((request, within)) = self.carry_out(effects) {
                let answer = Box::pin(self.store.ask_store(request));
                let answer = muster_runtime::timeout(within, answer).await;
                RegistrarInput::Answer(answer.unwrap_or(RegistrarAnswer::TimedOut))
            } else {
                self.next_input(registrar.next_deadline().map(|at| started + at)).await
            };
        }
    }

    /// Waits for what comes next while no request is under way. All arms are cancel-safe: what is not taken is there at the
    /// next call.
    async fn next_input(&mut self, deadline: Option<Instant>) -> RegistrarInput {
        tokio::select! {
            biased;
            () = self.lease_suspect.notified() => RegistrarInput::LeaseSuspect,
            Ok(()) = self.wakes.changed() => RegistrarInput::Woken,
            Ok(()) = self.container_engine.changed() => {
                RegistrarInput::ContainerEngine(self.container_engine.borrow_and_update().clone())
            }
            Ok(()) = self.metadata.changed() => {
                RegistrarInput::Metadata(self.metadata.borrow_and_update().clone())
            }
            Ok(()) = self.reported.changed() => {
                RegistrarInput::UnitsReported(*self.reported.borrow_and_update())
            }
            Ok(()) = self.leaving.changed() => {
                RegistrarInput::Leaving(*self.leaving.borrow_and_update())
            }
            () = sleep_until_opt(deadline) => RegistrarInput::Tick,
        }
    }

    /// Does what the registrar wants done. Returns the request that is left to be made, and how long it may take.
    fn carry_out(&self, effects: Vec<RegistrarEffect>) -> Option<(RegistrarRequest, Duration)> {
        let mut asked = None;
        for effect in effects {
            match effect {
                RegistrarEffect::Ask { request, within } => asked = Some((request, within)),
                RegistrarEffect::RememberLease(lease) => self.memory.save_lease(lease),
                RegistrarEffect::DoubtPlacements => self.outage.set_placements_saved(false),
                RegistrarEffect::SetCluster(cluster) => self.remember_cluster(cluster),
                RegistrarEffect::NoteOutage(noted) => {
                    self.outage.set_noted(noted, &self.machine.boot);
                }
                RegistrarEffect::SetRegistration(registration) => {
                    // A lease that is about to be had again, or a store that is away, gives the name to nobody else.
                    let name = match &registration {
                        Registration::Registered(_) => Some(NameStanding::Ours),
                        Registration::Refused => Some(NameStanding::Anothers),
                        Registration::Pending | Registration::Unreachable => None,
                    };
                    self.health.update(|s| s.name = name.unwrap_or(s.name));
                    self.registration.send_replace(registration);
                }
                RegistrarEffect::SetStoreHealth(None) => self.health.set_ok(|s| &mut s.store),
                RegistrarEffect::SetStoreHealth(Some(problem)) => {
                    self.health.set_failed(|s| &mut s.store, problem);
                }
                RegistrarEffect::SetLeaseHealth(None) => self.health.set_ok(|s| &mut s.lease),
                RegistrarEffect::SetLeaseHealth(Some(problem)) => {
                    if let LeaseProblem::ForeignCluster(foreign) = &problem {
                        self.store.registry.refuse_writes(&foreign.to_string());
                    }
                    self.health.set_failed(|s| &mut s.lease, problem.to_string());
                }
                RegistrarEffect::LogRegistered(lease) => {
                    tracing::info!(machine = %self.machine.id, lease = lease.0, "registered");
                }
                RegistrarEffect::LogLeaseGone(lease) => {
                    tracing::warn!(lease = lease.0, "the lease is gone; registering again");
                }
                RegistrarEffect::LogRefused(problem) => {
                    let problem = problem.to_string();
                    tracing::error!(problem, "this machine cannot be registered");
                }
            }
        }
        asked
    }

    /// The store is this cluster's, which is the machine's.
    fn remember_cluster(&self, cluster: ClusterId) {
        self.store.registry.allow_writes_to(cluster);
        self.store.registry.set_own_cluster(cluster);
        if let Err(error) = self.store.cluster.set_current(cluster) {
            tracing::warn!(
                error = error_chain(&error),
                "cannot remember which cluster this machine belongs to"
            );
        }
    }
}

impl RegistrarStore {
    async fn ask_store(&self, request: RegistrarRequest) -> RegistrarAnswer {
        let about_cluster =
            matches!(request, RegistrarRequest::FindCluster | RegistrarRequest::EstablishCluster);
        let answer = match request {
            RegistrarRequest::FindCluster => self.find_cluster().await,
            RegistrarRequest::EstablishCluster => {
                // It is to be ours: the machine is new, or a person says so.
                self.registry.allow_writes_anywhere();
                let established = self.registry.establish_cluster_identity().await;
                established.map(RegistrarAnswer::ClusterEstablished)
            }
            RegistrarRequest::FindRecord => self.find_record().await,
            RegistrarRequest::KeepAlive(lease) => match self.registry.keep_alive(lease).await {
                Err(StoreError::LeaseGone { .. }) => Ok(RegistrarAnswer::LeaseGone),
                kept => kept.map(RegistrarAnswer::Leased).map_err(RegistryError::from),
            },
            RegistrarRequest::ReadTimeLeft(lease) => {
                match self.registry.lease_time_left(lease).await {
                    Err(StoreError::LeaseGone { .. }) => Ok(RegistrarAnswer::LeaseGone),
                    time => time.map(RegistrarAnswer::TimeLeft).map_err(RegistryError::from),
                }
            }
            RegistrarRequest::Grant(ttl) => {
                let granted = self.registry.grant_lease(ttl).await;
                granted.map(RegistrarAnswer::Leased).map_err(RegistryError::from)
            }
            RegistrarRequest::WriteRecord { machine, lease, found } => {
                let written = self.registry.claim_registration(&machine, lease, found).await;
                written.map(|(presence, revision)| RegistrarAnswer::Written { presence, revision })
            }
        };
        answer.unwrap_or_else(|error| match error {
            RegistryError::Unreadable { problem, .. } if about_cluster => {
                RegistrarAnswer::ClusterUnreadable(problem)
            }
            error => RegistrarAnswer::Failed(error_chain(&error)),
        })
    }

    async fn find_cluster(&self) -> Result<RegistrarAnswer, RegistryError> {
        let found = self.registry.cluster_identity().await?;
        let remembered = self.cluster.read_memory();
        let stored = match (found, remembered) {
            (Some(identity), _) => StoredCluster::Identified(identity),
            (None, RememberedCluster::OlderRelease)
                if !self.registry.read_snapshot().await?.units.is_empty() =>
            {
                StoredCluster::Unidentified
            }
            // Whether there is anything else in it makes no difference to the others, and is not looked at twice a second.
            (None, _) => StoredCluster::Absent,
        };
        Ok(RegistrarAnswer::ClusterFound { remembered, stored })
    }

    async fn find_record(&self) -> Result<RegistrarAnswer, RegistryError> {
        match self.registry.read_registration(&self.machine).await {
            Ok(found) => Ok(RegistrarAnswer::Found(found.map(|found| FoundRecord {
                address: found.machine.address,
                boot: found.machine.boot,
                lease: found.lease,
                revision: found.revision,
            }))),
            Err(RegistryError::Unreadable { .. }) => Ok(RegistrarAnswer::FoundUnreadable),
            Err(error) => Err(error),
        }
    }
}
