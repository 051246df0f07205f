//! The health of the daemon, for whoever asks: `/healthz`, `/metrics`, the status line of its unit.
//!
//! Owns the one place where the daemon's components say whether they work. It never acts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use muster_common::api::inspect::OwnedReport;
use muster_common::machine::{ContainerEngine, MachineId};
use muster_common::unit::UnitName;
use muster_runtime::Instant;
use muster_store::Registry;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stdx::clock::Wall;
use crate::stdx::errors::error_chain;
use crate::telemetry::sight::{SeenUnits, UnitSight};

/// The pause between two questions whether the store is there, and the time that it may take to answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// The health of one component of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentHealth {
    /// True if it does its work.
    pub ok: bool,
    /// Seconds since the Unix epoch at which `ok` last changed; for people only.
    pub since: u64,
    /// The problem that keeps it from working, when there is one.
    pub problem: Option<String>,
}

/// Whose the machine's name in the cluster is, as far as this daemon knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameStanding {
    /// Nobody has said yet.
    #[default]
    Unknown,
    /// It was registered under it, and nothing else has been heard since.
    Ours,
    /// Another machine is registered under it, or the store is not ours.
    Anothers,
}

/// The health of the daemon, as `/healthz` and `/metrics` tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthStatus {
    /// The store answers.
    pub store: ComponentHealth,
    /// This machine is registered under a live lease.
    pub lease: ComponentHealth,
    /// Whose the machine's name is: what is done in it is its bearer's to do.
    pub name: NameStanding,
    /// The runner is connected.
    pub runner: ComponentHealth,
    /// The container engine answers; not told where there never was one.
    pub containers: ComponentHealth,
    /// This machine's placements are known from the store, not just from disk.
    pub placements: ComponentHealth,
    /// Components that this daemon does without: its roles do not need them.
    pub absent: BTreeSet<&'static str>,
    /// True if everything placed on this machine has been reported to the store once, under the lease it has now.
    pub reported: bool,
    /// True if this daemon leads.
    pub leading: bool,
    /// Machines whose units stay where they are because too many vanished together; only the leader knows.
    pub held: BTreeSet<MachineId>,
    /// Units this daemon owns on its machine.
    pub units: usize,
    /// The counts since the daemon started.
    pub counters: Counters,
}

/// The counts since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Units started or restarted.
    pub starts: u64,
    /// Starts and restarts that failed.
    pub failed_starts: u64,
    /// Units stopped.
    pub stops: u64,
    /// Observed states published.
    pub published: u64,
    /// Plans made while leading.
    pub plans: u64,
    /// Placement decisions written while leading.
    pub decisions: u64,
    /// Moves that met a conflict and were decided anew.
    pub conflicts: u64,
    /// Times this daemon became leader.
    pub elections: u64,
}

impl HealthStatus {
    /// The components that must work for the daemon to do its work, by name.
    pub fn required_components(&self) -> impl Iterator<Item = (&'static str, &ComponentHealth)> {
        let all = [
            ("store", &self.store),
            ("lease", &self.lease),
            ("runner", &self.runner),
            ("placements", &self.placements),
        ];
        let containers = Some(("containers", &self.containers)).filter(|(_, part)| part.since > 0);
        all.into_iter().filter(|(name, _)| !self.absent.contains(name)).chain(containers)
    }
}

/// The memory of the units that this daemon has put on its machine, for those who may show only such units.
pub trait OwnedUnits: fmt::Debug + Send + Sync {
    /// True if a unit is one of them.
    fn owns_unit(&self, unit: &UnitName) -> bool;

    /// True if a unit was one of them until a short time before `now`.
    fn owned_lately(&self, unit: &UnitName, now: Instant) -> bool;

    /// All of them, as they are on record.
    fn list_owned(&self) -> BTreeMap<UnitName, OwnedReport>;
}

/// The shared status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    status: Arc<watch::Sender<HealthStatus>>,
    plan_seconds: Histogram,
    wall: Wall,
    /// The memory of this machine's units, once there is one.
    owned: Arc<OnceLock<Arc<dyn OwnedUnits>>>,
    /// The way to look at this machine's units, once there is one.
    sight: Arc<OnceLock<Arc<dyn UnitSight>>>,
}

