//! Machines: registration, who belongs to the cluster, and what is said about machines at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use muster_common::machine::{Machine, MachineId};
use muster_common::probe::is_planted;
use muster_common::snapshot::Change;
use muster_runtime::{Instant, timeout_at};

use super::decode::read;
use super::guarded::RecordChange;
use super::keys::Key;
use super::packing::CommitPiece;
use super::records::{MachineRecord, MembersRecord, MetadataRecord, decode, encode};
use super::{CommitError, Leadership, Presence, Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, KeyValue, Lease, LeaseId, Op, StoreError, TimeLeft};

/// Attempts at a registration while others register under the same id.
const ATTEMPTS: usize = 5;

/// Leases that are asked for at a time.
const ASKED_AT_ONCE: usize = 32;

/// A machine's record, as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRegistration {
    /// The machine.
    pub machine: Machine,
    /// The lease that the record lives under.
    pub lease: Option<LeaseId>,
    /// The revision at which it was last written.
    pub revision: u64,
}

impl Registry {
    /// Sets (`Some`) and removes (`None`) run-time metadata of machines, all or nothing. At most
    /// [`MAX_GUARDS`](crate::MAX_GUARDS) of them, and none twice.
    pub async fn set_metadata(
        &self,
        changes: &[(MachineId, String, Option<String>)],
    ) -> Result<(), RegistryError> {
        let changes: Vec<RecordChange> = changes
            .iter()
            .map(|(machine, name, value)| RecordChange {
                key: self.key(&Key::Metadata(machine.clone(), name.clone())),
                value: value.as_ref().map(|value| encode(&MetadataRecord::new(value))),
            })
            .collect();
        self.replace_records(&changes).await
    }

    /// The registration of a machine, if it is registered.
    pub async fn read_registration(
        &self,
        machine: &MachineId,
    ) -> Result<Option<StoredRegistration>, RegistryError> {
        let key = Key::Machine(machine.clone());
        let Some(record) = self.get(&key).await? else { return Ok(None) };
        match read(key.clone(), &record) {
            Ok(Change::Machine(_, Some(machine))) => {
                let KeyValue { lease, mod_revision: revision, .. } = record;
                Ok(Some(StoredRegistration { machine, lease, revision }))
            }
            Ok(_) => Ok(None),
            Err(problem) => Err(RegistryError::Unreadable { key: key.to_string(), problem }),
        }
    }

