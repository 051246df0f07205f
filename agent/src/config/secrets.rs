//! The files that hold secrets, as the configuration names them.
//!
//! Owns which those are. It reads none.

use std::path::{Path, PathBuf};

use super::file;

/// The files that hold secrets, with the keys that name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    /// The configuration file, if it was read.
    pub(super) config: Option<PathBuf>,
    /// True if it holds a password itself.
    pub(super) holds_password: bool,
    /// Others.
    pub(super) named: Vec<(&'static str, PathBuf)>,
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
