//! A user's change with its files read.
//!
//! Owns the reading of a [`ChangeRequest`]. It decides nothing: see [`super::change`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::api::v1::{ChangeRequest, UnitChange};
use muster_common::unit::{FileHash, ParseError, UnitFile, UnitName};

/// A change whose files have been read.
pub struct ParsedChange {
    /// The files that came with it, by their hash; those that cannot be read with what is wrong with them.
    pub(super) files: BTreeMap<FileHash, Result<Arc<UnitFile>, ParseError>>,
    pub(super) units: Vec<UnitChange>,
    /// True if a stored file that differs is replaced.
    pub(super) replace: bool,
    /// True if a start that no machine can take now is kept.
    pub(super) queue: bool,
}

impl ParsedChange {
    /// Reads the files of a change. A file that cannot be read is no error here: it is one of the units that name it.
    ///
    /// # Errors
    ///
    /// A text stands under a hash that is not its own.
    pub fn parse(change: ChangeRequest) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (hash, text) in change.files {
            if FileHash::of_text(&text) != hash {
                return Err(format!("files: the text under {hash} has another hash"));
            }
            files.insert(hash, UnitFile::parse(text.as_bytes()).map(Arc::new));
        }
        Ok(Self { files, units: change.units, replace: change.replace, queue: change.queue })
    }

    /// A change of one unit with a file that has been read already: a stored file is replaced, and a start is queued if need be.
    pub fn of_file(file: Option<Arc<UnitFile>>, mut unit: UnitChange) -> Self {
        let file = file.map(|file| (file.hash(), Ok(file)));
        unit.file = file.as_ref().map(|(hash, _)| *hash);
        Self { files: file.into_iter().collect(), units: vec![unit], replace: true, queue: true }
    }

    /// The indexes of all its units.
    pub fn all_indexes(&self) -> BTreeSet<usize> {
        (0..self.units.len()).collect()
    }

    /// The indexes of the units of these names.
    pub fn indexes_of(&self, names: &BTreeSet<UnitName>) -> BTreeSet<usize> {
        let named = self.units.iter().enumerate().filter(|(_, unit)| names.contains(&unit.name));
        named.map(|(index, _)| index).collect()
    }
}
