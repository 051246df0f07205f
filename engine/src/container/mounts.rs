//! A container's mounts in Docker's words.
//!
//! Docker has two notations. `Mounts` refuses a path that is not there, as Quadlet does; `Binds` makes a directory of it,
//! but is the only one that relabels for `SELinux`. So a mount is a `Bind` where it has to be and a `Mount` else. A tmpfs has a
//! third, the only one that takes further options in every version.

use std::collections::BTreeMap;

use muster_common::container::{Mount, Relabel, Source, Timezone};

use super::body;
use super::translate::{Lookup, MissingUnit};

/// Mounts in every notation.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) typed: Vec<body::Mount>,
    /// The options of each tmpfs by its path.
    pub(super) tmpfs: BTreeMap<String, String>,
}

pub(super) fn mounts(
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
            (Some(relabel), Some(source)) => all.binds.push(bind(mount, relabel, &source)),
            (_, source) => all.typed.push(self::mount(mount, source)),
        }
    }
    all.typed.extend(timezone.map(zone));
    Ok(all)
}

/// The options of a tmpfs that has some which `Mounts` does not take.
fn tmpfs_options(mount: &Mount) -> Option<String> {
    let Source::Tmpfs { size, mode, flags } = &mount.source else { return None };
    if flags.is_empty() {
        return None;
    }
    let mut options = flags.clone();
    options.push(if mount.read_only { "ro" } else { "rw" }.to_owned());
    options.extend(size.map(|size| format!("size={size}")));
    options.extend(mode.map(|mode| format!("mode={mode:o}")));
    Some(options.join(","))
}

fn bind(mount: &Mount, relabel: Relabel, source: &str) -> String {
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

fn mount(mount: &Mount, source: Option<String>) -> body::Mount {
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
        Source::Tmpfs { size, mode, .. } => {
            translated.kind = "tmpfs";
            let options = body::TmpfsOptions { size_bytes: *size, mode: *mode };
            translated.tmpfs_options =
                (options != body::TmpfsOptions::default()).then_some(options);
        }
    }
    translated
}

fn zone(timezone: &Timezone) -> body::Mount {
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
