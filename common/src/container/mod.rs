//! Container units: files in the syntax of Podman's Quadlet, to be run by a Docker engine.
//!
//! Owns what such a file says: every option read, checked and typed, or refused by name and reason, so that whoever has
//! a [`ContainerSpec`] has nothing left to refuse. It knows nothing of Docker's API (the engine crate translates) and of
//! the machine only what a caller tells it as a [`HostFacts`]. Secrets and the files of an environment are references; the
//! machine reads them when it makes the container.
//!
//! ```text
//!   .container ── UnitFile ── Reader (known? last or all? reset?) ── Expander (% and $) ── values ── ContainerSpec
//! ```

mod commas;
mod conditions;
mod environment;
mod expand;
mod health;
mod image;
pub mod keys;
mod limits;
mod mount;
mod names;
mod network;
pub(crate) mod obstacle;
mod options;
mod podman_args;
mod podman_options;
mod quantity;
mod reader;
mod resources;
mod service;
mod short_names;
mod spec;
mod status;
mod variable_files;
mod variables;

pub use conditions::Condition;
pub use environment::{Environment, Secret, SecretTarget, Sensitive, is_proxy, is_withheld};
pub use expand::{HostFacts, Release};
pub use health::{Check, Health, OnFailure};
pub use image::{Image, ImageName, PullPolicy};
pub use limits::Limits;
pub use mount::{Mount, Relabel, Source, Tmpfs};
pub use names::signal_number;
pub use network::{Attachment, NamedResource, NetworkMode, Port, Protocol};
pub use options::{CdiDevice, Device, Masks, Seccomp, Timezone, Ulimit};
pub use podman_options::PodmanOptions;
pub use reader::ContainerError;
pub use resources::{NetworkSpec, Subnet, VolumeSpec};
pub use service::{ExitCodes, Restart, ServiceKind, ServiceSection, StartLimit};
pub use spec::{ContainerSpec, NameResolution, Notify, Security, is_root};
pub use status::ContainerStatus;
pub use variable_files::VariableFile;
pub use variables::VariableTexts;

use crate::unit::{
    BROKEN_OFF, RequirementsTemplate, UnitFile, UnitName, UnitType, Warning, suggestion,
};
use expand::Expander;
use keys::Section;
use reader::Reader;
use variables::Variables;

/// The instance a template is checked with, one that no file is likely to name.
const STAND_IN: &str = "INSTANCE";

/// Most warnings for one file, as for one of systemd's: nobody reads more.
const MAX_WARNINGS: usize = 100;

/// The thing that a Quadlet file describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quadlet {
    /// A container.
    Container(Box<ContainerSpec>),
    /// A volume.
    Volume(VolumeSpec),
    /// A network.
    Network(NetworkSpec),
}

/// Reads the file of a unit that is to run on a machine, and tells what of it has no effect. Where it names files of
/// variables ([`variable_files`]), what rests on them is left out: see [`read_with`].
///
/// # Errors
///
/// The first section or option that is unknown, refused, malformed or contradicts another; that something is missing;
/// that the unit is none of Quadlet's types, or a template.
pub fn read(
    name: &UnitName,
    file: &UnitFile,
    host: &HostFacts,
) -> Result<(Quadlet, Vec<Warning>), ContainerError> {
    read_section(name, file, host, None)
}

/// As [`read`], with the texts of all the files of variables that the machine has.
///
/// # Errors
///
/// As [`read`]; that a file of variables is missing.
pub fn read_with(
    name: &UnitName,
    file: &UnitFile,
    host: &HostFacts,
    texts: &VariableTexts,
) -> Result<(Quadlet, Vec<Warning>), ContainerError> {
    read_section(name, file, host, Some(texts))
}

/// The files on the machine that a unit's variables come from, `EnvironmentFile=` of `[Service]`.
///
/// # Errors
///
/// What is wrong with `[Service]`.
pub fn variable_files(
    name: &UnitName,
    file: &UnitFile,
    host: &HostFacts,
) -> Result<Vec<VariableFile>, ContainerError> {
    let expander = Expander::new(name, host, Variables::default());
    variable_files::list_variable_files(&Reader::new(Section::Service, file, &expander)?)
}

