//! Who vouches for a certificate.
//!
//! Owns the two ways in which a host that shows a chain of certificates is believed: because one of the cluster's authorities vouches for
//! it, or, for a host that knows nothing but its join token, because the authority whose key has the token's pin does. A chain says who
//! somebody is. That a host of this name and key belongs to the cluster is said by its record, see `renewal.rs`.

use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::pki::{HostRole, KeyHash};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::authority::{AuthorityCertificate, AuthorityError};
use crate::certificate::{CertificateError, HostCertificate};
use crate::pem;

/// The side of a connection that shows the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSide {
    /// It was connected to.
    Server,
    /// It connects.
    Client,
}

/// The authorities that a host believes: one, or two while the authority is exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    authorities: Vec<AuthorityCertificate>,
}

/// A chain that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Nothing was shown.
    #[error("it showed no certificate")]
    Empty,
    /// A certificate was shown that is no host's.
    #[error("it showed a certificate that is no host's")]
    Certificate(#[from] CertificateError),
    /// The authority is not the token's.
    #[error(
        "it is not of the cluster that the token is for: the token names an authority whose key has the hash {pin}, and what answered \
         there has {}; take a token made on that cluster, and ask one of its servers", shown(.found)
    )]
    WrongPin {
        /// The pin of the token.
        pin: KeyHash,
        /// Those of the authorities that were shown.
        found: Vec<KeyHash>,
    },
    /// Whoever answered is a host of the cluster that has no say in who joins.
    #[error(
        "machine {machine} answered, which is an agent; ask one of the cluster's servers (musterctl list-machines on any of its machines)"
    )]
    NotAServer {
        /// The machine.
        machine: MachineId,
    },
    /// Another machine of the cluster than was asked for.
    #[error(
        "machine {found} answered, and {expected} was asked; the record of one of the two has the other's address"
    )]
    AnotherMachine {
        /// The machine that answered.
        found: MachineId,
        /// The machine that was meant.
        expected: MachineId,
    },
    /// The certificate is of the future by this clock.
    #[error(
        "its certificate counts from {not_before} on, and by the clock of this machine it is {now} (Unix seconds): one of the two clocks is wrong"
    )]
    NotYetValid {
        /// From when on it counts.
        not_before: u64,
        /// The time here.
        now: u64,
    },
    /// The certificate is over by this clock.
    #[error(
        "its certificate ended at {not_after}, and by the clock of this machine it is {now} (Unix seconds): one of the two clocks is wrong, or it has not been able to renew it"
    )]
    Expired {
        /// When it ended.
        not_after: u64,
        /// The time here.
        now: u64,
    },
    /// Nobody whom we believe vouches for it.
    #[error("none of this cluster's authorities vouches for its certificate ({0})")]
    NotTrusted(String),
}

impl TrustBundle {
    /// The authorities to be believed.
    pub fn new(authorities: Vec<AuthorityCertificate>) -> Self {
        Self { authorities }
    }

    /// Reads them from a text.
    pub fn from_pem(text: &str) -> Result<Self, AuthorityError> {
        let found = pem::read_certificates(text).map_err(AuthorityError::Text)?;
        let read = found.iter().map(AuthorityCertificate::from_der).collect::<Result<_, _>>()?;
        Ok(Self { authorities: read })
    }

    /// The authorities as text.
    pub fn to_pem(&self) -> String {
        self.authorities.iter().map(AuthorityCertificate::to_pem).collect()
    }

    /// The authorities.
    pub fn trusted_authorities(&self) -> &[AuthorityCertificate] {
        &self.authorities
    }
}

/// The host that shows this chain, its own certificate first, if one of these authorities vouches for it now.
pub fn verify_host_chain(
    chain: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    side: PeerSide,
    now: u64,
) -> Result<HostCertificate, ChainError> {
    let (first, rest) = chain.split_first().ok_or(ChainError::Empty)?;
    let host = HostCertificate::from_der(first)?;
    let anchors: Vec<TrustAnchor<'_>> = bundle
        .authorities
        .iter()
        // One of another cluster vouches for nobody here.
        .filter(|authority| authority.cluster == host.name.cluster_id())
        .filter_map(|authority| anchor_from_trusted_cert(authority.as_der()).ok())
        .collect();
    let usage = match side {
        PeerSide::Server => KeyUsage::server_auth(),
        PeerSide::Client => KeyUsage::client_auth(),
    };
    let certificate = EndEntityCert::try_from(first).map_err(|error| not_trusted(&error))?;
    certificate
        .verify_for_usage(
            &[webpki::ring::ECDSA_P256_SHA256],
            &anchors,
            rest,
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            usage,
            None,
            None,
        )
        .map_err(|error| reason(&error, now))?;
    Ok(host)
}

/// The same for a host that connects, be its certificate over or not: what it may ask then is the business of whoever answers it.
pub fn verify_returning_host(
    chain: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    now: u64,
) -> Result<HostCertificate, ChainError> {
    match verify_host_chain(chain, bundle, PeerSide::Client, now) {
        // By the last moment at which it counted.
        Err(ChainError::Expired { not_after, .. }) => {
            verify_host_chain(chain, bundle, PeerSide::Client, not_after)
        }
        looked => looked,
    }
}

/// The host that shows this chain, and its authority, if that one's key has this pin. It is for a host that joins, which has nothing but a
/// token, and shows that to servers alone: any other host of the cluster could keep it for itself.
pub fn verify_pinned_chain(
    chain: &[CertificateDer<'_>],
    pin: KeyHash,
    now: u64,
) -> Result<(HostCertificate, AuthorityCertificate), ChainError> {
    let shown: Vec<AuthorityCertificate> =
        chain.iter().filter_map(|der| AuthorityCertificate::from_der(der).ok()).collect();
    let Some(authority) = shown.iter().find(|authority| authority.pin == pin) else {
        let found = shown.iter().map(|authority| authority.pin).collect();
        return Err(ChainError::WrongPin { pin, found });
    };
    let bundle = TrustBundle::new(vec![authority.clone()]);
    let host = verify_host_chain(chain, &bundle, PeerSide::Server, now)?;
    if host.role != HostRole::Server {
        return Err(ChainError::NotAServer { machine: host.name.machine().clone() });
    }
    Ok((host, authority.clone()))
}

fn reason(error: &webpki::Error, now: u64) -> ChainError {
    match error {
        webpki::Error::CertNotValidYet { not_before, .. } => {
            ChainError::NotYetValid { not_before: not_before.as_secs(), now }
        }
        webpki::Error::CertExpired { not_after, .. } => {
            ChainError::Expired { not_after: not_after.as_secs(), now }
        }
        error => not_trusted(error),
    }
}

fn not_trusted(error: &webpki::Error) -> ChainError {
    ChainError::NotTrusted(error.to_string())
}

fn shown(pins: &[KeyHash]) -> String {
    if pins.is_empty() {
        return "none of Muster's authorities".to_owned();
    }
    pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
