//! The files of secrets, laid where a container can see them.
//!
//! Owns the order in which a file gets its text, its owner and its mode. No error of its holds a value.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

use muster_common::container::Sensitive;

use crate::runner::docker::host::SecretAccess;

/// Writes one file anew, out of the way of whoever asks. Nobody can read it before it is whose it is to be.
pub(crate) async fn lay_secret(
    path: &Path,
    value: &Sensitive,
    access: SecretAccess,
) -> io::Result<()> {
    let (path, value) = (path.to_owned(), value.clone());
    let written = tokio::task::spawn_blocking(move || write_secret(&path, &value, access)).await;
    written.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn write_secret(path: &Path, value: &Sensitive, access: SecretAccess) -> io::Result<()> {
    let SecretAccess { uid, gid, mode } = access;
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(value.expose_value().as_bytes())?;
    chown(path, Some(uid), Some(gid))?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}
