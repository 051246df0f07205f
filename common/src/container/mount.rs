//! What is mounted into a container: `Volume=`, `Mount=`, `Tmpfs=`.
//!
//! The options are Podman's. Owns telling those that Docker has, those that say what Docker does anyway, and those that it
//! would drop or misread, which are refused. What only a newer Docker has is taken; the machine's decides.

use super::image::{self, ImageName};
use super::network::{NamedResource, parse_unit_reference};
use super::reader::Reader;
use super::{commas, names, quantity};
use crate::unit::UnitType;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The source of a mount.
    pub source: Source,
    /// Where, in the container.
    pub target: String,
    /// True when it cannot be written to.
    pub read_only: bool,
    /// For a machine with `SELinux`: give the source the container's label.
    pub relabel: Option<Relabel>,
    /// The sight of mounts below it on either side, in mount(8)'s words.
    pub propagation: Option<String>,
    /// True when what is mounted below the source comes along.
    pub recursive: bool,
    /// True when a new volume, or a tmpfs, begins with what the image has in that place.
    pub copy: bool,
    /// The part of a volume or an image that is mounted in the place of all of it, a relative path.
    pub subpath: Option<String>,
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory on the machine, which has to be there.
    Path(String),
    /// A volume.
    Volume(NamedResource),
    /// A volume that comes and goes with the container.
    Anonymous,
    /// A piece of memory.
    Tmpfs {
        /// Its size in bytes; half of the machine's memory without.
        size: Option<i64>,
        /// Its permissions.
        mode: Option<u32>,
        /// Further options in mount(8)'s words, such as `noexec`.
        flags: Vec<String>,
    },
    /// An image's files, read-only.
    Image(ImageName),
}

/// A piece of memory that is mounted, `Tmpfs=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// The mount's options, in mount(8)'s words.
    pub options: String,
    /// True when it begins with what the image has in that place.
    pub copy: bool,
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
            subpath: None,
        })
    }
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// One `Volume=`: `[source:]target[:options]`.
pub(super) fn parse_volume(reader: &Reader<'_>, value: &str) -> Result<Mount, String> {
    let mut parts = value.splitn(3, ':');
    let (first, second, options) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let mut mount = match second {
        None => Mount::new(Source::Anonymous, first)?,
        // A variable without a value may have been meant to stand there, and Podman does not run such a file.
        Some(_) if first.is_empty() => {
            return Err("nothing stands before its first colon; a volume of the container's own has no colon".to_owned());
        }
        Some(target) => Mount::new(source(reader, first)?, target)?,
    };
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        match option {
            "" | "rw" | "rbind" | "copy" => {}
            "ro" => mount.read_only = true,
            "bind" => mount.recursive = false,
            "nocopy" => mount.copy = false,
            _ if apply_common_option(&mut mount, option) => {}
            _ => return Err(not_dockers(option)),
        }
    }
    refuse_impossible(mount)
}

/// Takes an option that is written the same in `Volume=` and `Mount=`. Returns whether it is one.
fn apply_common_option(mount: &mut Mount, option: &str) -> bool {
    match option {
        "z" => mount.relabel = Some(Relabel::Shared),
        "Z" => mount.relabel = Some(Relabel::Private),
        // What Docker does anyway, and what is for other systems than Linux.
        "dev" | "exec" | "suid" | "cached" | "consistent" | "delegated" => {}
        _ if PROPAGATIONS.contains(&option) => mount.propagation = Some(option.to_owned()),
        _ => return false,
    }
    true
}

/// Why an option of Podman's, or nobody's, is none here.
fn not_dockers(option: &str) -> String {
    let name = option.split('=').next().unwrap_or_default();
    match name {
        "O" | "U" | "chown" | "idmap" | "upperdir" | "workdir" => {
            format!("the option {name} is Podman's own; Docker mounts what is there as it is")
        }
        "nocreate" => {
            "the option nocreate is Podman's own; Docker makes a volume that is not there"
                .to_owned()
        }
        _ => format!("Docker has no option {option:?} for a mount"),
    }
}

/// The part before the colon of a `Volume=`, or behind the `source=` of a `Mount=`.
fn source(reader: &Reader<'_>, text: &str) -> Result<Source, String> {
    if text.starts_with(['/', '.']) {
        return names::path_beside(reader, text).map(Source::Path);
    }
    if text.ends_with(".volume") {
        return parse_unit_reference(text, UnitType::Volume)
            .map(|unit| Source::Volume(NamedResource::Unit(unit)));
    }
    names::parse_resource_name(text).map(|name| Source::Volume(NamedResource::Engine(name)))
}

