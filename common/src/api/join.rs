//! The words of a host that joins or has its certificate renewed, and of the server that answers it.
//!
//! They are said over a connection whose other end has shown the authority that the token names, and over no other: the message holds the
//! token's secret, and the answer to a server the authority's key. Neither is shown by `Debug`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;
use crate::machine::MachineId;
use crate::pki::{AuthorityNumber, HostRole};

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
        assert!(!format!("{message:?} {answer:?}").contains("hush"));
    }
}
