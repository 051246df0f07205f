//! Why a host may not join.
//!
//! Owns the reasons as data, each with a word for programs and a sentence for the person at the machine, who sees nothing else of the
//! cluster.

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::{HostRole, KeyHash, TokenId};

use crate::names::NameError;

/// Why a host may not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// The machine belongs to another cluster.
    #[error(
        "this machine belongs to cluster {theirs} and this is cluster {ours}; to take it over, stop musterd on it, remove what it \
         remembers (its state directory), and join again: what it runs for the other cluster ends with that"
    )]
    OtherCluster {
        /// The cluster that it remembers.
        theirs: ClusterId,
        /// This one.
        ours: ClusterId,
    },
    /// The pin is of none of this cluster's authorities.
    #[error(
        "the token is for an authority with the hash {pin}, which this cluster does not have; make a token here: musterctl cluster token"
    )]
    WrongPin {
        /// The pin.
        pin: KeyHash,
    },
    /// The machine's id cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such token.
    #[error(
        "there is no join token {id}: it ended more than a day ago, or it is of another cluster; make another: musterctl cluster token"
    )]
    UnknownToken {
        /// The token's name.
        id: TokenId,
    },
    /// The token is there, and its secret is another.
    #[error("the secret is not that of join token {id}; copy the whole token as it was printed")]
    WrongSecret {
        /// The token's name.
        id: TokenId,
    },
    /// The token is over.
    #[error(
        "join token {id} ended at {at}, and by the clock of this server it is {now} (Unix seconds); make another: musterctl cluster token, \
         with --ttl for one that lasts longer"
    )]
    Expired {
        /// The token's name.
        id: TokenId,
        /// When it ended.
        at: u64,
        /// The time here.
        now: u64,
    },
    /// The token is for one machine, and this is another.
    #[error(
        "join token {id} replaces machine {replaces} and lets no other join; make another: musterctl cluster token"
    )]
    MeantForAnother {
        /// The token's name.
        id: TokenId,
        /// The machine that it is for.
        replaces: MachineId,
    },
    /// A machine of this id is there with another key.
    #[error(
        "a machine {machine} is in the cluster with another key, since {joined} (Unix seconds). If it is this one and was installed anew: \
         musterctl cluster token --replace {machine}, and join with that token. If it is another machine, one was made as a copy of the \
         other: give this one an id of its own (systemd-machine-id-setup)"
    )]
    KnownWithAnotherKey {
        /// The machine.
        machine: MachineId,
        /// Since when.
        joined: u64,
    },
    /// The token is used up.
    #[error(
        "join token {id} has been used as often as it may be; make another: musterctl cluster token, with --uses for several machines"
    )]
    UsedUp {
        /// The token's name.
        id: TokenId,
    },
    /// The machine is there in another part.
    #[error(
        "machine {machine} is in the cluster already, as {known}, and the token is for a new {asked}; remove it from the cluster first"
    )]
    OtherRole {
        /// The machine.
        machine: MachineId,
        /// Its part.
        known: HostRole,
        /// The token's.
        asked: HostRole,
    },
}

impl JoinRefusal {
    /// The word for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OtherCluster { .. } => "other-cluster",
            Self::WrongPin { .. } => "wrong-pin",
            Self::Name(_) => "name",
            Self::UnknownToken { .. } => "unknown-token",
            Self::WrongSecret { .. } => "wrong-secret",
            Self::Expired { .. } => "token-expired",
            Self::MeantForAnother { .. } => "meant-for-another",
            Self::KnownWithAnotherKey { .. } => "known-with-another-key",
            Self::UsedUp { .. } => "token-used-up",
            Self::OtherRole { .. } => "other-role",
        }
    }
}
