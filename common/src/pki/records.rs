//! What a cluster remembers of who belongs to it, and what a decision asks to be written.
//!
//! Owns the shapes of the records `pki/state`, `pki/ca/<n>`, `host/<machine>` and `join/<id>`, and the guarded change that a decision makes
//! of them. How a record stands in the store is the store's business.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::{KeyHash, SecretHash};
use super::token_id::TokenId;
use crate::machine::MachineId;
use crate::text::{FreeText, quote_text};

/// The number of an authority: 1 for the cluster's first, one more for each that follows it.
pub type AuthorityNumber = u32;

/// The part that a host has in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostRole {
    /// It reaches the store and may sign certificates.
    Server,
    /// It runs units, and asks servers for everything else.
    Agent,
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no role of a host: expected \"server\" or \"agent\"", quote_text(.0))]
pub struct InvalidRole(pub String);

/// A step of the exchange of a cluster's authority for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationPhase {
    /// There is one authority, and nothing goes on.
    Settled,
    /// Hosts come to trust the next one, too.
    Trust,
    /// Certificates are issued by the next one.
    Issue,
    /// Hosts cease to trust the one before.
    Retire,
}

/// `pki/state`: which authority a cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityState {
    /// The one that issues certificates.
    pub current: AuthorityNumber,
    /// The one that will, while the authority is exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AuthorityNumber>,
    /// The step that the exchange is at.
    pub phase: RotationPhase,
    /// Since when, in Unix seconds.
    pub since: u64,
}

/// `pki/ca/<n>`: one authority. Its key is in no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    /// Its certificate, signed by itself, as PEM.
    pub certificate: String,
    /// Its key, certified by the authority before it, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross: Option<String>,
}

/// `host/<machine>`: a host that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The key by which it is known.
    pub key: KeyHash,
    /// Its part in the cluster.
    pub role: HostRole,
    /// When it joined, in Unix seconds.
    pub joined: u64,
    /// By which token, or by which command, in words.
    pub by: FreeText,
    /// The newest authority that it has said to trust.
    pub bundle: AuthorityNumber,
    /// When the certificate that was issued last ends, in Unix seconds.
    pub not_after: u64,
}

/// `join/<id>`: a token that lets hosts join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRecord {
    /// The hash of its secret.
    pub secret: SecretHash,
    /// The part that a host gets which joins by it.
    pub role: HostRole,
    /// When it ends, in Unix seconds.
    pub expires: u64,
    /// The number of hosts that may still join by it.
    pub uses: u32,
    /// The host that may come with another key than it had, and the only one that may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<MachineId>,
    /// Who made it, in words.
    pub by: FreeText,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPki<R> {
    /// The record itself.
    pub record: R,
    /// The revision that wrote it last.
    pub revision: u64,
}

/// The name of one of these records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PkiKey {
    /// `pki/state`.
    State,
    /// `pki/ca/<n>`.
    Authority(AuthorityNumber),
    /// `host/<machine>`.
    Host(MachineId),
    /// `join/<id>`.
    Join(TokenId),
}

/// One of these records with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PkiRecord {
    /// `pki/state`.
    State(AuthorityState),
    /// `pki/ca/<n>`.
    Authority(AuthorityNumber, AuthorityRecord),
    /// `host/<machine>`.
    Host(MachineId, HostRecord),
    /// `join/<id>`.
    Join(TokenId, JoinRecord),
}

/// A change that is carried out whole or not at all, and only while everything is as it was when it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PkiChange {
    /// The revision that each record has to have; 0: it must not be there.
    pub guards: Vec<(PkiKey, u64)>,
    /// The records to write.
    pub writes: Vec<PkiRecord>,
    /// The records to remove.
    pub removals: Vec<PkiKey>,
}

impl HostRole {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for HostRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostRole {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "server" => Ok(Self::Server),
            "agent" => Ok(Self::Agent),
            _ => Err(InvalidRole(text.to_owned())),
        }
    }
}

impl PkiRecord {
    /// Its name.
    pub fn key(&self) -> PkiKey {
        match self {
            Self::State(_) => PkiKey::State,
            Self::Authority(number, _) => PkiKey::Authority(*number),
            Self::Host(machine, _) => PkiKey::Host(machine.clone()),
            Self::Join(id, _) => PkiKey::Join(*id),
        }
    }
}

impl PkiChange {
    /// Asks for one record to be as it was read, or not to be there.
    pub fn guard_record<R>(&mut self, key: PkiKey, found: Option<&StoredPki<R>>) {
        self.guards.push((key, found.map_or(0, |found| found.revision)));
    }
}
