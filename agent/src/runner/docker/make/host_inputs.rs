//! The things that only the machine can add to a create call: environment, secrets, a filter of system calls, devices.
//!
//! Owns adding them, and laying secret files where a container can see them. No error and no log of its holds a value.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use muster_common::container::{Secret, SecretTarget, Sensitive, VariableFile};
use muster_common::unit::UnitName;
use muster_engine::container::{
    Abilities, Creation, EnvironmentInputs, MachineInputs, assemble_environment, body, cdi_request,
    withheld_variables,
};

use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::host::{ContainerHost, SecretAccess};

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
    let host = &*context.world.host;
    let secrets = read_secrets(host, &context.secrets, &late.secrets).await?;
    let files = read_environment(host, &late).await?;
    let known = EnvironmentInputs { host: host.environment_variables(), files, secrets };
    for name in withheld_variables(&late.environment, &known) {
        tracing::warn!(%unit, name, "a variable is the daemon's own and is not passed on");
    }
    creation.body.env = assemble_environment(&late.environment, &late.secrets, &known)
        .map_err(|error| EngineError::new_refusal(error.to_string()))?;

    if let Some(path) = missing_source(host, &creation.body.host_config.binds) {
        return Err(EngineError::new_refusal(format!(
            "Volume={path}: this machine does not have it, and Docker would make an empty directory of it"
        )));
    }
    let directory = context.secrets_in_use.join(unit.as_str());
    let mounts = lay_secrets(host, &directory, &late.secrets, &known).await?;
    let host_config = &mut creation.body.host_config;
    host_config.mounts.extend(mounts);

    if let Some(path) = &late.seccomp {
        let filter = host
            .read_for_unit_apart(Path::new(path))
            .await
            .map_err(|error| EngineError::new_refusal(format!("SeccompProfile={path}: {error}")))?;
        host_config.security_opt.push(format!("seccomp={filter}"));
    }
    let there =
        late.devices.into_iter().filter(|device| host.has_path(Path::new(&device.path_on_host)));
    host_config.devices.extend(there);
    let known_names = late.cdi_devices.into_iter().filter(|n| abilities.cdi_devices.contains(n));
    host_config.device_requests.extend(cdi_request(known_names.collect()));
    Ok(())
}

/// A path that is to be mounted in the notation in which Docker makes what is not there. Podman refuses to start then, and so
/// does Docker in its other one.
fn missing_source<'a>(host: &dyn ContainerHost, binds: &'a [String]) -> Option<&'a str> {
    let sources = binds.iter().filter_map(|bind| bind.split(':').next());
    sources
        .filter(|source| source.starts_with('/'))
        .find(|source| !host.has_path(Path::new(source)))
}

/// Removes what was laid for a unit.
pub(crate) fn clear(context: &DockerContext, unit: &UnitName) {
    context.world.host.clear_secrets(&context.secrets_in_use.join(unit.as_str()));
}

/// Secrets are looked for; `assemble` and `lay_secrets` miss those that are not there.
async fn read_secrets(
    host: &dyn ContainerHost,
    directory: &Path,
    secrets: &[Secret],
) -> Result<BTreeMap<String, Sensitive>, EngineError> {
    let mut found = BTreeMap::new();
    for Secret { name, .. } in secrets {
        match host.read_for_unit_apart(&directory.join(name)).await {
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
    host: &dyn ContainerHost,
    late: &MachineInputs,
) -> Result<BTreeMap<String, Sensitive>, EngineError> {
    let mut found = BTreeMap::new();
    for VariableFile { path, .. } in &late.environment.files {
        match host.read_for_unit_apart(Path::new(path)).await {
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
    host: &dyn ContainerHost,
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
        let access = SecretAccess { uid: *uid, gid: *gid, mode: *mode };
        host.lay_secret(&source, value, access).await.map_err(|error| {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::runner::docker::this_machine::ThisMachine;

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
            let mounts = lay_secrets(&ThisMachine, &place, &secrets, &known).await.unwrap();
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
            let mounts =
                lay_secrets(&ThisMachine, directory.path(), &secrets, &known).await.unwrap();
            let source = mounts[0].source.clone().unwrap();
            assert_eq!(std::fs::read_to_string(source).unwrap(), "hush", "{length}");
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = "/run/secrets/db".to_owned();
        let secrets = [secret("db", SecretTarget::File { path, uid: 0, gid: 0, mode: 0o400 })];
        let found = read_secrets(&ThisMachine, directory.path(), &secrets).await.unwrap();
        let known = EnvironmentInputs { secrets: found, ..EnvironmentInputs::default() };
        let error =
            lay_secrets(&ThisMachine, directory.path(), &secrets, &known).await.unwrap_err();
        assert_eq!(error.to_string(), "Secret=db: this machine does not have it");
    }
}