/// One `Mount=`: `type=TYPE,name=value,…`.
pub(super) fn parse_mount(reader: &Reader<'_>, value: &str) -> Result<Mount, String> {
    let fields = commas::split_fields(value)?;
    let options: Vec<(&str, Option<&str>)> = fields
        .iter()
        .map(|option| {
            option
                .split_once('=')
                .map_or((option.as_str(), None), |(name, value)| (name, Some(value)))
        })
        .collect();
    let find = |names: &[&str]| {
        options.iter().rev().find(|(name, _)| names.contains(name)).and_then(|(_, value)| *value)
    };
    // As in Podman, what has no type is a volume.
    let kind = find(&["type"]).unwrap_or("volume");
    let target = find(&TARGETS).ok_or("it has no target=")?;
    let given = find(&SOURCES);
    let of = match (kind, given) {
        ("bind", Some(path)) => names::path_beside(reader, path).map(Source::Path)?,
        ("bind", None) => return Err("a bind mount needs a source=".to_owned()),
        ("volume", Some(text)) => match source(reader, text)? {
            Source::Path(path) => return Err(format!("{path:?} is a path; use type=bind")),
            source => source,
        },
        ("volume", None) => Source::Anonymous,
        ("tmpfs", None) => Source::Tmpfs { size: None, mode: None, flags: Vec::new() },
        ("tmpfs", Some(_)) => return Err("a tmpfs has no source=".to_owned()),
        ("image", Some(name)) => image::parse_mounted_image(name).map(Source::Image)?,
        ("image", None) => return Err("an image mount needs a source=".to_owned()),
        ("artifact" | "devpts" | "glob" | "ramfs", _) => {
            return Err(format!(
                "type={kind} is Podman's own; Docker has bind, volume, tmpfs and image"
            ));
        }
        _ => return Err(format!("{kind:?} is none of bind, volume, tmpfs and image")),
    };
    let mut mount = Mount::new(of, target)?;
    for (name, value) in &options {
        set(&mut mount, kind, name, *value)?;
    }
    refuse_impossible(mount)
}

const TARGETS: [&str; 4] = ["target", "destination", "dst", "dest"];
const SOURCES: [&str; 2] = ["source", "src"];

fn set(mount: &mut Mount, kind: &str, name: &str, value: Option<&str>) -> Result<(), String> {
    let flag = || value.map_or(Ok(true), quantity::parse_boolean);
    let needed = || value.ok_or_else(|| format!("{name} needs a value"));
    let missing = || Err(format!("Docker has no option {name:?} for a mount of type {kind}"));
    if name == "type" || TARGETS.contains(&name) || SOURCES.contains(&name) {
        return Ok(());
    }
    match (kind, name) {
        ("image", "rw" | "readwrite") if flag()? => {
            return Err("Docker mounts images read-only".to_owned());
        }
        ("image", "rw" | "readwrite") | (_, "consistency") => {}
        ("image" | "volume", "subpath") | ("volume", "volume-subpath") => {
            mount.subpath = Some(parse_subpath(needed()?)?);
        }
        ("image", "ro" | "readonly") if !flag()? => {
            return Err("Docker mounts images read-only".to_owned());
        }
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
        // Owners that stay as they are.
        ("bind" | "volume" | "tmpfs", "U" | "chown") if !flag()? => {}
        ("bind" | "volume", "U" | "chown" | "idmap") | ("volume", "nocreate") => {
            return Err(not_dockers(name));
        }
        ("tmpfs", _) => return tmpfs_option(mount, name, value),
        ("bind" | "volume", _) if value.is_none() && apply_common_option(mount, name) => {}
        _ => return missing(),
    }
    Ok(())
}

