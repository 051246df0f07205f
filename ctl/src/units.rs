//! Unit arguments: what a word on the command line names, and the file that goes with it.
//!
//! Owns the search for local files. It never asks the daemon: which units the cluster knows
//! is the daemon's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use muster_common::unit::{FileHash, InvalidUnitName, MAX_FILE_BYTES, UnitName, UnitType};

use crate::pattern::UnitArgument;

/// An argument that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgumentError {
    /// It names no unit.
    #[error(transparent)]
    Name(#[from] InvalidUnitName),
    /// It names a template where only an instance will do.
    #[error("{name} is a template, and a template cannot {verb}")]
    Template {
        /// The template.
        name: UnitName,
        /// The verb of the command, as in "cannot be started".
        verb: &'static str,
    },
    /// There is neither a file nor a unit of that name.
    #[error("{given}: {}", match found {
        FoundInstead::Nothing => "no such file, and no such unit in the cluster".to_owned(),
        FoundInstead::Directory => "it is a directory, and no unit of the cluster".to_owned(),
        FoundInstead::File { .. } => "it is no unit file by its name, and no unit of the cluster".to_owned(),
        FoundInstead::Template(template) => format!("neither it nor its template {template} is a file there or a unit of the cluster"),
    })]
    Missing {
        /// The text given.
        given: String,
        /// The thing that is there.
        found: FoundInstead,
        /// A remark on the types of units.
        hint: Option<String>,
    },
    /// There is a file, and it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not text.
    #[error("{} is not a unit file: it is not UTF-8 text from byte {offset} on", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The byte at which the text ends.
        offset: usize,
    },
    /// The file is larger than any unit file.
    #[error("{} is too large for a unit file: {size} bytes, {MAX_FILE_BYTES} at most", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
}

/// The thing that is where a unit file was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FoundInstead {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file of another name than a unit file has.
    File {
        /// The name that it would need.
        needs: String,
    },
    /// Nothing, and no template of this name either.
    Template(UnitName),
}

