//! A container's mounts in Docker's words.
//!
//! Docker has two notations. `Mounts` refuses a path that is not there, as Quadlet does; `Binds` makes a directory of it,
//! but is the only one that relabels for `SELinux`. So a mount is a `Bind` where it has to be and a `Mount` else. A tmpfs has a
//! third, the only one that takes further options in every version.

use std::collections::BTreeMap;

use muster_common::container::{ContainerSpec, Mount, Relabel, Source, Timezone};

use super::body;
use super::lookup::{Lookup, MissingUnit};

/// Mounts in every notation.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) typed: Vec<body::Mount>,
    /// The options of each tmpfs by its path.
    pub(super) tmpfs: BTreeMap<String, String>,
}

pub(super) fn translate_mounts(
    mounts: &[Mount],
    timezone: Option<&Timezone>,
    lookup: Lookup<'_>,
) -> Result<Mounts, MissingUnit> {
    let mut all = Mounts::default();
    for mount in mounts {
        if let Some(options) = tmpfs_options(mount) {
            all.tmpfs.insert(mount.target.clone(), options);
            continue;
        }
        let source = match &mount.source {
            Source::Path(path) => Some(path.clone()),
            Source::Volume(volume) => Some(lookup.name(volume)?),
            Source::Image(image) => Some(image.to_string()),
            Source::Anonymous | Source::Tmpfs { .. } => None,
        };
        match (mount.relabel, source) {
            (Some(relabel), Some(source)) => {
                all.binds.push(translate_bind(mount, relabel, &source));
            }
            (_, source) => all.typed.push(self::translate_mount(mount, source)),
        }
    }
    all.typed.extend(timezone.map(mount_timezone));
    Ok(all)
}

/// The options of a tmpfs.
fn tmpfs_options(mount: &Mount) -> Option<String> {
    let Source::Tmpfs { size, mode, flags } = &mount.source else { return None };
    let mut options = flags.clone();
    options.push(if mount.read_only { "ro" } else { "rw" }.to_owned());
    options.extend(size.map(|size| format!("size={size}")));
    options.extend(mode.map(|mode| format!("mode={mode:o}")));
    Some(with_exec_default(&options.join(",")))
}

/// A tmpfs' options in Docker's sense: what is on one can be run, unless it is said otherwise. Docker has it the other way round.
fn with_exec_default(options: &str) -> String {
    if options.split(',').any(|option| matches!(option, "exec" | "noexec")) {
        return options.to_owned();
    }
    if options.is_empty() { "exec".to_owned() } else { format!("{options},exec") }
}

/// The options of each tmpfs that the file mounts by `Tmpfs=`.
pub(super) fn tmpfs_of(spec: &ContainerSpec) -> impl Iterator<Item = (String, String)> {
    spec.tmpfs.iter().map(|(path, tmpfs)| (path.clone(), with_exec_default(&tmpfs.options)))
}

/// Each tmpfs that begins with what the image has in its place.
pub(super) fn copied_paths(spec: &ContainerSpec) -> Vec<String> {
    let mounts = spec
        .mounts
        .iter()
        .filter(|mount| mount.copy && matches!(mount.source, Source::Tmpfs { .. }));
    let by_key = spec.tmpfs.iter().filter(|(_, tmpfs)| tmpfs.copy).map(|(path, _)| path);
    by_key.chain(mounts.map(|mount| &mount.target)).cloned().collect()
}

fn translate_bind(mount: &Mount, relabel: Relabel, source: &str) -> String {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    options.push(match relabel {
        Relabel::Shared => "z",
        Relabel::Private => "Z",
    });
    options.extend(mount.propagation.as_deref());
    if !mount.copy {
        options.push("nocopy");
    }
    format!("{source}:{}:{}", mount.target, options.join(","))
}

fn translate_mount(mount: &Mount, source: Option<String>) -> body::Mount {
    let mut translated = body::Mount {
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
        ..body::Mount::default()
    };
    match &mount.source {
        Source::Path(_) => {
            translated.kind = "bind";
            let options = body::BindOptions {
                propagation: mount.propagation.clone(),
                non_recursive: !mount.recursive,
            };
            translated.bind_options = (options != body::BindOptions::default()).then_some(options);
        }
        Source::Volume(_) | Source::Anonymous => {
            translated.kind = "volume";
            let options =
                body::VolumeOptions { no_copy: !mount.copy, subpath: mount.subpath.clone() };
            translated.volume_options =
                (options != body::VolumeOptions::default()).then_some(options);
        }
        Source::Image(_) => {
            translated.kind = "image";
            translated.read_only = true;
            let options = body::ImageOptions { subpath: mount.subpath.clone() };
            translated.image_options =
                (options != body::ImageOptions::default()).then_some(options);
        }
        // These have a notation of their own; see `tmpfs_options`.
        Source::Tmpfs { .. } => translated.kind = "tmpfs",
    }
    translated
}

fn mount_timezone(timezone: &Timezone) -> body::Mount {
    let source = match timezone {
        Timezone::Local => "/etc/localtime".to_owned(),
        Timezone::Zone(zone) => format!("/usr/share/zoneinfo/{zone}"),
    };
    body::Mount {
        kind: "bind",
        source: Some(source),
        target: "/etc/localtime".to_owned(),
        read_only: true,
        ..body::Mount::default()
    }
}
