//! The answers to the role's questions.
//!
//! Owns the gathering of the engine's observation: the slots, the host, the cluster. Which of them are worth asking for is the
//! engine's to say. What could not be told is left out, and is taken for the worst it could be.

use muster_common::unit::UnitName;
use muster_engine::reboot::commands::CommandKind;
use muster_engine::reboot::drain::{drain_state, holds_cordon};
use muster_engine::reboot::gate::{HealthGate, check_gate, failed_units};
use muster_engine::reboot::phase::{DrainState, Inhibitor, Observation};
use muster_engine::reboot::role::{Answers, HostClocks, RoleQuestion};

use super::lock::LockError;
use super::role::{RoleLoop, SLOT_LIMIT};
use crate::stdx::errors::error_chain;

impl RoleLoop {
    /// Everything that is known now.
    pub(super) async fn gather_observation(&mut self) -> Observation {
        let due = self.due.current_reasons();
        let questions = self.role.open_questions(&due);
        let mut answers = Answers::default();
        // In the order of the questions: what is read last is the newest.
        for question in questions {
            match question {
                RoleQuestion::Slots => self.read_slots().await,
                RoleQuestion::Host => answers.host = Some(self.ask_host().await),
                RoleQuestion::Method(method) => {
                    let answer = self.setup.host.check_reboot(method).await;
                    answers.method = Some(answer.map_err(|error| error_chain(&error)));
                }
                RoleQuestion::FailedUnits => answers.failed = self.read_failed_units().await,
                RoleQuestion::Drain => answers.drain = Some(self.read_drain().await),
                RoleQuestion::Health => answers.gate = self.read_gate().await,
                RoleQuestion::Cordon => answers.cordoned = self.read_cordon().await,
                RoleQuestion::Stopping => {
                    answers.stopping = Some(self.setup.host.is_stopping().await);
                }
            }
        }
        let states = self.commands.command_states();
        answers.check = states.state_of(CommandKind::Check, self.now());
        answers.hooks = states.hook_states(self.now());
        let clocks =
            HostClocks { wall: self.setup.wall.unix_seconds(), up: self.setup.host.up_millis() };
        self.role.to_observation(clocks, due, answers)
    }

    /// Reads the group's slots, and its history where there is a pause between reboots.
    pub(super) async fn read_slots(&mut self) {
        let group = self.role.reboot_policy().group.clone();
        match self.setup.lock.group_status(&group, SLOT_LIMIT).await {
            Ok(found) => self.role.on_slots_read(Ok(&found.semaphore)),
            Err(error) => {
                // The lock's own words repeat the group; the store's say what is wrong.
                let problem = match &error {
                    LockError::StoreAway { source: Some(source), .. } => error_chain(source),
                    other => error_chain(other),
                };
                return self.role.on_slots_read(Err(problem));
            }
        }
        if self.role.needs_history()
            && let Ok(history) = self.setup.lock.group_history(&group, SLOT_LIMIT).await
        {
            self.role.on_history_read(&history);
        }
    }

    async fn ask_host(&self) -> Result<(Vec<Inhibitor>, u64), String> {
        let host = &self.setup.host;
        match (host.shutdown_inhibitors().await, host.user_sessions().await) {
            (Ok(inhibitors), Ok(sessions)) => Ok((inhibitors, sessions)),
            (Err(error), _) | (_, Err(error)) => Err(error_chain(&error)),
        }
    }

    async fn read_failed_units(&mut self) -> Option<Vec<UnitName>> {
        let reader = self.setup.view.fresh_reader().await.ok()?;
        let failed = reader.read(failed_units);
        self.reader = Some(reader);
        Some(failed)
    }

    async fn read_drain(&mut self) -> DrainState {
        if let Err(problem) = self.open_reader().await {
            return DrainState::Unknown { problem };
        }
        let machine = &self.setup.machine;
        self.reader.as_ref().map_or(DrainState::No, |reader| {
            reader.with_cluster(|cluster| drain_state(cluster, machine))
        })
    }

    /// The machine's health after its boot; `None`: it cannot be told yet.
    async fn read_gate(&mut self) -> Option<HealthGate> {
        // First whether all was reported, then what: the other way round, what is read could be of before the boot.
        if !self.health.borrow_and_update().reported {
            // The report is waited for with the cluster in sight.
            let _ = self.open_reader().await;
            return None;
        }
        // As fresh as the store: what was reported is in it.
        self.reader = None;
        self.open_reader().await.ok()?;
        let (machine, boot) = (&self.setup.machine, self.role.boot_id());
        let reader = self.reader.as_ref()?;
        Some(reader.with_cluster(|cluster| check_gate(cluster, machine, boot)))
    }

    /// Tells whether this role has cordoned the machine; `None`: it cannot be told.
    async fn read_cordon(&self) -> Option<bool> {
        let cordon = self.setup.registry.cordon_of(&self.setup.machine).await.ok()?;
        Some(holds_cordon(cordon.as_ref()))
    }

    async fn open_reader(&mut self) -> Result<(), String> {
        let fresh = self.setup.view.fresh_reader().await;
        self.reader = Some(fresh.map_err(|error| error_chain(&error))?);
        Ok(())
    }
}
