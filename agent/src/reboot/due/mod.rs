//! The sources of reasons for a reboot.
//!
//! Owns what the sources last said, one word each, and their tasks, which end with it. It decides nothing: whether one
//! reason is enough, and what stands in the way, is the engine's business.
//!
//! A source that has not answered yet is taken to say what it said before the daemon began, as far as the journal knows: a
//! daemon that is restarted in the middle of a reboot does not give it up for not having looked.

mod command;
mod mark;
mod reasons;
mod request;
mod update_engine;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use muster_common::machine::MachineId;
use muster_common::reboot::DueReason;
use muster_runtime::TaskSet;
use muster_store::Registry;
use tokio::sync::watch;

use self::reasons::DueReasons;
use crate::config::{DueSource, RebootConfig};
use crate::stdx::disk::Disk;

/// The sources of reasons, and what they last said.
#[derive(Debug)]
pub(super) struct DueSources {
    reasons: DueReasons,
    changed: watch::Receiver<BTreeMap<DueSource, DueReason>>,
    /// Ends the sources with us.
    _tasks: TaskSet<()>,
}

impl DueSources {
    /// Begins to follow the configured sources. `known`: what they said before, in this boot.
    pub(super) fn start_sources(
        config: &RebootConfig,
        (registry, machine): (&Registry, &MachineId),
        disk: &Arc<dyn Disk>,
        known: &[DueReason],
    ) -> Self {
        let before = known.iter().filter_map(|due| Some((source_of(due)?, due.clone())));
        let before = before.filter(|(source, _)| config.sources.contains(source)).collect();
        let reasons = DueReasons::new(before);
        let mut tasks = TaskSet::new();
        for source in &config.sources {
            let reasons = reasons.clone();
            match source {
                DueSource::Request => {
                    tasks.spawn(request::follow_request(
                        registry.clone(),
                        machine.clone(),
                        reasons,
                    ));
                }
                DueSource::RebootRequired => {
                    let mark: PathBuf = config.mark.clone();
                    tasks.spawn(mark::follow_mark(Arc::clone(disk), mark, reasons));
                }
                DueSource::UpdateEngine => {
                    tasks.spawn(update_engine::follow_update_engine(None, reasons));
                }
                DueSource::Command => {
                    let Some(line) = config.command.clone() else { continue };
                    let (timeout, interval) = (config.timeout, config.command_interval);
                    tasks.spawn(command::follow_command(line, timeout, interval, reasons));
                }
            }
        }
        let changed = reasons.subscribe();
        Self { reasons, changed, _tasks: tasks }
    }

    /// All reasons there are.
    pub(super) fn current_reasons(&self) -> Vec<DueReason> {
        self.reasons.current_reasons()
    }

    /// Forgets the wish of somebody that was fulfilled, if it is still that one.
    pub(super) fn clear_wish(&self, wish: &DueReason) {
        if self.reasons.reason_of(DueSource::Request).as_ref() == Some(wish) {
            self.reasons.set_reason(DueSource::Request, None);
        }
    }

    /// Waits until a source says something else. Cancel-safe.
    pub(super) async fn wait_for_change(&mut self) {
        // The sender lives as long as `self`.
        let _ = self.changed.changed().await;
    }
}

fn source_of(due: &DueReason) -> Option<DueSource> {
    match due {
        DueReason::Requested { .. } => Some(DueSource::Request),
        DueReason::RebootRequired { .. } => Some(DueSource::RebootRequired),
        DueReason::UpdateEngine { .. } => Some(DueSource::UpdateEngine),
        DueReason::Command { .. } => Some(DueSource::Command),
        _ => None,
    }
}
