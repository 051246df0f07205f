//! Slots taken and given back: read, decide, write where nothing was written meanwhile, and again if something was.
//!
//! Owns the retries, and which groups exist. It never decides who gets a slot: `muster_engine::reboot::semaphore` does.
//! The role on this machine, FleetLock and `/v1/reboot` all go through one [`Lock`], which lets one of them at a time
//! near a group, so that only daemons contend with each other and a crowd of clients costs a turn each, not a race.
//!
//! A group exists once it has a record, which setting its max makes. The default group and those of this daemon's own
//! configuration exist without one, with one slot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::reboot::{
    DueReason, Group, HistoryEntry, Holder, HolderId, HolderKind, PhaseSpan, Semaphore,
    SlotOutcome, WaitReason,
};
use muster_common::snapshot::Unreadable;
use muster_engine::reboot::retry::{RetrySchedule, seed_of};
use muster_engine::reboot::semaphore;
use muster_runtime::{Instant, timeout_at};
use muster_store::{RebootGroup, RebootRecords, Registry, RegistryError, StoreError};
use tokio::sync::watch;

use super::follower::{LatestRecords, RecordsFollower};
use crate::stdx::clock::Wall;
use crate::stdx::sync::lock;

/// Takes slots and gives them back, for everyone on this machine who does. Cheap to clone; all clones share their turns.
#[derive(Clone)]
pub struct Lock(Arc<LockState>);

struct LockState {
    registry: Registry,
    follower: Arc<RecordsFollower>,
    wall: Wall,
    /// Calls that were made, so that two of one holder do not pause alike.
    calls: AtomicU64,
    turns: Mutex<BTreeMap<Group, Arc<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock")
            .field("configured", self.0.follower.configured_groups())
            .finish_non_exhaustive()
    }
}

/// The answer to who wants a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcquireResult {
    /// It is the asker's, since then; `anew`: just now, otherwise it was before.
    Held {
        /// Seconds since the Unix epoch.
        since: u64,
        /// True if this call took it.
        anew: bool,
    },
    /// Not now, and why.
    Wait(WaitReason),
}

/// The answer to who gives a slot back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseResult {
    /// It is free; that was the holder.
    Freed(Holder),
    /// Nobody of that id held one, which is as good.
    NotHeld,
}

/// The report on a slot that is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseReport {
    /// The outcome of its holding.
    pub outcome: SlotOutcome,
    /// Why the reboot was due, where the holder tells.
    pub due: Vec<DueReason>,
    /// The phases it went through, where the holder tells.
    pub phases: Vec<PhaseSpan>,
}

impl ReleaseReport {
    /// Of a holder that tells nothing of itself.
    pub fn without_details(outcome: SlotOutcome) -> Self {
        Self { outcome, due: Vec::new(), phases: Vec::new() }
    }
}

/// A group as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub group: Group,
    /// Its slots.
    pub semaphore: Semaphore,
}

/// Why a slot could be neither granted nor refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// No such group.
    #[error("there is no reboot group {group}")]
    UnknownGroup {
        /// The name given.
        group: Group,
    },
    /// The store does not answer. Whether the slot was taken or freed may be unknown; asking again is safe.
    #[error("the slots of group {group} cannot be reached")]
    StoreAway {
        /// The group.
        group: Group,
        /// The last answer of the store; absent when it said nothing in time.
        #[source]
        source: Option<StoreError>,
    },
    /// A record in the way cannot be read: who holds slots is not known, so nobody is granted one.
    #[error("the slots of group {group} cannot be read")]
    Unreadable {
        /// The group.
        group: Group,
        /// Which record, and what is wrong with it.
        #[source]
        source: RegistryError,
    },
    /// Other daemons kept changing the group until the time was up.
    #[error("the slots of group {group} kept changing until the time was up; try again")]
    Contended {
        /// The group.
        group: Group,
    },
}

/// A decision on a semaphore.
enum SlotDecision<T> {
    /// Nothing is to be written; this is the answer.
    Answer(T),
    /// This is to be written, with what has ended; then this is the answer.
    Write(Semaphore, Option<HistoryEntry>, T),
}

impl Lock {
    /// Over the records of a registry. `configured`: groups of this daemon's configuration, its own among them. Slots are dated by
    /// the clock of this host.
    pub fn new(registry: Registry, configured: impl IntoIterator<Item = Group>) -> Self {
        Self::with_wall(registry, configured, Wall::default())
    }

