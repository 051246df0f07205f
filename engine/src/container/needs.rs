//! What a file asks for that not every engine can do.
//!
//! Owns the versions of Docker's API in which things came (its version history), and the words in which a machine whose engine
//! is older refuses them. An engine drops without a word what it does not know, so nothing is sent to one that is too old. What an
//! engine is, is found out elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use muster_common::container::{ContainerSpec, NetworkMode, Source};

/// A version of Docker's API, such as 1.45.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

/// The first release of Docker with each version.
const RELEASES: [(ApiVersion, &str); 12] = [
    (ApiVersion(1, 41), "20.10"),
    (ApiVersion(1, 42), "23.0"),
    (ApiVersion(1, 43), "24.0"),
    (ApiVersion(1, 44), "25.0"),
    (ApiVersion(1, 45), "26.0"),
    (ApiVersion(1, 46), "27.0"),
    (ApiVersion(1, 47), "27.2"),
    (ApiVersion(1, 48), "28.0"),
    (ApiVersion(1, 49), "28.1"),
    (ApiVersion(1, 50), "28.2"),
    (ApiVersion(1, 51), "28.3"),
    (ApiVersion(1, 52), "29.0"),
];

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        match RELEASES.iter().find(|(version, _)| version == self) {
            Some((_, release)) => write!(f, " (Docker {release})"),
            None => Ok(()),
        }
    }
}

/// The abilities of an engine, as far as engines differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// The version of the API it speaks.
    pub api: ApiVersion,
    /// True when it gives devices to containers by CDI's names.
    pub cdi: bool,
    /// The devices it knows by those names, where it says so (from version 1.50 on).
    pub cdi_devices: BTreeSet<String>,
}

/// Something that came with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNeed {
    /// The version.
    pub api: ApiVersion,
    /// The option of the file's that asks for it, in its notation.
    pub option: String,
}

/// The needs of a container's file beyond the oldest version that is spoken at all.
pub fn list_needs(spec: &ContainerSpec) -> Vec<EngineNeed> {
    let mut needs = Vec::new();
    let mut need =
        |minor, option: String| needs.push(EngineNeed { api: ApiVersion(1, minor), option });
    if !spec.annotations.is_empty() {
        need(43, "Annotation=".to_owned());
    }
    for device in spec.cdi_devices.iter().filter(|device| !device.optional) {
        need(44, format!("AddDevice={}", device.name));
    }
    if let NetworkMode::Networks(attachments) = &spec.network {
        if attachments.iter().any(|attachment| attachment.mac.is_some()) {
            need(44, "mac= in Network=".to_owned());
        }
        // Told to be of 28.0 and of 28.1, and an engine that does not know it keeps its own name for the interface.
        if attachments.iter().any(|attachment| attachment.interface.is_some()) {
            need(49, "interface_name= in Network=".to_owned());
        }
    }
    for mount in &spec.mounts {
        match (&mount.source, &mount.subpath) {
            (Source::Image(_), _) => need(48, format!("type=image of {} in Mount=", mount.target)),
            (_, Some(path)) => need(45, format!("subpath={path} in Mount=")),
            (_, None) => {}
        }
    }
    needs
}

/// The first thing that a container's file asks for and an engine cannot do, in words; `None` where it can do all of it.
pub fn missing_ability(spec: &ContainerSpec, abilities: &Abilities) -> Option<String> {
    let api = abilities.api;
    if let Some(need) = list_needs(spec).into_iter().find(|need| need.api > api) {
        return Some(format!(
            "{} needs version {} of Docker's API or a later one, and this machine's container engine speaks {api}",
            need.option, need.api
        ));
    }
    let device = spec.cdi_devices.iter().find(|device| !device.optional)?;
    (!abilities.cdi).then(|| {
        format!(
            "AddDevice={}: this machine's container engine knows no devices by CDI's names: it speaks version {api} of Docker's API and names no directory of their descriptions; \
             before Docker 28.2 they are an experiment, {{\"features\": {{\"cdi\": true}}}} in /etc/docker/daemon.json",
            device.name
        )
    })
}

#[cfg(test)]
mod tests {
    use muster_common::container::{HostFacts, Quadlet, read};

    use super::*;

    fn spec(lines: &str) -> ContainerSpec {
        let file = format!("[Container]\nImage=a\n{lines}\n").parse().unwrap();
        match read(&"web.container".parse().unwrap(), &file, &HostFacts::stand_in()) {
            Ok((Quadlet::Container(spec), _)) => *spec,
            other => panic!("{other:?}"),
        }
    }

    fn engine(minor: u32) -> Abilities {
        Abilities { api: ApiVersion(1, minor), cdi: false, cdi_devices: BTreeSet::new() }
    }

    #[test]
    fn each_thing_needs_the_version_it_came_with() {
        let table = [
            ("Annotation=a=b", 43),
            ("AddDevice=nvidia.com/gpu=all", 44),
            ("Network=front:mac=92:d0:c6:0a:29:33", 44),
            ("Network=a\nNetwork=b:mac=92:d0:c6:0a:29:33", 44),
            ("Mount=type=volume,source=data,target=/x,volume-subpath=logs", 45),
            ("Mount=type=volume,source=data,target=/x,subpath=logs", 45),
            ("Mount=type=image,source=busybox,target=/x", 48),
            ("Network=front:interface_name=lan0", 49),
        ];
        for (lines, minor) in table {
            let spec = spec(lines);
            let has =
                |minor| missing_ability(&spec, &Abilities { cdi: true, ..engine(minor) }).is_none();
            assert!(!has(minor - 1) && has(minor), "{lines}");
        }
        for lines in ["", "AddDevice=-nvidia.com/gpu=all", "Mount=type=tmpfs,dst=/t,noexec"] {
            assert_eq!(missing_ability(&spec(lines), &engine(41)), None, "{lines}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_there_and_what_it_takes() {
        let volume = spec("Mount=type=volume,source=data,target=/x,volume-subpath=logs");
        assert_eq!(
            missing_ability(&volume, &engine(41)).unwrap(),
            "subpath=logs in Mount= needs version 1.45 (Docker 26.0) of Docker's API or a later one, \
             and this machine's container engine speaks 1.41 (Docker 20.10)"
        );
        let gpu = spec("AddDevice=nvidia.com/gpu=all");
        let problem = missing_ability(&gpu, &engine(47)).unwrap();
        assert!(problem.starts_with("AddDevice=nvidia.com/gpu=all: this machine's"), "{problem}");
        assert!(problem.contains("1.47 (Docker 27.2)"), "{problem}");
    }
}
