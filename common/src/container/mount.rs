//! What is mounted into a container: `Volume=`, `Mount=`, `Tmpfs=`.

use super::names;
use super::network::{Named, unit};
use super::quantity;
use crate::unit::UnitType;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: Source,
    /// Where, in the container.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// For a machine with `SELinux`: give the source the container's label.
    pub relabel: Option<Relabel>,
    /// How mounts below it are seen on either side, in mount(8)'s words.
    pub propagation: Option<String>,
    /// Whether what is mounted below the source comes along.
    pub recursive: bool,
    /// Whether a new volume begins with what the image has in that place.
    pub copy: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory on the machine, which has to be there.
    Path(String),
    /// A volume.
    Volume(Named),
    /// A volume that comes and goes with the container.
    Anonymous,
    /// A piece of memory.
    Tmpfs {
        /// Its size in bytes; half of the machine's memory without.
        size: Option<i64>,
        /// Its permissions.
        mode: Option<u32>,
    },
}

/// Whom a relabelled source belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relabel {
    /// All containers, `z`.
    Shared,
    /// This one alone, `Z`.
    Private,
}

impl Mount {
    fn new(source: Source, target: &str) -> Result<Self, String> {
        Ok(Self {
            source,
            target: names::path(target)?,
            read_only: false,
            relabel: None,
            propagation: None,
            recursive: true,
            copy: true,
        })
    }
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// One `Volume=`: `[source:]target[:options]`.
pub(super) fn volume(value: &str) -> Result<Mount, String> {
    let mut parts = value.splitn(3, ':');
    let (first, second, options) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let mut mount = match second {
        None => Mount::new(Source::Anonymous, first)?,
        Some(target) if first.is_empty() => Mount::new(Source::Anonymous, target)?,
        Some(target) => Mount::new(source(first)?, target)?,
    };
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        match option {
            "" | "rw" | "rbind" | "copy" => {}
            "ro" => mount.read_only = true,
            "z" => mount.relabel = Some(Relabel::Shared),
            "Z" => mount.relabel = Some(Relabel::Private),
            "bind" => mount.recursive = false,
            "nocopy" => mount.copy = false,
            _ if PROPAGATIONS.contains(&option) => mount.propagation = Some(option.to_owned()),
            "O" | "U" | "idmap" => {
                return Err(format!(
                    "the option {option} is Podman's own; Docker mounts what is there as it is"
                ));
            }
            _ => return Err(format!("Docker has no option {option:?} for a mount")),
        }
    }
    possible(mount)
}

/// What stands before the colon of a `Volume=`, or behind the `source=` of a `Mount=`.
fn source(text: &str) -> Result<Source, String> {
    if text.starts_with(['/', '.']) {
        return names::path(text).map(Source::Path);
    }
    if text.ends_with(".volume") {
        return unit(text, UnitType::Volume).map(|unit| Source::Volume(Named::Unit(unit)));
    }
    names::resource(text).map(|name| Source::Volume(Named::Engine(name)))
}

/// One `Mount=`: `type=TYPE,name=value,…`.
pub(super) fn mount(value: &str) -> Result<Mount, String> {
    let options: Vec<(&str, Option<&str>)> = value
        .split(',')
        .map(|option| {
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)))
        })
        .collect();
    let find = |names: &[&str]| {
        options.iter().rev().find(|(name, _)| names.contains(name)).and_then(|(_, value)| *value)
    };
    // As in Podman, what has no type is a volume.
    let kind = find(&["type"]).unwrap_or("volume");
    let target = find(&["target", "destination", "dst"]).ok_or("it has no target=")?;
    let given = find(&["source", "src"]);
    let of = match (kind, given) {
        ("bind", Some(path)) => names::path(path).map(Source::Path)?,
        ("bind", None) => return Err("a bind mount needs a source=".to_owned()),
        ("volume", Some(text)) => match source(text)? {
            Source::Path(path) => return Err(format!("{path:?} is a path; use type=bind")),
            source => source,
        },
        ("volume", None) => Source::Anonymous,
        ("tmpfs", None) => Source::Tmpfs { size: None, mode: None },
        ("tmpfs", Some(_)) => return Err("a tmpfs has no source=".to_owned()),
        ("artifact" | "devpts" | "glob" | "image" | "ramfs", _) => {
            return Err(format!("type={kind} is Podman's own; Docker has bind, volume and tmpfs"));
        }
        _ => return Err(format!("{kind:?} is none of bind, volume and tmpfs")),
    };
    let mut mount = Mount::new(of, target)?;
    for (name, value) in &options {
        set(&mut mount, kind, name, *value)?;
    }
    possible(mount)
}

