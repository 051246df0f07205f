//! Unit arguments: what a word on the command line names, and the file that goes with it.
//!
//! Owns the search for local files. It never asks the daemon: which units the cluster knows
//! is the daemon's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use muster_common::unit::{FileHash, UnitName, UnitType};

use crate::argument_error::{ArgumentError, FoundInstead};
use crate::dropins::{DropinNote, find_unused, merge_dropins};
use crate::local_file::read_unit_file;
use crate::pattern::UnitArgument;

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
    /// The files' texts, each with its drop-ins.
    pub(crate) files: BTreeMap<FileHash, String>,
    /// Notes on drop-ins, for the user.
    pub(crate) notes: Vec<DropinNote>,
}

/// Finds the units and, for each, the file of its name beside the path given; for an instance without a file of its
/// own, its template's. A file of Quadlet's is taken with its drop-ins.
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
    let mut read = ReadFiles::new();
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
        let mut found = None;
        for candidate in [Some(&name), name.template_name().as_ref()].into_iter().flatten() {
            let path = directory.join(candidate.as_str());
            if let Some((hash, text)) = read_once(&mut read, &path)? {
                found = Some((path, hash, text));
                break;
            }
        }
        let hash = if let Some((path, hash, text)) = found {
            Some(located.add_file(&name, path, (hash, &text))?)
        } else {
            located.notes.extend(find_unused(&name, directory));
            None
        };
        located.units.push((name, hash));
    }
    Ok(located)
}

/// The files that were looked for, by path.
type ReadFiles = BTreeMap<PathBuf, Option<(FileHash, Rc<str>)>>;

/// The file at a path, which is read the first time only.
fn read_once(
    read: &mut ReadFiles,
    path: &Path,
) -> Result<Option<(FileHash, Rc<str>)>, ArgumentError> {
    if let Some(known) = read.get(path) {
        return Ok(known.clone());
    }
    let file = read_unit_file(path)?.map(|text| (FileHash::of_text(&text), text.into()));
    read.insert(path.to_owned(), file.clone());
    Ok(file)
}

impl LocatedUnits {
    /// Adds the file of a unit, with its drop-ins. Returns the hash of what both make.
    fn add_file(
        &mut self,
        name: &UnitName,
        file: PathBuf,
        (hash, text): (FileHash, &str),
    ) -> Result<FileHash, ArgumentError> {
        let directory = file.parent().unwrap_or(Path::new(""));
        let Some(merged) = merge_dropins(name, directory, text)? else {
            self.files.entry(hash).or_insert_with(|| text.to_owned());
            return Ok(hash);
        };
        let hash = FileHash::of_text(&merged.text);
        // Instances of one template have mostly the same ones, which are told once.
        if self.files.insert(hash, merged.text).is_none() {
            self.notes.push(DropinNote::Merged { file, dropins: merged.dropins });
        }
        Ok(hash)
    }
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
    fn drop_ins_are_part_of_the_file_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(file("web@.container"), "[Container]\nImage=a\n").unwrap();
        for (place, label) in [("web@.container.d", "all"), ("web@2.container.d", "two")] {
            std::fs::create_dir(file(place)).unwrap();
            let text = format!("[Container]\nLabel={label}\n");
            std::fs::write(folder.path().join(place).join("10.conf"), text).unwrap();
        }
        let units = ["web@1.container", "web@2.container", "web@3.container"].map(file);
        let located = locate_units(&units).unwrap();
        let texts: Vec<&String> =
            located.units.iter().map(|(_, hash)| &located.files[&hash.unwrap()]).collect();
        assert!(
            texts[0].ends_with("[Container]\nLabel=all\n") && texts[0] == texts[2],
            "{texts:?}"
        );
        assert!(texts[1].ends_with("[Container]\nLabel=two\n"), "{texts:?}");
        assert_eq!((located.files.len(), located.notes.len()), (2, 2), "{:?}", located.notes);
    }

    #[test]
    fn a_unit_without_a_file_is_a_name_only() {
        let located = locate_units(&arguments(&["/nowhere/web@1", "no-such-file-here"])).unwrap();
        assert!(located.units.iter().all(|(_, hash)| hash.is_none()));
        assert!(located.files.is_empty());
    }
}