    /// The same with slots that are dated by another clock.
    pub fn with_wall(
        registry: Registry,
        configured: impl IntoIterator<Item = Group>,
        wall: Wall,
    ) -> Self {
        let mut configured: BTreeSet<Group> = configured.into_iter().collect();
        configured.insert(Group::default());
        let follower = Arc::new(RecordsFollower::new(registry.clone(), configured));
        Self(Arc::new(LockState {
            registry,
            follower,
            wall,
            calls: AtomicU64::new(0),
            turns: Mutex::default(),
        }))
    }

    /// Takes a slot for `id`. Asking again while it is held is granted again. Answers within `limit`.
    pub async fn acquire_slot(
        &self,
        group: &Group,
        id: &HolderId,
        kind: HolderKind,
        limit: Duration,
    ) -> Result<AcquireResult, LockError> {
        let since = self.0.wall.unix_seconds();
        let changed = self.change_group(group, id.as_str(), limit, |found| {
            let wanted = Holder { id: id.clone(), kind, since };
            Ok(match semaphore::acquire_slot(group, &self.existing_group(group, found)?, wanted) {
                semaphore::Acquire::Grant(next) => {
                    SlotDecision::Write(next, None, AcquireResult::Held { since, anew: true })
                }
                semaphore::Acquire::AlreadyHeld { since } => {
                    SlotDecision::Answer(AcquireResult::Held { since, anew: false })
                }
                semaphore::Acquire::Wait(wait) => SlotDecision::Answer(AcquireResult::Wait(wait)),
            })
        });
        let asked = changed.await?;
        if matches!(asked, AcquireResult::Held { anew: true, .. }) {
            tracing::info!(%group, %id, %kind, "a slot was taken");
        }
        Ok(asked)
    }

    /// Gives the slot of `id` back, and remembers how it ended. Answers within `limit`.
    pub async fn release_slot(
        &self,
        group: &Group,
        id: &HolderId,
        ended: ReleaseReport,
        limit: Duration,
    ) -> Result<ReleaseResult, LockError> {
        let changed = self.change_group(group, id.as_str(), limit, |found| {
            Ok(match semaphore::release_slot(&self.existing_group(group, found)?, id) {
                semaphore::Release::NotHeld => SlotDecision::Answer(ReleaseResult::NotHeld),
                semaphore::Release::Freed(next, holder) => {
                    let entry = HistoryEntry {
                        id: holder.id.clone(),
                        kind: holder.kind,
                        taken: holder.since,
                        freed: self.0.wall.unix_seconds(),
                        outcome: ended.outcome.clone(),
                        due: ended.due.clone(),
                        phases: ended.phases.clone(),
                    };
                    SlotDecision::Write(next, Some(entry), ReleaseResult::Freed(holder))
                }
            })
        });
        let released = changed.await?;
        if let ReleaseResult::Freed(Holder { kind, since, .. }) = &released {
            tracing::info!(%group, %id, %kind, since, outcome = %ended.outcome, "a slot was freed");
        }
        Ok(released)
    }

    /// Sets how many slots a group has, making the group if there is none of that name. Nobody is evicted. Returns how many
    /// it had before; a group that was not there had none. Answers within `limit`.
    pub async fn set_max(
        &self,
        group: &Group,
        max: u32,
        limit: Duration,
    ) -> Result<u32, LockError> {
        self.change_group(group, "", limit, |found| {
            let known =
                self.existing_group(group, found).unwrap_or(Semaphore { max: 0, holders: vec![] });
            let old = known.max;
            Ok(match found {
                Some(found) if found.semaphore.max == max => SlotDecision::Answer(old),
                _ => SlotDecision::Write(semaphore::set_max(&known, max), None, old),
            })
        })
        .await
    }

    /// One group as it is now. Answers within `limit`.
    pub async fn group_status(
        &self,
        group: &Group,
        limit: Duration,
    ) -> Result<GroupStatus, LockError> {
        let deadline = Instant::now() + limit;
        let found = self.ask_store(group, deadline, self.0.registry.reboot_group(group)).await?;
        let semaphore = self.existing_group(group, found.as_ref())?;
        Ok(GroupStatus { group: group.clone(), semaphore })
    }

    /// All groups by name, those of the configuration among them, and the records that cannot be read. Answers within
    /// `limit`.
    pub async fn all_groups(
        &self,
        limit: Duration,
    ) -> Result<(Vec<GroupStatus>, Vec<Unreadable>), LockError> {
        let found = self.read_records(limit).await?;
        let statuses =
            found.groups.into_iter().map(|(group, semaphore)| GroupStatus { group, semaphore });
        Ok((statuses.collect(), found.unreadable))
    }