/// Upper bounds of the buckets of how long a plan takes, in seconds: from one changed unit in a large cluster to a whole plan
/// of a cluster larger than any that was measured.
const PLAN_SECONDS: [f64; 8] = [0.0001, 0.0004, 0.0016, 0.0064, 0.0256, 0.1, 0.4, 3.2];

impl Default for Health {
    fn default() -> Self {
        Self::with_wall(Wall::default())
    }
}

impl Health {
    /// Nothing works yet. What changes is dated by the clock of this host.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, dated by another clock.
    pub fn with_wall(wall: Wall) -> Self {
        Self {
            status: Arc::new(watch::Sender::new(HealthStatus::default())),
            plan_seconds: Histogram::new(PLAN_SECONDS),
            wall,
            owned: Arc::default(),
            sight: Arc::default(),
        }
    }

    /// The status as it is now.
    pub fn status(&self) -> HealthStatus {
        self.status.borrow().clone()
    }

    /// Tells whether a unit is one that this daemon has put on its machine; `None` where it puts none there.
    pub fn owns_unit(&self, unit: &UnitName) -> Option<bool> {
        Some(self.owned.get()?.owns_unit(unit))
    }

    /// Tells whether a unit is one that this daemon took off its machine a short time ago; `None` where it puts none there.
    pub fn had_unit_lately(&self, unit: &UnitName) -> Option<bool> {
        Some(self.owned.get()?.owned_lately(unit, Instant::now()))
    }

    /// Sets the memory of this machine's units. The first one stays.
    pub fn set_owned_units(&self, owned: Arc<dyn OwnedUnits>) {
        let _ = self.owned.set(owned);
    }

    /// Sets the way to look at this machine's units. The first one stays.
    pub fn set_sight(&self, sight: Arc<dyn UnitSight>) {
        let _ = self.sight.set(sight);
    }

    /// Looks at all units that this daemon knows of on its machine; nothing where it puts none there.
    pub async fn see_units(&self) -> SeenUnits {
        match (self.sight.get(), self.owned.get()) {
            (Some(sight), Some(owned)) => sight.see_units(owned.list_owned()).await,
            _ => SeenUnits::default(),
        }
    }

    /// A receiver of every change.
    pub fn subscribe(&self) -> watch::Receiver<HealthStatus> {
        self.status.subscribe()
    }

    /// Notes that a component works.
    pub(crate) fn set_ok(&self, component: fn(&mut HealthStatus) -> &mut ComponentHealth) {
        self.set(component, true, None);
    }

    /// Notes that a component has failed, and why.
    pub(crate) fn set_failed(
        &self,
        component: fn(&mut HealthStatus) -> &mut ComponentHealth,
        problem: String,
    ) {
        self.set(component, false, Some(problem));
    }

    fn set(
        &self,
        component: fn(&mut HealthStatus) -> &mut ComponentHealth,
        ok: bool,
        problem: Option<String>,
    ) {
        self.status.send_if_modified(|status| {
            let found = component(status);
            if found.ok == ok && found.problem == problem && found.since != 0 {
                return false;
            }
            if found.ok != ok || found.since == 0 {
                found.since = self.wall.unix_seconds();
            }
            found.ok = ok;
            found.problem = problem;
            true
        });
    }