/// An option of a tmpfs' own.
fn tmpfs_option(mount: &mut Mount, name: &str, value: Option<&str>) -> Result<(), String> {
    let Source::Tmpfs { size, mode, flags } = &mut mount.source else { return Ok(()) };
    match (name, value) {
        ("tmpfs-size" | "size", Some(value)) => *size = Some(quantity::parse_size(value)?),
        ("tmpfs-mode" | "mode", Some(value)) => {
            *mode = Some(
                u32::from_str_radix(value, 8)
                    .map_err(|_| format!("{value:?} is not an octal mode"))?,
            );
        }
        ("tmpfs-size" | "size" | "tmpfs-mode" | "mode", None) => {
            return Err(format!("{name} needs a value"));
        }
        ("tmpcopyup" | "notmpcopyup", None) => mount.copy = name == "tmpcopyup",
        ("dev" | "exec" | "nodev" | "noexec" | "nosuid" | "suid", None) => {
            flags.push(name.to_owned());
        }
        _ => return Err(not_a_tmpfs(name)),
    }
    Ok(())
}

/// Why an option is none of a tmpfs here.
fn not_a_tmpfs(name: &str) -> String {
    match name {
        "U" | "chown" | "noswap" => {
            format!("the option {name} is Podman's own; Docker has none for a tmpfs")
        }
        _ => format!("Docker has no option {name:?} for a mount of type tmpfs"),
    }
}

/// A part of a volume or an image: Docker wants it relative, Podman takes both.
fn parse_subpath(value: &str) -> Result<String, String> {
    let parts: Vec<&str> =
        value.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() || parts.contains(&"..") {
        return Err(format!("{value:?} is no path below the one that is mounted"));
    }
    Ok(parts.join("/"))
}

/// Refuses what Docker would drop or misread.
fn refuse_impossible(mount: Mount) -> Result<Mount, String> {
    let is_path = matches!(mount.source, Source::Path(_));
    if mount.subpath.is_some() && matches!(mount.source, Source::Anonymous) {
        return Err("a volume without a name begins empty, so it has no subpath".to_owned());
    }
    if mount.propagation.is_some() && !is_path {
        return Err("propagation is for paths on the machine".to_owned());
    }
    if !mount.copy && is_path {
        return Err("nocopy is for volumes".to_owned());
    }
    if mount.relabel.is_some() {
        if matches!(mount.source, Source::Anonymous | Source::Tmpfs { .. } | Source::Image(_)) {
            return Err("there is nothing to relabel".to_owned());
        }
        if mount.subpath.is_some() {
            return Err("Docker cannot relabel a part of a volume".to_owned());
        }
        if !mount.recursive {
            return Err("Docker cannot relabel a mount that is not recursive".to_owned());
        }
    }
    Ok(mount)
}

/// One `Tmpfs=`: a path and the mount's options.
pub(super) fn parse_tmpfs(value: &str) -> Result<(String, Tmpfs), String> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let mut taken = Vec::new();
    let mut copy = true;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split('=').next().unwrap_or_default() {
            "tmpcopyup" => copy = true,
            "notmpcopyup" => copy = false,
            name @ ("U" | "chown" | "noswap") => return Err(not_a_tmpfs(name)),
            _ => taken.push(option.to_owned()),
        }
    }
    Ok((names::path(path)?, Tmpfs { options: taken.join(","), copy }))
}

#[cfg(test)]
mod tests {
    use super::super::reader::tests::with_reader;
    use super::*;

    fn volume(value: &str) -> Result<Mount, String> {
        with_reader(|reader| super::parse_volume(reader, value))
    }

    fn mount(value: &str) -> Result<Mount, String> {
        with_reader(|reader| super::parse_mount(reader, value))
    }

    #[test]
    fn a_volume_is_a_path_a_unit_a_name_or_nothing() {
        let source = |value| volume(value).map(|mount| mount.source);
        assert_eq!(source("/srv:/data"), Ok(Source::Path("/srv".to_owned())));
        assert_eq!(
            source("db.volume:/data"),
            Ok(Source::Volume(NamedResource::Unit("db.volume".parse().unwrap())))
        );
        assert_eq!(source("db:/data"), Ok(Source::Volume(NamedResource::Engine("db".to_owned()))));
        assert_eq!(source("/data"), Ok(Source::Anonymous));
        let beside = |path: &str| Ok(Source::Path(path.to_owned()));
        assert_eq!(source("./conf:/etc/app"), beside("/etc/containers/systemd/conf"));
        assert_eq!(source("../up/a:/b"), beside("/etc/containers/up/a"));
        assert!(source("../../../../a:/b").is_err());
    }

