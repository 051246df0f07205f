//! What a member makes of the messages that reach it.
//!
//! Owns the difference between a member with the leader behind it, one that believes in a leader that is gone, and one that knows of
//! none. Nothing is ever lost here without a reason of etcd's own.

use std::time::Duration;

use muster_store::Range;
use muster_store::etcd_protocol::{
    LeaseKept, LeaseSeconds, Page, PageQuery, StoreLineage, WatchEnd, WatchMessage, WatchQuery,
};

use super::cluster::EtcdCluster;
use super::member::{HeldCall, MemberCall, MemberProcess, MemberWatch};
use super::model::EtcdRelease;
use super::request::{EtcdAnswer, EtcdRequest, EtcdResult, refusal};
use super::wire::{EtcdConnectionId, EtcdDelivery, EtcdMessage, EtcdStreamId};

/// The state of things for a request at a member.
enum Standing {
    /// The leader is behind it, with a majority.
    Led,
    /// It knows no leader.
    Leaderless,
    /// It leads, as far as it knows, and reaches no majority.
    Isolated,
    /// It believes in a leader that it does not reach, or that reaches no majority; `paused`: the leader's process stands still.
    Stranded { paused: bool },
}

impl EtcdCluster {
    /// A message reaches a member.
    pub fn on_message(
        &mut self,
        now: Duration,
        member: usize,
        message: EtcdMessage,
    ) -> Vec<EtcdDelivery> {
        self.receive_message(now, member, message);
        std::mem::take(&mut self.out)
    }

    pub(super) fn receive_message(&mut self, now: Duration, at: usize, message: EtcdMessage) {
        let Some(member) = self.members.get_mut(at) else { return };
        match &mut member.process {
            MemberProcess::Paused { inbox } => inbox.push(message),
            MemberProcess::Down => self.refuse_message(at, message),
            MemberProcess::Up => match message {
                EtcdMessage::Call { connection, request, reply } => {
                    self.answer_call(now, at, MemberCall { connection, request, reply }, now);
                }
                EtcdMessage::OpenWatch { stream, query, messages } => {
                    let watch = MemberWatch { range: query.range.clone(), next: 0, messages };
                    self.open_watch(at, stream, &query, watch);
                }
                EtcdMessage::RequestProgress { stream } => {
                    if let Some(watch) = member.watches.get(&stream) {
                        let lineage = StoreLineage { cluster: self.id, term: self.term };
                        let revision = member.applied;
                        let sign = WatchMessage { revision, lineage, ..WatchMessage::default() };
                        let messages = watch.messages.clone();
                        let sign =
                            EtcdDelivery::of_message(at, stream.connection, messages, Ok(sign));
                        self.out.push(sign);
                    }
                }
                EtcdMessage::CloseWatch { stream } => drop(member.watches.remove(&stream)),
                EtcdMessage::Close { connection } => {
                    member.watches.retain(|stream, _| stream.connection != connection);
                }
            },
        }
    }

    /// Nobody listens: whoever connects is refused.
    fn refuse_message(&mut self, at: usize, message: EtcdMessage) {
        let refused = refusal::connection_refused;
        match message {
            EtcdMessage::Call { connection, reply, .. } => {
                self.out.push(EtcdDelivery::of_answer(at, connection, reply, Err(refused())));
            }
            EtcdMessage::OpenWatch { stream, messages, .. } => {
                let end = Err(refused());
                self.out.push(EtcdDelivery::of_message(at, stream.connection, messages, end));
            }
            EtcdMessage::RequestProgress { .. }
            | EtcdMessage::CloseWatch { .. }
            | EtcdMessage::Close { .. } => {}
        }
    }

    /// A connection is gone, as whoever was at its other end: nobody waits for its watches.
    pub fn close_connection(&mut self, connection: EtcdConnectionId) {
        for member in &mut self.members {
            member.watches.retain(|stream, _| stream.connection != connection);
        }
    }

    /// The same for all connections of a line.
    pub fn close_line(&mut self, line: u32) {
        for member in &mut self.members {
            member.watches.retain(|stream, _| stream.connection.line != line);
        }
    }

    fn standing_of(&self, at: usize) -> Standing {
        let Some(believed) = self.members.get(at).and_then(|member| member.leader) else {
            return Standing::Leaderless;
        };
        if self.find_leader() == Some(believed) && self.are_connected(at, believed) {
            return Standing::Led;
        }
        if believed == at {
            return Standing::Isolated;
        }
        let process = self.members.get(believed).map(|leader| &leader.process);
        let paused = matches!(process, Some(MemberProcess::Paused { .. }));
        Standing::Stranded { paused: paused && self.leader == Some(believed) }
    }

