//! The directory that holds this host's identity: `pki/` below the state directory, for root alone.
//!
//! Owns its files and the order in which they are written. The key comes first, since everything else is a statement about it; the host's
//! certificate comes last, and a host that has one belongs to a cluster. So a machine that loses power anywhere in between has either
//! nothing, or a key with which it asks again and gets the same answer. A key that is there is never replaced here. What is
//! in the files is judged by `muster-identity`, and who may read them here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::AuthorityNumber;
use muster_identity::{CredentialProblem, HostCredentials, KeyError, PkiFile, PrivateKey};

use crate::host::modes;
use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, remove_file, replace_file};

/// Its name in the state directory.
const DIRECTORY: &str = "pki";

/// The directory.
#[derive(Debug, Clone)]
pub struct PkiDirectory {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

/// Why the identity on this machine's disk cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}; nothing has changed, and the same command goes on from here once that is mended", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than root may read what is to be secret, or write what is believed.
    #[error(
        "{0}; and if somebody else may have read it, join anew with another key: musterctl cluster token --replace, on a server"
    )]
    Exposed(String),
    /// Something that is no text.
    #[error("{} is damaged: it is no text. Put it back from a backup, or join anew", .0.display())]
    Damaged(PathBuf),
    /// A part is there, and another is not.
    #[error(
        "{} is missing, and {} beside it is there. Put it back from a backup, or join anew: move the directory away, and take a token made \
         by \"musterctl cluster token --replace\" on a server of the cluster", missing.display(), present.file_name()
    )]
    Missing {
        /// The file that is not there.
        missing: PathBuf,
        /// One that is.
        present: PkiFile,
    },
    /// The files do not make up an identity.
    #[error("the identity in {} cannot be used", directory.display())]
    Credentials {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: CredentialProblem,
    },
    /// A key cannot be read or made.
    #[error("the key {} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl PkiDirectory {
    /// That of a daemon with this state directory.
    pub fn new(state_dir: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { path: state_dir.join(DIRECTORY), disk }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of this host; `None` where it has none, or has begun to join and is not through with it.
    pub fn load_credentials(
        &self,
        machine: &MachineId,
        cluster: Option<ClusterId>,
    ) -> Result<Option<HostCredentials>, PkiError> {
        let Some(chain) = self.read_text(PkiFile::HostChain.file_name())? else { return Ok(None) };
        let beside = |file: PkiFile| {
            let missing = || PkiError::Missing {
                missing: self.path.join(file.file_name()),
                present: PkiFile::HostChain,
            };
            self.read_text(file.file_name())?.ok_or_else(missing)
        };
        let (key, bundle) = (beside(PkiFile::HostKey)?, beside(PkiFile::Bundle)?);
        let read = HostCredentials::from_texts(&key, &chain, &bundle, machine, cluster);
        read.map(Some)
            .map_err(|source| PkiError::Credentials { directory: self.path.clone(), source })
    }

    /// Writes an identity down. Its key is there already, see [`Self::make_host_key`].
    pub fn save_credentials(&self, credentials: &HostCredentials) -> Result<(), PkiError> {
        for file in [PkiFile::Bundle, PkiFile::HostChain] {
            self.write_text(file.file_name(), &credentials.file_text(file))?;
        }
        Ok(())
    }

    /// This host's key, made if there is none.
    pub fn make_host_key(&self) -> Result<PrivateKey, PkiError> {
        self.make_key(PkiFile::HostKey.file_name())
    }

    /// The key of one of the cluster's authorities, if this host has it.
    pub fn load_authority_key(
        &self,
        number: AuthorityNumber,
    ) -> Result<Option<PrivateKey>, PkiError> {
        self.read_key(&authority_key_name(number))
    }

    /// The same key, made if there is none.
    pub fn make_authority_key(&self, number: AuthorityNumber) -> Result<PrivateKey, PkiError> {
        self.make_key(&authority_key_name(number))
    }

    /// Writes the key of an authority down, which another server has handed over.
    pub fn save_authority_key(
        &self,
        number: AuthorityNumber,
        key: &PrivateKey,
    ) -> Result<(), PkiError> {
        self.write_text(&authority_key_name(number), &key.to_pem())
    }

    /// Removes the key of an authority that has come to nothing.
    pub fn remove_authority_key(&self, number: AuthorityNumber) -> Result<(), PkiError> {
        let path = self.path.join(authority_key_name(number));
        let removed = remove_file(&*self.disk, &path);
        removed.map_err(|source| PkiError::Write { path, source })
    }

    fn make_key(&self, name: &str) -> Result<PrivateKey, PkiError> {
        if let Some(found) = self.read_key(name)? {
            return Ok(found);
        }
        let path = self.path.join(name);
        let key = PrivateKey::generate_key().map_err(|source| PkiError::Key { path, source })?;
        self.write_text(name, &key.to_pem())?;
        Ok(key)
    }

    fn read_key(&self, name: &str) -> Result<Option<PrivateKey>, PkiError> {
        let path = self.path.join(name);
        let Some(text) = self.read_text(name)? else { return Ok(None) };
        PrivateKey::from_pem(&text).map(Some).map_err(|source| PkiError::Key { path, source })
    }

    fn read_text(&self, name: &str) -> Result<Option<String>, PkiError> {
        let path = self.path.join(name);
        let found = read_file(&*self.disk, &path);
        let found = found.map_err(|source| PkiError::Read { path: path.clone(), source })?;
        let Some(bytes) = found else { return Ok(None) };
        // Before its text is looked at: what is wrong with a file that others may write says nothing about what they did.
        for (name, path) in [("the directory", &self.path), ("the file", &path)] {
            if let Some(problem) = modes::open_to_others(name, path) {
                return Err(PkiError::Exposed(problem));
            }
        }
        String::from_utf8(bytes).map(Some).map_err(|_| PkiError::Damaged(path))
    }

    fn write_text(&self, name: &str, text: &str) -> Result<(), PkiError> {
        let path = self.path.join(name);
        let written = self.disk.make_directory(&self.path, modes::DIRECTORY).and_then(|()| {
            replace_file(&*self.disk, &path, text.as_bytes(), Durability::OutlivesPowerCut)
        });
        written.map_err(|source| PkiError::Write { path, source })
    }
}

