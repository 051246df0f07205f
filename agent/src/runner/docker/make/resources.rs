//! The volumes and networks that a container names, made before it.
//!
//! Owns making what is missing. What is there under the name is used as it is, as with Quadlet; nothing is changed, and
//! what goes is for [`super::discard`] to say.

use std::collections::BTreeMap;

use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use muster_common::container::{ContainerSpec, NetworkSpec, Quadlet, VolumeSpec};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::container::{Identity, StartVerdict, translate_network, translate_volume};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runner::docker::api::engine::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::conditions;
use crate::runner::docker::unit::plan::read_here;

/// Makes what the container names by unit. Returns what each is called in the engine.
pub(crate) async fn ensure_resources(
    context: &DockerContext,
    spec: &ContainerSpec,
) -> Result<BTreeMap<UnitName, String>, EngineError> {
    let units: Vec<UnitName> = spec.referenced_units().into_iter().cloned().collect();
    let mut names = BTreeMap::new();
    if units.is_empty() {
        return Ok(names);
    }
    let files = context.copies.files_of(&units).await.map_err(EngineError::new_refusal)?;
    for unit in units {
        let file = files.get(&unit).ok_or_else(|| {
            EngineError::new_refusal(format!(
                "{unit}, which it names, is not known to the cluster; submit it"
            ))
        })?;
        let name = ensure_one(context, &unit, file).await?;
        names.insert(unit, name);
    }
    Ok(names)
}

async fn ensure_one(
    context: &DockerContext,
    unit: &UnitName,
    file: &UnitFile,
) -> Result<String, EngineError> {
    let refused = |problem: String| EngineError::new_refusal(format!("{unit}: {problem}"));
    let quadlet = read_here(unit, file, &context.host).map_err(refused)?;
    let (name, conditions) = match &quadlet {
        Quadlet::Volume(spec) => (&spec.name, spec.conditions.as_slice()),
        Quadlet::Network(spec) => (&spec.name, spec.conditions.as_slice()),
        // Its own starts are what its conditions are about.
        Quadlet::Container(spec) => (&spec.name, [].as_slice()),
    };
    match conditions::check_conditions(conditions).await {
        StartVerdict::Start => {}
        // As with systemd, whoever names it goes on, and finds what there is by that name.
        StartVerdict::Skip(_) => return Ok(name.clone()),
        StartVerdict::Fail(reason) | StartVerdict::Unknown(reason) => return Err(refused(reason)),
    }
    let identity = identity_of(context, unit, file.hash());
    let within = |error| match error {
        EngineError::Refused { status, problem } => {
            EngineError::Refused { status, problem: format!("{unit}: {problem}") }
        }
        lost @ EngineError::Lost(_) => lost,
    };
    match quadlet {
        Quadlet::Volume(spec) => ensure_volume(context, &spec, &identity).await.map_err(within),
        Quadlet::Network(spec) => ensure_network(context, &spec, &identity).await.map_err(within),
        // It shares that container's network, and the engine says so if it does not run.
        Quadlet::Container(spec) => Ok(spec.name),
    }
}

/// Whose a volume or network is. Containers of any generation use it.
fn identity_of(context: &DockerContext, unit: &UnitName, file: FileHash) -> Identity {
    Identity { unit: unit.clone(), file, generation: 0, cluster: context.cluster.clone() }
}

async fn ensure_volume(
    context: &DockerContext,
    spec: &VolumeSpec,
    identity: &Identity,
) -> Result<String, EngineError> {
    let client = context.engine.call_client()?;
    match client.inspect_volume(&spec.name).await.map_err(EngineError::from) {
        Err(error) if error.is_absent() => {}
        found => return found.map(|_| spec.name.clone()),
    }
    let body: VolumeCreateRequest = to_client_body(&translate_volume(spec, identity))?;
    client.create_volume(body).await?;
    tracing::info!(volume = spec.name, unit = %identity.unit, "made a volume");
    Ok(spec.name.clone())
}

async fn ensure_network(
    context: &DockerContext,
    spec: &NetworkSpec,
    identity: &Identity,
) -> Result<String, EngineError> {
    let client = context.engine.call_client()?;
    let _one = context.creation_lock.lock().await;
    match client.inspect_network(&spec.name, None).await.map_err(EngineError::from) {
        Err(error) if error.is_absent() => {}
        found => return found.map(|_| spec.name.clone()),
    }
    let body: NetworkCreateRequest = to_client_body(&translate_network(spec, identity))?;
    client.create_network(body).await?;
    tracing::info!(network = spec.name, unit = %identity.unit, "made a network");
    Ok(spec.name.clone())
}

/// One of our bodies in the client library's type.
pub(crate) fn to_client_body<T: DeserializeOwned>(ours: &impl Serialize) -> Result<T, EngineError> {
    serde_json::to_value(ours)
        .and_then(serde_json::from_value)
        // The values of an environment are in there, so serde's words are kept to where it happened.
        .map_err(|error| {
            EngineError::new_refusal(format!(
                "a request cannot be written ({:?})",
                error.classify()
            ))
        })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerCreateBody;
    use muster_common::container::{HostFacts, read};
    use muster_engine::container::translate;
    use serde_json::Value;

    use super::*;

    /// True if the second says all that the first says.
    fn is_within(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => one
                .iter()
                .all(|(name, value)| other.get(name).is_some_and(|other| is_within(value, other))),
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_within(a, b))
            }
            _ => one == other,
        }
    }

    /// The client library drops what its types do not have.
    #[test]
    fn nothing_is_lost_on_the_way_to_the_client() {
        let text = "[Container]\nImage=a\nAnnotation=a=b\nAddDevice=nvidia.com/gpu=all /dev/fuse\nUser=1:2\n\
                    Network=one:mac=92:d0:c6:0a:29:33,interface_name=lan0,ip=10.0.0.2,alias=x\nNetwork=two:mac=92:d0:c6:0a:29:34\n\
                    Mount=type=volume,source=data,target=/data,volume-subpath=logs,nocopy\n\
                    Mount=type=image,source=b,target=/b,subpath=www\nMount=type=tmpfs,target=/t,noexec,tmpfs-size=1m\n\
                    Mount=type=tmpfs,target=/u,tmpfs-mode=700\nMount=type=bind,source=/a,target=/a,rslave,bind-nonrecursive\n\
                    HealthCmd=CMD true\nHealthInterval=5s\nUlimit=nofile=1:2,nproc=3\nSecurityLabelFileType=usr_t\n";
        let unit: UnitName = "web.container".parse().unwrap();
        let file: UnitFile = text.parse().unwrap();
        let Ok((Quadlet::Container(spec), _)) = read(&unit, &file, &HostFacts::stand_in()) else {
            panic!("it is refused");
        };
        let identity =
            Identity { unit, file: file.hash(), generation: 1, cluster: "/test/".to_owned() };
        let mut creation = translate(&spec, &identity, &BTreeMap::new()).unwrap();
        assert!(creation.loses_addresses());
        creation.join_at_once();
        assert!(creation.networks.is_empty() && !creation.loses_addresses());
        let sent: ContainerCreateBody = to_client_body(&creation.body).unwrap();
        let (ours, sent) =
            (serde_json::to_value(&creation.body).unwrap(), serde_json::to_value(sent).unwrap());
        assert!(is_within(&ours, &sent), "{ours:#}\n{sent:#}");
        assert_eq!(
            ours["NetworkingConfig"]["EndpointsConfig"]["two"]["MacAddress"],
            "92:d0:c6:0a:29:34"
        );
    }
}