    /// Changes the rest of the status; who waits for a change is woken if there is one.
    /// Says whose the machine's name is from now on.
    pub fn set_name_standing(&self, name: NameStanding) {
        self.update(|s| s.name = name);
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut HealthStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    /// The histogram of how long plans took, in seconds.
    pub(crate) fn plan_seconds(&self) -> Histogram {
        self.plan_seconds.clone()
    }

    /// Counts a plan that was made while leading, and how long it took.
    pub(crate) fn record_plan(&self, took: Duration) {
        self.plan_seconds.observe(took.as_secs_f64());
        self.update_counters(|c| c.plans += 1);
    }

    /// Changes the counters without waking those who wait for a change.
    pub(crate) fn update_counters(&self, change: impl FnOnce(&mut Counters)) {
        self.status.send_if_modified(|status| {
            change(&mut status.counters);
            false
        });
    }
}

/// Logs which components fail and which recover, until `shutdown`: whoever reads the log of a daemon that does nothing
/// is to find the reason there.
pub async fn log_transitions(
    mut status: watch::Receiver<HealthStatus>,
    shutdown: CancellationToken,
) {
    let mut last_logged = HealthStatus::default();
    while let Some(Ok(())) = shutdown.run_until_cancelled(status.changed()).await {
        let now = status.borrow_and_update().clone();
        for (component, problem) in component_transitions(&last_logged, &now) {
            if let Some(problem) = problem {
                tracing::warn!(component, problem, "component failed");
            } else {
                tracing::info!(component, "component recovered");
            }
        }
        last_logged = now;
    }
}

/// Notes how the container engine is, for as long as that can be told.
pub async fn watch_containers(health: &Health, mut containers: watch::Receiver<ContainerEngine>) {
    loop {
        match &*containers.borrow_and_update() {
            ContainerEngine::Absent => {}
            ContainerEngine::Up => health.set_ok(|s| &mut s.containers),
            ContainerEngine::Lost(problem) => health.set_failed(
                |s| &mut s.containers,
                format!("the container engine does not answer: {problem}"),
            ),
        }
        if containers.changed().await.is_err() {
            return;
        }
    }
}

/// For a daemon whose machine is not registered, and so has no lease that would tell: asks the store now and then whether it
/// is there, until `shutdown`.
pub async fn watch_store(health: Health, registry: Registry, shutdown: CancellationToken) {
    health.update(|s| s.absent.extend(["lease", "runner", "placements"]));
    loop {
        match muster_runtime::timeout(PROBE_INTERVAL, registry.revision()).await {
            Ok(Ok(_)) => health.set_ok(|s| &mut s.store),
            Ok(Err(error)) => health.set_failed(|s| &mut s.store, error_chain(&error)),
            Err(_) => {
                health.set_failed(|s| &mut s.store, "the store does not answer in time".to_owned());
            }
        }
        if shutdown.run_until_cancelled(muster_runtime::sleep(PROBE_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// The components that have failed, with the problem, and those that have recovered. One that has not begun is neither, and a
/// problem that changes is no news: endpoints that are tried in turn have one each.
fn component_transitions<'a>(
    before: &HealthStatus,
    now: &'a HealthStatus,
) -> Vec<(&'static str, Option<&'a str>)> {
    let was =
        |part| before.required_components().find(|(name, _)| *name == part).map(|(_, part)| part);
    let pairs = now.required_components().filter_map(|(name, now)| Some((was(name)?, (name, now))));
    let changed = pairs.filter_map(|(before, (name, now))| match &now.problem {
        Some(problem) if !now.ok && before.problem.is_none() => Some((name, Some(&**problem))),
        None if now.ok && before.problem.is_some() => Some((name, None)),
        _ => None,
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_logged_when_it_fails_and_when_it_recovers() {
        let health = Health::new();
        let step = |before: &HealthStatus| {
            let now = health.status();
            let last_logged: Vec<String> = component_transitions(before, &now)
                .iter()
                .map(|(part, problem)| format!("{part} {problem:?}"))
                .collect();
            (now, last_logged.join(", "))
        };
        let (status, last_logged) = step(&HealthStatus::default());
        assert_eq!(last_logged, "", "nothing has begun");
        health.set_ok(|s| &mut s.runner);
        let (status, last_logged) = step(&status);
        assert_eq!(last_logged, "", "it began well");
        health.set_failed(|s| &mut s.store, "no".to_owned());
        let (status, last_logged) = step(&status);
        assert_eq!(last_logged, "store Some(\"no\")");
        health.set_failed(|s| &mut s.store, "still no".to_owned());
        let (status, last_logged) = step(&status);
        assert_eq!(last_logged, "");
        health.set_ok(|s| &mut s.store);
        let (_, last_logged) = step(&status);
        assert_eq!(last_logged, "store None");
    }
}
