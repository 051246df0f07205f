//! A cluster of members: who leads, who knows it, and when that changes.
//!
//! Owns the members, the one state that a majority has agreed on, elections, and the times at which something happens by itself. Raft's
//! log is not here: a request that a leader with a majority carries out is carried out at once and everywhere it reaches, and one that
//! lacks a majority waits or comes to nothing. How long an answer takes, and whether it arrives, is the world's business.
//!
//! Times are etcd's defaults: a heartbeat of 100 ms, an election timeout of one second. What etcd draws by chance comes from the seed.

use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use muster_store::etcd_protocol::{StoreLineage, WatchEnd, WatchMessage};

use super::member::{EtcdMember, HeldCall};
use super::model::{EtcdModel, EtcdRelease};
use super::request::{EtcdRequest, refusal};
use super::wire::EtcdDelivery;

/// The shortest time after which a member that hears no leader campaigns, or a leader that hears no majority steps down. The longest
/// is twice that.
pub(super) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// The time between two looks of a leader for leases that are over.
const LEASE_CHECK: Duration = Duration::from_millis(500);

/// The time without a leader after which a member ends its watches: three election timeouts.
const LEADERLESS_LIMIT: Duration = Duration::from_secs(3);

/// The time that a server lets a request wait: five seconds and two election timeouts.
const REQUEST_LIMIT: Duration = Duration::from_secs(7);

/// The time from a campaign to its votes.
const VOTE: Duration = Duration::from_millis(20);

/// The way in which a cluster forgets its history by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never: somebody else does, or nobody.
    Off,
    /// Changes older than this go; looked for as often.
    Periodic(Duration),
    /// All but so many revisions, every five minutes.
    Revisions(u64),
}

/// The time between two cuts of history by the number of revisions.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// A cluster to be made.
#[derive(Debug, Clone, Copy)]
pub struct ClusterOptions {
    /// The number of its members.
    pub members: usize,
    /// The members' release.
    pub release: EtcdRelease,
    /// The bytes its database may have; absent: as many as it likes.
    pub quota: Option<u64>,
    /// The way in which it forgets its history.
    pub compaction: AutoCompaction,
    /// The seed of election timeouts.
    pub seed: Seed,
}

/// The cluster. Each function that lets something happen gives the messages that follow from it.
#[derive(Debug)]
pub struct EtcdCluster {
    pub(super) model: EtcdModel,
    pub(super) members: Vec<EtcdMember>,
    /// The leader, if there is one, even while it is paused or cut off: it may come back before another is elected.
    pub(super) leader: Option<usize>,
    pub(super) term: u64,
    /// Its id.
    pub(super) id: u64,
    /// When the campaign under way is won.
    pub(super) election_at: Option<Duration>,
    /// When this leader began to count leases.
    promoted_at: Duration,
    compaction: AutoCompaction,
    compact_at: Option<Duration>,
    /// The revision there was at the last look.
    compact_to: u64,
    chance: RandomSequence,
    pub(super) out: Vec<EtcdDelivery>,
}

impl EtcdCluster {
    /// An empty cluster whose first leader has just been elected: nobody has to wait for it.
    pub fn new(now: Duration, options: ClusterOptions) -> Self {
        let model = EtcdModel::new(options.release, options.quota);
        let members =
            (0..options.members).map(|_| EtcdMember::new(now, model.revision())).collect();
        let interval = match options.compaction {
            AutoCompaction::Off => None,
            AutoCompaction::Periodic(age) => Some(age),
            AutoCompaction::Revisions(_) => Some(REVISION_INTERVAL),
        };
        let mut cluster = Self {
            model,
            members,
            leader: None,
            term: 1,
            id: 1,
            election_at: None,
            promoted_at: now,
            compaction: options.compaction,
            compact_at: interval.map(|interval| now + interval),
            compact_to: 0,
            chance: options.seed.for_purpose("etcd elections").random_sequence(),
            out: Vec::new(),
        };
        cluster.election_at = Some(now);
        cluster.elect_leader(now);
        cluster
    }

