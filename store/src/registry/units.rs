//! Units and their files.
//!
//! A file is written again with every unit that names it, in the same commit. So a file found unnamed can be removed
//! guarded by the revision at which it was found: whoever names it meanwhile has raised that revision. A backup that is put back
//! raises none, so the removal rests on the units that named the file as well.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use muster_common::decision::{UnitWrite, UnitWritten};
use muster_common::probe::is_planted;
use muster_common::snapshot::Change;
use muster_common::unit::{FileHash, UnitFile, UnitName};

use super::decode::read;
use super::keys::{FILES, Key, UNITS};
use super::packing::{self, CommitPiece, PackingError, PieceOutcome};
use super::records::{FileRecord, UnitRecord, decode, encode};
use super::{Registry, RegistryError};
use crate::store::{Guard, KeyValue, Op, Range, StoreError};

/// Above this many records of a kind, reading all of the kind costs less than reading each.
const READ_ONE_BY_ONE: usize = 32;

/// How often units, and the files that they leave, are tried to be removed while others write units.
const ATTEMPTS: usize = 10;

/// The units that a file's removal rests on, of those that named it: as many as leave room in a commit for more than one file. Where more
/// named it, a backup that has some of them has most.
const GUARDING_UNITS: usize = 32;

/// Single reads under way at once.
const READS_UNDER_WAY: usize = 8;

/// Files that units have ceased to name, with those units.
type FormerFiles = BTreeMap<FileHash, BTreeSet<UnitName>>;

/// The outcome of a destruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestroyOutcome {
    /// Units that existed.
    pub destroyed: Vec<UnitName>,
    /// Units that did not.
    pub unknown: Vec<UnitName>,
    /// Revision of the last removal; 0 when nothing was removed.
    pub revision: u64,
}

impl Registry {
    /// Reads unit files by their hashes; those that are missing or unreadable come back as problems.
    pub async fn read_files(
        &self,
        hashes: &[FileHash],
    ) -> Result<BTreeMap<FileHash, Result<Arc<UnitFile>, String>>, RegistryError> {
        let keys = hashes.iter().map(|hash| Key::File(*hash)).collect();
        let mut found: BTreeMap<FileHash, KeyValue> = self
            .read_many(keys, FILES)
            .await?
            .into_iter()
            .filter_map(|(key, record)| match key {
                Key::File(hash) => Some((hash, record)),
                _ => None,
            })
            .collect();
        let mut file = |hash: &FileHash| {
            let record = found.remove(hash).ok_or("the store does not have it")?;
            match read(Key::File(*hash), &record)? {
                Change::File(_, Some(file)) => Ok(file),
                _ => Err("its record is none of a file".to_owned()),
            }
        };
        let unique: BTreeSet<&FileHash> = hashes.iter().collect();
        Ok(unique.into_iter().map(|hash| (*hash, file(hash))).collect())
    }

