//! The words of a host that joins or has its certificate renewed, and of the server that answers it; and of root who begins a cluster and
//! lets others join.
//!
//! | request | body | answer | who |
//! | --- | --- | --- | --- |
//! | `POST /v1/cluster/init` | [`BeginMessage`] | 200 [`BeginAnswer`] | root, on the unix socket |
//! | `POST /v1/cluster/token` | [`TokenMessage`] | 200 [`TokenAnswer`] | root, on the unix socket |
//! | `POST /v1/cluster/join` | [`JoinMessage`] | 200 [`JoinAnswer`] | anybody, over TLS |
//! | `POST /v1/cluster/renew` | [`RenewMessage`] | 200 [`JoinAnswer`] | a host, over TLS |
//!
//! Those of hosts are said over a connection whose other end has shown the authority that the token names, and over no other: the message holds the
//! token's secret, and the answer to a server the authority's key. Neither is shown by `Debug`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;
use crate::machine::MachineId;
use crate::pki::{AuthorityNumber, HostRole, KeyHash};
use crate::text::FreeText;

/// Root begins the cluster's authority on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginMessage {
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
}

/// It has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginAnswer {
    /// The cluster.
    pub cluster: ClusterId,
    /// This machine, which is a server from now on.
    pub machine: MachineId,
    /// The hash of the authority's key, which tokens name.
    pub pin: KeyHash,
    /// When this machine's certificate ends, in Unix seconds.
    pub not_after: u64,
}

/// Root has a join token made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMessage {
    /// The part of the hosts that join by it.
    pub role: HostRole,
    /// Its life in seconds.
    pub ttl_seconds: u64,
    /// The number of hosts that may join by it.
    pub uses: u32,
    /// The host that may come with another key than it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<MachineId>,
    /// Who asks, for people.
    #[serde(default)]
    pub by: FreeText,
}

/// The token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// The whole of it, to be typed where a host joins.
    pub token: String,
}

/// A host asks to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinMessage {
    /// The whole token, as it was typed.
    pub token: String,
    /// The machine.
    pub machine: MachineId,
    /// Its request for a certificate, which proves that it has its key: DER in base64.
    pub request: String,
    /// The cluster that it remembers to belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
}

/// A host asks for its next certificate, over a connection on which it has shown the one it has, be that over or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewMessage {
    /// Its request for a certificate, of the same key: DER in base64.
    pub request: String,
    /// The newest authority that it believes.
    pub believes: AuthorityNumber,
}

/// It has joined, or has its next certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The cluster.
    pub cluster: ClusterId,
    /// The part that the host has in it.
    pub role: HostRole,
    /// Its certificate and those above it, PEM.
    pub chain: String,
    /// The authorities to believe, PEM.
    pub bundle: String,
    /// Of a server: the key of the authority that issues certificates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_key: Option<String>,
}

impl fmt::Debug for JoinMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinMessage").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAnswer")
            .field("cluster", &self.cluster)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let message = JoinMessage {
            token: "muster1.hush".to_owned(),
            machine: "m1".parse().unwrap(),
            request: String::new(),
            cluster: None,
        };
        let answer = JoinAnswer {
            cluster: ClusterId::from_number(7),
            role: HostRole::Server,
            chain: String::new(),
            bundle: String::new(),
            authority_key: Some("hush".to_owned()),
        };
        let token = TokenAnswer { token: message.token.clone() };
        assert!(!format!("{message:?} {answer:?} {token:?}").contains("hush"));
    }
}
