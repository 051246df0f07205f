//! What the role knows when it decides.
//!
//! Owns the gathering of the engine's observation, and which parts of it are worth asking for in which phase: an idle
//! machine asks nobody anything. What was not asked for is told as the worst it could be.

use muster_common::reboot::Phase;
use muster_common::reboot::{Holder, HolderKind, SlotOutcome};
use muster_engine::reboot::gate::Gate;
use muster_engine::reboot::phase::{
    DrainState, Hook, HookStates, Inhibitor, Observation, SlotState,
};
use muster_engine::reboot::{drain, gate, semaphore};

use super::commands::Kind;
use super::lock::LockError;
use super::role::{LIMIT, Role, is_attempt, is_before};
use crate::stdx::errors::error_chain;
use crate::telemetry::health::unix_seconds;

impl Role {
    /// Everything that is known now.
    pub(super) async fn observe(&mut self) -> Observation {
        let phase = self.journal.phase;
        self.sweep().await;
        let due = self.due.reasons();
        let attempt = is_attempt(phase);
        let concerned = attempt || phase != Phase::Idle || !due.is_empty();
        self.look_at_slots(attempt).await;
        // One decision may lead through several phases, so what a later one rests on is asked for in the earlier ones too.
        let down = matches!(phase, Phase::Locking | Phase::Draining | Phase::BeforeReboot);
        let host = if is_before(phase) && concerned || down {
            self.look_at_host().await
        } else {
            (Ok(Vec::new()), 0)
        };
        let failed = if is_before(phase) && concerned && self.policy.block_on_failed {
            self.failed().await
        } else {
            Vec::new()
        };
        let drain = self.look_at_drain().await;
        let gate = self.look_at_gate().await;
        Observation {
            wall: unix_seconds(),
            up: self.parts.host.up(),
            boot: self.boot.clone(),
            due,
            inhibitors: host.0,
            sessions: host.1,
            failed,
            last_reboot: self.last_reboot,
            slots: self
                .slots
                .clone()
                .unwrap_or_else(|| SlotState::Unknown { problem: "not read yet".to_owned() }),
            check: self.commands.state(Kind::Check),
            hooks: HookStates {
                before_drain: self.commands.state(Kind::Hook(Hook::BeforeDrain)),
                before_reboot: self.commands.state(Kind::Hook(Hook::BeforeReboot)),
                after_boot: self.commands.state(Kind::Hook(Hook::AfterBoot)),
            },
            drain,
            cordoned: self.is_cordoned().await,
            asked: self.asked.clone(),
            stopping: phase == Phase::Rebooting && self.parts.host.is_stopping().await,
            registered: self.parts.agent.then_some(gate.registered),
            unhealthy: gate.unhealthy,
        }
    }

    /// Reads the group's slots if they may have changed; in an attempt always.
    async fn look_at_slots(&mut self, attempt: bool) {
        if self.slots.is_some() && !attempt {
            return;
        }
        let group = &self.policy.group;
        let found = match self.parts.lock.status(group, LIMIT).await {
            Ok(found) => found.semaphore,
            Err(error) => {
                // The lock's own words repeat the group; the store's say what is wrong.
                let problem = match &error {
                    LockError::StoreAway { source: Some(source), .. } => error_chain(source),
                    other => error_chain(other),
                };
                self.slots = Some(SlotState::Unknown { problem });
                return;
            }
        };
        let wanted = Holder { id: self.id.clone(), kind: HolderKind::Host, since: 0 };
        self.slots = Some(match found.holder(&self.id) {
            Some(holder) => {
                SlotState::Mine { since: holder.since, by_host: holder.kind == HolderKind::Host }
            }
            None => match semaphore::acquire(group, &found, wanted) {
                semaphore::Acquire::Wait(wait) => SlotState::Full(wait),
                semaphore::Acquire::Grant(_) | semaphore::Acquire::AlreadyHeld { .. } => {
                    SlotState::Free
                }
            },
        });
        if !self.policy.pause.is_zero() {
            // Freeing a slot writes both records in one commit, so the history is as new as the slots.
            if let Ok(history) = self.parts.lock.history(group, LIMIT).await {
                let reboots = history.iter().filter(|entry| {
                    // A FleetLock client gives its slot back after its reboot.
                    entry.outcome == SlotOutcome::Rebooted
                        || entry.outcome == SlotOutcome::Released
                            && entry.kind == HolderKind::FleetLock
                });
                self.last_reboot = reboots.map(|entry| entry.freed).max();
            }
        }
    }

    async fn look_at_host(&self) -> (Result<Vec<Inhibitor>, String>, u64) {
        let host = &self.parts.host;
        match (host.inhibitors().await, host.sessions().await) {
            (Ok(inhibitors), Ok(sessions)) => (Ok(inhibitors), sessions),
            (Err(error), _) | (_, Err(error)) => (Err(error_chain(&error)), 0),
        }
    }

    async fn look_at_drain(&mut self) -> DrainState {
        if !self.parts.agent {
            // Nothing on this machine is the cluster's.
            return DrainState::Done;
        }
        if !matches!(self.journal.phase, Phase::Locking | Phase::Draining) {
            return DrainState::No;
        }
        if let Err(problem) = self.open_reader().await {
            return DrainState::Unknown { problem };
        }
        let machine = &self.parts.machine;
        self.reader.as_ref().map_or(DrainState::No, |reader| {
            reader.decide(|cluster| drain::progress(cluster, machine))
        })
    }

    /// Whether the machine is well. What cannot be told is not.
    async fn look_at_gate(&mut self) -> Gate {
        let unknown = Gate { registered: false, unhealthy: Vec::new() };
        if !self.parts.agent {
            return unknown;
        }
        // A journal of another boot that was in an attempt is about to be in `returned`.
        let proving = matches!(self.journal.phase, Phase::Returned | Phase::Settling)
            || is_attempt(self.journal.phase) && self.journal.boot != self.boot;
        // First whether all was reported, then what: the other way round, what is read could be of before the boot.
        if !proving || !self.health.borrow_and_update().reported {
            if proving {
                let _ = self.open_reader().await;
            }
            return unknown;
        }
        // As fresh as the store: what was reported is in it.
        self.reader = None;
        if self.open_reader().await.is_err() {
            return unknown;
        }
        let (machine, boot) = (&self.parts.machine, &self.boot);
        self.reader
            .as_ref()
            .map_or(unknown, |reader| reader.decide(|cluster| gate::look(cluster, machine, boot)))
    }

    async fn failed(&mut self) -> Vec<muster_common::unit::UnitName> {
        match self.parts.view.fresh().await {
            Ok(reader) => {
                let failed = reader.read(gate::failed);
                self.reader = Some(reader);
                failed
            }
            // The store is away, which holds the reboot back by itself; without a lock nobody asks the cluster.
            Err(_) => Vec::new(),
        }
    }

    /// Whether this role has cordoned the machine; where that cannot be told, it has.
    async fn is_cordoned(&self) -> bool {
        if !self.parts.agent {
            return false;
        }
        if is_before(self.journal.phase) {
            return true;
        }
        match self.parts.registry.cordon_of(&self.parts.machine).await {
            Ok(cordon) => drain::is_ours(cordon.as_ref()),
            Err(_) => true,
        }
    }

    async fn open_reader(&mut self) -> Result<(), String> {
        let fresh = self.parts.view.fresh().await;
        self.reader = Some(fresh.map_err(|error| error_chain(&error))?);
        Ok(())
    }
}
