//! The authority of a cluster.
//!
//! Owns how it is made, what its certificate allows, and the certificates that it signs. It speaks for names of its own cluster and for no
//! address, so that even a stolen authority is none for anything else. Its certificate may have one below it: that is how the next
//! authority is certified when it takes over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster_common::cluster_id::ClusterId;
use muster_common::pki::{AuthorityNumber, HostRole, KeyHash};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints,
    SanType, SerialNumber as EncodedSerial,
};
use rustls_pki_types::CertificateDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::certificate::{self, CertificateError};
use crate::chance::SerialNumber;
use crate::keys::{PrivateKey, PublicKey};
use crate::names::{CertifiedName, cluster_zone};
use crate::pem;
use crate::validity::Validity;

/// The words before an authority's number in its certificate's common name.
const COMMON_NAME: &str = "Muster authority ";

/// Authorities between this one and a host's certificate: the one that takes over, certified by this one.
const BELOW: u8 = 1;

/// An authority's certificate, which everybody may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    der: CertificateDer<'static>,
    /// Its number in its cluster.
    pub number: AuthorityNumber,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The hash of its key.
    pub pin: KeyHash,
    /// When it counts.
    pub validity: Validity,
}

/// An authority with its key.
#[derive(Debug)]
pub struct Authority {
    certificate: AuthorityCertificate,
    key: PrivateKey,
}

/// Why there is no authority, or no certificate of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Sign(String),
    /// The time cannot stand in a certificate.
    #[error("the time {0} (Unix seconds) cannot stand in a certificate; set this machine's clock")]
    Time(u64),
    /// The text is no certificate of an authority.
    #[error("the authority's certificate cannot be used")]
    Certificate(#[from] CertificateError),
    /// There is no certificate in the text, or more than one.
    #[error("the authority's certificate cannot be read: {0}")]
    Text(String),
    /// The key is another's.
    #[error(
        "the key is not that of the authority's certificate: its public key has the hash {key}, and the certificate's has {certificate}"
    )]
    OtherKey {
        /// The key's hash.
        key: KeyHash,
        /// The hash of the key in the certificate.
        certificate: KeyHash,
    },
}

impl AuthorityCertificate {
    /// Reads one. It has to be signed by its own key, so that nobody who has only seen it can make another that says more.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let read = certificate::parse(der)?;
        let subject = read.subject();
        let number = common_name(subject).and_then(|name| name.strip_prefix(COMMON_NAME));
        let number = number.and_then(|number| number.parse().ok());
        let cluster = organization(subject).and_then(|cluster| cluster.parse().ok());
        let (Some(number), Some(cluster), true) = (number, cluster, read.is_ca()) else {
            return Err(CertificateError::NotOfAuthority);
        };
        let pin = PublicKey::from_info(read.public_key())?.hash();
        read.verify_signature(None).map_err(|_| CertificateError::NotSelfSigned)?;
        let validity = certificate::validity_of(&read);
        Ok(Self { der: der.clone().into_owned(), number, cluster, pin, validity })
    }

    /// Reads a text with one certificate.
    pub fn from_pem(text: &str) -> Result<Self, AuthorityError> {
        let found = pem::read_certificates(text).map_err(AuthorityError::Text)?;
        let [der] = found.as_slice() else {
            return Err(AuthorityError::Text(format!("it holds {} certificates", found.len())));
        };
        Ok(Self::from_der(der)?)
    }

    /// The certificate as text.
    pub fn to_pem(&self) -> String {
        pem::write_certificate(&self.der)
    }

    /// The certificate as TLS takes it.
    pub fn as_der(&self) -> &CertificateDer<'static> {
        &self.der
    }
}

impl Authority {
    /// Makes the authority of a cluster with this key, as of now.
    pub fn create(
        cluster: ClusterId,
        number: AuthorityNumber,
        key: PrivateKey,
        now: u64,
        serial: SerialNumber,
    ) -> Result<Self, AuthorityError> {
        let common_name = format!("{COMMON_NAME}{number}");
        let mut params = params_for(cluster, &common_name, Validity::of_authority(now), serial)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(BELOW));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let every_address = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let excluded = every_address.map(|address| CidrSubnet::from_addr_prefix(address, 0));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(cluster_zone(cluster))],
            excluded_subtrees: excluded.map(GeneralSubtree::IpAddress).into(),
        });
        let made = params.self_signed(key.key_pair()).map_err(|error| sign_error(&error))?;
        Ok(Self { certificate: AuthorityCertificate::from_der(made.der())?, key })
    }

    /// The authority of this certificate, by its key.
    pub fn from_parts(
        certificate: AuthorityCertificate,
        key: PrivateKey,
    ) -> Result<Self, AuthorityError> {
        if key.hash() != certificate.pin {
            return Err(AuthorityError::OtherKey { key: key.hash(), certificate: certificate.pin });
        }
        Ok(Self { certificate, key })
    }

    /// Its certificate.
    pub fn own_certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Its key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Signs a host's certificate: this key is known by this name and has this part, for so long, though never for longer than the
    /// authority itself.
    pub fn issue_certificate(
        &self,
        name: &CertifiedName,
        role: HostRole,
        key: &PublicKey,
        validity: Validity,
        serial: SerialNumber,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let validity = validity.limited_to(self.certificate.validity);
        let mut params = params_for(name.cluster_id(), name.machine().as_str(), validity, serial)?;
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.as_str());
        let text = name.to_string().try_into().map_err(|error| sign_error(&error))?;
        params.subject_alt_names = vec![SanType::DnsName(text)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Each daemon is asked and asks others.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der, self.key.key_pair());
        let issued = issuer
            .and_then(|issuer| params.signed_by(key, &issuer))
            .map_err(|error| sign_error(&error))?;
        Ok(issued.der().clone())
    }
}

fn params_for(
    cluster: ClusterId,
    common_name: &str,
    validity: Validity,
    serial: SerialNumber,
) -> Result<CertificateParams, AuthorityError> {
    let time = |seconds: u64| {
        let read = i64::try_from(seconds).ok().and_then(|time| ASN1Time::from_timestamp(time).ok());
        read.map(|time| time.to_datetime()).ok_or(AuthorityError::Time(seconds))
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster.to_string());
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(EncodedSerial::from_slice(&serial.0));
    params.not_before = time(validity.not_before)?;
    params.not_after = time(validity.not_after)?;
    Ok(params)
}

fn sign_error(error: &rcgen::Error) -> AuthorityError {
    AuthorityError::Sign(error.to_string())
}

fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    name.iter_common_name().next()?.as_str().ok()
}

fn organization<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    name.iter_organization().next()?.as_str().ok()
}