    /// Answers a call, lets it wait, or lets it come to nothing.
    pub(super) fn answer_call(
        &mut self,
        now: Duration,
        at: usize,
        call: MemberCall,
        since: Duration,
    ) {
        let answer = match (self.standing_of(at), &call.request) {
            (_, EtcdRequest::Ping) => Ok(EtcdAnswer::Pong),
            (Standing::Leaderless, _) => Err(refusal::no_leader()),
            (_, EtcdRequest::ReadVersion) => self.model.step(now, &call.request),
            (Standing::Led, EtcdRequest::KeepAlive { lease })
                if self.model.is_lease_over(now, *lease) =>
            {
                // It is answered when the lease has been ended, for it will be.
                return self.hold_call(at, call, since);
            }
            (Standing::Led, request) => self.model.step(now, request),
            (Standing::Isolated, request) => match self.answer_isolated(now, at, request) {
                Some(answer) => answer,
                None => return self.hold_call(at, call, since),
            },
            // Forwarded to where nobody is: it comes to nothing, and nobody says so.
            (Standing::Stranded { paused: false }, request) if is_write(request) => {
                return self.hold_lost_call(at, call, since);
            }
            // A process that stands still finds what was forwarded to it when it goes on.
            (Standing::Stranded { .. }, _) => return self.hold_call(at, call, since),
        };
        let answer = answer.map(|answer| self.name_store(answer));
        self.out.push(EtcdDelivery::of_answer(at, call.connection, call.reply, answer));
        self.spread_changes();
    }

    /// Says which store gave a listing, and in which term a lease is counted, as the header of etcd's answers does.
    fn name_store(&self, answer: EtcdAnswer) -> EtcdAnswer {
        let term = self.term;
        let lineage = StoreLineage { cluster: self.id, term };
        match answer {
            EtcdAnswer::KeptAlive(kept) => EtcdAnswer::KeptAlive(LeaseKept { term, ..kept }),
            EtcdAnswer::Lease(time) => EtcdAnswer::Lease(LeaseSeconds { term, ..time }),
            EtcdAnswer::Page(page) => EtcdAnswer::Page(Page { lineage, ..page }),
            other => other,
        }
    }

    /// The answer of a leader that reaches no majority; `None`: the request waits.
    fn answer_isolated(
        &mut self,
        now: Duration,
        at: usize,
        request: &EtcdRequest,
    ) -> Option<EtcdResult> {
        let is_old = self.model.release() == EtcdRelease::Old;
        let deposed = self.members.get_mut(at)?.deposed.as_mut();
        match request {
            EtcdRequest::KeepAlive { .. } if !is_old => Some(Err(refusal::not_primary())),
            EtcdRequest::KeepAlive { lease } => match deposed {
                Some(leases) if leases.is_over(now, *lease) => None,
                Some(leases) => {
                    let seconds = leases.renew_lease(now, *lease).unwrap_or(0);
                    Some(Ok(EtcdAnswer::KeptAlive(LeaseKept { seconds, term: 0 })))
                }
                None if self.model.is_lease_over(now, *lease) => None,
                None => Some(self.model.step(now, request)),
            },
            EtcdRequest::ReadLease { lease } => Some(Ok(EtcdAnswer::Lease(match deposed {
                Some(leases) => leases.read_seconds(now, *lease),
                None => self.model.read_lease(now, *lease),
            }))),
            _ => None,
        }
    }

    fn hold_call(&mut self, at: usize, call: MemberCall, since: Duration) {
        let term = self.term;
        // The leader has it in its log: that counts if it is heard again before another leads.
        let is_logged = self.leader == Some(at) && is_write(&call.request);
        if let Some(member) = self.members.get_mut(at) {
            member.held.push(HeldCall { since, term, is_logged, call });
        }
    }

    /// The same for one that no leader will ever see: of no term, for whatever leader is found, it was not forwarded to that one.
    fn hold_lost_call(&mut self, at: usize, call: MemberCall, since: Duration) {
        if let Some(member) = self.members.get_mut(at) {
            member.held.push(HeldCall { since, term: 0, is_logged: false, call });
        }
    }

    fn open_watch(
        &mut self,
        at: usize,
        stream: EtcdStreamId,
        query: &WatchQuery,
        watch: MemberWatch,
    ) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.leader.is_none() {
            let end = Err(refusal::no_leader());
            self.out.push(EtcdDelivery::of_message(at, stream.connection, watch.messages, end));
            return;
        }
        let applied = member.applied;
        let lineage = StoreLineage { cluster: self.id, term: self.term };
        let begun = WatchMessage { revision: applied, lineage, ..WatchMessage::default() };
        let begun_again = begun.clone();
        let messages = watch.messages.clone();
        self.out.push(EtcdDelivery::of_message(at, stream.connection, messages, Ok(begun)));
        let compacted = self.model.compacted_revision();
        if query.from < compacted && query.from <= applied {
            let end = WatchEnd { compact_revision: compacted, reason: String::new() };
            let end = WatchMessage { end: Some(end), ..begun_again };
            self.out.push(EtcdDelivery::of_message(at, stream.connection, watch.messages, Ok(end)));
            return;
        }
        member.watches.insert(stream, MemberWatch { next: query.from, ..watch });
        self.tell_watches(at);
    }

    /// A range as one member has it, however old that is: etcd's serializable read. No daemon asks for it; a check may.
    pub fn read_member(&self, member: usize, range: &Range) -> Option<Page> {
        let applied = self.members.get(member)?.applied;
        let query = PageQuery {
            range: range.clone(),
            after: None,
            revision: applied.max(self.model.compacted_revision()),
            limit: 0,
            max_bytes: usize::MAX,
        };
        self.model.key_space().read_page(&query, self.model.revision()).ok()
    }
}

fn is_write(request: &EtcdRequest) -> bool {
    matches!(
        request,
        EtcdRequest::Transact { .. }
            | EtcdRequest::GrantLease { .. }
            | EtcdRequest::RevokeLease { .. }
    )
}
