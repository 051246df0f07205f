//! The things that only the machine can add to a create call: environment, secrets, a filter of system calls, devices.
//!
//! Owns adding them, and laying secret files where a container can see them. No error and no log of its holds a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use muster_common::container::{Secret, SecretTarget, Sensitive, VariableFile};
use muster_common::unit::UnitName;
use muster_engine::container::{
    Abilities, Creation, EnvironmentInputs, MachineInputs, assemble_environment, body, cdi_request,
    withheld_variables,
};

use crate::runner::docker::api::engine::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::host_file;

/// Longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// Completes a create call.
pub(crate) async fn complete_creation(
    context: &DockerContext,
    unit: &UnitName,
    creation: &mut Creation,
    abilities: &Abilities,
) -> Result<(), EngineError> {
    let late = creation.late.clone();
    let secrets = read_secrets(&context.secrets, &late.secrets).await?;
    let files = read_environment(&late).await?;
    let known = EnvironmentInputs { host: environment_of_host(), files, secrets };
    for name in withheld_variables(&late.environment, &known) {
        tracing::warn!(%unit, name, "a variable is the daemon's own and is not passed on");
    }
    creation.body.env = assemble_environment(&late.environment, &late.secrets, &known)
        .map_err(|error| EngineError::new_refusal(error.to_string()))?;

    if let Some(path) = missing_source(&creation.body.host_config.binds) {
        return Err(EngineError::new_refusal(format!(
            "Volume={path}: this machine does not have it, and Docker would make an empty directory of it"
        )));
    }
    let directory = context.secrets_in_use.join(unit.as_str());
    let mounts = lay_secrets(&directory, &late.secrets, &known).await?;
    let host_config = &mut creation.body.host_config;
    host_config.mounts.extend(mounts);

    if let Some(path) = &late.seccomp {
        let filter = host_file::read(Path::new(path))
            .await
            .map_err(|error| EngineError::new_refusal(format!("SeccompProfile={path}: {error}")))?;
        host_config.security_opt.push(format!("seccomp={filter}"));
    }
    let there = late.devices.into_iter().filter(|device| Path::new(&device.path_on_host).exists());
    host_config.devices.extend(there);
    let known_names = late.cdi_devices.into_iter().filter(|n| abilities.cdi_devices.contains(n));
    host_config.device_requests.extend(cdi_request(known_names.collect()));
    Ok(())
}

/// The daemon's environment. What is not UTF-8 no call to an engine can carry.
fn environment_of_host() -> BTreeMap<String, Sensitive> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, Sensitive::new(value.into_string().ok()?)))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// A path that is to be mounted in the notation in which Docker makes what is not there. Podman refuses to start then, and so
/// does Docker in its other one.
fn missing_source(binds: &[String]) -> Option<&str> {
    let sources = binds.iter().filter_map(|bind| bind.split(':').next());
    sources.filter(|source| source.starts_with('/')).find(|source| !Path::new(source).exists())
}

/// Removes what was laid for a unit.
pub(crate) fn clear(context: &DockerContext, unit: &UnitName) {
    let _ = std::fs::remove_dir_all(context.secrets_in_use.join(unit.as_str()));
}

/// Secrets are looked for; `assemble` and `lay_secrets` miss those that are not there.
async fn read_secrets(
    directory: &Path,
    secrets: &[Secret],
) -> Result<BTreeMap<String, Sensitive>, EngineError> {
    let mut found = BTreeMap::new();
    for Secret { name, .. } in secrets {
        match host_file::read(&directory.join(name)).await {
            Ok(value) => {
                found.insert(name.clone(), Sensitive::new(value));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::new_refusal(format!("Secret={name}: {error}"))),
        }
    }
    Ok(found)
}