    /// The state that the majority has agreed on, to be looked at.
    pub fn agreed_model(&self) -> &EtcdModel {
        &self.model
    }

    /// The number of members.
    pub fn count_members(&self) -> usize {
        self.members.len()
    }

    /// The member that leads with a majority behind it.
    pub fn find_leader(&self) -> Option<usize> {
        self.leader.filter(|leader| self.has_majority(*leader))
    }

    /// The present term.
    pub fn current_term(&self) -> u64 {
        self.term
    }

    /// The cluster as its members name it.
    pub fn store_lineage(&self) -> StoreLineage {
        StoreLineage { cluster: self.id, term: self.term }
    }

    /// When something happens by itself, if nothing comes from outside before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let lease = self.find_leader().and_then(|_| self.next_lease_check());
        let members = self.members.iter().filter(|member| member.is_up());
        let members = members.flat_map(|member| {
            let watches = !member.watches.is_empty();
            let watches = member.leaderless_since.filter(|_| watches);
            let held = member.held.iter().filter_map(|held| held.overdue_at(REQUEST_LIMIT)).min();
            [member.lapses_at, watches.map(|since| since + LEADERLESS_LIMIT), held]
        });
        let own = [lease, self.election_at, self.find_leader().and(self.compact_at)];
        own.into_iter().chain(members).flatten().min()
    }

    /// Lets everything happen that is due by a moment.
    pub fn advance_to(&mut self, now: Duration) -> Vec<EtcdDelivery> {
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            self.carry_out_due(due, now);
        }
        std::mem::take(&mut self.out)
    }

    /// What is due at a moment that may be long past, since nobody led or the leader stood still.
    fn carry_out_due(&mut self, now: Duration, present: Duration) {
        for at in 0..self.members.len() {
            let is_leader = self.leader == Some(at);
            let Some(member) = self.members.get_mut(at).filter(|member| member.is_up()) else {
                continue;
            };
            if member.lapses_at.is_some_and(|lapses_at| lapses_at <= now) {
                let led = is_leader && member.leader == Some(at);
                member.forget_leader(now);
                if led {
                    self.end_leadership();
                    self.update_topology(now);
                }
            }
            self.end_leaderless_watches(at, now);
            self.end_overdue_calls(at, now);
        }
        if self.election_at.is_some_and(|at| at <= now) {
            self.elect_leader(now);
        }
        if self.find_leader().is_none() {
            return;
        }
        if self.next_lease_check().is_some_and(|at| at <= now) {
            self.model.end_due_leases(now);
            self.spread_changes();
            // Keepalives of a lease that was over have waited for this.
            self.take_up_held(now);
        }
        if self.compact_at.is_some_and(|at| at <= now) {
            self.compact_by_itself(present);
        }
    }

    fn compact_by_itself(&mut self, now: Duration) {
        let (interval, to) = match self.compaction {
            AutoCompaction::Off => (None, 0),
            AutoCompaction::Periodic(age) => (Some(age), self.compact_to),
            AutoCompaction::Revisions(kept) => {
                (Some(REVISION_INTERVAL), self.model.revision().saturating_sub(kept))
            }
        };
        self.compact_at = interval.map(|interval| now + interval);
        self.compact_to = self.model.revision();
        if to > 0 {
            // The same revision twice is refused, and nothing is lost by it.
            self.model.compact_history(to).ok();
        }
    }

    /// The leader looks for leases that are over twice a second, counted from when it began.
    fn next_lease_check(&self) -> Option<Duration> {
        let ends = self.model.next_lease_end()?;
        let passed = ends.saturating_sub(self.promoted_at).as_micros();
        let checks = passed.div_ceil(LEASE_CHECK.as_micros());
        let checks = u32::try_from(checks).unwrap_or(u32::MAX);
        Some(self.promoted_at + LEASE_CHECK * checks)
    }

    fn end_leaderless_watches(&mut self, at: usize, now: Duration) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.leaderless_since.is_some_and(|since| since + LEADERLESS_LIMIT <= now) {
            for (stream, watch) in std::mem::take(&mut member.watches) {
                let end = Err(refusal::no_leader());
                self.out.push(EtcdDelivery::of_message(at, stream.connection, watch.messages, end));
            }
        }
    }

    fn end_overdue_calls(&mut self, at: usize, now: Duration) {
        let Some(member) = self.members.get_mut(at) else { return };
        let (overdue, held): (Vec<HeldCall>, Vec<HeldCall>) = std::mem::take(&mut member.held)
            .into_iter()
            .partition(|held| held.overdue_at(REQUEST_LIMIT).is_some_and(|at| at <= now));
        member.held = held;
        for HeldCall { call, .. } in overdue {
            let answer = Err(refusal::timed_out());
            self.out.push(EtcdDelivery::of_answer(at, call.connection, call.reply, answer));
        }
    }

    /// True if two members reach each other now.
    pub(super) fn are_connected(&self, one: usize, other: usize) -> bool {
        let (Some(a), Some(b)) = (self.members.get(one), self.members.get(other)) else {
            return false;
        };
        a.is_up() && b.is_up() && (one == other || !a.cut_from.contains(&other))
    }

    /// The same for a caller who looks from outside.
    pub fn are_members_connected(&self, one: usize, other: usize) -> bool {
        self.are_connected(one, other)
    }

    /// True if a member runs and reaches more than half of all, itself included.
    pub(super) fn has_majority(&self, at: usize) -> bool {
        let reached =
            (0..self.members.len()).filter(|other| self.are_connected(at, *other)).count();
        reached * 2 > self.members.len()
    }

    /// Nobody leads, and nobody counts the time of leases.
    pub(super) fn end_leadership(&mut self) {
        self.leader = None;
        self.model.demote_leader();
    }

    /// Sees to it that everybody knows, or will find out, what has become of the leader.
    pub(super) fn update_topology(&mut self, now: Duration) {
        if let Some(leader) = self.find_leader() {
            self.election_at = None;
            for at in 0..self.members.len() {
                if self.are_connected(at, leader) {
                    self.learn_leader(at, leader, now);
                } else {
                    self.begin_to_doubt(at, now);
                }
            }
            return;
        }
        let candidate = (0..self.members.len()).any(|at| self.has_majority(at));
        if !candidate {
            self.election_at = None;
        } else if self.election_at.is_none() {
            let mut timeout = self.draw_timeout();
            if self.members.len() == 1 {
                // One that is alone need not wait for others to be heard.
                timeout = HEARTBEAT;
            } else if self.chance.next().is_multiple_of(8) {
                // Two campaign at once, and none wins.
                timeout += self.draw_timeout();
            }
            self.election_at = Some(now + timeout + VOTE);
        }
        for at in 0..self.members.len() {
            self.begin_to_doubt(at, now);
        }
    }

    /// A member that does not hear its leader gives it up after the election timeout, or when others campaign.
    fn begin_to_doubt(&mut self, at: usize, now: Duration) {
        let timeout = self.draw_timeout();
        let campaign = self.election_at.filter(|_| self.has_majority(at));
        let is_leader = self.leader == Some(at);
        let Some(member) = self.members.get_mut(at) else { return };
        if member.is_up() && member.leader.is_some() && member.lapses_at.is_none() {
            let lapses_at = match campaign {
                // Whoever leads steps down by its own count.
                Some(campaign) if !is_leader => campaign.saturating_sub(VOTE),
                _ => now + timeout,
            };
            member.lapses_at = Some(lapses_at.max(now));
        }
    }

    fn draw_timeout(&mut self) -> Duration {
        let most = u64::try_from(ELECTION_TIMEOUT.as_micros()).unwrap_or(u64::MAX).max(1);
        ELECTION_TIMEOUT + Duration::from_micros(self.chance.next() % most)
    }

    /// Ends the campaign under way: one of those who reach a majority leads.
    pub(super) fn elect_leader(&mut self, now: Duration) {
        self.election_at = None;
        if self.find_leader().is_some() {
            return;
        }
        let candidates: Vec<usize> =
            (0..self.members.len()).filter(|at| self.has_majority(*at)).collect();
        let chosen = self.chance.next() % (candidates.len().max(1) as u64);
        let Some(leader) = usize::try_from(chosen).ok().and_then(|at| candidates.get(at)) else {
            return;
        };
        self.depose_leader();
        self.leader = Some(*leader);
        self.term += 1;
        self.promoted_at = now;
        self.model.promote_leader(now, ELECTION_TIMEOUT);
        self.update_topology(now);
    }

    /// A leader that is paused or cut off does not know that another leads: it has the leases as it last counted them.
    fn depose_leader(&mut self) {
        let Some(former) = self.leader.take() else { return };
        if let Some(member) = self.members.get_mut(former)
            && member.leader == Some(former)
        {
            member.deposed = Some(self.model.held_leases().clone());
        }
    }

    /// A member hears from the leader: it has all that the leader has.
    fn learn_leader(&mut self, at: usize, leader: usize, now: Duration) {
        let revision = self.model.revision();
        let Some(member) = self.members.get_mut(at) else { return };
        member.leader = Some(leader);
        member.lapses_at = None;
        member.leaderless_since = None;
        member.deposed = None;
        if member.applied != revision {
            member.applied = revision;
            self.tell_watches(at);
        }
        self.take_up_held_at(at, now);
    }

    /// Tells everybody whom the leader reaches of what has changed.
    pub(super) fn spread_changes(&mut self) {
        let revision = self.model.revision();
        let Some(leader) = self.find_leader() else { return };
        for at in 0..self.members.len() {
            if self.are_connected(at, leader)
                && let Some(member) = self.members.get_mut(at)
                && member.applied != revision
            {
                member.applied = revision;
                self.tell_watches(at);
            }
        }
    }

    /// Sends the watches of a member what it has and they have not been told.
    pub(super) fn tell_watches(&mut self, at: usize) {
        let compacted = self.model.compacted_revision();
        let Some(member) = self.members.get_mut(at) else { return };
        let applied = member.applied;
        let lineage = StoreLineage { cluster: self.id, term: self.term };
        let (model, out) = (&self.model, &mut self.out);
        member.watches.retain(|stream, watch| {
            if watch.next > applied {
                return true;
            }
            let mut send = |message: WatchMessage| {
                let messages = watch.messages.clone();
                out.push(EtcdDelivery::of_message(at, stream.connection, messages, Ok(message)));
            };
            if watch.next < compacted {
                let end = WatchEnd { compact_revision: compacted, reason: String::new() };
                let (changes, end) = (Vec::new(), Some(end));
                send(WatchMessage { revision: applied, lineage, changes, end });
                return false;
            }
            let changes = model.changes_between(&watch.range, watch.next, applied);
            watch.next = applied + 1;
            if !changes.is_empty() {
                send(WatchMessage { revision: applied, lineage, changes, end: None });
            }
            true
        });
    }

    fn take_up_held(&mut self, now: Duration) {
        for at in 0..self.members.len() {
            self.take_up_held_at(at, now);
        }
    }

    /// Lets what has waited at a member go on. What was proposed to a former leader has come to nothing, unless it stands in the log
    /// of the very member that leads now. A read is told that the leader changed.
    fn take_up_held_at(&mut self, at: usize, now: Duration) {
        let leads = self.leader == Some(at);
        let Some(member) = self.members.get_mut(at) else { return };
        for HeldCall { since, term, is_logged, call } in std::mem::take(&mut member.held) {
            let is_inherited = is_logged && leads && term + 1 == self.term;
            if term == self.term || is_inherited {
                self.answer_call(now, at, call, since);
                continue;
            }
            match call.request {
                EtcdRequest::Transact { .. }
                | EtcdRequest::GrantLease { .. }
                | EtcdRequest::RevokeLease { .. } => {}
                EtcdRequest::ReadPage(_) => {
                    let answer = Err(refusal::leader_changed());
                    self.out.push(EtcdDelivery::of_answer(at, call.connection, call.reply, answer));
                }
                EtcdRequest::KeepAlive { .. }
                | EtcdRequest::ReadLease { .. }
                | EtcdRequest::ReadVersion
                | EtcdRequest::Ping => self.answer_call(now, at, call, since),
            }
        }
    }
}
