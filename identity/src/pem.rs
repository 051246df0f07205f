//! PEM, the text form of keys and certificates.
//!
//! Owns its reading and writing for certificates. What they say is not looked at here.

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error, PemObject as _};

/// Characters of a line (RFC 7468).
const LINE: usize = 64;

/// Where a file was cut off.
const NO_END: &str = "a certificate in it has no end";

/// A certificate as text.
pub(crate) fn write_certificate(der: &CertificateDer<'_>) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = BASE64.encode(der);
    let mut rest = encoded.as_str();
    while let Some((line, after)) = rest.split_at_checked(LINE) {
        text.extend([line, "\n"]);
        rest = after;
    }
    if !rest.is_empty() {
        text.extend([rest, "\n"]);
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The certificates in a text, in order; an error says in words what is wrong with it. A text without any is one, as is one whose last
/// certificate has lost its end.
pub(crate) fn read_certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(
            |error| match error {
                Error::MissingSectionEnd { .. } => NO_END.to_owned(),
                // The others name bytes, which say nothing to a person.
                _ => "it is not in PEM form".to_owned(),
            },
        )?;
    // A reader of PEM passes over what is no certificate, and over the rest of one that begins and does not end.
    if certificates.len() != text.matches("-----BEGIN CERTIFICATE-----").count() {
        return Err(NO_END.to_owned());
    }
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "these texts are ASCII")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn certificates_survive_the_round_trip(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..4)) {
            let text: String = all.iter().map(|der| write_certificate(&CertificateDer::from(der.clone()))).collect();
            let read: Vec<Vec<u8>> = read_certificates(&text).unwrap().iter().map(|der| der.to_vec()).collect();
            prop_assert_eq!(read, all);
        }

        #[test]
        fn a_text_that_ends_too_soon_is_none(der in prop::collection::vec(any::<u8>(), 1..300), part in 0.0..1.0_f64) {
            let text = write_certificate(&CertificateDer::from(der));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let end = ((text.len() - 2) as f64 * part) as usize;
            prop_assert!(read_certificates(&text[..end]).is_err());
        }
    }
}
