//! The properties of an image that would have Docker run it otherwise than Podman does.
//!
//! A file alone does not say it: it is looked for once the image is there, before the container starts. Owns looking for it,
//! making up for what an engine can make up for, and the words in which the rest keeps a container from starting.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use futures::StreamExt as _;
use muster_common::container::{ContainerSpec, is_root};
use muster_engine::container::Creation;

use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;

/// Most bytes of a directory's archive that are read. A directory takes 512 of them, so that this is more directories than
/// any image has in the place of a tmpfs.
const LONGEST: usize = 256 * 1024;

/// Fails where Podman would do more for what the image runs, or whom it runs as, than an engine can.
pub(crate) async fn check_image(
    context: &DockerContext,
    spec: &ContainerSpec,
    creation: &Creation,
) -> Result<(), EngineError> {
    let image = context.engine.api_client().inspect_image(&creation.body.image).await?;
    let words = effective_command(spec, image.entrypoint, image.command);
    if let Some(init) = systemd_program(&words) {
        return Err(EngineError::new_refusal(format!(
            "it runs systemd ({init}), for which Podman sets a container up with control groups, tmpfs and a stop signal of its own, \
             and Docker does not"
        )));
    }
    let user = image.user;
    let added = spec.capabilities_of_root();
    if spec.user.is_some() || added.is_empty() || is_root(&user) {
        return Ok(());
    }
    Err(EngineError::new_refusal(format!(
        "AddCapability={}: Docker gives what is added to root alone, and the image runs as {user}; say User=root or leave it out",
        added.join(" ")
    )))
}

/// The command that a container runs, of its file and of its image. An image's arguments are for its own entrypoint.
fn effective_command(
    spec: &ContainerSpec,
    entrypoint: Vec<String>,
    arguments: Vec<String>,
) -> Vec<String> {
    let own = spec.entrypoint.clone();
    let arguments = match (&spec.command, &own) {
        (Some(command), _) if !command.is_empty() => command.clone(),
        (_, None) => arguments,
        (_, Some(_)) => Vec::new(),
    };
    own.unwrap_or(entrypoint).into_iter().chain(arguments).collect()
}

/// The program that has Podman set a container up for systemd, if that is what a command runs; in a line for a shell too.
fn systemd_program(words: &[String]) -> Option<&str> {
    let words = match words {
        [shell, line, rest @ ..] if shell == "/bin/sh" && line == "-c" && !rest.is_empty() => rest,
        words => words,
    };
    let program = words.first()?.as_str();
    let is_init = matches!(program, "/sbin/init" | "/usr/sbin/init" | "/usr/local/sbin/init");
    (is_init || program.rsplit('/').next() == Some("systemd")).then_some(program)
}

/// The tmpfs to mount into others, so that a container that has been made finds in them the directories that its image has there.
/// Podman's begin with all that the image has in their place; files no engine puts there, and they are a refusal.
pub(crate) async fn tmpfs_directories(
    context: &DockerContext,
    id: &str,
    creation: &Creation,
) -> Result<BTreeMap<String, String>, EngineError> {
    let host_config = &creation.body.host_config;
    let binds = host_config.binds.iter().filter_map(|bind| bind.split(':').nth(1));
    let typed = host_config.mounts.iter().map(|mount| mount.target.as_str());
    let tmpfs = host_config.tmpfs.keys().map(String::as_str);
    let taken: BTreeSet<&str> =
        binds.chain(typed).chain(tmpfs).map(|path| path.trim_end_matches('/')).collect();
    let mut more = BTreeMap::new();
    for path in &creation.late.copies {
        let Some(archive) = image_archive(context, id, path).await? else { continue };
        let directories =
            read_directories(path, &archive, &taken).map_err(EngineError::new_refusal)?;
        let options = host_config.tmpfs.get(path).map(String::as_str).unwrap_or_default();
        more.extend(directories.into_iter().map(|d| (d.path.clone(), d.mount_options(options))));
    }
    Ok(more)
}

/// The beginning of the archive of a directory in a container that has been made. `None`: the image has no such directory.
async fn image_archive(
    context: &DockerContext,
    id: &str,
    path: &str,
) -> Result<Option<Vec<u8>>, EngineError> {
    // The dot leads through a link in that place, as a mount goes through it.
    let path = format!("{}/.", path.trim_end_matches('/'));
    let mut stream = context.engine.api_client().read_directory(id, &path);
    let mut archive = Vec::new();
    while let Some(bytes) = stream.next().await {
        match bytes {
            Ok(bytes) => archive.extend_from_slice(&bytes),
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        }
        if archive.len() > LONGEST {
            break;
        }
    }
    Ok(Some(archive))
}

/// A directory that the image has in the place of a tmpfs.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    path: String,
    mode: u32,
    uid: u64,
    gid: u64,
}

impl Directory {
    /// The options of a tmpfs in its place, inside of one with these.
    fn mount_options(&self, outer: &str) -> String {
        let own = |option: &&str| {
            let name = option.split('=').next().unwrap_or_default();
            !option.is_empty() && !["mode", "uid", "gid"].contains(&name)
        };
        let kept: Vec<&str> = outer.split(',').filter(own).collect();
        let (mode, uid, gid) = (self.mode, self.uid, self.gid);
        format!("{},mode={mode:o},uid={uid},gid={gid}", kept.join(","))
    }
}

