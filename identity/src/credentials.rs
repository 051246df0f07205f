//! The identity that lies on a host's disk.
//!
//! Owns the names of its files, and what has to be true of their texts before any of them is used: each is whole, the certificate is of
//! that key, of this machine and of this cluster, and of an authority in the bundle. An end that has passed is no fault here: such a
//! host has its certificate renewed. It reads no file.

use std::fmt;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::KeyHash;
use rustls_pki_types::CertificateDer;

use crate::authority::AuthorityError;
use crate::certificate::{CertificateError, HostCertificate};
use crate::chain::{ChainError, PeerSide, TrustBundle, verify_host_chain};
use crate::keys::{KeyError, PrivateKey};
use crate::pem;

/// A file of the directory that holds a host's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PkiFile {
    /// The host's private key.
    HostKey,
    /// Its certificate, and those of the authorities above it.
    HostChain,
    /// The authorities that it believes.
    Bundle,
}

/// A host's identity, checked.
#[derive(Debug)]
pub struct HostCredentials {
    key: PrivateKey,
    chain: Vec<CertificateDer<'static>>,
    certificate: HostCertificate,
    bundle: TrustBundle,
}

/// Why the identity on a disk is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    /// The key cannot be read.
    #[error("{} cannot be used: {source}. {ANEW}", PkiFile::HostKey)]
    Key {
        /// Why.
        source: KeyError,
    },
    /// The certificates cannot be read.
    #[error("{} cannot be read: {problem}. {ANEW}", PkiFile::HostChain)]
    Chain {
        /// Why.
        problem: String,
    },
    /// The first certificate is no host's.
    #[error("the certificate in {} is no host's: {source}. {ANEW}", PkiFile::HostChain)]
    Certificate {
        /// Why.
        source: CertificateError,
    },
    /// The bundle cannot be read.
    #[error("{} cannot be read: {}. Copy it from another host of the cluster, where it is the same", PkiFile::Bundle, muster_common::errors::error_chain(.source))]
    Bundle {
        /// Why.
        source: AuthorityError,
    },
    /// The certificate is of another key.
    #[error(
        "{} and {} do not belong together: the key has the hash {key}, and the certificate is of one with {certificate}. If one of them \
         was copied here from elsewhere, put back the other that came with it. {ANEW}",
        PkiFile::HostKey,
        PkiFile::HostChain
    )]
    OtherKey {
        /// The key's hash.
        key: KeyHash,
        /// The hash of the certificate's key.
        certificate: KeyHash,
    },
    /// The certificate is of another machine.
    #[error(
        "{} is of machine {found}, and this is machine {machine}: the disk is a copy of another machine's, or this one has another machine_id than it had. {ANEW}",
        PkiFile::HostChain
    )]
    OtherMachine {
        /// The machine in the certificate.
        found: MachineId,
        /// This one.
        machine: MachineId,
    },
    /// The certificate is of another cluster.
    #[error(
        "{} is of cluster {found}, and this machine belongs to cluster {cluster}. {ANEW}",
        PkiFile::HostChain
    )]
    OtherCluster {
        /// The cluster in the certificate.
        found: ClusterId,
        /// This machine's.
        cluster: ClusterId,
    },
    /// No authority of the bundle vouches for the certificate.
    #[error(
        "{} is vouched for by none of the authorities in {}: {source}. {ANEW}",
        PkiFile::HostChain,
        PkiFile::Bundle
    )]
    NotVouchedFor {
        /// Why.
        source: ChainError,
    },
}

/// The way out for a host that has lost a part of its identity.
const ANEW: &str = "Or join anew: move the pki directory away, and take a token made by \"musterctl cluster token --replace\" with this \
    machine's id on a server of the cluster";

impl PkiFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HostKey, Self::HostChain, Self::Bundle];

    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::HostKey => "host.key",
            Self::HostChain => "host.pem",
            Self::Bundle => "bundle.pem",
        }
    }
}

impl fmt::Display for PkiFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

impl HostCredentials {
    /// Checks the texts of the three files against each other and against whose they should be.
    pub fn from_texts(
        key: &str,
        chain: &str,
        bundle: &str,
        machine: &MachineId,
        cluster: Option<ClusterId>,
    ) -> Result<Self, CredentialProblem> {
        let key = PrivateKey::from_pem(key).map_err(|source| CredentialProblem::Key { source })?;
        let chain = pem::read_certificates(chain)
            .map_err(|problem| CredentialProblem::Chain { problem })?;
        let bundle =
            TrustBundle::from_pem(bundle).map_err(|source| CredentialProblem::Bundle { source })?;
        Self::from_parts(key, chain, bundle, machine, cluster)
    }

    /// The same of what was read or received before.
    pub fn from_parts(
        key: PrivateKey,
        chain: Vec<CertificateDer<'static>>,
        bundle: TrustBundle,
        machine: &MachineId,
        cluster: Option<ClusterId>,
    ) -> Result<Self, CredentialProblem> {
        let none = || CredentialProblem::Chain { problem: "it is empty".to_owned() };
        let certificate = HostCertificate::from_der(chain.first().ok_or_else(none)?)
            .map_err(|source| CredentialProblem::Certificate { source })?;
        if certificate.key != key.hash() {
            let certificate = certificate.key;
            return Err(CredentialProblem::OtherKey { key: key.hash(), certificate });
        }
        let found = certificate.name.machine();
        if found != machine {
            let (found, machine) = (found.clone(), machine.clone());
            return Err(CredentialProblem::OtherMachine { found, machine });
        }
        let found = certificate.name.cluster_id();
        if let Some(cluster) = cluster.filter(|cluster| *cluster != found) {
            return Err(CredentialProblem::OtherCluster { found, cluster });
        }
        // By the time at which it was issued: that it may be over is another matter.
        let now = certificate.validity.not_before;
        verify_host_chain(&chain, &bundle, PeerSide::Server, now)
            .map_err(|source| CredentialProblem::NotVouchedFor { source })?;
        Ok(Self { key, chain, certificate, bundle })
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The certificates that are shown to others, the host's own first, the authority last: a host that joins looks for its pin there.
    pub fn shown_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The things that the host's own certificate says.
    pub fn own_certificate(&self) -> &HostCertificate {
        &self.certificate
    }

    /// The authorities that it believes.
    pub fn trust_bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// A chain of certificates as text.
    pub fn chain_text(chain: &[CertificateDer<'_>]) -> String {
        chain.iter().map(pem::write_certificate).collect()
    }

    /// The text of a file, for the disk; that of the key is a secret.
    pub fn file_text(&self, file: PkiFile) -> String {
        match file {
            PkiFile::HostKey => self.key.to_pem(),
            PkiFile::HostChain => Self::chain_text(&self.chain),
            PkiFile::Bundle => self.bundle.to_pem(),
        }
    }
}
