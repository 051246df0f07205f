//! What can be wrong with a unit argument and the local files that go with it, in words for the user.

use std::io;
use std::path::PathBuf;

use muster_common::unit::{InvalidUnitName, MAX_FILE_BYTES, UnitName};

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
    /// A drop-in is no piece of a unit file.
    #[error("{}, line {line}: {problem}", path.display())]
    Dropin {
        /// The drop-in.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem.
        problem: String,
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