/// The directories of an archive of what stands in the place of a tmpfs, without those that something else is mounted over.
fn read_directories(
    place: &str,
    archive: &[u8],
    taken: &BTreeSet<&str>,
) -> Result<Vec<Directory>, String> {
    let place = place.trim_end_matches('/');
    let bad = |error: io::Error| {
        format!(
            "cannot see whether the image has anything in {place}, where a tmpfs comes: {error}"
        )
    };
    let mut directories = Vec::new();
    let mut top: Option<Vec<String>> = None;
    for entry in tar::Archive::new(archive).entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts: Vec<String> = name
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(str::to_owned)
            .collect();
        // The first is the directory itself, by whatever name.
        let Some(top) = &top else {
            top = Some(parts);
            continue;
        };
        let below = parts.strip_prefix(top.as_slice()).unwrap_or(&parts).join("/");
        let path = format!("{place}/{below}");
        if is_covered(&path, place, taken) {
            continue;
        }
        if !entry.header().entry_type().is_dir() {
            return Err(format!(
                "the image has {path}, and a tmpfs of Podman's begins with it where Docker's is empty; \
                 say Tmpfs={place}:notmpcopyup, or notmpcopyup in Mount=, if it is not needed"
            ));
        }
        let header = entry.header();
        let mode = header.mode().map_err(bad)? & 0o7777;
        let (uid, gid) = (header.uid().map_err(bad)?, header.gid().map_err(bad)?);
        directories.push(Directory { path, mode, uid, gid });
    }
    Ok(directories)
}

/// True if something else is mounted at a path below a place, or between the two.
fn is_covered(path: &str, place: &str, taken: &BTreeSet<&str>) -> bool {
    taken.iter().any(|other| {
        let is_inside = other.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
        is_inside
            && path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with these entries; a name that ends in a slash is a directory's.
    fn image_archive(names: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            let is_directory = name.ends_with('/');
            header.set_entry_type(if is_directory {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            header.set_mode(if is_directory { 0o1777 } else { 0o644 });
            header.set_uid(3);
            header.set_gid(4);
            header.set_size(0);
            archive.append_data(&mut header, name, io::empty()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn systemd_is_known_by_what_a_command_begins_with() {
        for command in [
            ["/sbin/init"].as_slice(),
            &["/usr/lib/systemd/systemd", "--log-level=info"],
            &["/bin/sh", "-c", "/usr/sbin/init"],
        ] {
            assert!(systemd_program(&words(command)).is_some(), "{command:?}");
        }
        for command in [[].as_slice(), &["/init"], &["sh", "-c", "/sbin/init"], &["/bin/sh", "-c"]]
        {
            assert_eq!(systemd_program(&words(command)), None, "{command:?}");
        }
    }

    fn paths(names: &[&str], taken: &[&str]) -> Result<Vec<String>, String> {
        let directories =
            read_directories("/run", &image_archive(names), &taken.iter().copied().collect())?;
        Ok(directories.into_iter().map(|directory| directory.path).collect())
    }

    #[test]
    fn directories_are_made_anew_with_their_owner_and_mode() {
        for names in [["run/", "run/lock/", "run/lock/a/"], ["./", "./lock/", "./lock/a/"]] {
            assert_eq!(paths(&names, &["/run"]).unwrap(), ["/run/lock", "/run/lock/a"]);
        }
        assert_eq!(paths(&["run/"], &["/run"]).unwrap(), [""; 0]);
        let found =
            read_directories("/run/", &image_archive(&["run/", "run/lock/"]), &BTreeSet::new())
                .unwrap();
        assert_eq!(
            found.iter().map(|d| d.mount_options("rw,size=64M,mode=0755,exec")).collect::<Vec<_>>(),
            ["rw,size=64M,exec,mode=1777,uid=3,gid=4"]
        );
    }

    #[test]
    fn a_file_that_would_be_hidden_is_named() {
        let hidden = paths(&["run/", "run/a/", "run/a/b.pid"], &["/run"]).unwrap_err();
        assert_eq!(
            hidden,
            "the image has /run/a/b.pid, and a tmpfs of Podman's begins with it where Docker's is empty; \
             say Tmpfs=/run:notmpcopyup, or notmpcopyup in Mount=, if it is not needed"
        );
    }

    #[test]
    fn what_is_mounted_over_anyway_does_not_count() {
        let names = ["run/", "run/a/", "run/a/b.pid", "run/ab/"];
        assert_eq!(paths(&names, &["/run", "/run/a"]).unwrap(), ["/run/ab"]);
    }

    #[test]
    fn an_archive_that_is_cut_off_is_no_empty_directory() {
        let whole = image_archive(&["run/", "run/a/", "run/b/"]);
        assert!(read_directories("/run", &whole[..700], &BTreeSet::new()).is_err());
    }
}
