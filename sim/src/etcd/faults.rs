//! What goes wrong with members, by somebody's hand.
//!
//! Owns the faults that are a cluster's own: pauses, kills, cuts between members, elections, a full disk, compaction, another state. Cuts
//! between daemons and members are the world's.

use std::time::Duration;

use muster_store::LeaseId;
use muster_store::etcd_protocol::EtcdError;

use super::cluster::EtcdCluster;
use super::member::{EtcdMember, MemberProcess};
use super::model::EtcdModel;
use super::request::refusal;
use super::wire::{EtcdDelivery, EtcdMessage};

impl EtcdCluster {
    /// Stops a member's process where it is, as SIGSTOP does.
    pub fn pause_member(&mut self, now: Duration, at: usize) -> Vec<EtcdDelivery> {
        if let Some(member) = self.members.get_mut(at)
            && member.is_up()
        {
            member.process = MemberProcess::Paused { inbox: Vec::new() };
            member.lapses_at = None;
            self.update_topology(now);
        }
        std::mem::take(&mut self.out)
    }

    /// Lets a paused process go on. It finds all that has come meanwhile, and answers it before it hears what has become of its
    /// leader.
    pub fn resume_member(&mut self, now: Duration, at: usize) -> Vec<EtcdDelivery> {
        if let Some(member) = self.members.get_mut(at)
            && let MemberProcess::Paused { inbox } = &mut member.process
        {
            let inbox = std::mem::take(inbox);
            member.process = MemberProcess::Up;
            for message in inbox {
                self.receive_message(now, at, message);
            }
            self.update_topology(now);
        }
        std::mem::take(&mut self.out)
    }

    /// The host of a member has slept: its monotonic clock has stood still, which is what a leader counts leases by. Where no other has
    /// been elected meanwhile, they end later by so much.
    pub fn delay_leases(&mut self, at: usize, slept: Duration) {
        if self.leader == Some(at) {
            self.model.delay_leases(slept);
        }
    }

    /// Ends a member's process. What hangs on it is reset; what is on its disk stays.
    pub fn kill_member(&mut self, now: Duration, at: usize) -> Vec<EtcdDelivery> {
        self.reset_member(at);
        if let Some(member) = self.members.get_mut(at) {
            member.process = MemberProcess::Down;
            member.forget_leader(now);
            member.leaderless_since = None;
        }
        if self.leader == Some(at) {
            self.end_leadership();
        }
        self.update_topology(now);
        std::mem::take(&mut self.out)
    }

    /// Starts the process of a member that was killed.
    pub fn start_member(&mut self, now: Duration, at: usize) -> Vec<EtcdDelivery> {
        if let Some(member) = self.members.get_mut(at)
            && matches!(member.process, MemberProcess::Down)
        {
            let cut_from = std::mem::take(&mut member.cut_from);
            *member = EtcdMember { cut_from, ..EtcdMember::new(now, member.applied) };
            self.update_topology(now);
        }
        std::mem::take(&mut self.out)
    }

    /// Puts a new member with an empty disk in the place of one: it has nothing before it hears from the leader.
    pub fn replace_member(&mut self, now: Duration, at: usize) -> Vec<EtcdDelivery> {
        let mut out = self.kill_member(now, at);
        if let Some(member) = self.members.get_mut(at) {
            member.applied = 0;
        }
        out.extend(self.start_member(now, at));
        out
    }

    /// Cuts the way between two members, or mends it.
    pub fn set_peer_cut(
        &mut self,
        now: Duration,
        one: usize,
        other: usize,
        is_cut: bool,
    ) -> Vec<EtcdDelivery> {
        for (here, there) in [(one, other), (other, one)] {
            if let Some(member) = self.members.get_mut(here) {
                if is_cut {
                    member.cut_from.insert(there);
                } else {
                    member.cut_from.remove(&there);
                }
            }
        }
        self.update_topology(now);
        std::mem::take(&mut self.out)
    }

