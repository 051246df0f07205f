//! The reasons for a reboot, as the sources last gave them.
//!
//! Owns the word of each source and the notice when one says something else. It follows no source.

use std::collections::BTreeMap;

use muster_common::reboot::DueReason;
use tokio::sync::watch;

use crate::config::DueSource;

/// The reasons that sources give, by source. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct DueReasons(watch::Sender<BTreeMap<DueSource, DueReason>>);

impl DueReasons {
    /// These reasons, until a source says something else.
    pub(super) fn new(before: BTreeMap<DueSource, DueReason>) -> Self {
        Self(watch::Sender::new(before))
    }

    /// The reasons by source, as they change. Whoever holds `self` keeps the channel open.
    pub(super) fn subscribe(&self) -> watch::Receiver<BTreeMap<DueSource, DueReason>> {
        self.0.subscribe()
    }

    /// All reasons there are.
    pub(super) fn current_reasons(&self) -> Vec<DueReason> {
        self.0.borrow().values().cloned().collect()
    }

    /// The reason that a source gives; `None`: no reboot is due for it.
    pub(super) fn reason_of(&self, source: DueSource) -> Option<DueReason> {
        self.0.borrow().get(&source).cloned()
    }

    /// Sets what a source says now; `None`: no reboot is due for it.
    pub(super) fn set_reason(&self, source: DueSource, reason: Option<DueReason>) {
        self.0.send_if_modified(|found| {
            if found.get(&source) == reason.as_ref() {
                return false;
            }
            if let Some(reason) = reason {
                tracing::info!(%source, %reason, "a reboot is due");
                found.insert(source, reason);
            } else {
                tracing::info!(%source, "a reboot is due no more");
                found.remove(&source);
            }
            true
        });
    }
}
