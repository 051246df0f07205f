//! A daemon's line to its machine: what runs units, and the machine's power.
//!
//! Owns the daemon's end of both. It stands where the systemd runner and logind stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::observation::UnitObservation;
use muster_engine::reboot::phase::Inhibitor;
use musterd::host::power::{HostError, HostPower};
use musterd::runner::{Runner, RunnerError, StartOutcome};
use tokio::sync::{oneshot, watch};

use crate::wire::{Outbox, Outgoing, RunnerAnswer, RunnerCall, RunnerResult};

/// The line to systemd.
#[derive(Debug)]
pub(crate) struct RunnerLine {
    outbox: Outbox,
}

impl RunnerLine {
    /// The end of a line at a daemon.
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    async fn ask(&self, call: RunnerCall) -> RunnerResult {
        let (reply, answer) = oneshot::channel();
        self.outbox.put(Outgoing::Runner { call, reply });
        // The answer is gone with the line.
        answer.await.unwrap_or_else(|_| Err(line_lost()))
    }

    async fn ask_for_end(&self, call: RunnerCall) -> Result<StartOutcome, RunnerError> {
        match self.ask(call).await? {
            RunnerAnswer::Ended(outcome) => Ok(outcome),
            RunnerAnswer::Seen(_) => Err(line_lost()),
        }
    }
}

fn line_lost() -> RunnerError {
    RunnerError::Lost { during: "a call".to_owned(), problem: "the connection is gone".to_owned() }
}

#[async_trait]
impl Runner for RunnerLine {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        match self.ask(RunnerCall::Observe(units.clone())).await? {
            RunnerAnswer::Seen(seen) => Ok(seen),
            RunnerAnswer::Ended(_) => Err(line_lost()),
        }
    }

    async fn write(&self, unit: &UnitName, file: FileHash, _: &str) -> Result<(), RunnerError> {
        self.ask(RunnerCall::Write { unit: unit.clone(), file }).await.map(|_| ())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.ask(RunnerCall::Remove(unit.clone())).await.map(|_| ())
    }

    async fn enable(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        self.ask(RunnerCall::Nothing).await.map(|_| ())
    }

    async fn disable(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        self.ask(RunnerCall::Nothing).await.map(|_| ())
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.ask_for_end(RunnerCall::Load(unit.clone())).await
    }

    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.ask_for_end(RunnerCall::Start { unit: unit.clone(), generation }).await
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.ask_for_end(RunnerCall::Restart { unit: unit.clone(), generation }).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.ask_for_end(RunnerCall::Stop(unit.clone())).await
    }
}

/// The power of a machine, as its daemon asks for it; the world sets it.
#[derive(Debug, Clone)]
pub(crate) struct PowerLine {
    boot: String,
    up_millis: Arc<AtomicU64>,
    is_stopping: Arc<watch::Sender<bool>>,
    wants_reboot: Arc<AtomicBool>,
}

impl PowerLine {
    /// The power of a machine in a boot that has just begun.
    pub(crate) fn new(boot: String) -> Self {
        Self {
            boot,
            up_millis: Arc::default(),
            is_stopping: Arc::new(watch::Sender::new(false)),
            wants_reboot: Arc::default(),
        }
    }

    /// The machine goes down from now on.
    pub(crate) fn begin_stopping(&self) {
        self.is_stopping.send_replace(true);
    }

    /// True if the machine goes down.
    pub(crate) fn goes_down(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Takes the wish of its daemon that it reboots, if there is one.
    pub(crate) fn take_wish(&self) -> bool {
        self.wants_reboot.swap(false, Ordering::Relaxed)
    }

    /// Sets the time since the boot.
    pub(crate) fn set_up_millis(&self, millis: u64) {
        self.up_millis.store(millis, Ordering::Relaxed);
    }
}

#[async_trait]
impl HostPower for PowerLine {
    fn boot_id(&self) -> String {
        self.boot.clone()
    }

    fn up_millis(&self) -> u64 {
        self.up_millis.load(Ordering::Relaxed)
    }

    async fn shutdown_inhibitors(&self) -> Result<Vec<Inhibitor>, HostError> {
        Ok(Vec::new())
    }

    async fn user_sessions(&self) -> Result<u64, HostError> {
        Ok(0)
    }

    async fn is_stopping(&self) -> bool {
        self.goes_down()
    }

    async fn wait_for_shutdown(&self, known: bool) -> bool {
        let mut stopping = self.is_stopping.subscribe();
        // The sender is ours, so this cannot fail.
        let told = stopping.wait_for(|stops| *stops != known).await;
        told.is_ok_and(|stops| *stops)
    }

    async fn tell_users(&self, _: &str) -> Result<(), HostError> {
        Ok(())
    }

    async fn reboot(&self) -> Result<(), HostError> {
        self.wants_reboot.store(true, Ordering::Relaxed);
        Ok(())
    }
}