/// The file with the key of an authority.
fn authority_key_name(number: AuthorityNumber) -> String {
    format!("ca-{number}.key")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use muster_common::errors::error_chain;
    use muster_common::pki::HostRole;
    use muster_identity::{
        Authority, CertifiedName, TrustBundle, Validity, draw_serial, make_signing_request,
        read_signing_request,
    };

    use super::*;
    use crate::stdx::disk::HostDisk;

    const CLUSTER: ClusterId = ClusterId::from_number(7);
    const NOW: u64 = 1_800_000_000;

    struct Fixture {
        state: tempfile::TempDir,
        pki: PkiDirectory,
        machine: MachineId,
    }

    impl Fixture {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            let pki = PkiDirectory::new(state.path(), Arc::new(HostDisk));
            Self { state, pki, machine: "m1".parse().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.state.path().join("pki").join(name)
        }

        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
        }

        /// Writes a whole identity down, as a host does that has joined.
        fn join(&self) {
            let key = self.pki.make_host_key().unwrap();
            let authority = self.pki.make_authority_key(1).unwrap();
            let serial = draw_serial().unwrap();
            let authority = Authority::create(CLUSTER, 1, authority, NOW, serial).unwrap();
            let request = read_signing_request(&make_signing_request(&key).unwrap()).unwrap();
            let name = CertifiedName::of_machine(&self.machine, CLUSTER).unwrap();
            let (validity, serial) = (Validity::of_host(NOW), draw_serial().unwrap());
            let issued =
                authority.issue_certificate(&name, HostRole::Server, &request, validity, serial);
            let ours = authority.own_certificate();
            let chain = vec![issued.unwrap(), ours.as_der().clone()];
            let bundle = TrustBundle::new(vec![ours.clone()]);
            let made = HostCredentials::from_parts(key, chain, bundle, &self.machine, None);
            self.pki.save_credentials(&made.unwrap()).unwrap();
        }

        fn load(&self) -> Result<Option<HostCredentials>, String> {
            let loaded = self.pki.load_credentials(&self.machine, Some(CLUSTER));
            loaded.map_err(|error| error_chain(&error))
        }
    }

    #[test]
    fn an_identity_is_found_again_and_is_for_root_alone() {
        let fixture = Fixture::new();
        assert!(fixture.load().unwrap().is_none());
        fixture.join();
        let loaded = fixture.load().unwrap().unwrap();
        let key = fixture.pki.make_host_key().unwrap();
        assert_eq!(loaded.key().hash(), key.hash(), "a key that is there stays");
        assert_eq!(fixture.mode(""), 0o700);
        for name in ["host.key", "host.pem", "bundle.pem", "ca-1.key"] {
            assert_eq!(fixture.mode(name), 0o600, "{name}");
        }
        assert!(fixture.pki.load_authority_key(2).unwrap().is_none());
    }

    #[test]
    fn a_machine_that_has_begun_to_join_keeps_its_key_and_has_no_identity_yet() {
        let fixture = Fixture::new();
        let first = fixture.pki.make_host_key().unwrap();
        assert!(fixture.load().unwrap().is_none());
        assert_eq!(fixture.pki.make_host_key().unwrap().hash(), first.hash());
        // The bundle is there, and the certificate is not: power went in between.
        fs::write(fixture.path("bundle.pem"), "").unwrap();
        assert!(fixture.load().unwrap().is_none());
    }

    #[test]
    fn what_others_may_read_is_not_used() {
        for (name, mode) in
            [("host.key", 0o644), ("host.key", 0o640), ("bundle.pem", 0o666), ("", 0o755)]
        {
            let fixture = Fixture::new();
            fixture.join();
            // The group of files of a test that root runs is root's, whom nothing is kept from.
            let mode = if mode == 0o640 { 0o660 } else { mode };
            fs::set_permissions(fixture.path(name), Permissions::from_mode(mode)).unwrap();
            let said = fixture.load().unwrap_err();
            assert!(said.contains("chmod 0") && said.contains("join anew"), "{said}");
        }
    }

    #[test]
    fn a_part_that_is_missing_or_damaged_is_named() {
        for name in ["host.key", "bundle.pem"] {
            let fixture = Fixture::new();
            fixture.join();
            fs::remove_file(fixture.path(name)).unwrap();
            let said = fixture.load().unwrap_err();
            assert!(said.contains(&format!("{name} is missing, and host.pem beside it")), "{said}");
        }
        for name in ["host.key", "host.pem", "bundle.pem"] {
            for content in [&b""[..], b"\xff\xfe", b"-----BEGIN"] {
                let fixture = Fixture::new();
                fixture.join();
                fs::write(fixture.path(name), content).unwrap();
                let said = fixture.load().unwrap_err();
                assert!(said.contains(name), "{said}");
                // A key that is damaged is not replaced by another: who knows what it still opens.
                let key = fixture.pki.make_host_key();
                assert_eq!(key.is_err(), name == "host.key", "{key:?}");
            }
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_said_with_what_follows() {
        let fixture = Fixture::new();
        // Not even root can write below a link that leads nowhere.
        std::os::unix::fs::symlink("nowhere/at/all", fixture.state.path().join("pki")).unwrap();
        let said = fixture.pki.make_host_key().unwrap_err().to_string();
        assert!(
            said.starts_with("cannot write ") && said.contains("nothing has changed"),
            "{said}"
        );
    }
}
