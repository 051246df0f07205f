//! Certificates of hosts, as they are read.
//!
//! Owns what a certificate of a host says, and the refusal of one that says anything else: it has one name, of ours, and a key of ours.
//! That somebody vouches for it is another question, answered in `chain.rs`.

use muster_common::pki::{HostRole, KeyHash};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::keys::{KeyError, PublicKey};
use crate::names::{CertifiedName, NameError};
use crate::validity::{CertificateAge, Validity};

/// The things that a host's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// Whose it is.
    pub name: CertifiedName,
    /// The part that it had in its cluster when the certificate was issued. It is for whoever has nothing else to go by: a host that joins
    /// shows its token to servers alone. Whoever can read the host's record goes by that.
    pub role: HostRole,
    /// The hash of its key.
    pub key: KeyHash,
    /// When it counts.
    pub validity: Validity,
}

/// A certificate that is none of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("it is no certificate that can be read")]
    Unreadable,
    /// It is of an authority.
    #[error("it is an authority's certificate and no host's")]
    OfAuthority,
    /// It is of no authority.
    #[error("it is no certificate of a cluster's authority")]
    NotOfAuthority,
    /// An authority's, and not signed by its own key.
    #[error("it is not signed by its own key")]
    NotSelfSigned,
    /// It names no part that a host may have.
    #[error("it names no part of a host in its cluster")]
    Role,
    /// It has another number of names than one.
    #[error("it has {found} names, and a host's certificate has one")]
    Names {
        /// The number of them.
        found: usize,
    },
    /// Its name is none of a host.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its key is none of ours.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl HostCertificate {
    /// Reads a certificate.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        if certificate.is_ca() {
            return Err(CertificateError::OfAuthority);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::Unreadable)?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let [GeneralName::DNSName(name)] = names else {
            return Err(CertificateError::Names { found: names.len() });
        };
        let mut units = certificate.subject().iter_organizational_unit();
        let role = units.next().and_then(|unit| unit.as_str().ok()?.parse().ok());
        Ok(Self {
            name: CertifiedName::from_text(name)?,
            role: role.ok_or(CertificateError::Role)?,
            key: PublicKey::from_info(certificate.public_key())?.hash(),
            validity: validity_of(&certificate),
        })
    }
}

/// True when a host should have its certificate renewed. One that is not valid yet is left alone: the next would not be either, by this
/// clock.
pub fn renewal_due(now: u64, certificate: &HostCertificate) -> bool {
    matches!(certificate.validity.age_at(now), CertificateAge::RenewalDue | CertificateAge::Expired)
}

/// Reads the form of a certificate, to its last byte.
pub(crate) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Unreadable),
    }
}

/// The life of a certificate. Times before 1970 are 1970.
pub(crate) fn validity_of(certificate: &X509Certificate<'_>) -> Validity {
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Validity {
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
    }
}
