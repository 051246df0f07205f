//! A container's mounts in Docker's words.
//!
//! Docker has two notations. `Mounts` refuses a path that is not there, as Quadlet does; `Binds` makes a directory of it,
//! but is the only one that relabels for `SELinux`. So a mount is a `Bind` where it has to be and a `Mount` else.

use muster_common::container::{Mount, Relabel, Source, Timezone};

use super::body;
use super::translate::{Lookup, MissingUnit};

/// Mounts in both notations.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) mounts: Vec<body::Mount>,
}

pub(super) fn mounts(
    mounts: &[Mount],
    timezone: Option<&Timezone>,
    lookup: Lookup<'_>,
) -> Result<Mounts, MissingUnit> {
    let mut all = Mounts::default();
    for mount in mounts {
        let source = match &mount.source {
            Source::Path(path) => Some(path.clone()),
            Source::Volume(volume) => Some(lookup.name(volume)?),
            Source::Anonymous | Source::Tmpfs { .. } => None,
        };
        match (mount.relabel, source) {
            (Some(relabel), Some(source)) => all.binds.push(bind(mount, relabel, &source)),
            (_, source) => all.mounts.push(self::mount(mount, source)),
        }
    }
    all.mounts.extend(timezone.map(zone));
    Ok(all)
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
    match mount.source {
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
            translated.volume_options =
                (!mount.copy).then_some(body::VolumeOptions { no_copy: true });
        }
        Source::Tmpfs { size, mode } => {
            translated.kind = "tmpfs";
            let options = body::TmpfsOptions { size_bytes: size, mode };
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