fn read_section(
    name: &UnitName,
    file: &UnitFile,
    host: &HostFacts,
    texts: Option<&VariableTexts>,
) -> Result<(Quadlet, Vec<Warning>), ContainerError> {
    let own = own_section(name)?;
    check_sections(own, file)?;
    check_lines(file)?;
    let mut expander = Expander::new(name, host, Variables::default());
    expander.variables =
        variable_files::read_variables(&Reader::new(Section::Service, file, &expander)?, texts)?;
    let section = |section| Reader::new(section, file, &expander);
    let (main, service, unit) =
        (section(own)?, section(Section::Service)?, section(Section::Unit)?);
    let (install, rest) = (section(Section::Install)?, section(Section::Quadlet)?);
    rest.last_value("DefaultDependencies", quantity::parse_boolean)?;
    let default_name = names::of_unit(name);
    // What else is in that section, and whether it is well written, is for whoever places units.
    let goes = RequirementsTemplate::parse(file)
        .and_then(|section| section.for_unit(name))
        .is_ok_and(|requirements| requirements.delete_on_destroy);
    let conditions = conditions::read(file, &expander)?;
    let quadlet = match own {
        Section::Volume => {
            Quadlet::Volume(VolumeSpec::read(&main, default_name, goes, conditions)?)
        }
        Section::Network => {
            Quadlet::Network(NetworkSpec::read(&main, default_name, goes, conditions)?)
        }
        _ => Quadlet::Container(Box::new(ContainerSpec::read(
            &main,
            &service,
            ServiceSection::read(&service, &unit)?,
            default_name,
            expander.variables.known_values(),
            conditions,
        )?)),
    };
    let readers = [main, service, unit, install, rest];
    let mut warnings: Vec<Warning> = readers.into_iter().flat_map(Reader::into_warnings).collect();
    warnings.extend(expander.take_warnings());
    Ok((quadlet, warnings))
}

/// The description of a unit on a machine: its file's `Description=` as systemd would show it, with what the specifiers stand
/// for. One that means nothing is shown as it was written.
pub fn describe(name: &UnitName, file: &UnitFile, host: &HostFacts) -> String {
    let written = file.description();
    let expander = Expander::new(name, host, Variables::default());
    expander.expand_specifiers(&written).unwrap_or_else(|_| written.into_owned())
}

/// Checks a file before it is known where its unit runs; a template is checked with an instance made up.
///
/// # Errors
///
/// As [`read`].
pub fn check(name: &UnitName, file: &UnitFile) -> Result<Vec<Warning>, ContainerError> {
    let stand_in = name.with_instance(STAND_IN).ok();
    let (_, mut warnings) = read(stand_in.as_ref().unwrap_or(name), file, &HostFacts::stand_in())?;
    if let Some(next) = warnings.get_mut(MAX_WARNINGS) {
        "and more from here on".clone_into(&mut next.problem);
        warnings.truncate(MAX_WARNINGS + 1);
    }
    Ok(warnings)
}

/// The mounts of a container made from this file, by a name and on a machine made up: what is mounted and whether it can be
/// written to depends on neither. What rests on a file of variables is left out.
///
/// # Errors
///
/// The first mount that is malformed, or that wants the place of another.
pub fn list_mounts(file: &UnitFile) -> Result<Vec<Mount>, ContainerError> {
    let (unit, host) = (UnitName::stand_in(UnitType::Container), HostFacts::stand_in());
    let mut expander = Expander::new(&unit, &host, Variables::default());
    expander.variables =
        variable_files::read_variables(&Reader::new(Section::Service, file, &expander)?, None)?;
    spec::read_mounts(&Reader::new(Section::Container, file, &expander)?)
}

/// The section a unit's type has to itself.
fn own_section(name: &UnitName) -> Result<Section, ContainerError> {
    let problem = match name.unit_type() {
        _ if name.is_template() => "it is a template, which is never run",
        UnitType::Container => return Ok(Section::Container),
        UnitType::Volume => return Ok(Section::Volume),
        UnitType::Network => return Ok(Section::Network),
        _ => "it is systemd's to run",
    };
    Err(ContainerError {
        line: 0,
        section: "Unit".to_owned(),
        option: name.to_string(),
        problem: problem.to_owned(),
    })
}

/// Refuses sections that would be read by nobody. Those that begin with `X-` are somebody's.
fn check_sections(own: Section, file: &UnitFile) -> Result<(), ContainerError> {
    let known = [own, Section::Unit, Section::Service, Section::Install, Section::Quadlet];
    for (line, option) in file.numbered_options() {
        let name = option.section.as_str();
        if name.starts_with("X-") || known.iter().any(|section| section.as_str() == name) {
            continue;
        }
        let header = file.line_of_section(name);
        let name = name.escape_debug();
        let mut problem =
            format!("[{name}] is not a section of a {} unit", own.as_str().to_lowercase());
        let candidates = known.iter().map(|section| section.as_str()).chain(["X-Fleet"]);
        if let Some(candidate) = suggestion::closest_section(&option.section, candidates) {
            problem = format!("{problem}; did you mean [{candidate}]?");
        }
        return Err(ContainerError {
            line: if header > 0 { header } else { line },
            section: name.to_string(),
            option: option.name.escape_debug().to_string(),
            problem,
        });
    }
    Ok(())
}

/// Refuses a line that was meant to go on: Podman goes on with it, and systemd does not.
fn check_lines(file: &UnitFile) -> Result<(), ContainerError> {
    let Some(line) = file.broken_off().next() else { return Ok(()) };
    let (section, option) = file
        .numbered_options()
        .take_while(|(begin, _)| *begin <= line)
        .last()
        .map(|(_, option)| (option.section.clone(), option.name.clone()))
        .unwrap_or_default();
    Err(ContainerError { line, section, option, problem: BROKEN_OFF.to_owned() })
}

#[cfg(test)]
mod hints_tests;
#[cfg(test)]
mod podman_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
