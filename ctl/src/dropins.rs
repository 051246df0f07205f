//! Drop-ins of Quadlet's files: `web.container.d/10-limits.conf` beside `web.container`.
//!
//! Owns which folders may hold drop-ins of a unit, in which order their files count, and the one text that a file and its drop-ins make:
//! the cluster stores a unit as one file. The rules are those of Podman's generator. It looks only beside the file that was given, and
//! never below `/etc`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use muster_common::text::clean_text;
use muster_common::unit::{MAX_FILE_BYTES, UnitFile, UnitName};

use crate::argument_error::ArgumentError;
use crate::local_file::read_unit_file;

/// A file with its drop-ins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergedFile {
    /// The text that both make.
    pub(crate) text: String,
    /// Each drop-in, and the line of the text that its own first one is.
    pub(crate) dropins: Vec<(PathBuf, usize)>,
}

/// Something about drop-ins that the user may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DropinNote {
    /// A file was taken with these.
    Merged { file: PathBuf, dropins: Vec<(PathBuf, usize)> },
    /// There is a folder of drop-ins, and no file that they could be merged into.
    Unused { folder: PathBuf, unit: UnitName },
}

impl fmt::Display for DropinNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged { file, dropins } => {
                write!(f, "{} is taken with its drop-ins: ", shown(file))?;
                for (index, (dropin, line)) in dropins.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} (from line {line} on)", shown(dropin))?;
                }
                Ok(())
            }
            Self::Unused { folder, unit } => write!(
                f,
                "{} is not used: drop-ins are merged into the file that is given with them, and {unit} is not beside it",
                shown(folder)
            ),
        }
    }
}

fn shown(path: &Path) -> String {
    clean_text(&path.to_string_lossy()).to_string()
}

/// The names of the folders that may hold drop-ins of a unit, the most specific first: of `a-b@1.container` these are
/// `a-b@1.container.d`, `a-b@.container.d`, `a-@.container.d`, `a-.container.d` and `container.d`. None of units that are not Quadlet's.
fn list_folders(name: &UnitName) -> Vec<String> {
    if !name.unit_type().is_quadlet() {
        return Vec::new();
    }
    let suffix = name.unit_type().as_str();
    // Of a template the instance's name is empty.
    let is_templated = name.instance_name().is_some();
    let prefix = if is_templated { name.name_prefix() } else { name.name_stem() };
    let mut folders = vec![format!("{name}.d")];
    if is_templated && !name.is_template() {
        folders.push(format!("{prefix}@.{suffix}.d"));
    }
    for (end, _) in prefix.rmatch_indices('-') {
        let Some(short) = prefix.get(..=end) else { continue };
        if is_templated {
            folders.push(format!("{short}@.{suffix}.d"));
        }
        folders.push(format!("{short}.{suffix}.d"));
    }
    folders.push(format!("{suffix}.d"));
    folders
}