fn set(mount: &mut Mount, kind: &str, name: &str, value: Option<&str>) -> Result<(), String> {
    let flag = || value.map_or(Ok(true), quantity::truth);
    let needed = || value.ok_or_else(|| format!("{name} needs a value"));
    match (kind, name) {
        (_, "type" | "source" | "src" | "target" | "destination" | "dst") => {}
        (_, "ro" | "readonly") => mount.read_only = flag()?,
        (_, "rw") => mount.read_only = !flag()?,
        ("bind", "bind-propagation") => {
            let value = needed()?;
            if !PROPAGATIONS.contains(&value) {
                return Err(format!("{value:?} is none of {}", PROPAGATIONS.join(", ")));
            }
            mount.propagation = Some(value.to_owned());
        }
        ("bind", "bind-nonrecursive") => mount.recursive = !flag()?,
        ("bind" | "volume", "relabel") => {
            mount.relabel = Some(match needed()? {
                "shared" | "z" => Relabel::Shared,
                "private" | "Z" => Relabel::Private,
                other => return Err(format!("{other:?} is neither shared nor private")),
            });
        }
        ("volume", "volume-nocopy" | "nocopy") => mount.copy = !flag()?,
        ("tmpfs", "tmpfs-size" | "size" | "tmpfs-mode" | "mode") => {
            let value = needed()?;
            if let Source::Tmpfs { size, mode } = &mut mount.source {
                if name.ends_with("size") {
                    *size = Some(quantity::bytes(value)?);
                } else {
                    *mode = Some(
                        u32::from_str_radix(value, 8)
                            .map_err(|_| format!("{value:?} is not an octal mode"))?,
                    );
                }
            }
        }
        _ => return Err(format!("Docker has no option {name:?} for a mount of type {kind}")),
    }
    Ok(())
}

/// Refuses what Docker would drop or misread.
fn possible(mount: Mount) -> Result<Mount, String> {
    let is_path = matches!(mount.source, Source::Path(_));
    if mount.propagation.is_some() && !is_path {
        return Err("propagation is for paths on the machine".to_owned());
    }
    if !mount.copy && is_path {
        return Err("nocopy is for volumes".to_owned());
    }
    if mount.relabel.is_some() {
        if matches!(mount.source, Source::Anonymous | Source::Tmpfs { .. }) {
            return Err("there is nothing to relabel".to_owned());
        }
        if !mount.recursive {
            return Err("Docker cannot relabel a mount that is not recursive".to_owned());
        }
    }
    Ok(mount)
}

/// One `Tmpfs=`: a path and the mount's options.
pub(super) fn tmpfs(value: &str) -> Result<(String, String), String> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    Ok((names::path(path)?, options.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_path_a_unit_a_name_or_nothing() {
        let source = |value| volume(value).map(|mount| mount.source);
        assert_eq!(source("/srv:/data"), Ok(Source::Path("/srv".to_owned())));
        assert_eq!(
            source("db.volume:/data"),
            Ok(Source::Volume(Named::Unit("db.volume".parse().unwrap())))
        );
        assert_eq!(source("db:/data"), Ok(Source::Volume(Named::Engine("db".to_owned()))));
        assert_eq!(source("/data"), Ok(Source::Anonymous));
        assert_eq!(
            source("./conf:/etc/app").unwrap_err(),
            "\"./conf\" is relative to the unit's file, which lies in the cluster and not on the machine; use an absolute path"
        );
    }

    #[test]
    fn options_docker_would_drop_are_refused() {
        let refused = |value| volume(value).unwrap_err();
        assert_eq!(
            refused("/a:/b:U"),
            "the option U is Podman's own; Docker mounts what is there as it is"
        );
        assert_eq!(refused("/a:/b:noexec"), "Docker has no option \"noexec\" for a mount");
        assert_eq!(refused("v:/b:rshared"), "propagation is for paths on the machine");
        assert_eq!(refused("/a:/b:nocopy"), "nocopy is for volumes");
        assert_eq!(refused("/a:b"), "\"b\" is not an absolute path");
        assert_eq!(refused("/a/../b:/c"), "\"/a/../b\" has a .. in it");
    }

    #[test]
    fn a_mount_says_its_type() {
        let mounted = mount("type=bind,source=/a,target=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!((mounted.read_only, mounted.propagation.as_deref()), (true, Some("rslave")));
        let memory = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap();
        assert_eq!(memory.source, Source::Tmpfs { size: Some(1_048_576), mode: Some(0o1777) });
        let refused = |value| mount(value).unwrap_err();
        assert_eq!(
            refused("type=glob,src=/a*,dst=/b"),
            "type=glob is Podman's own; Docker has bind, volume and tmpfs"
        );
        assert_eq!(refused("type=bind,dst=/b"), "a bind mount needs a source=");
        assert_eq!(refused("type=bind,src=/a"), "it has no target=");
        assert_eq!(refused("type=volume,src=/a,dst=/b"), "\"/a\" is a path; use type=bind");
        assert_eq!(
            refused("type=tmpfs,dst=/b,chown"),
            "Docker has no option \"chown\" for a mount of type tmpfs"
        );
    }
}