    /// True if the way between two members is cut.
    pub fn is_peer_cut(&self, one: usize, other: usize) -> bool {
        self.members.get(one).is_some_and(|member| member.cut_from.contains(&other))
    }

    /// Makes the leader step down, without a fault of anybody: for so long there is none.
    pub fn begin_election(&mut self, now: Duration, pause: Duration) -> Vec<EtcdDelivery> {
        self.end_leadership();
        for member in self.members.iter_mut().filter(|member| member.is_up()) {
            member.forget_leader(now);
        }
        self.election_at = None;
        if (0..self.members.len()).any(|at| self.has_majority(at)) {
            self.election_at = Some(now + pause);
        }
        std::mem::take(&mut self.out)
    }

    /// Sets or takes back the alarm of a store that is full.
    pub fn set_full(&mut self, is_full: bool) {
        self.model.set_full(is_full);
    }

    /// Forgets the history before a revision, as `etcdctl compact` does. Nothing happens without a leader.
    pub fn compact_to(&mut self, revision: u64) -> Result<(), EtcdError> {
        if self.find_leader().is_none() {
            return Err(refusal::no_leader());
        }
        self.model.compact_history(revision)
    }

    /// Ends a lease before its time, as `etcdctl lease revoke` does. Nothing happens without a leader.
    pub fn end_lease(&mut self, lease: LeaseId) -> Vec<EtcdDelivery> {
        if self.find_leader().is_some() {
            self.model.end_lease(lease);
            self.spread_changes();
        }
        std::mem::take(&mut self.out)
    }

    /// A backup of what the majority has agreed on, to be put back later.
    pub fn take_snapshot(&self) -> EtcdModel {
        self.model.clone()
    }

    /// Puts all members on another state, and starts them: an older snapshot, a new data directory
    /// ([`EtcdModel::new`]), or somebody else's cluster. Leases have their whole time once there is a leader. Terms begin anew; the
    /// cluster's id stays as long as nobody changes it, as it does where names, addresses and token are the same.
    pub fn restore_snapshot(&mut self, now: Duration, snapshot: EtcdModel) -> Vec<EtcdDelivery> {
        for at in 0..self.members.len() {
            self.reset_member(at);
        }
        self.model = snapshot;
        self.term = 1;
        self.end_leadership();
        self.election_at = None;
        let revision = self.model.revision();
        for member in &mut self.members {
            let cut_from = std::mem::take(&mut member.cut_from);
            *member = EtcdMember { cut_from, ..EtcdMember::new(now, revision) };
        }
        self.update_topology(now);
        std::mem::take(&mut self.out)
    }

    /// Gives the cluster another id, as a restored one or another one at the same addresses has.
    pub fn set_cluster_id(&mut self, id: u64) {
        self.id = id;
    }

    /// Resets all connections of a member.
    fn reset_member(&mut self, at: usize) {
        let Some(member) = self.members.get_mut(at) else { return };
        let reset = refusal::connection_reset;
        let out = &mut self.out;
        for held in std::mem::take(&mut member.held) {
            let call = held.call;
            out.push(EtcdDelivery::of_answer(at, call.connection, call.reply, Err(reset())));
        }
        if let MemberProcess::Paused { inbox } = &mut member.process {
            for message in std::mem::take(inbox) {
                match message {
                    EtcdMessage::Call { connection, reply, .. } => {
                        out.push(EtcdDelivery::of_answer(at, connection, reply, Err(reset())));
                    }
                    EtcdMessage::OpenWatch { stream, messages, .. } => {
                        let end = Err(reset());
                        out.push(EtcdDelivery::of_message(at, stream.connection, messages, end));
                    }
                    EtcdMessage::RequestProgress { .. }
                    | EtcdMessage::CloseWatch { .. }
                    | EtcdMessage::Close { .. } => {}
                }
            }
        }
        for (stream, watch) in std::mem::take(&mut member.watches) {
            out.push(EtcdDelivery::of_message(at, stream.connection, watch.messages, Err(reset())));
        }
    }
}