    #[test]
    fn options_docker_would_drop_are_refused() {
        let refused = |value| volume(value).unwrap_err();
        assert_eq!(
            refused("/a:/b:U"),
            "the option U is Podman's own; Docker mounts what is there as it is"
        );
        assert!(volume("/a:/b:exec,dev,suid,cached,z").is_ok());
        assert_eq!(
            refused("v:/b:nocreate"),
            "the option nocreate is Podman's own; Docker makes a volume that is not there"
        );
        assert_eq!(refused("/a:/b:noexec"), "Docker has no option \"noexec\" for a mount");
        assert_eq!(refused("v:/b:rshared"), "propagation is for paths on the machine");
        assert_eq!(refused("/a:/b:nocopy"), "nocopy is for volumes");
        assert_eq!(refused("/a:b"), "\"b\" is not an absolute path");
        assert_eq!(
            refused(":/b"),
            "nothing stands before its first colon; a volume of the container's own has no colon"
        );
        assert_eq!(refused("/a/../b:/c"), "\"/a/../b\" has a .. in it");
    }

    #[test]
    fn a_mount_says_its_type() {
        let mounted = mount("type=bind,source=/a,target=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!((mounted.read_only, mounted.propagation.as_deref()), (true, Some("rslave")));
        let memory = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap();
        assert_eq!(
            memory.source,
            Source::Tmpfs { size: Some(1_048_576), mode: Some(0o1777), flags: Vec::new() }
        );
        let flagged = mount("type=tmpfs,dest=/t,noexec,nosuid,notmpcopyup,U=false").unwrap();
        let flags = vec!["noexec".to_owned(), "nosuid".to_owned()];
        assert_eq!(flagged.source, Source::Tmpfs { size: None, mode: None, flags });
        assert!(memory.copy && !flagged.copy);
        let read =
            |value| parse_tmpfs(value).map(|(path, tmpfs)| (path, tmpfs.options, tmpfs.copy));
        let is = |options: &str, copy| Ok(("/t".to_owned(), options.to_owned(), copy));
        assert_eq!(read("/t"), is("", true));
        assert_eq!(read("/t:size=1m,tmpcopyup,ro"), is("size=1m,ro", true));
        assert_eq!(read("/t:notmpcopyup"), is("", false));
        assert!(read("/t:U").is_err() && read("/t:noswap").is_err());
        let comma = mount("type=bind,\"src=/a,b\",dst=/c,Z,rslave,consistency=cached").unwrap();
        assert_eq!(comma.source, Source::Path("/a,b".to_owned()));
        assert_eq!(comma.relabel, Some(Relabel::Private));
        let refused = |value| mount(value).unwrap_err();
        assert_eq!(
            refused("type=glob,src=/a*,dst=/b"),
            "type=glob is Podman's own; Docker has bind, volume, tmpfs and image"
        );
        assert_eq!(refused("type=bind,dst=/b"), "a bind mount needs a source=");
        assert_eq!(refused("type=bind,src=/a"), "it has no target=");
        assert_eq!(refused("type=volume,src=/a,dst=/b"), "\"/a\" is a path; use type=bind");
        assert_eq!(
            refused("type=tmpfs,dst=/b,chown"),
            "the option chown is Podman's own; Docker has none for a tmpfs"
        );
        assert_eq!(
            refused("type=tmpfs,dst=/b,frob"),
            "Docker has no option \"frob\" for a mount of type tmpfs"
        );
    }

    #[test]
    fn a_part_of_a_volume_or_an_image_is_mounted_in_its_place() {
        let part = |value| mount(value).map(|mount| mount.subpath);
        let logs = Ok(Some("a/logs".to_owned()));
        assert_eq!(part("type=volume,source=data,target=/x,volume-subpath=a/logs"), logs);
        assert_eq!(part("type=volume,source=data.volume,target=/x,subpath=/a/./logs/"), logs);
        assert_eq!(part("type=image,source=busybox:1,target=/x,subpath=/a/logs,rw=false"), logs);
        for value in [
            "type=volume,source=data,target=/x,subpath=../y",
            "type=volume,source=data,target=/x,subpath=",
            "type=volume,source=data,target=/x,subpath=a,z",
            "type=volume,target=/x,subpath=a",
            "type=bind,source=/a,target=/x,subpath=a",
            "type=image,source=busybox,target=/x,rw=true",
            "type=image,source=web.image,target=/x",
            "type=image,target=/x",
        ] {
            assert!(mount(value).is_err(), "{value}");
        }
    }
}