/// The drop-ins of a unit in a directory, in the order in which they count: by their names. Of two with one name the more specific one
/// hides the other.
fn find_dropins(name: &UnitName, directory: &Path) -> Result<Vec<PathBuf>, ArgumentError> {
    let mut found: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for folder in list_folders(name) {
        let folder = directory.join(folder);
        let failed = |source| ArgumentError::Read { path: folder.clone(), source };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(e) => return Err(failed(e)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "conf")
                && let Some(file_name) = path.file_name()
            {
                found.entry(file_name.to_owned()).or_insert_with(|| path.clone());
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The folder of a unit's own drop-ins in a directory where it has no file, or that of its template's.
pub(crate) fn find_unused(name: &UnitName, directory: &Path) -> Option<DropinNote> {
    let owners = [Some(name.clone()), name.template_name()].into_iter().flatten();
    let mut folders = owners
        .filter(|unit| unit.unit_type().is_quadlet())
        .map(|unit| (directory.join(format!("{unit}.d")), unit));
    let (folder, unit) = folders.find(|(folder, _)| folder.is_dir())?;
    Some(DropinNote::Unused { folder, unit })
}

/// The text of a unit's file with the drop-ins that lie beside it; `None` where there are none.
///
/// # Errors
///
/// A drop-in that cannot be read, or is no piece of a unit file by itself; a text that is too long with them.
pub(crate) fn merge_dropins(
    name: &UnitName,
    directory: &Path,
    text: &str,
) -> Result<Option<MergedFile>, ArgumentError> {
    let mut merged = MergedFile { text: text.to_owned(), dropins: Vec::new() };
    for path in find_dropins(name, directory)? {
        // One that was taken away meanwhile is as if it had never been.
        let Some(dropin) = read_unit_file(&path)? else { continue };
        UnitFile::parse(dropin.as_bytes()).map_err(|error| ArgumentError::Dropin {
            path: path.clone(),
            line: error.line,
            problem: error.problem,
        })?;
        merged.append(path, &dropin);
        if merged.text.len() > MAX_FILE_BYTES {
            let size = merged.text.len() as u64;
            return Err(ArgumentError::TooLarge { path: directory.join(name.as_str()), size });
        }
    }
    Ok((!merged.dropins.is_empty()).then_some(merged))
}

impl MergedFile {
    /// Puts a drop-in behind all that is there, below its name. An empty one adds nothing: it only hides others.
    fn append(&mut self, path: PathBuf, dropin: &str) {
        let dropin = dropin.strip_prefix('\u{feff}').unwrap_or(dropin);
        let mut parts = path.iter().rev().take(2).map(|part| part.to_string_lossy());
        let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let title = format!("{folder}/{file}");
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        // The blank line ends a last one that a backslash would have go on.
        let _ = write!(self.text, "\n# {}\n", clean_text(&title));
        let line = self.text.matches('\n').count() + 1;
        self.text.push_str(dropin);
        self.dropins.push((path, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(name: &str) -> Vec<String> {
        list_folders(&name.parse().unwrap())
    }

    /// A directory with these files.
    fn directory_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        place
    }

    fn merge(name: &str, text: &str, place: &Path) -> Result<Option<MergedFile>, ArgumentError> {
        merge_dropins(&name.parse().unwrap(), place, text)
    }

    #[test]
    fn folders_go_from_the_unit_to_its_type() {
        assert_eq!(folders("web.container"), ["web.container.d", "container.d"]);
        assert_eq!(folders("a-b-c.pod"), ["a-b-c.pod.d", "a-b-.pod.d", "a-.pod.d", "pod.d"]);
        let instance = folders("a-b@c-d.container");
        let expected = [
            "a-b@c-d.container.d",
            "a-b@.container.d",
            "a-@.container.d",
            "a-.container.d",
            "container.d",
        ];
        assert_eq!(instance, expected);
        assert_eq!(
            folders("a-b@.volume"),
            ["a-b@.volume.d", "a-@.volume.d", "a-.volume.d", "volume.d"]
        );
        assert_eq!(folders("web.service"), [""; 0]);
    }

    #[test]
    fn drop_ins_follow_the_file_by_their_names_and_the_nearest_hides_others() {
        let place = directory_of(&[
            ("container.d/20-all.conf", "[Container]\nLabel=all\n"),
            ("container.d/10-own.conf", "[Container]\nLabel=hidden\n"),
            ("web.container.d/10-own.conf", "[Container]\nLabel=own"),
            ("web.container.d/README", "no drop-in"),
            ("web.container.d/30-masks.conf", ""),
        ]);
        let merged = merge("web.container", "[Container]\nImage=a \\", place.path()).unwrap();
        let merged = merged.unwrap();
        assert_eq!(
            merged.text,
            "[Container]\nImage=a \\\n\n# web.container.d/10-own.conf\n[Container]\nLabel=own\n\n\
             # container.d/20-all.conf\n[Container]\nLabel=all\n\n# web.container.d/30-masks.conf\n"
        );
        let file: UnitFile = merged.text.parse().unwrap();
        let labels: Vec<&str> = file.values_of("Container", "Label").collect();
        assert_eq!(labels, ["own", "all"]);
        let lines: Vec<usize> = merged.dropins.iter().map(|(_, line)| *line).collect();
        assert_eq!(lines, [5, 9, 13]);
        let shown = DropinNote::Merged { file: "web.container".into(), dropins: merged.dropins };
        let shown = shown.to_string();
        assert!(shown.contains("web.container.d/10-own.conf (from line 5 on), "), "{shown}");

        assert_eq!(merge("other.service", "[Service]\n", place.path()).unwrap(), None);
        assert_eq!(merge("a.volume", "[Volume]\n", place.path()).unwrap(), None);
    }

    #[test]
    fn a_drop_in_that_is_none_is_told_with_its_line() {
        let place = directory_of(&[("web.container.d/a.conf", "\nLabel=x\n")]);
        let refused = merge("web.container", "[Container]\n", place.path()).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused
                .ends_with("web.container.d/a.conf, line 2: it stands before the first [Section]"),
            "{refused}"
        );
        let half = "x".repeat(MAX_FILE_BYTES / 2);
        let place = directory_of(&[("a.pod.d/a.conf", &format!("# {half}\n"))]);
        let refused = merge("a.pod", &format!("# {half}\n"), place.path()).unwrap_err();
        assert!(matches!(refused, ArgumentError::TooLarge { .. }), "{refused}");
    }

    #[test]
    fn a_folder_without_the_file_is_told() {
        let place = directory_of(&[("web@.container.d/a.conf", "")]);
        let note = find_unused(&"web@1.container".parse().unwrap(), place.path()).unwrap();
        assert!(note.to_string().contains("and web@.container is not beside it"), "{note}");
        assert_eq!(find_unused(&"web.service".parse().unwrap(), place.path()), None);
        assert_eq!(find_unused(&"a.container".parse().unwrap(), place.path()), None);
    }
}
