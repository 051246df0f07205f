//! The files of certificates. They are looked into as they are read: the TLS library passes over what it does not
//! understand in them, and then nobody is trusted and nobody knows why.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reads the authorities to trust, and our certificate with its key; an error names the file. Blocks.
pub(super) fn read(
    authorities: Option<&Path>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<Option<TlsOptions>, String> {
    let mut options = None;
    if let Some(path) = authorities {
        let pem = certificates(path)?;
        options = Some(TlsOptions::new().ca_certificate(Certificate::from_pem(pem)));
    }
    if let Some((certificate, key)) = identity {
        let identity = Identity::from_pem(certificates(certificate)?, private_key(key)?);
        options = Some(options.unwrap_or_default().identity(identity));
    }
    Ok(options)
}

fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let pem = contents(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err(format!("{}: there is no certificate in PEM form in it", path.display())),
    }
}

fn private_key(path: &Path) -> Result<Vec<u8>, String> {
    let pem = contents(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => Err(format!("{}: there is no private key in PEM form in it", path.display())),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
