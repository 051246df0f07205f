//! Requests to a member and its answers, as data.
//!
//! Owns the words; `muster_store::etcd_protocol` has what is in them, for the real backend is on the other end of the line.

use muster_store::etcd_protocol::{
    EtcdError, LeaseKept, LeaseSeconds, Page, PageQuery, TransactionOutcome,
};
use muster_store::{Guard, LeaseId, Op};

/// A request that has one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdRequest {
    /// Reads a page; linearizably when it names no revision.
    ReadPage(PageQuery),
    /// Carries out the operations at one revision if the guards hold.
    Transact {
        /// The conditions that have to hold.
        guards: Vec<Guard>,
        /// The writes that are made then.
        ops: Vec<Op>,
    },
    /// Grants a lease.
    GrantLease {
        /// Its id; 0 would be etcd's to choose, and no daemon asks for that.
        lease: LeaseId,
        /// Its time to live.
        seconds: i64,
    },
    /// Prolongs a lease.
    KeepAlive {
        /// Which.
        lease: LeaseId,
    },
    /// Asks how long a lease has.
    ReadLease {
        /// Which.
        lease: LeaseId,
    },
    /// Ends a lease and removes its records.
    RevokeLease {
        /// Which.
        lease: LeaseId,
    },
    /// Asks for the program's version.
    ReadVersion,
    /// A ping of the connection, which the process itself answers.
    Ping,
}

/// The answer to an [`EtcdRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdAnswer {
    /// To a read.
    Page(Page),
    /// To a transaction.
    Transaction(TransactionOutcome),
    /// To a grant: the seconds of the lease.
    Granted(i64),
    /// To a keepalive.
    KeptAlive(LeaseKept),
    /// To the question how long a lease has.
    Lease(LeaseSeconds),
    /// To a revocation.
    Revoked,
    /// To the question for the version.
    Version(String),
    /// To a ping.
    Pong,
}

/// An answer or what the client would make of the error.
pub type EtcdResult = Result<EtcdAnswer, EtcdError>;

/// The errors that etcd answers with, as the store's backend sorts them. The texts are etcd's.
pub mod refusal {
    use super::EtcdError;

    /// The member knows no leader; nothing was proposed.
    pub fn no_leader() -> EtcdError {
        EtcdError::NotCarriedOut("etcdserver: no leader".to_owned())
    }

    /// A read that waited while the leader changed.
    pub fn leader_changed() -> EtcdError {
        EtcdError::Unknown("etcdserver: leader changed".to_owned())
    }

    /// A request that waited for as long as the server lets it.
    pub fn timed_out() -> EtcdError {
        EtcdError::Unknown("etcdserver: request timed out".to_owned())
    }

    /// A keepalive at a leader that cannot reach a majority, in releases that look.
    pub fn not_primary() -> EtcdError {
        EtcdError::Unknown("not a primary lessor".to_owned())
    }

    /// A revision that is still to come.
    pub fn future_revision() -> EtcdError {
        EtcdError::Unknown("etcdserver: mvcc: required revision is a future revision".to_owned())
    }

    /// A quota is used up.
    pub fn no_space() -> EtcdError {
        EtcdError::Full("etcdserver: mvcc: database space exceeded".to_owned())
    }

    /// A lease of this id is there.
    pub fn lease_exists() -> EtcdError {
        EtcdError::Refused("etcdserver: lease already exists".to_owned())
    }

    /// A transaction that writes a key twice.
    pub fn duplicate_key() -> EtcdError {
        EtcdError::Refused("etcdserver: duplicate key given in txn request".to_owned())
    }

    /// A transaction with more operations than etcd's default allows.
    pub fn too_many_operations() -> EtcdError {
        EtcdError::Refused("etcdserver: too many operations in txn request".to_owned())
    }

    /// A request above etcd's default size.
    pub fn too_large() -> EtcdError {
        EtcdError::Refused("etcdserver: request is too large".to_owned())
    }

    /// Nobody listens at the endpoint.
    pub fn connection_refused() -> EtcdError {
        EtcdError::NotCarriedOut("tcp connect error: Connection refused (os error 111)".to_owned())
    }

    /// The process went while a request was on its way or waited.
    pub fn connection_reset() -> EtcdError {
        EtcdError::Unknown("connection reset".to_owned())
    }
}