impl ArgumentError {
    /// The way out, where there is one.
    pub(crate) fn way_out(&self) -> Option<String> {
        match self {
            Self::Template { name, .. } => Some(format!(
                "name an instance of it, such as {}@1.{}",
                name.name_prefix(),
                name.unit_type().as_str()
            )),
            Self::Missing { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

/// Returns what an argument that names neither a file nor a known unit is to be told. `name` is the unit that it was taken for.
pub(crate) fn no_file(argument: &str, name: &UnitName) -> ArgumentError {
    let is_file = Path::new(argument).is_file();
    let found = match name.template_name() {
        _ if is_file => FoundInstead::File { needs: name.to_string() },
        _ if Path::new(argument).is_dir() => FoundInstead::Directory,
        Some(template) => FoundInstead::Template(template),
        None => FoundInstead::Nothing,
    };
    let of_type = type_hint(argument).filter(|_| found != FoundInstead::Directory);
    let hint = of_type.or_else(|| match &found {
        FoundInstead::Directory => Some(format!(
            "name the files in it, as the shell does for {}/*",
            argument.trim_end_matches('/')
        )),
        FoundInstead::File { needs } => {
            Some(format!("a unit file is named after its unit: {needs}"))
        }
        _ => None,
    });
    ArgumentError::Missing { given: argument.to_owned(), found, hint }
}

/// Returns what there is to say of an argument that ends in something that looks like a type and is none, such as `web.job`.
pub(crate) fn type_hint(argument: &str) -> Option<String> {
    let name = argument.rsplit_once('/').map_or(argument, |(_, name)| name);
    let (_, suffix) = name.rsplit_once('.')?;
    let types = UnitType::ALL.map(UnitType::as_str);
    if types.contains(&suffix) {
        return None;
    }
    Some(format!(
        "{suffix:?} is no type of unit, so {name}.service was looked for; the types are {}",
        types.join(", ")
    ))
}

/// Units named on the command line, with the local files that go with them.
#[derive(Debug, Default)]
pub(crate) struct LocatedUnits {
    /// The units, each once, in the order given, with the hash of the file that was found.
    pub(crate) units: Vec<(UnitName, Option<FileHash>)>,
    /// The argument of each unit.
    pub(crate) arguments: Vec<String>,
    /// The files' texts.
    pub(crate) files: BTreeMap<FileHash, String>,
}

/// Finds the units and, for each, the file of its name beside the path given; for an instance without a file of its
/// own, its template's.
pub(crate) fn locate_units(arguments: &[String]) -> Result<LocatedUnits, ArgumentError> {
    let words: Vec<UnitArgument<'_>> =
        arguments.iter().map(|argument| UnitArgument::Named(argument)).collect();
    locate_words(&words)
}

/// The same for words; what a pattern stands for is in the cluster, and no file is looked for.
pub(crate) fn locate_words(words: &[UnitArgument<'_>]) -> Result<LocatedUnits, ArgumentError> {
    let mut located = LocatedUnits::default();
    let mut seen = BTreeSet::new();
    // A thousand instances share one template: each path is read once.
    let mut read = BTreeMap::new();
    for word in words {
        let argument = match word {
            UnitArgument::Named(argument) => *argument,
            UnitArgument::Matched(unit) => {
                if seen.insert(unit.name.clone()) {
                    located.arguments.push(unit.name.to_string());
                    located.units.push((unit.name.clone(), None));
                }
                continue;
            }
        };
        let name = UnitName::from_argument(argument)?;
        if !seen.insert(name.clone()) {
            continue;
        }
        located.arguments.push(argument.to_owned());
        let directory = Path::new(argument).parent().unwrap_or(Path::new(""));
        let mut hash = None;
        for candidate in [Some(&name), name.template_name().as_ref()].into_iter().flatten() {
            let path = directory.join(candidate.as_str());
            hash = if let Some(known) = read.get(&path) {
                *known
            } else {
                let text = read_unit_file(&path)?;
                let hash = text.as_deref().map(FileHash::of_text);
                located.files.extend(hash.zip(text));
                read.insert(path, hash);
                hash
            };
            if hash.is_some() {
                break;
            }
        }
        located.units.push((name, hash));
    }
    Ok(located)
}

/// The text of a file; `None` when there is no such file.
fn read_unit_file(path: &Path) -> Result<Option<String>, ArgumentError> {
    let failed = |source| ArgumentError::Read { path: path.to_owned(), source };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // Asked before reading, so that a huge file is not read to be refused.
    if metadata.len() > MAX_FILE_BYTES as u64 {
        return Err(ArgumentError::TooLarge { path: path.to_owned(), size: metadata.len() });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map(Some).map_err(|e| ArgumentError::NotText {
        path: path.to_owned(),
        offset: e.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<String> {
        words.iter().map(|&w| w.to_owned()).collect()
    }

    #[test]
    fn instances_share_the_template_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(file("web@.service"), "[Service]\n").unwrap();
        std::fs::write(file("web@2.service"), "[Unit]\n").unwrap();
        let located = locate_units(&[
            file("web@1"),
            file("web@2"),
            file("web@3.service"),
            file("web@1.service"),
        ])
        .unwrap();
        let template = FileHash::of_text("[Service]\n");
        let own = FileHash::of_text("[Unit]\n");
        let shown: Vec<_> =
            located.units.iter().map(|(name, hash)| (name.as_str(), *hash)).collect();
        assert_eq!(
            shown,
            [
                ("web@1.service", Some(template)),
                ("web@2.service", Some(own)),
                ("web@3.service", Some(template)),
            ]
        );
        assert_eq!(located.files.len(), 2);
    }

    #[test]
    fn a_unit_without_a_file_is_a_name_only() {
        let located = locate_units(&arguments(&["/nowhere/web@1", "no-such-file-here"])).unwrap();
        assert!(located.units.iter().all(|(_, hash)| hash.is_none()));
        assert!(located.files.is_empty());
    }
}
