//! The role's loop: what is known goes to the engine, what it decides is kept, published and done.
//!
//! Owns the order of these, on which everything rests: the journal is on disk before anything is done that it speaks of. It
//! makes no choice of its own. It may be killed at any point; the next one goes on from the journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::cordon::CordonHolder;
use muster_common::machine::MachineId;
use muster_common::reboot::{
    DueReason, Group, HolderId, HolderKind, HostStatus, Journal, Phase, SlotOutcome, WaitReason,
};
use muster_engine::reboot::phase::{RebootAction, RebootCall, RebootPolicy, RebootStep, step};
use muster_engine::reboot::{drain, publish};
use muster_store::{RebootNews, RebootScope, Registry, RegistryError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::commands::{Commands, Kind};
use super::due::Due;
use super::host::Host;
use super::journal::Disk;
use super::lock::{Lock, LockError, ReleaseReport};
use crate::config::RebootConfig;
use crate::stdx::errors::error_chain;
use crate::stdx::timer::sleep_for_opt;
use crate::telemetry::health::{Health, HealthStatus, unix_seconds};
use crate::view::{Reader, View};

/// How long the store may take to answer about slots.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Pause after something that did not work.
const RETRY: Duration = Duration::from_secs(1);

/// What the role is made of.
#[derive(Clone)]
pub struct Parts {
    /// This machine.
    pub machine: MachineId,
    /// How it is to go about it.
    pub config: RebootConfig,
    /// Whether this daemon registers its machine and runs units on it. Without, nothing is drained and nothing proven.
    pub agent: bool,
    /// The store.
    pub registry: Registry,
    /// The cluster, live.
    pub view: View,
    /// The slots, shared with the API.
    pub lock: Lock,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Where the journal is.
    pub state_dir: PathBuf,
    /// Where the daemon says how it goes.
    pub health: Health,
    /// Where the role says how far it is.
    pub told: watch::Sender<HostStatus>,
    /// How often the machine is looked at again while a reboot is due.
    pub look: Duration,
}

/// How often the machine is looked at again while a reboot is due, unless said otherwise.
pub const LOOK: Duration = Duration::from_secs(5);

/// Runs the role until `shutdown`, and stops in the middle of whatever it does: the next one goes on.
pub async fn run(parts: Parts, shutdown: CancellationToken) {
    let _ = shutdown.run_until_cancelled(Role::new(parts).run()).await;
}

/// What is known besides the journal, and would be lost with the daemon.
pub(super) struct Role {
    pub(super) parts: Parts,
    pub(super) policy: RebootPolicy,
    pub(super) id: HolderId,
    pub(super) boot: String,
    pub(super) journal: Journal,
    pub(super) due: Due,
    pub(super) commands: Commands,
    /// The request to reboot, in this phase.
    pub(super) asked: RebootCall,
    /// The slots of the group as last read; `None`: to be read.
    pub(super) slots: Option<muster_engine::reboot::phase::SlotState>,
    /// When the group's last machine had rebooted.
    pub(super) last_reboot: Option<u64>,
    /// The cluster, while it is looked at.
    pub(super) reader: Option<Reader>,
    /// How the daemon is.
    pub(super) health: watch::Receiver<HealthStatus>,
    disk: Disk,
    group_news: mpsc::Receiver<RebootNews>,
    published: Option<HostStatus>,
    /// Whether users were told that the machine goes down.
    warned: bool,
    /// Whether what an earlier boot has left behind was taken away.
    swept: bool,
    /// The group this machine was in before it was configured anew; a slot of it may be held.
    left: Option<Group>,
    /// Wishes that were known before this boot: it has fulfilled them, whoever asked the machine to reboot.
    fulfilled: Vec<DueReason>,
}

impl Role {
    fn new(parts: Parts) -> Self {
        let boot = parts.host.boot();
        let policy = parts.config.to_policy();
        let mut disk = Disk::new(&parts.state_dir);
        let (journal, group) = disk.load();
        let left = group.filter(|group| *group != policy.group);
        disk.of(left.as_ref().unwrap_or(&policy.group));
        let wishes = |due: &&DueReason| matches!(due, DueReason::Requested { .. });
        let same_boot = journal.boot == boot;
        let known: Vec<DueReason> = if same_boot {
            journal.due.clone()
        } else {
            // What was found on the machine went with its boot; a wish is gone when it is removed.
            journal.due.iter().filter(wishes).cloned().collect()
        };
        let due = Due::follow(&parts.config, &parts.registry, &parts.machine, &known);
        let group = RebootScope::Group(policy.group.clone());
        Self {
            id: HolderId::from(&parts.machine),
            boot,
            journal,
            due,
            commands: Commands::new(&parts.config),
            asked: RebootCall::No,
            slots: None,
            last_reboot: None,
            reader: None,
            health: parts.health.subscribe(),
            disk,
            group_news: parts.registry.watch_reboots(&group),
            published: None,
            warned: false,
            swept: false,
            left,
            fulfilled: if same_boot { Vec::new() } else { known },
            policy,
            parts,
        }
    }

    async fn run(mut self) {
        loop {
            let seen = self.observe().await;
            let decided = step(&self.policy, &self.journal, &seen);
            let again = match self.keep(&decided) {
                Ok(()) => {
                    let published = self.publish(&decided.waits).await;
                    let done = self.carry_out(&decided).await;
                    match (done, published) {
                        (Done::Something, _) => Some(Duration::ZERO),
                        (Done::Failed, _) | (_, false) => Some(RETRY),
                        (Done::Nothing, true) => None,
                    }
                }
                Err(problem) => {
                    tracing::error!(problem, "nothing is done about the reboot");
                    self.publish(&[WaitReason::HostAway { problem }]).await;
                    Some(RETRY)
                }
            };
            let pause = self.pause(&decided, again);
            self.wait(pause).await;
        }
    }

    /// Keeps what was decided, before anything of it is done.
    fn keep(&mut self, decided: &RebootStep) -> Result<(), String> {
        if decided.journal == self.journal {
            return Ok(());
        }
        self.disk.keep(&decided.journal).map_err(|error| error_chain(&error))?;
        let (before, now) = (self.journal.phase, decided.journal.phase);
        self.journal = decided.journal.clone();
        if before != now {
            let why = decided.waits.first().map(ToString::to_string).unwrap_or_default();
            tracing::info!(from = %before, phase = %now, why, "reboot");
            self.entered(now);
        }
        Ok(())
    }

    /// Forgets what says nothing in a phase.
    fn entered(&mut self, phase: Phase) {
        self.asked = RebootCall::No;
        if is_before(phase) {
            self.commands.forget_hooks();
            self.reader = None;
        } else {
            // What users were told has come true; before, it holds until they are told otherwise.
            self.warned = false;
        }
        self.slots = None;
    }

    /// Publishes how far it is. Whether that is in the store now.
    async fn publish(&mut self, waits: &[WaitReason]) -> bool {
        let status = publish::status(&self.policy, &self.journal, waits, &self.boot);
        self.parts.told.send_replace(status.clone());
        if self.published.as_ref().is_some_and(|before| publish::alike(before, &status)) {
            return true;
        }
        let publish = self.parts.registry.publish_reboot_host(&self.parts.machine, &status);
        match tokio::time::timeout(publish::LIMIT, publish).await {
            Ok(Ok(())) => {
                self.published = Some(status);
                return true;
            }
            Ok(Err(error)) => {
                tracing::debug!(error = error_chain(&error), "cannot publish the reboot");
            }
            Err(_) => tracing::debug!("the store does not take the reboot's status in time"),
        }
        false
    }

    async fn carry_out(&mut self, decided: &RebootStep) -> Done {
        let mut done = Done::Nothing;
        for action in &decided.actions {
            done = done.max(self.act(action).await);
        }
        done
    }

    async fn act(&mut self, action: &RebootAction) -> Done {
        match action {
            RebootAction::Check => self.start(Kind::Check),
            RebootAction::Hook(hook) => self.start(Kind::Hook(*hook)),
            RebootAction::Warn { at } => self.warn(*at).await,
            RebootAction::Unwarn => self.unwarn().await,
            RebootAction::Acquire => {
                let lock = self.parts.lock.clone();
                let (group, kind) = (&self.policy.group, HolderKind::Host);
                let asked = lock.acquire(group, &self.id, kind, LIMIT).await;
                self.after_lock(asked, "take a slot")
            }
            RebootAction::Release(outcome) => {
                let ended = ReleaseReport {
                    outcome: outcome.clone(),
                    due: self.journal.due.clone(),
                    phases: self.journal.passed.clone(),
                };
                let lock = self.parts.lock.clone();
                let released = lock.release(&self.policy.group, &self.id, ended, LIMIT).await;
                self.after_lock(released, "give the slot back")
            }
            RebootAction::Drain { until } => self.drain(*until).await,
            RebootAction::Uncordon => {
                let registry = &self.parts.registry;
                let uncordoned =
                    registry.uncordon(&self.parts.machine, &CordonHolder::Reboot).await;
                after(uncordoned, "take units again")
            }
            RebootAction::Fulfil => {
                let wishes = self.journal.due.clone();
                self.fulfil(&wishes).await
            }
            RebootAction::Reboot => self.reboot().await,
        }
    }

    fn start(&mut self, kind: Kind) -> Done {
        self.commands.run(kind);
        Done::Nothing
    }

    async fn warn(&mut self, at: u64) -> Done {
        if self.warned {
            return Done::Nothing;
        }
        self.warned = true;
        let minutes = at.saturating_sub(unix_seconds()).div_ceil(60);
        let text = publish::warning(minutes, &self.journal.due);
        self.tell(&text).await
    }

    async fn unwarn(&mut self) -> Done {
        if !self.warned {
            return Done::Nothing;
        }
        self.warned = false;
        self.tell("This machine does not reboot for now.\n").await
    }

    /// Words that cannot be told hold nothing up.
    async fn tell(&self, text: &str) -> Done {
        if let Err(error) = self.parts.host.tell(text).await {
            tracing::warn!(error = error_chain(&error), "cannot tell logged-in users");
        }
        Done::Nothing
    }

    async fn drain(&mut self, until: u64) -> Done {
        if !self.parts.agent {
            return Done::Nothing;
        }
        let registry = &self.parts.registry;
        let machine = &self.parts.machine;
        match registry.cordon_of(machine).await {
            // Ordered in this attempt: each ends with the cordon's end. The order keeps its own deadline.
            Ok(Some(cordon)) if drain::is_ordered(&cordon) => return Done::Nothing,
            Ok(_) => {}
            Err(error) => return after(Err::<(), _>(error), "look at the cordon"),
        }
        let now = unix_seconds();
        let time = Duration::from_secs(until.saturating_sub(now).max(1));
        let hold = drain::order(now, time, self.policy.stuck);
        let ordered = registry.cordon(machine, &CordonHolder::Reboot, hold).await;
        after(ordered, "order the drain")
    }

    async fn reboot(&mut self) -> Done {
        if self.asked != RebootCall::No {
            return Done::Nothing;
        }
        tracing::info!("asking the machine to reboot");
        match self.parts.host.reboot().await {
            Ok(()) => self.asked = RebootCall::Accepted,
            Err(error) => {
                let problem = error_chain(&error);
                tracing::warn!(problem, "the machine does not reboot");
                self.asked = RebootCall::Refused(problem);
            }
        }
        Done::Something
    }

    /// Removes the wish that this reboot was for, and no other.
    async fn fulfil(&mut self, wishes: &[DueReason]) -> Done {
        let registry = &self.parts.registry;
        let machine = &self.parts.machine;
        let found = match registry.reboot_request(machine).await {
            Ok(found) => found.map(|(request, revision)| (super::due::wish(request), revision)),
            Err(RegistryError::Unreadable { .. }) => None,
            Err(error) => return after(Err::<(), _>(error), "look for the request"),
        };
        if let Some((wish, revision)) = &found
            && wishes.contains(wish)
        {
            let withdrawn = registry.withdraw_reboot(machine, Some(*revision)).await;
            if withdrawn.is_err() {
                return after(withdrawn, "remove the request");
            }
        }
        for wish in wishes {
            self.due.fulfilled(wish);
        }
        Done::Something
    }

    fn after_lock<T>(&mut self, result: Result<T, LockError>, what: &'static str) -> Done {
        self.slots = None;
        after(result, what)
    }

    /// How long nothing is to be done unless something happens; `None`: for ever.
    fn pause(&self, decided: &RebootStep, again: Option<Duration>) -> Option<Duration> {
        let due = self.journal.phase != Phase::Idle;
        [
            again,
            decided.wake.map(Duration::from_millis),
            due.then_some(self.parts.look),
            self.commands.again(),
            self.slots.is_none().then_some(RETRY),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Waits until something is to be decided anew.
    async fn wait(&mut self, pause: Option<Duration>) {
        let looks = self.reader.is_some();
        let reader = async {
            match &mut self.reader {
                Some(reader) => reader.changed().await,
                None => std::future::pending().await,
            }
        };
        // Every arm is cancel-safe: watches, a channel, a set of tasks and a timer.
        tokio::select! {
            () = self.due.changed() => {}
            () = self.commands.ended() => {}
            news = self.group_news.recv() => match news {
                Some(RebootNews::Lost { problem }) => {
                    let lost = muster_engine::reboot::phase::SlotState::Unknown { problem };
                    self.slots = Some(lost);
                }
                Some(_) => self.slots = None,
                // It promises not to end; the look at the slots is then a matter of time.
                None => tokio::time::sleep(RETRY).await,
            },
            () = reader => {}
            _ = self.health.changed(), if looks => {}
            () = sleep_for_opt(pause) => {}
        }
    }

    /// Once: takes away what no attempt stands behind. A wish that was known before this boot is fulfilled, whoever asked
    /// the machine to reboot; a cordon of ours is left by a lost disk.
    pub(super) async fn sweep(&mut self) {
        if self.swept || !is_before(self.journal.phase) {
            return;
        }
        if !self.fulfilled.is_empty() {
            let wishes = self.fulfilled.clone();
            if self.fulfil(&wishes).await == Done::Failed {
                return;
            }
            self.fulfilled.clear();
        }
        if let Some(group) = self.left.clone() {
            let problem = format!("the machine is of group {} now", self.policy.group);
            let ended = ReleaseReport::plain(SlotOutcome::GaveUp { problem });
            match self.parts.lock.release(&group, &self.id, ended, LIMIT).await {
                Ok(_) | Err(LockError::UnknownGroup { .. }) => {}
                Err(error) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "cannot give the old group's slot back"
                    );
                    return;
                }
            }
            self.left = None;
            self.disk.of(&self.policy.group);
        }
        if self.parts.agent {
            let registry = &self.parts.registry;
            let uncordoned = registry.uncordon(&self.parts.machine, &CordonHolder::Reboot).await;
            self.swept = uncordoned.is_ok();
        } else {
            self.swept = true;
        }
    }
}

/// What an action came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    /// Nothing is known that was not known before.
    Nothing,
    /// Something has changed: decide again.
    Something,
    /// It did not work: try again in a while.
    Failed,
}

fn after<T, E: std::error::Error>(result: Result<T, E>, what: &'static str) -> Done {
    match result {
        Ok(_) => Done::Something,
        Err(error) => {
            tracing::warn!(error = error_chain(&error), what, "it did not work");
            Done::Failed
        }
    }
}

/// Whether no slot is wanted yet.
pub(super) fn is_before(phase: Phase) -> bool {
    matches!(phase, Phase::Idle | Phase::Due | Phase::Waiting | Phase::Warning | Phase::Unknown)
}

/// Whether a slot may be held.
pub(super) fn is_attempt(phase: Phase) -> bool {
    !is_before(phase)
}
