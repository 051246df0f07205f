//! The one provisioning script, as the lab calls it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::command;

/// The script belongs to the checkout this library was built in.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../provision/provision-host")
}

/// The packages a host needs, one with container engines included: there is one base for all hosts of a release.
pub(super) fn required_packages(podman: bool) -> Result<Vec<String>> {
    let engines: &[&str] = if podman { &["--docker", "--podman"] } else { &["--docker"] };
    let arguments = [engines, &["--packages"]].concat();
    let list = command::run(&script().to_string_lossy(), &arguments)?;
    Ok(list.lines().map(ToOwned::to_owned).collect())
}

/// Provisions a root that is not booted.
pub(super) fn provision_root(root: &Path, arguments: &[String]) -> Result<()> {
    let mut all = vec!["--root".to_owned(), root.to_string_lossy().into_owned()];
    all.extend_from_slice(arguments);
    command::run(&script().to_string_lossy(), &all).map(|_| ())
}
