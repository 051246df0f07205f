//! Files that the configuration rests on and that others may read or write.
//!
//! Owns the look at their modes and the words for what is wrong with them. It changes none.

use std::path::Path;

use super::Config;
use crate::host::modes::{open_to_others, writable_by_others};

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
