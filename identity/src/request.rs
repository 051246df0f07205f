//! Requests for a certificate.
//!
//! Owns what a host sends of its key, and what is read of it: the key and the proof that whoever asks has the private half. Every other
//! wish in a request is passed over, for the name, the life and the use of a certificate are the cluster's to say.

use rcgen::{CertificateParams, DistinguishedName};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::keys::{KeyError, PrivateKey, PublicKey};

/// Most bytes of a request: one of ours has about 200.
const LONGEST: usize = 4096;

/// A request that nothing is issued for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// None could be made.
    #[error("cannot make a request for a certificate: {0}")]
    Make(String),
    /// It is no request.
    #[error("the request for a certificate cannot be read")]
    Unreadable,
    /// It is signed by another key than the one in it.
    #[error("the request for a certificate is not signed by its own key")]
    Signature,
    /// Its key is none of ours.
    #[error("the request for a certificate cannot be used")]
    Key(#[from] KeyError),
}

/// A request for a certificate of this key, in DER.
pub fn make_signing_request(key: &PrivateKey) -> Result<Vec<u8>, RequestError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let made = params.serialize_request(key.key_pair());
    made.map(|made| made.der().to_vec()).map_err(|error| RequestError::Make(error.to_string()))
}

/// The key of a request whose sender has the private half of it.
pub fn read_signing_request(der: &[u8]) -> Result<PublicKey, RequestError> {
    if der.len() > LONGEST {
        return Err(RequestError::Unreadable);
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
        return Err(RequestError::Unreadable);
    };
    let key = PublicKey::from_info(&request.certification_request_info.subject_pki)?;
    request.verify_signature().map_err(|_| RequestError::Signature)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_as_good_as_its_signature() {
        let key = PrivateKey::generate_key().unwrap();
        let request = make_signing_request(&key).unwrap();
        assert_eq!(read_signing_request(&request).unwrap().hash(), key.hash());
        // The signature is at the end.
        let mut forged = request.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(read_signing_request(&forged).is_err());
        let mut longer = request.clone();
        longer.push(0);
        assert_eq!(read_signing_request(&longer).unwrap_err(), RequestError::Unreadable);
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let request = CertificateParams::default().serialize_request(&key).unwrap();
            let refused = read_signing_request(request.der()).unwrap_err();
            assert_eq!(refused, RequestError::Key(KeyError::OtherKind));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_was_changed_on_its_way_is_another_request(at in 0..400_usize, bits in 1..=255_u8) {
            let key = PrivateKey::generate_key().unwrap();
            let mut request = make_signing_request(&key).unwrap();
            let at = at % request.len();
            request[at] ^= bits;
            if let Ok(read) = read_signing_request(&request) {
                prop_assert_eq!(read.hash(), key.hash());
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_signing_request(&bytes).is_err());
        }
    }
}
