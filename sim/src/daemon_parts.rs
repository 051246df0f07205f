//! The parts of a simulated daemon beside its core: the API, and the reboot role.
//!
//! Owns their wiring, which stands where the daemon's own assembly stands. It starts none of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::tz::TimeZone;
use muster_common::machine::MachineId;
use muster_common::reboot::{Group, HostStatus, RebootMethod, Strategy};
use muster_doubles::LossyDisk;
use muster_engine::reboot::phase::WhenStuck;
use muster_store::Registry;
use musterd::Health;
use musterd::config::{DueSource, RebootConfig};
use musterd::http::{App, AppParts, SLOT_LIMIT, api_router};
use musterd::inspect::Inspector;
use musterd::reboot::Lock;
use musterd::reboot::role::{LOOK_INTERVAL, RoleSetup};
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api_line::PeerLine;
use crate::host_line::PowerLine;
use crate::wire::Outbox;

/// The time that units may take to leave a machine before it reboots: longer than a slow stop and a slow start.
const DRAIN: Duration = Duration::from_secs(25);
/// The time for which all has to be well after a boot.
const SETTLE: Duration = Duration::from_secs(5);
/// The pause after an attempt that was given up.
const RETRY: Duration = Duration::from_secs(15);
/// Entries on a page of fleet's API, as by default.
const TOKENS: u16 = 100;
/// Most bytes of a body: more than any of the users'.
const BODY: usize = 1024 * 1024;

/// The things that the parts are made from.
pub(crate) struct PartsOf<'a> {
    /// The machine.
    pub(crate) machine: MachineId,
    /// The store.
    pub(crate) registry: &'a Registry,
    /// The daemon's health.
    pub(crate) health: &'a Health,
    /// The machine's time of day.
    pub(crate) wall: &'a Wall,
    /// The requests that leave the daemon.
    pub(crate) outbox: &'a Outbox,
    /// The machine's power.
    pub(crate) power: &'a PowerLine,
    /// The machine's disk.
    pub(crate) disk: &'a LossyDisk,
    /// The directory of what survives a boot.
    pub(crate) state_dir: PathBuf,
    /// Cancelled when the daemon stops.
    pub(crate) shutdown: &'a CancellationToken,
}

impl PartsOf<'_> {
    /// Makes the API and the reboot role. On the daemon's node: they count their time by it.
    pub(crate) fn make_parts(&self) -> (Router, RoleSetup) {
        let view = View::new(self.registry.clone());
        let lock = Lock::with_wall(self.registry.clone(), [Group::default()], self.wall.clone());
        let nowhere = PathBuf::from("/sim/nowhere");
        let api = api_router(App::new(AppParts {
            registry: self.registry.clone(),
            view: view.clone(),
            machine: self.machine.clone(),
            peers: Arc::new(PeerLine::new(self.outbox.clone())),
            wall: self.wall.clone(),
            health: self.health.clone(),
            metrics: Metrics::new(self.health.clone()),
            // Programs that are not there: whatever is asked of them has no answer.
            inspector: Inspector {
                systemctl: nowhere.clone(),
                journalctl: nowhere,
                containers: None,
                podman: None,
            },
            drafts: None,
            lock: lock.clone(),
            group: Group::default(),
            slot_limit: SLOT_LIMIT,
            token_limit: TOKENS,
            body_limit: BODY,
            shutdown: self.shutdown.clone(),
        }));
        let role = RoleSetup {
            machine: self.machine.clone(),
            config: reboot_config(),
            agent: true,
            registry: self.registry.clone(),
            view,
            lock,
            host: Arc::new(self.power.clone()),
            wall: self.wall.clone(),
            disk: Arc::new(self.disk.clone()),
            state_dir: self.state_dir.clone(),
            health: self.health.clone(),
            status: watch::Sender::new(HostStatus::default()),
            look_interval: LOOK_INTERVAL,
        };
        (api, role)
    }
}

fn reboot_config() -> RebootConfig {
    RebootConfig {
        strategy: Strategy::default(),
        method: RebootMethod::default(),
        group: Group::default(),
        groups: Vec::new(),
        windows: Vec::new(),
        zone: TimeZone::UTC,
        sources: [DueSource::Request].into(),
        mark: PathBuf::new(),
        command: None,
        command_interval: RETRY,
        check: None,
        before_drain: None,
        before_reboot: None,
        after_boot: None,
        timeout: RETRY,
        warn: Duration::ZERO,
        drain: DRAIN,
        stuck: WhenStuck::default(),
        settle: SETTLE,
        pause: Duration::ZERO,
        retry: RETRY,
        block_on_failed: false,
    }
}

#[cfg(test)]
#[path = "daemon_parts_tests.rs"]
mod tests;
