//! The files of certificates. They are looked into as they are read: the TLS library passes over what it does not
//! understand in them, and then nobody is trusted and nobody knows why.
//!
//! Certificates are renewed under a running daemon, so the files are read again for each new connection. A renewal writes
//! several files one after the other: until they are whole and fit each other, those that were read before stand.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The files' contents as they were read.
#[derive(Clone)]
pub(super) struct Certificates {
    /// As they were, to be compared.
    pems: Vec<Vec<u8>>,
    /// For a connection.
    pub(super) options: TlsOptions,
}

/// The files, and what of them is in use.
pub(super) struct CertificateFiles {
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    /// What was last found to be of use; absent: there are no files.
    accepted: Mutex<Option<Certificates>>,
    /// What was last said about them, so that it is said once.
    last_warning: Mutex<Option<String>>,
}

impl CertificateFiles {
    /// None are read yet.
    pub(super) fn new(authorities: Option<PathBuf>, identity: Option<(PathBuf, PathBuf)>) -> Self {
        Self { authorities, identity, accepted: Mutex::default(), last_warning: Mutex::default() }
    }

    /// True when there are any.
    pub(super) fn are_given(&self) -> bool {
        self.authorities.is_some() || self.identity.is_some()
    }

    /// Reads them; an error names the file.
    pub(super) async fn read(&self) -> Result<Option<Certificates>, String> {
        let (authorities, identity) = (self.authorities.clone(), self.identity.clone());
        // They may be on a slow disk.
        let read = move || read_files(authorities.as_deref(), identity.as_ref());
        tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
    }

    /// The certificates that are in use; none when there are no files.
    pub(super) fn accepted_certificates(&self) -> Option<Certificates> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that these are of use. Says so when others were in use before.
    pub(super) fn accept_certificates(&self, read: Option<Certificates>) {
        let before = std::mem::replace(
            &mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner),
            read,
        );
        if before.is_some() {
            tracing::info!("the certificates for etcd have changed, and the new ones are in use");
        }
        *self.last_warning.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that the files are of no use now, and warns of that once.
    pub(super) fn warn_once(&self, problem: &str) {
        let mut last_warning = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last_warning.as_deref() != Some(problem) {
            tracing::warn!(
                problem,
                "the certificates for etcd have changed and are of no use; those from before are used until they are"
            );
            *last_warning = Some(problem.to_owned());
        }
    }
}

impl Certificates {
    /// True when the files held the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pems == other.pems
    }
}

/// Reads the authorities to trust, and our certificate with its key; an error names the file. Blocks.
fn read_files(
    authorities: Option<&Path>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<Option<Certificates>, String> {
    let mut pems = Vec::new();
    let mut options = TlsOptions::new();
    if let Some(path) = authorities {
        let pem = read_certificates(path)?;
        options = options.ca_certificate(Certificate::from_pem(pem.clone()));
        pems.push(pem);
    }
    if let Some((certificate, key)) = identity {
        let (certificate, key) = (read_certificates(certificate)?, read_private_key(key)?);
        options = options.identity(Identity::from_pem(certificate.clone(), key.clone()));
        pems.extend([certificate, key]);
    }
    Ok((!pems.is_empty()).then_some(Certificates { pems, options }))
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
    let pem = read_file(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err(format!("{}: there is no certificate in PEM form in it", path.display())),
    }
}

fn read_private_key(path: &Path) -> Result<Vec<u8>, String> {
    let pem = read_file(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => Err(format!("{}: there is no private key in PEM form in it", path.display())),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
