//! Whether others may read or write what the configuration rests on.
//!
//! Owns which files those are. It changes none.

use std::path::{Path, PathBuf};

use super::{Config, file};
use crate::host::modes::{open_to_others, writable_by_others};

/// The files that hold secrets, with the keys that name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    /// The configuration file, if it was read.
    config: Option<PathBuf>,
    /// True if it holds a password itself.
    holds_password: bool,
    /// Others.
    named: Vec<(&'static str, PathBuf)>,
}

impl Secrets {
    /// Those of a file and of what was made of it.
    pub(super) fn of_files(
        path: Option<&Path>,
        file: &file::EtcdTable,
        password_file: Option<&PathBuf>,
    ) -> Self {
        Self {
            config: path.map(Path::to_owned),
            holds_password: file.password.is_some(),
            named: password_file
                .map(|path| ("etcd.password_file", path.clone()))
                .into_iter()
                .collect(),
        }
    }
}

impl Config {
    /// The problems with the modes of the files that the configuration rests on, one sentence each: who is wrong, its mode, and
    /// what would be right.
    pub fn find_exposures(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(config) = &self.secrets.config {
            let open = self.secrets.holds_password.then(|| {
                open_to_others(
                    "there is a password (etcd.password) in it: the configuration file",
                    config,
                )
            });
            found.extend(
                open.flatten().or_else(|| writable_by_others("the configuration file", config)),
            );
        }
        let key = self.etcd.iter().filter_map(|etcd| etcd.identity_files.as_ref());
        let key = key.map(|(_, key)| ("etcd.key_file", key));
        let named = self.secrets.named.iter().map(|(key, path)| (*key, path));
        let docker = self.docker.credentials.iter().map(|path| ("docker.credentials", path));
        let secrets = [("docker.secrets", &self.docker.secrets)];
        for (key, path) in named.chain(key).chain(docker).chain(secrets) {
            found.extend(open_to_others(key, path));
        }
        let trusted = self.etcd.iter().flat_map(|etcd| {
            let authority = etcd.ca_file.iter().map(|path| ("etcd.ca_file", path));
            let certificate = etcd.identity_files.iter().map(|(path, _)| ("etcd.cert_file", path));
            authority.chain(certificate)
        });
        found.extend(trusted.filter_map(|(key, path)| writable_by_others(key, path)));
        // They are run as root.
        let programs =
            self.reboot.command_lines().map(|(key, words)| (key, Path::new(words.program_path())));
        let programs = programs.filter(|(_, program)| program.is_absolute());
        found.extend(programs.filter_map(|(key, path)| writable_by_others(key, path)));
        found
    }
}