async fn read_environment(
    late: &MachineInputs,
) -> Result<BTreeMap<String, Sensitive>, EngineError> {
    let mut found = BTreeMap::new();
    for VariableFile { path, .. } in &late.environment.files {
        match host_file::read(Path::new(path)).await {
            Ok(text) => {
                found.insert(path.clone(), Sensitive::new(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(EngineError::new_refusal(format!("EnvironmentFile={path}: {error}")));
            }
        }
    }
    Ok(found)
}

/// Lays secret files into a directory of the unit's own, each with its owner and mode, and says how to mount them.
async fn lay_secrets(
    directory: &Path,
    secrets: &[Secret],
    known: &EnvironmentInputs,
) -> Result<Vec<body::Mount>, EngineError> {
    let mut mounts = Vec::new();
    for (index, secret) in secrets.iter().enumerate() {
        let SecretTarget::File { path, uid, gid, mode } = &secret.target else { continue };
        let value = known.secrets.get(&secret.name).ok_or_else(|| {
            EngineError::new_refusal(format!(
                "Secret={}: this machine does not have it",
                secret.name
            ))
        })?;
        let source = directory.join(file_name(index, &secret.name));
        let (uid, gid, mode) = (*uid, *gid, *mode);
        let (to, value) = (source.clone(), value.clone());
        let written =
            tokio::task::spawn_blocking(move || write_secret(&to, &value, uid, gid, mode)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
            EngineError::new_refusal(format!("Secret={}: {error}", secret.name))
        })?;
        mounts.push(body::Mount {
            kind: "bind",
            source: Some(source.to_string_lossy().into_owned()),
            target: path.clone(),
            read_only: true,
            ..body::Mount::default()
        });
    }
    Ok(mounts)
}

/// The name of a secret's file; the longest names leave no room for the number before it.
fn file_name(index: usize, secret: &str) -> String {
    let named = format!("{index}-{secret}");
    if named.len() > LONGEST_NAME { index.to_string() } else { named }
}

/// Writes one file anew. Nobody can read it before it is whose it is to be.
fn write_secret(
    path: &PathBuf,
    value: &Sensitive,
    uid: u32,
    gid: u32,
    mode: u32,
) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn secret(name: &str, target: SecretTarget) -> Secret {
        Secret { name: name.to_owned(), target }
    }

    #[tokio::test]
    async fn a_secret_file_is_laid_with_its_mode_and_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("web.container");
        let (uid, gid) = std::fs::metadata(directory.path()).map(|m| (m.uid(), m.gid())).unwrap();
        let path = "/run/secrets/db".to_owned();
        let secrets = [secret("db", SecretTarget::File { path, uid, gid, mode: 0o400 })];
        for value in ["one", "two"] {
            let known = EnvironmentInputs {
                secrets: [("db".to_owned(), Sensitive::new(value))].into(),
                ..EnvironmentInputs::default()
            };
            let mounts = lay_secrets(&place, &secrets, &known).await.unwrap();
            let [mount] = mounts.as_slice() else { panic!("{mounts:?}") };
            assert_eq!((mount.target.as_str(), mount.read_only), ("/run/secrets/db", true));
            let source = mount.source.clone().unwrap();
            assert_eq!(std::fs::read_to_string(&source).unwrap(), value);
            assert_eq!(std::fs::metadata(&source).unwrap().mode() & 0o777, 0o400);
        }
        assert_eq!(std::fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_secret_of_the_longest_name_is_laid_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let (uid, gid) = std::fs::metadata(directory.path()).map(|m| (m.uid(), m.gid())).unwrap();
        for length in [253, 254, 255] {
            let name = "s".repeat(length);
            let path = "/run/secrets/db".to_owned();
            let secrets = [secret(&name, SecretTarget::File { path, uid, gid, mode: 0o400 })];
            let found = [(name.clone(), Sensitive::new("hush"))].into();
            let known = EnvironmentInputs { secrets: found, ..EnvironmentInputs::default() };
            let mounts = lay_secrets(directory.path(), &secrets, &known).await.unwrap();
            let source = mounts[0].source.clone().unwrap();
            assert_eq!(std::fs::read_to_string(source).unwrap(), "hush", "{length}");
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = "/run/secrets/db".to_owned();
        let secrets = [secret("db", SecretTarget::File { path, uid: 0, gid: 0, mode: 0o400 })];
        let found = read_secrets(directory.path(), &secrets).await.unwrap();
        let known = EnvironmentInputs { secrets: found, ..EnvironmentInputs::default() };
        let error = lay_secrets(directory.path(), &secrets, &known).await.unwrap_err();
        assert_eq!(error.to_string(), "Secret=db: this machine does not have it");
    }
}
