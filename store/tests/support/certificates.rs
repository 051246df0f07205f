//! Certificates of a test's own, as files, in a directory that goes with them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// An authority, and what it signed: a server on the loopback and a client.
pub(crate) struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    /// Makes them. The client's common name is the user etcd takes it for where it knows users.
    pub(crate) fn new(client: &str) -> Self {
        let made = Self { directory: tempfile::tempdir().unwrap() };
        made.renew(client);
        made
    }

    /// Makes all of them anew, in the same files: by another authority, which vouches for none of those before.
    pub(crate) fn renew(&self, client: &str) {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        self.write("ca.pem", &authority.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(authority, key);
        // etcd's own gateway uses the server's certificate as a client.
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&issuer, "server", "a server", &["127.0.0.1"], &both);
        self.sign(&issuer, "client", client, &[], &[ExtendedKeyUsagePurpose::ClientAuth]);
    }

    fn sign(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        file: &str,
        name: &str,
        addresses: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
    ) {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(addresses).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{file}.pem"), &params.signed_by(&key, issuer).unwrap().pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
        // Keys are their owner's alone.
        std::fs::set_permissions(self.path(file), Permissions::from_mode(0o600)).unwrap();
    }

    /// A file among them.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The authority to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The server's certificate and key.
    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        (self.path("server.pem"), self.path("server.key"))
    }

    /// The client's certificate and key.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        (self.path("client.pem"), self.path("client.key"))
    }
}