    /// All records of reboots, with the groups that exist without one. Answers within `limit`.
    pub async fn read_records(&self, limit: Duration) -> Result<RebootRecords, LockError> {
        let deadline = Instant::now() + limit;
        let any = Group::default();
        let found = self.ask_store(&any, deadline, self.0.registry.read_reboots()).await?;
        Ok(self.0.follower.add_configured(found))
    }

    /// The records as they change, with the groups that exist without one. It is fed by one watch, which all share.
    pub fn follow_records(&self) -> watch::Receiver<LatestRecords> {
        self.0.follower.follow_records()
    }

    /// The records as they were last read by that watch; waits for its first reading, for `limit` at most.
    pub async fn latest_records(&self, limit: Duration) -> Option<Arc<RebootRecords>> {
        let mut following = self.follow_records();
        let first = following.wait_for(|latest| latest.records.is_some() || latest.lost.is_some());
        let latest = muster_runtime::timeout(limit, first).await.ok()?.ok()?;
        latest.records.clone()
    }

    /// The last slots freed in a group, the oldest first. Answers within `limit`.
    pub async fn group_history(
        &self,
        group: &Group,
        limit: Duration,
    ) -> Result<Vec<HistoryEntry>, LockError> {
        let deadline = Instant::now() + limit;
        self.ask_store(group, deadline, self.0.registry.reboot_history(group)).await
    }

    /// The registry below, for what needs no turn: hosts, requests, watches.
    pub fn reboot_registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The semaphore of a group that exists.
    fn existing_group(
        &self,
        group: &Group,
        found: Option<&RebootGroup>,
    ) -> Result<Semaphore, LockError> {
        match found {
            Some(found) => Ok(found.semaphore.clone()),
            None if self.0.follower.configured_groups().contains(group) => Ok(Semaphore::default()),
            None => Err(LockError::UnknownGroup { group: group.clone() }),
        }
    }

    /// Reads, lets decide and writes on behalf of `who`, until what was decided upon is what was written over, or the time is up.
    async fn change_group<T>(
        &self,
        group: &Group,
        who: &str,
        limit: Duration,
        mut decide: impl FnMut(Option<&RebootGroup>) -> Result<SlotDecision<T>, LockError>,
    ) -> Result<T, LockError> {
        let began = Instant::now();
        let deadline = began + limit;
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let turn = self.turn_of(group);
        let Ok(_turn) = timeout_at(deadline, turn.lock()).await else {
            return Err(LockError::Contended { group: group.clone() });
        };
        let mut pauses = RetrySchedule::new(limit, seed_of(who, call));
        loop {
            let problem = match self.attempt_once(group, deadline, &mut decide).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => LockError::Contended { group: group.clone() },
                // A write whose outcome is not known is found out by deciding again: a slot that was taken is held.
                Err(error @ LockError::StoreAway { .. }) => error,
                Err(error) => return Err(error),
            };
            let Some(pause) = pauses.next_pause(began.elapsed()) else { return Err(problem) };
            muster_runtime::sleep(pause).await;
        }
    }

    /// One round; `None`: somebody else wrote meanwhile.
    async fn attempt_once<T>(
        &self,
        group: &Group,
        deadline: Instant,
        decide: &mut impl FnMut(Option<&RebootGroup>) -> Result<SlotDecision<T>, LockError>,
    ) -> Result<Option<T>, LockError> {
        let registry = &self.0.registry;
        let found = self.ask_store(group, deadline, registry.reboot_group(group)).await?;
        let (next, ended, answer) = match decide(found.as_ref())? {
            SlotDecision::Answer(answer) => return Ok(Some(answer)),
            SlotDecision::Write(next, ended, answer) => (next, ended, answer),
        };
        let revision = found.map_or(0, |found| found.revision);
        let decided = RebootGroup { group: group.clone(), semaphore: next, revision };
        let write = registry.write_reboot_group(&decided, ended);
        Ok(self.ask_store(group, deadline, write).await?.then_some(answer))
    }

    /// Asks the store, until the deadline.
    async fn ask_store<T>(
        &self,
        group: &Group,
        deadline: Instant,
        question: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, LockError> {
        let away = |source| LockError::StoreAway { group: group.clone(), source };
        match timeout_at(deadline, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RegistryError::Store(source))) => Err(away(Some(source))),
            Ok(Err(source)) => Err(LockError::Unreadable { group: group.clone(), source }),
            Err(_) => Err(away(None)),
        }
    }

    /// The turn of a group on this machine.
    fn turn_of(&self, group: &Group) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.0.turns);
        // Clients may name any group: those that nobody is at are forgotten.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(group.clone()).or_default())
    }
}
