//! The role's loop: what is known goes to the engine, what it decides is kept, published and done.
//!
//! Owns the order of these, on which everything rests: the journal is on disk before anything is done that it speaks of. It
//! makes no choice of its own: `muster_engine::reboot::role` does. It may be killed at any point; the next one goes on from
//! the journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::boot::BootMark;
use muster_common::cordon::CordonHolder;
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::reboot::{DueReason, HolderKind, HostStatus, Journal, RebootMethod, WaitReason};
use muster_engine::reboot::due::reason_of_request;
use muster_engine::reboot::phase::RebootStep;
use muster_engine::reboot::role::{EffectEnd, Leftover, RebootRole, RoleEffect};
use muster_runtime::Instant;
use muster_store::{RebootScope, RebootWatchEvent, Registry, RegistryError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::commands::Commands;
use super::due::DueSources;
use super::journal::JournalFile;
use super::lock::{Lock, LockError, ReleaseReport};
use crate::config::RebootConfig;
use crate::host::power::HostPower;
use crate::stdx::clock::Wall;
use crate::stdx::disk::Disk;
use crate::stdx::errors::error_chain;
use crate::stdx::timer::sleep_for_opt;
use crate::telemetry::health::{Health, HealthStatus, NameStanding};
use crate::view::{Reader, View};

/// The time in which the store has to answer about slots.
pub(super) const SLOT_LIMIT: Duration = Duration::from_secs(5);

/// The time in which the store has to take a status. Nothing waits for it longer: what must not be lost is on disk.
const PUBLISH_LIMIT: Duration = Duration::from_secs(2);

/// Pause before a watch that has ended is looked past.
const WATCH_RETRY: Duration = Duration::from_secs(1);

/// Pause before systemd is asked again which boot this is.
const BOOT_RETRY: Duration = Duration::from_secs(1);

/// The pause between two looks at the machine while a reboot is due, unless said otherwise.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The parts that the loop of the role is made of.
#[derive(Clone)]
pub struct RoleSetup {
    /// This machine.
    pub machine: MachineId,
    /// Its way of going about its reboots.
    pub config: RebootConfig,
    /// True if this daemon registers its machine and runs units on it. Without, nothing is drained and nothing proven.
    pub agent: bool,
    /// The store.
    pub registry: Registry,
    /// The cluster, live.
    pub view: View,
    /// The slots, shared with the API.
    pub lock: Lock,
    /// The machine.
    pub host: Arc<dyn HostPower>,
    /// The wall clock.
    pub wall: Wall,
    /// The disk that the journal lies on.
    pub disk: Arc<dyn Disk>,
    /// The directory of the journal.
    pub state_dir: PathBuf,
    /// The daemon's health.
    pub health: Health,
    /// Where the role shows how far it is.
    pub status: watch::Sender<HostStatus>,
    /// The pause between two looks at the machine while a reboot is due.
    pub look_interval: Duration,
}

/// Runs the role until `shutdown`, and stops in the middle of whatever it does: the next one goes on.
pub async fn run(setup: RoleSetup, shutdown: CancellationToken) {
    let role = async { RoleLoop::start_from_disk(setup).await.run().await };
    let _ = shutdown.run_until_cancelled(role).await;
}

/// The loop, and whatever it feeds the engine's role from.
pub(super) struct RoleLoop {
    pub(super) setup: RoleSetup,
    pub(super) role: RebootRole,
    pub(super) due: DueSources,
    pub(super) commands: Commands,
    /// The cluster, while it is looked at.
    pub(super) reader: Option<Reader>,
    /// The daemon's health.
    pub(super) health: watch::Receiver<HealthStatus>,
    journal_file: JournalFile,
    group_events: mpsc::Receiver<RebootWatchEvent>,
    /// From which the time that the engine is given counts.
    began: Instant,
}

impl RoleLoop {
    async fn start_from_disk(setup: RoleSetup) -> Self {
        let policy = setup.config.to_policy();
        let mut journal_file = JournalFile::new(Arc::clone(&setup.disk), &setup.state_dir);
        let (journal, group) = journal_file.load();
        journal_file.set_group(group.as_ref().unwrap_or(&policy.group));
        let scope = RebootScope::Group(policy.group.clone());
        let boot = read_boot(&*setup.host, &journal).await;
        let role =
            RebootRole::from_journal(policy, setup.agent, &setup.machine, boot, journal, group);
        let known = role.known_reasons();
        Self {
            due: DueSources::start_sources(
                &setup.config,
                (&setup.registry, &setup.machine),
                &setup.disk,
                &known,
            ),
            commands: Commands::new(&setup.config),
            reader: None,
            health: setup.health.subscribe(),
            journal_file,
            group_events: setup.registry.watch_reboots(&scope),
            began: Instant::now(),
            role,
            setup,
        }
    }

    async fn run(mut self) {
        loop {
            self.until_named().await;
            self.clear_leftovers().await;
            let seen = self.gather_observation().await;
            let step = self.role.decide_step(&seen);
            let (round, stored) = match self.keep_journal(&step) {
                Ok(()) => {
                    let published = self.publish_status(&step.waits).await;
                    (self.carry_out(&step).await, published)
                }
                Err(problem) => {
                    tracing::error!(problem, "nothing is done about the reboot");
                    self.publish_status(&[WaitReason::HostAway { problem }]).await;
                    (EffectEnd::Nothing, false)
                }
            };
            let expiry = self.commands.command_states().next_expiry(self.now());
            let look_interval = self.setup.look_interval;
            let pause = self.role.next_pause(step.wake, round, stored, look_interval, expiry);
            self.wait_for_event(pause).await;
        }
    }

    /// Waits until the machine is registered under its name. Requests, slots, cordons and words on how far it is go by that: a copy of a
    /// machine that is there as well has the same name and journal, and reboots for nobody.
    async fn until_named(&mut self) {
        if !self.setup.agent || is_planted("copy-reboots") {
            return;
        }
        let is_ours = |health: &HealthStatus| health.name == NameStanding::Ours;
        // Its sender goes with the daemon.
        let _ = self.health.wait_for(is_ours).await;
    }

    /// The time on the clock that the engine is given.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Keeps what was decided, before anything of it is done.
    fn keep_journal(&mut self, step: &RebootStep) -> Result<(), String> {
        if step.journal == *self.role.kept_journal() {
            return Ok(());
        }
        self.journal_file.save(&step.journal).map_err(|error| error_chain(&error))?;
        if let Some(change) = self.role.on_journal_kept(step.journal.clone()) {
            let why = step.waits.first().map(ToString::to_string).unwrap_or_default();
            tracing::info!(from = %change.from, phase = %change.to, why, "reboot");
            if change.forgets_attempt {
                self.commands.forget_hooks();
                self.reader = None;
            }
        }
        Ok(())
    }

    /// Publishes how far it is. Returns whether that is in the store now.
    async fn publish_status(&mut self, waits: &[WaitReason]) -> bool {
        let status = self.role.host_status(waits);
        self.setup.status.send_replace(status.clone());
        if !self.role.is_news(&status) {
            return true;
        }
        let publish = self.setup.registry.publish_reboot_host(&self.setup.machine, &status);
        match muster_runtime::timeout(PUBLISH_LIMIT, publish).await {
            Ok(Ok(())) => {
                self.role.on_published(status);
                return true;
            }
            Ok(Err(error)) => {
                tracing::debug!(error = error_chain(&error), "cannot publish the reboot");
            }
            Err(_) => tracing::debug!("the store does not take the reboot's status in time"),
        }
        false
    }

    async fn carry_out(&mut self, step: &RebootStep) -> EffectEnd {
        let mut round = EffectEnd::Nothing;
        for effect in self.role.new_effects(&step.actions, self.setup.wall.unix_seconds()) {
            round = round.max(self.do_effect(effect).await);
        }
        round
    }

    async fn do_effect(&mut self, effect: RoleEffect) -> EffectEnd {
        let group = self.role.reboot_policy().group.clone();
        match effect {
            RoleEffect::RunCommand(kind) => {
                let now = self.now();
                self.commands.start_command(kind, now);
                EffectEnd::Nothing
            }
            RoleEffect::TellUsers(text) => self.tell_users(&text).await,
            RoleEffect::AcquireSlot => {
                let id = self.role.holder_id();
                let lock = &self.setup.lock;
                let acquired = lock.acquire_slot(&group, id, HolderKind::Host, SLOT_LIMIT).await;
                self.role.on_slots_changed();
                end_of(acquired, "take a slot")
            }
            RoleEffect::ReleaseSlot { outcome, due, phases } => {
                let report = ReleaseReport { outcome, due, phases };
                let id = self.role.holder_id();
                let released = self.setup.lock.release_slot(&group, id, report, SLOT_LIMIT).await;
                self.role.on_slots_changed();
                end_of(released, "give the slot back")
            }
            RoleEffect::OrderDrain { until } => self.order_drain(until).await,
            RoleEffect::Uncordon => {
                let (registry, machine) = (&self.setup.registry, &self.setup.machine);
                let uncordoned = registry.uncordon_machine(machine, &CordonHolder::Reboot).await;
                end_of(uncordoned, "take units again")
            }
            RoleEffect::FulfilWishes(wishes) => self.fulfil_wishes(&wishes).await,
            RoleEffect::Reboot(method) => self.ask_for_reboot(method).await,
        }
    }

    /// Words that cannot be told hold nothing up.
    async fn tell_users(&self, text: &str) -> EffectEnd {
        if let Err(error) = self.setup.host.tell_users(text).await {
            tracing::warn!(error = error_chain(&error), "cannot tell logged-in users");
        }
        EffectEnd::Nothing
    }

    async fn order_drain(&mut self, until: u64) -> EffectEnd {
        let (registry, machine) = (&self.setup.registry, &self.setup.machine);
        let cordon = match registry.cordon_of(machine).await {
            Ok(cordon) => cordon,
            Err(error) => return end_of(Err::<(), _>(error), "look at the cordon"),
        };
        let wall = self.setup.wall.unix_seconds();
        let Some(hold) = self.role.drain_order(cordon.as_ref(), until, wall) else {
            return EffectEnd::Nothing;
        };
        end_of(
            registry.cordon_machine(machine, &CordonHolder::Reboot, hold).await,
            "order the drain",
        )
    }

    async fn ask_for_reboot(&mut self, method: RebootMethod) -> EffectEnd {
        if self.role.needs_slot() {
            self.read_slots().await;
            if !self.role.may_go_down() {
                return EffectEnd::Changed;
            }
            if !self.is_own_store().await {
                return EffectEnd::Failed;
            }
        }
        tracing::info!(%method, "asking the machine to reboot");
        let answer = self.setup.host.reboot(method).await.map_err(|error| error_chain(&error));
        if let Err(problem) = &answer {
            tracing::warn!(problem, "the machine does not reboot");
        }
        self.role.on_reboot_answered(answer);
        EffectEnd::Changed
    }

    /// True if the store that the slots were read from is that of this machine's cluster. Until its registration finds out that it is
    /// another, the machine has taken a slot there, which says nothing of the others here.
    async fn is_own_store(&self) -> bool {
        if is_planted("foreign-slot-relied-on") {
            return true;
        }
        let found = self.setup.registry.holds_own_cluster();
        let is_own = matches!(muster_runtime::timeout(SLOT_LIMIT, found).await, Ok(Ok(true)));
        if !is_own {
            tracing::warn!(
                "the machine does not reboot before its own cluster's store has answered"
            );
        }
        is_own
    }

    /// Removes the wish that this reboot was for, and no other.
    async fn fulfil_wishes(&mut self, wishes: &[DueReason]) -> EffectEnd {
        let (registry, machine) = (&self.setup.registry, &self.setup.machine);
        let found = match registry.reboot_request(machine).await {
            Ok(found) => found.map(|(request, revision)| (reason_of_request(request), revision)),
            Err(RegistryError::Unreadable { .. }) => None,
            Err(error) => return end_of(Err::<(), _>(error), "look for the request"),
        };
        if let Some((wish, revision)) = &found
            && wishes.contains(wish)
        {
            let withdrawn = registry.withdraw_reboot(machine, Some(*revision)).await;
            if withdrawn.is_err() {
                return end_of(withdrawn, "remove the request");
            }
        }
        for wish in wishes {
            self.due.clear_wish(wish);
        }
        EffectEnd::Changed
    }

    /// Waits until something is to be decided anew.
    async fn wait_for_event(&mut self, pause: Option<Duration>) {
        let looks = self.reader.is_some();
        let now = || self.began.elapsed();
        let reader = async {
            match &mut self.reader {
                Some(reader) => reader.wait_for_change().await,
                None => std::future::pending().await,
            }
        };
        // Every arm is cancel-safe: watches, a channel, a set of tasks and a timer.
        tokio::select! {
            biased;
            event = self.group_events.recv() => match event {
                Some(RebootWatchEvent::Lost { problem }) => self.role.on_slots_lost(problem),
                Some(_) => self.role.on_slots_changed(),
                // It promises not to end; the look at the slots is then a matter of time.
                None => muster_runtime::sleep(WATCH_RETRY).await,
            },
            ended = self.commands.wait_for_end() => self.commands.on_ended(ended, now()),
            () = self.due.wait_for_change() => {}
            () = reader => {}
            _ = self.health.changed(), if looks => {}
            () = sleep_for_opt(pause) => {}
        }
    }

    /// Clears away what no attempt stands behind, as far as that works now.
    async fn clear_leftovers(&mut self) {
        while let Some(leftover) = self.role.next_leftover().cloned() {
            if !self.clear_leftover(leftover).await {
                return;
            }
            self.role.on_leftover_cleared();
        }
    }

    async fn clear_leftover(&mut self, leftover: Leftover) -> bool {
        match leftover {
            Leftover::Wishes(wishes) => self.fulfil_wishes(&wishes).await != EffectEnd::Failed,
            Leftover::OldSlot { group, outcome } => {
                let report = ReleaseReport::without_details(outcome);
                let id = self.role.holder_id();
                match self.setup.lock.release_slot(&group, id, report, SLOT_LIMIT).await {
                    Ok(_) | Err(LockError::UnknownGroup { .. }) => {}
                    Err(error) => {
                        let error = error_chain(&error);
                        tracing::warn!(error, "cannot give the old group's slot back");
                        return false;
                    }
                }
                self.journal_file.set_group(&self.role.reboot_policy().group);
                true
            }
            Leftover::Cordon => {
                let (registry, machine) = (&self.setup.registry, &self.setup.machine);
                registry.uncordon_machine(machine, &CordonHolder::Reboot).await.is_ok()
            }
        }
    }
}

/// This boot of the machine. Where the journal knows of one of userspace, systemd's word on it is waited for: without, a soft-reboot
/// that has happened would be asked for once more.
async fn read_boot(host: &dyn HostPower, journal: &Journal) -> BootMark {
    let machine = host.boot_id();
    let needs_word = journal.userspace.is_some() && journal.boot == machine;
    let mut userspace = host.userspace_id().await;
    if needs_word && userspace.is_none() {
        tracing::warn!("waiting for systemd's word on which boot of userspace this is");
    }
    while needs_word && userspace.is_none() {
        muster_runtime::sleep(BOOT_RETRY).await;
        userspace = host.userspace_id().await;
    }
    BootMark { machine, userspace }
}

fn end_of<T, E: std::error::Error>(result: Result<T, E>, what: &'static str) -> EffectEnd {
    match result {
        Ok(_) => EffectEnd::Changed,
        Err(error) => {
            tracing::warn!(error = error_chain(&error), what, "a step of the reboot failed");
            EffectEnd::Failed
        }
    }
}
