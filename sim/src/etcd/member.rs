//! One member: its process, the peers it reaches, the leader it believes in, and the streams that hang on it.
//!
//! Owns what a member knows by itself. What is true of the cluster is in [`super::cluster`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_store::Range;
use muster_store::etcd_protocol::{EtcdError, WatchMessage};
use tokio::sync::{mpsc, oneshot};

use super::lessor::Lessor;
use super::request::{EtcdRequest, EtcdResult};
use super::wire::{EtcdConnectionId, EtcdMessage, EtcdStreamId};

/// A member's process.
#[derive(Debug)]
pub(super) enum MemberProcess {
    Up,
    /// Stopped where it is: what comes waits in its sockets.
    Paused {
        inbox: Vec<EtcdMessage>,
    },
    Down,
}

/// A call that waits at a member.
#[derive(Debug)]
pub(super) struct HeldCall {
    /// When it came.
    pub(super) since: Duration,
    /// The term in which it came.
    pub(super) term: u64,
    /// True for a write that a leader without a majority has in its log: it may be carried out yet, however late.
    pub(super) is_logged: bool,
    pub(super) call: MemberCall,
}

impl HeldCall {
    /// When the server gives up on it, if it does.
    pub(super) fn overdue_at(&self, limit: Duration) -> Option<Duration> {
        (!self.is_logged).then(|| self.since + limit)
    }
}

/// A call and where its answer goes.
#[derive(Debug)]
pub(super) struct MemberCall {
    pub(super) connection: EtcdConnectionId,
    pub(super) request: EtcdRequest,
    pub(super) reply: oneshot::Sender<EtcdResult>,
}

/// A watch that hangs on a member.
#[derive(Debug)]
pub(super) struct MemberWatch {
    pub(super) range: Range,
    /// The first revision that it has not been told of.
    pub(super) next: u64,
    pub(super) messages: mpsc::UnboundedSender<Result<WatchMessage, EtcdError>>,
}

/// One member.
#[derive(Debug)]
pub(super) struct EtcdMember {
    pub(super) process: MemberProcess,
    /// The peers that it has no way to.
    pub(super) cut_from: BTreeSet<usize>,
    /// The last revision that it has.
    pub(super) applied: u64,
    /// The leader it believes in.
    pub(super) leader: Option<usize>,
    /// When it stops believing in it, if nothing happens before.
    pub(super) lapses_at: Option<Duration>,
    /// Since when it has known no leader.
    pub(super) leaderless_since: Option<Duration>,
    /// The leases as it last counted them, if it still takes itself for the leader and another one is.
    pub(super) deposed: Option<Lessor>,
    pub(super) held: Vec<HeldCall>,
    pub(super) watches: BTreeMap<EtcdStreamId, MemberWatch>,
}

impl EtcdMember {
    /// A process that has just begun on what it has on its disk.
    pub(super) fn new(now: Duration, applied: u64) -> Self {
        Self {
            process: MemberProcess::Up,
            cut_from: BTreeSet::new(),
            applied,
            leader: None,
            lapses_at: None,
            leaderless_since: Some(now),
            deposed: None,
            held: Vec::new(),
            watches: BTreeMap::new(),
        }
    }

    /// True while it runs.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.process, MemberProcess::Up)
    }

    /// It knows no leader any more.
    pub(super) fn forget_leader(&mut self, now: Duration) {
        self.leader = None;
        self.lapses_at = None;
        self.deposed = None;
        self.leaderless_since.get_or_insert(now);
    }
}