    /// Grants a lease.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    /// Prolongs a lease. The new time counts from when this was called.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    /// The time that a lease has left, whoever has it.
    pub async fn lease_time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.store.time_left(lease).await
    }

    /// The time that the leases of these machines have left, as far as the store says so within the limit: a machine whose lease
    /// ended meanwhile has none, and one that nothing could be found out about is left out. The cost is that of these machines,
    /// however many there are.
    ///
    /// # Errors
    ///
    /// Nothing could be found out about any of them, for this reason.
    pub async fn time_left(
        &self,
        machines: &BTreeSet<MachineId>,
        limit: Duration,
    ) -> Result<BTreeMap<MachineId, TimeLeft>, StoreError> {
        let until = Instant::now() + limit;
        let questions = machines.iter().cloned().map(|machine| {
            let registry = self.clone();
            async move { (registry.time_left_of(&machine).await, machine) }.boxed()
        });
        let mut answers = futures::stream::iter(questions).buffer_unordered(ASKED_AT_ONCE);
        let mut times = BTreeMap::new();
        let mut problem = None;
        // What comes later than the limit does not make what came before worth less.
        while let Ok(Some((answer, machine))) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(time) => {
                    times.insert(machine, time);
                }
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        let lacks_some = is_planted("unanswered-lease-hides-all") && times.len() < machines.len();
        match problem {
            _ if lacks_some => {
                Err(StoreError::Unavailable { during: "leases".to_owned(), source: None })
            }
            Some(problem) if times.is_empty() => Err(problem),
            _ => Ok(times),
        }
    }

    async fn time_left_of(&self, machine: &MachineId) -> Result<TimeLeft, StoreError> {
        let (left, granted, counted_for) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
        let over = TimeLeft { left, granted, counted_for };
        let record = self.get(&Key::Machine(machine.clone())).await?;
        let Some(lease) = record.and_then(|record| record.lease) else { return Ok(over) };
        match self.store.time_left(lease).await {
            Err(StoreError::LeaseGone { .. }) => Ok(over),
            answer => answer,
        }
    }

    /// Records which machines belong to the cluster, guarded by our leadership and by what the decision rests on: the members as
    /// they were `seen` up to a revision. `false`: they were written since, because a machine took its leave or is back, and may be the same
    /// for all that; nothing was written.
    pub async fn set_members(
        &self,
        leadership: Leadership,
        (seen, seen_at): (&BTreeSet<MachineId>, u64),
        members: &BTreeSet<MachineId>,
    ) -> Result<bool, CommitError> {
        let key = self.key(&Key::Members);
        let found = self.get(&Key::Members).await?;
        // One that nobody can read is seen as empty, and replaced.
        let now = found.as_ref().and_then(|found| decode::<MembersRecord>(&found.value).ok());
        let now = now.map(MembersRecord::into_machines).unwrap_or_default();
        let revision = found.map_or(0, |found| found.mod_revision);
        let is_newer = revision > seen_at && !is_planted("members-of-before-written");
        if (now != *seen || is_newer) && !is_planted("leave-overwritten") {
            return Ok(false);
        }
        let unchanged = Guard::Modified { key: key.clone(), revision };
        let value = encode(&MembersRecord::new(members));
        let put = Op::Put { key, value, lease: None };
        let leading = self.leading_guard(leadership);
        match self.store.commit(vec![leading.clone(), unchanged], vec![put]).await? {
            CommitOutcome::Done { .. } => Ok(true),
            CommitOutcome::Conflict { .. } if self.guard_still_holds(&leading).await? => Ok(false),
            CommitOutcome::Conflict { .. } => Err(CommitError::Deposed),
        }
    }

    /// Takes a machine out of the record of those that belong to the cluster: it goes of its own will, and is not to be
    /// counted among the lost. `false`: it was not in it. It is written only while its registration is as it was: a goodbye that comes late,
    /// when the next boot is registered, is none of that boot's.
    pub async fn remove_member(&self, machine: &MachineId) -> Result<bool, RegistryError> {
        let key = self.key(&Key::Members);
        let registration = Key::Machine(machine.clone());
        for _ in 0..ATTEMPTS {
            let registered = self.get(&registration).await?.map_or(0, |found| found.mod_revision);
            let Some(found) = self.get(&Key::Members).await? else { return Ok(false) };
            let unreadable =
                |problem| RegistryError::Unreadable { key: Key::Members.to_string(), problem };
            let mut members =
                decode::<MembersRecord>(&found.value).map_err(unreadable)?.into_machines();
            if !members.remove(machine) {
                return Ok(false);
            }
            let mut guards =
                vec![Guard::Modified { key: key.clone(), revision: found.mod_revision }];
            if !is_planted("late-leave-counts-for-next-boot") {
                guards.push(Guard::Modified { key: self.key(&registration), revision: registered });
            }
            let value = encode(&MembersRecord::new(&members));
            let put = Op::Put { key: key.clone(), value, lease: None };
            if let CommitOutcome::Done { .. } = self.store.commit(guards, vec![put]).await? {
                return Ok(true);
            }
        }
        Err(RegistryError::Contended { key: Key::Members.to_string() })
    }

    /// Ends a lease, and with it our registration, our leadership and our published states.
    pub async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    /// Registers a machine under a lease, whatever is registered under its id. `created` of the record is kept
    /// when the record is there already.
    pub async fn register_machine(
        &self,
        machine: &Machine,
        lease: Lease,
    ) -> Result<Presence, RegistryError> {
        let written = self.write_registration(machine, lease, |_| true).await;
        written.map(|(presence, _)| presence)
    }

    /// The same in place of a record of our own: one under this lease, one under the lease that was found before, one that nobody can
    /// read, or none. Whatever came to be there meanwhile is another's, and [`RegistryError::Contended`] is the answer: of two
    /// machines with one id that boot at once one registers. The revision at which it was written is told beside the presence.
    pub async fn claim_registration(
        &self,
        machine: &Machine,
        lease: Lease,
        found: Option<LeaseId>,
    ) -> Result<(Presence, u64), RegistryError> {
        self.write_registration(machine, lease, |record| {
            let ours = record.lease == Some(lease.id) || (found.is_some() && record.lease == found);
            ours || decode::<MachineRecord>(&record.value).is_err()
        })
        .await
    }

    async fn write_registration(
        &self,
        machine: &Machine,
        lease: Lease,
        may_replace: impl Fn(&KeyValue) -> bool,
    ) -> Result<(Presence, u64), RegistryError> {
        let id = Key::Machine(machine.id.clone());
        let key = self.key(&id);
        let value = encode(&MachineRecord::new(machine));
        let mut membership = self.membership_piece(machine).await?;
        for _ in 0..ATTEMPTS {
            let found = self.get(&id).await?;
            if found.as_ref().is_some_and(|record| !may_replace(record)) {
                break;
            }
            let revision = found.as_ref().map_or(0, |record| record.mod_revision);
            let guard = Guard::Modified { key: key.clone(), revision };
            let put = Op::Put { key: key.clone(), value: value.clone(), lease: Some(lease.id) };
            let CommitPiece { mut guards, mut ops } = membership.take().unwrap_or_default();
            guards.push(guard);
            ops.push(put);
            // The guard makes sure that the record we found is the one we replace, and so that `created` is right.
            if let CommitOutcome::Done { revision } = self.store.commit(guards, ops).await? {
                let created = found.map_or(revision, |record| record.create_revision);
                return Ok((Presence { machine: machine.id.clone(), lease, created }, revision));
            }
        }
        Err(RegistryError::Contended { key: id.to_string() })
    }

    /// What makes a machine that registers a member again, after it had taken its leave. The leader does so as well, once it has heard; but
    /// from the first moment on a machine is to be missed when it goes, also where there is no leader, or one behind a bad line. It is tried
    /// once: of many that come back together the leader makes members. `None`: it is one, or nobody has recorded any.
    async fn membership_piece(&self, machine: &Machine) -> Result<Option<CommitPiece>, StoreError> {
        if machine.leaving || is_planted("members-by-leader-alone") {
            return Ok(None);
        }
        let Some(found) = self.get(&Key::Members).await? else { return Ok(None) };
        // One that nobody can read is for the leader to replace.
        let Ok(record) = decode::<MembersRecord>(&found.value) else { return Ok(None) };
        let mut members = record.into_machines();
        if members.is_empty() || !members.insert(machine.id.clone()) {
            return Ok(None);
        }
        let value = encode(&MembersRecord::new(&members));
        let KeyValue { key, mod_revision: revision, .. } = found;
        Ok(Some(CommitPiece {
            guards: vec![Guard::Modified { key: key.clone(), revision }],
            ops: vec![Op::Put { key, value, lease: None }],
        }))
    }

    /// Holds while a machine is registered as it was when it got this presence.
    pub(super) fn registered_guard(&self, presence: &Presence) -> Guard {
        let key = self.key(&Key::Machine(presence.machine.clone()));
        Guard::Created { key, revision: presence.created }
    }
}