    /// The files of units by their names, an instance's own or its template's; those that are unknown are left out.
    ///
    /// # Errors
    ///
    /// The store does not answer, or a record cannot be read.
    pub async fn files_of(
        &self,
        names: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, RegistryError> {
        let templates = names.iter().filter_map(UnitName::template_name);
        let keys: BTreeSet<UnitName> = names.iter().cloned().chain(templates).collect();
        let mut hashes = BTreeMap::new();
        for (key, record) in
            self.read_many(keys.into_iter().map(Key::Unit).collect(), UNITS).await?
        {
            let unreadable = |problem| RegistryError::Unreadable { key: key.to_string(), problem };
            if let Change::Unit(name, Some(unit)) =
                read(key.clone(), &record).map_err(unreadable)?
            {
                hashes.insert(name, unit.file);
            }
        }
        let wanted: BTreeSet<FileHash> = hashes.values().copied().collect();
        let files = self.read_files(&wanted.into_iter().collect::<Vec<_>>()).await?;
        let mut found = BTreeMap::new();
        for name in names {
            let own = hashes.get(name);
            let hash = own.or_else(|| hashes.get(&name.template_name()?));
            let Some(hash) = hash else { continue };
            match files.get(hash) {
                Some(Ok(file)) => {
                    found.insert(name.clone(), Arc::clone(file));
                }
                Some(Err(problem)) => {
                    let key = Key::File(*hash).to_string();
                    return Err(RegistryError::Unreadable { key, problem: problem.clone() });
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// Writes units, each all or nothing, many to a commit; the results are in the order of the argument.
    ///
    /// Files that the units named before and no unit names now are removed. After an error some units may be written
    /// and others not.
    pub async fn write_units(
        &self,
        units: Vec<UnitWrite>,
    ) -> Result<Vec<UnitWritten>, RegistryError> {
        let former = self.files_replaced_by(&units).await?;
        let mut names = HashSet::new();
        // Of several writes of one unit the first may succeed, and then the others rest on what is no more.
        let first: Vec<bool> = units.iter().map(|unit| names.insert(unit.name.clone())).collect();
        let pieces: Vec<CommitPiece> = units
            .iter()
            .zip(&first)
            .filter(|(_, first)| **first)
            .map(|(unit, _)| self.unit_piece(unit))
            .collect();
        let outcomes =
            packing::write_pieces(&self.store, None, &pieces).await.map_err(unguarded_error)?;
        let mut outcomes = outcomes.into_iter();
        let written: Vec<UnitWritten> = first
            .into_iter()
            .map(|first| match first.then(|| outcomes.next()).flatten() {
                Some(PieceOutcome::Done { revision }) => UnitWritten::Done { revision },
                Some(PieceOutcome::Conflict) | None => UnitWritten::Conflict,
            })
            .collect();
        if !former.is_empty() {
            self.remove_unnamed(Some(&former), &BTreeSet::new()).await?;
        }
        Ok(written)
    }

    fn unit_piece(&self, unit: &UnitWrite) -> CommitPiece {
        let hash = unit.file.hash();
        let key = self.key(&Key::Unit(unit.name.clone()));
        let record = UnitRecord::new(hash, unit.desired, unit.generation, self.write_ids.next());
        CommitPiece {
            guards: vec![Guard::Modified { key: key.clone(), revision: unit.expected }],
            ops: vec![
                Op::Put {
                    key: self.key(&Key::File(hash)),
                    value: encode(&FileRecord::new(&unit.file)),
                    lease: None,
                },
                Op::Put { key, value: encode(&record), lease: None },
            ],
        }
    }

    /// Files that the units name now and will not name once they are written.
    async fn files_replaced_by(&self, units: &[UnitWrite]) -> Result<FormerFiles, StoreError> {
        let replaced: BTreeMap<&UnitName, FileHash> = units
            .iter()
            .filter(|unit| unit.expected != 0)
            .map(|unit| (&unit.name, unit.file.hash()))
            .collect();
        let keys = replaced.keys().map(|name| Key::Unit((*name).clone())).collect();
        let records = self.read_many(keys, UNITS).await?;
        let mut former = FormerFiles::new();
        for (key, record) in records {
            let (Key::Unit(name), Ok(unit)) = (key, decode::<UnitRecord>(&record.value)) else {
                continue;
            };
            if replaced.get(&name).is_some_and(|file| *file != unit.file_hash()) {
                former.entry(unit.file_hash()).or_default().insert(name);
            }
        }
        Ok(former)
    }

    /// Removes units whatever they say, unreadable ones too, and files no unit names any more. One that is written meanwhile is
    /// removed as well; one that is submitted after this has returned never is, however late a write of ours is carried out.
    pub async fn destroy_units(&self, names: &[UnitName]) -> Result<DestroyOutcome, RegistryError> {
        let mut left: BTreeSet<UnitName> = names.iter().cloned().collect();
        let mut outcome = DestroyOutcome::default();
        // What an unreadable unit named is not known, so then every file is looked at.
        let mut files = Some(FormerFiles::new());
        for _ in 0..ATTEMPTS {
            let keys = left.iter().cloned().map(Key::Unit).collect();
            let mut found = BTreeMap::new();
            for (key, record) in self.read_many(keys, UNITS).await? {
                if let Key::Unit(name) = key {
                    found.insert(name, record);
                }
            }
            // One that is gone by now was removed by somebody else.
            let unknown = left.iter().filter(|name| !found.contains_key(*name)).cloned();
            outcome.unknown.extend(unknown);
            let pieces: Vec<CommitPiece> = found.values().map(removal_piece).collect();
            let written =
                packing::write_pieces(&self.store, None, &pieces).await.map_err(unguarded_error)?;
            left.clear();
            for ((name, record), piece) in found.into_iter().zip(written) {
                let PieceOutcome::Done { revision } = piece else {
                    left.insert(name);
                    continue;
                };
                outcome.revision = outcome.revision.max(revision);
                outcome.destroyed.push(name.clone());
                let file = decode::<UnitRecord>(&record.value).ok().map(|unit| unit.file_hash());
                files = files.zip(file).map(|(mut files, file)| {
                    files.entry(file).or_default().insert(name);
                    files
                });
            }
            if left.is_empty() {
                break;
            }
        }
        outcome.unknown.sort();
        outcome.destroyed.sort();
        if !outcome.destroyed.is_empty() {
            let destroyed = outcome.destroyed.iter().cloned().collect();
            self.remove_unnamed(files.as_ref(), &destroyed).await?;
        }
        match left.pop_first() {
            None => Ok(outcome),
            Some(name) => Err(RegistryError::Contended { key: Key::Unit(name).to_string() }),
        }
    }

    /// Removes files that no unit names any more: of these, each with the units that named it, or else of all, once `changed` are gone.
    ///
    /// Each removal rests on those units as they are when it is decided upon. A backup may be put in the store's place at this very moment:
    /// the file is in it as it was, and so are the units that name it.
    async fn remove_unnamed(
        &self,
        files: Option<&FormerFiles>,
        changed: &BTreeSet<UnitName>,
    ) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS {
            let pieces = self.unnamed_pieces(files, changed).await?;
            let written =
                packing::write_pieces(&self.store, None, &pieces).await.map_err(unguarded_error)?;
            // A conflict means that a unit has changed since, and may name the file again.
            if !written.iter().any(|piece| matches!(piece, PieceOutcome::Conflict)) {
                break;
            }
        }
        Ok(())
    }

    async fn unnamed_pieces(
        &self,
        files: Option<&FormerFiles>,
        changed: &BTreeSet<UnitName>,
    ) -> Result<Vec<CommitPiece>, RegistryError> {
        // The files are read before the units: a unit that is written between the two raises its file's revision, and
        // one that was written before is seen.
        let stored: Vec<(FileHash, KeyValue)> = match files {
            Some(former) => {
                let keys = former.keys().copied().map(Key::File).collect();
                self.read_many(keys, FILES).await?
            }
            None => self.with_keys(self.list(FILES).await?),
        }
        .into_iter()
        .filter_map(|(key, record)| match key {
            Key::File(hash) => Some((hash, record)),
            _ => None,
        })
        .collect();
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let units = self.list(UNITS).await?;
        let mut revisions = HashMap::new();
        let mut named = HashSet::new();
        let mut unreadable = Vec::new();
        for unit in &units {
            revisions.insert(unit.key.as_str(), unit.mod_revision);
            match decode::<UnitRecord>(&unit.value) {
                Ok(record) => {
                    named.insert(record.file_hash());
                }
                Err(_) => unreadable.push(unit),
            }
        }
        // A record we cannot read may still name a file to those who can.
        let mentioned = |hash: &FileHash| {
            let hash = hash.to_string();
            unreadable.iter().any(|u| u.value.windows(hash.len()).any(|w| w == hash.as_bytes()))
        };
        let unnamed =
            stored.into_iter().filter(|(hash, _)| !named.contains(hash) && !mentioned(hash));
        let pieces = unnamed.map(|(hash, record)| {
            let unchanged =
                Guard::Modified { key: record.key.clone(), revision: record.mod_revision };
            let former = files.and_then(|files| files.get(&hash)).unwrap_or(changed);
            let as_read = former.iter().take(GUARDING_UNITS).map(|name| {
                let key = self.key(&Key::Unit(name.clone()));
                let revision = revisions.get(key.as_str()).copied().unwrap_or(0);
                Guard::Modified { key, revision }
            });
            let as_read = as_read.filter(|_| !is_planted("file-removed-from-a-backup"));
            CommitPiece {
                guards: std::iter::once(unchanged).chain(as_read).collect(),
                ops: vec![Op::Delete { key: record.key }],
            }
        });
        Ok(pieces.collect())
    }

    /// Those of the keys, all of one kind, that exist.
    async fn read_many(
        &self,
        keys: Vec<Key>,
        kind: &str,
    ) -> Result<Vec<(Key, KeyValue)>, StoreError> {
        if keys.len() > READ_ONE_BY_ONE {
            let wanted: HashSet<String> = keys.iter().map(|key| self.key(key)).collect();
            let mut records = self.list(kind).await?;
            records.retain(|record| wanted.contains(&record.key));
            return Ok(self.with_keys(records));
        }
        let reads = keys.into_iter().map(|key| async move {
            let range = Range::Key(self.key(&key));
            let found = self.store.read(range).await?.entries.pop();
            Ok::<_, StoreError>(found.map(|record| (key, record)))
        });
        let found: Vec<_> =
            futures::stream::iter(reads).buffered(READS_UNDER_WAY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn with_keys(&self, records: Vec<KeyValue>) -> Vec<(Key, KeyValue)> {
        records.into_iter().filter_map(|record| Some((self.parse(&record)?, record))).collect()
    }
}

/// The removal of a unit as it was found.
fn removal_piece(found: &KeyValue) -> CommitPiece {
    let mut guards = vec![Guard::Modified { key: found.key.clone(), revision: found.mod_revision }];
    if is_planted("destruction-unguarded") {
        guards.clear();
    }
    CommitPiece { guards, ops: vec![Op::Delete { key: found.key.clone() }] }
}

/// Without a common guard there is nothing that could refuse.
fn unguarded_error(error: PackingError) -> RegistryError {
    match error {
        PackingError::Store(error) => RegistryError::Store(error),
        PackingError::Refused => RegistryError::Contended { key: UNITS.to_owned() },
    }
}
