//! The plan of a unit's file on this machine, at the moment it is to be run.
//!
//! Owns reading the files of variables a unit names in `[Service]`, anew for each start, as systemd does. It shows no value
//! of theirs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use muster_common::container::{Quadlet, VariableTexts, read_with, variable_files};
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::container::unit::ContainerPlan;

use crate::runner::docker::context::DockerContext;
use crate::runner::docker::host::ContainerHost;

/// The plan of a unit's file as it is now, with the variables this machine has for it.
pub(crate) fn read_anew(
    plan: &ContainerPlan,
    unit: &UnitName,
    context: &DockerContext,
) -> Result<ContainerPlan, String> {
    let Some(file) = &plan.open else { return Ok(plan.clone()) };
    match read_here(unit, file, context)? {
        Quadlet::Container(spec) => Ok(ContainerPlan { spec: Arc::from(spec), ..plan.clone() }),
        Quadlet::Volume(_) | Quadlet::Network(_) => Err("it is not a container".to_owned()),
    }
}

/// Reads a file with all the variables this machine has for it.
pub(crate) fn read_here(
    unit: &UnitName,
    file: &UnitFile,
    context: &DockerContext,
) -> Result<Quadlet, String> {
    let mut texts = VariableTexts::new();
    for named in variable_files(unit, file, &context.host).map_err(|error| error.to_string())? {
        if let Some(text) = text(&*context.world.host, Path::new(&named.path))
            .map_err(|error| format!("[Service] EnvironmentFile={}: {error}", named.path))?
        {
            texts.insert(named.path, text);
        }
    }
    read_with(unit, file, &context.host, &texts)
        .map(|(quadlet, _)| quadlet)
        .map_err(|error| error.to_string())
}

/// The text of a file, if there is one.
fn text(host: &dyn ContainerHost, path: &Path) -> io::Result<Option<String>> {
    match host.read_for_unit(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
