//! Keys.
//!
//! Owns the one kind that hosts and authorities have, ECDSA on P-256: every TLS library has it, a signature takes microseconds, and one
//! kind leaves nothing to negotiate. A private key is never shown, not by `Debug` either.

use std::fmt;

use muster_common::pki::{Digest, KeyHash};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::x509::SubjectPublicKeyInfo;

/// `ecPublicKey` (RFC 5480).
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// `secp256r1`, which is P-256.
const P256: &str = "1.2.840.10045.3.1.7";

/// Bytes of an uncompressed point on P-256, and the mark that it begins with.
const POINT: usize = 65;
const UNCOMPRESSED: u8 = 4;

/// A private key with its public one.
pub struct PrivateKey(KeyPair);

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: [u8; POINT],
}

/// A key that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// None could be made.
    #[error("cannot make a key: {0}")]
    Generate(String),
    /// A text holds no private key of ours.
    #[error("it holds no whole private key of the kind that Muster makes (ECDSA on P-256, as PEM)")]
    Unreadable,
    /// A public key of another kind.
    #[error("its public key is not on P-256")]
    OtherKind,
}

impl PrivateKey {
    /// A new one.
    pub fn generate_key() -> Result<Self, KeyError> {
        let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        made.map(Self).map_err(|error| KeyError::Generate(error.to_string()))
    }

    /// Reads one as it was written. A key whose public half does not belong to it is refused.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let read = KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256);
        read.map(Self).map_err(|_| KeyError::Unreadable)
    }

    /// The key as text, for a file that nobody else may read.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The key as TLS takes it.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// The hash of its public key.
    pub fn hash(&self) -> KeyHash {
        hash_of(&self.0)
    }

    /// The pair that signs.
    pub(crate) fn key_pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.hash())
    }
}

impl PublicKey {
    /// The key in a certificate or in a request for one.
    pub(crate) fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        let algorithm = info.algorithm.algorithm.to_id_string();
        let parameters = info.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
        let point = <[u8; POINT]>::try_from(info.subject_public_key.data.as_ref());
        match point {
            Ok(point)
                if algorithm == EC_PUBLIC_KEY
                    && curve.as_deref() == Some(P256)
                    && point.first() == Some(&UNCOMPRESSED) =>
            {
                Ok(Self { point })
            }
            _ => Err(KeyError::OtherKind),
        }
    }

    /// Its hash.
    pub fn hash(&self) -> KeyHash {
        hash_of(self)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.hash())
    }
}

fn hash_of(key: &impl PublicKeyData) -> KeyHash {
    KeyHash(Digest::of_bytes(&key.subject_public_key_info()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "these texts are ASCII")]

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_is_never_shown() {
        let key = PrivateKey::generate_key().unwrap();
        let text = key.to_pem();
        let read = PrivateKey::from_pem(&text).unwrap();
        assert_eq!(read.hash(), key.hash());
        assert!(format!("{key:?}").contains(&key.hash().to_string()));
        let secret = text.lines().nth(1).unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn half_a_key_and_keys_of_other_kinds_are_none() {
        let text = PrivateKey::generate_key().unwrap().to_pem();
        for end in [0, 30, text.len() / 2, text.len() - 30] {
            assert_eq!(PrivateKey::from_pem(&text[..end]).unwrap_err(), KeyError::Unreadable);
        }
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        assert_eq!(PrivateKey::from_pem(&other).unwrap_err(), KeyError::Unreadable);
        // Two keys in one: the private half of one, the public half of another.
        let (first, second) =
            (PrivateKey::generate_key().unwrap(), PrivateKey::generate_key().unwrap());
        let public = |key: &PrivateKey| key.0.public_key_raw().to_vec();
        let mut der = first.0.serialize_der();
        let at = der.windows(POINT).position(|part| part == public(&first)).unwrap();
        der[at..at + POINT].copy_from_slice(&public(&second));
        let body = data_encoding::BASE64.encode(&der);
        let mixed = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        assert_eq!(PrivateKey::from_pem(&mixed).unwrap_err(), KeyError::Unreadable);
    }
}
