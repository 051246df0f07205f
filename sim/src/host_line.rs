//! A daemon's line to its machine's power.
//!
//! Owns the daemon's end of it, which stands where logind stands. When a machine goes down is the world's to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use muster_common::reboot::RebootMethod;
use muster_engine::reboot::phase::Inhibitor;
use musterd::host::power::{HostError, HostPower};
use tokio::sync::{Notify, watch};

/// The power of a machine, as its daemon asks for it; the world sets it.
#[derive(Debug, Clone)]
pub(crate) struct PowerLine {
    boot: String,
    userspace: String,
    is_askable: Arc<AtomicBool>,
    up_millis: Arc<AtomicU64>,
    is_stopping: Arc<watch::Sender<bool>>,
    wants_reboot: Arc<AtomicBool>,
    wakes: Arc<Notify>,
}

impl PowerLine {
    /// The power of a machine in a boot that has just begun, of the kernel and of its userspace.
    pub(crate) fn new(boot: String, userspace: String) -> Self {
        Self {
            boot,
            userspace,
            is_askable: Arc::new(AtomicBool::new(true)),
            up_millis: Arc::default(),
            is_stopping: Arc::new(watch::Sender::new(false)),
            wants_reboot: Arc::default(),
            wakes: Arc::default(),
        }
    }

    /// The machine has slept and is awake again.
    pub(crate) fn note_wake(&self) {
        self.wakes.notify_one();
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

    /// Sets whether systemd can be asked for its boot.
    pub(crate) fn set_askable(&self, is_askable: bool) {
        self.is_askable.store(is_askable, Ordering::Relaxed);
    }

    /// The boot of its userspace, as whoever asks hears it.
    pub(crate) fn known_userspace(&self) -> Option<String> {
        Some(self.userspace.clone()).filter(|_| self.is_askable.load(Ordering::Relaxed))
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

    async fn userspace_id(&self) -> Option<String> {
        self.known_userspace()
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

    async fn wait_for_wake(&self) {
        self.wakes.notified().await;
    }

    async fn tell_users(&self, _: &str) -> Result<(), HostError> {
        Ok(())
    }

    async fn reboot(&self, _method: RebootMethod) -> Result<(), HostError> {
        self.wants_reboot.store(true, Ordering::Relaxed);
        Ok(())
    }
}
