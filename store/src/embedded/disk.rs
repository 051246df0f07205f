//! The database file: opening, loading, and writing batches with an fsync.
//!
//! It never answers reads: they come from memory.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};

use super::image::{Batch, Image, LiveLease};
use crate::store::{KeyValue, LeaseId, StoreError};

/// Records: key to create revision, mod revision, lease (0: none) and value.
const RECORDS: TableDefinition<'_, &str, (u64, u64, i64, &[u8])> = TableDefinition::new("records");
/// Leases: id to time to live in milliseconds.
const LEASES: TableDefinition<'_, i64, u64> = TableDefinition::new("leases");
/// The three counters below.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const FORMAT: &str = "format";
const REVISION: &str = "revision";
const LAST_LEASE: &str = "last-lease";

/// The format written. It rises when an older musterd could not read the file.
const CURRENT_FORMAT: u64 = 1;

/// The database is read once and then only written, so a small cache does; redb's default is a gigabyte.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Name of the file in the store's directory.
const FILE_NAME: &str = "store.redb";

/// The database file.
pub(super) struct Disk {
    path: PathBuf,
    /// Absent after a failed write: redb refuses a database that met an I/O error until it is opened anew.
    database: Option<Database>,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// It is certain that it was not.
    NotWritten(redb::Error),
    /// The commit itself failed, and the file could not be read to see what it holds.
    InDoubt(redb::Error),
}

impl WriteError {
    /// As a caller is told.
    pub(super) fn to_store_error(&self, path: &Path, during: &str) -> StoreError {
        match self {
            Self::NotWritten(error) => write_failure(path, during, error),
            Self::InDoubt(error) => StoreError::Ambiguous {
                during: during.to_owned(),
                source: Some(error.to_string().into()),
            },
        }
    }
}

impl Disk {
    /// Opens the file in a directory, both made if need be, and loads all it holds. `now` starts the leases.
    pub(super) fn open(directory: &Path, now: Instant) -> Result<(Self, Image), StoreError> {
        let path = directory.join(FILE_NAME);
        let refuse = |error: redb::Error| unusable_error(&path, &error);
        // Unit files may hold secrets: the directory is for root alone.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| refuse(error.into()))?;
        let database = open_database(&path).map_err(refuse)?;
        let image = load_image(&database, &path, now)?;
        // The file's name must survive a power cut as its content does.
        File::open(directory).and_then(|d| d.sync_all()).map_err(|error| refuse(error.into()))?;
        Ok((Self { path, database: Some(database) }, image))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a batch and returns once it is on the disk.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path).map_err(WriteError::NotWritten)?,
        };
        match prepare_write(&database, batch) {
            Err(error) => return Err(WriteError::NotWritten(error)),
            Ok(transaction) => {
                if let Err(error) = transaction.commit() {
                    drop(database);
                    return match self.holds_batch(batch) {
                        Ok(true) => Ok(()),
                        Ok(false) => Err(WriteError::NotWritten(error.into())),
                        Err(_) => Err(WriteError::InDoubt(error.into())),
                    };
                }
            }
        }
        self.database = Some(database);
        Ok(())
    }

    /// Opens the file anew after a failed commit, to see whether it holds a batch.
    pub(super) fn holds_batch(&mut self, batch: &Batch) -> Result<bool, redb::Error> {
        self.database = None;
        let database = open_database(&self.path)?;
        let found = read_counters(&database)?;
        self.database = Some(database);
        Ok(found == (batch.revision, batch.last_lease))
    }
}

fn open_database(path: &Path) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create(path)?)
}

fn prepare_write(
    database: &Database,
    batch: &Batch,
) -> Result<redb::WriteTransaction, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (key, record) in &batch.records {
            match record {
                Some(r) => {
                    let lease = r.lease.map_or(0, |l| l.0);
                    let row = (r.create_revision, r.mod_revision, lease, r.value.as_ref());
                    records.insert(key.as_str(), row)?;
                }
                None => {
                    records.remove(key.as_str())?;
                }
            }
        }
        let mut leases = transaction.open_table(LEASES)?;
        for lease in &batch.granted {
            let millis = u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX);
            leases.insert(lease.id.0, millis)?;
        }
        for lease in &batch.ended {
            leases.remove(lease.0)?;
        }
        let mut counters = transaction.open_table(COUNTERS)?;
        counters.insert(FORMAT, CURRENT_FORMAT)?;
        counters.insert(REVISION, batch.revision)?;
        counters.insert(LAST_LEASE, batch.last_lease.unsigned_abs())?;
    }
    Ok(transaction)
}

/// The revision and the last lease; those of an empty store when nothing was ever written.
fn read_counters(database: &Database) -> Result<(u64, i64), redb::Error> {
    let transaction = database.begin_read()?;
    let counters = match transaction.open_table(COUNTERS) {
        // An empty etcd is at revision 1, too.
        Err(TableError::TableDoesNotExist(_)) => return Ok((1, 0)),
        other => other?,
    };
    let read = |name: &str| Ok::<_, redb::Error>(counters.get(name)?.map(|v| v.value()));
    let last_lease = read(LAST_LEASE)?.and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
    Ok((read(REVISION)?.unwrap_or(1), last_lease))
}

fn load_image(database: &Database, path: &Path, now: Instant) -> Result<Image, StoreError> {
    let refuse = |error: redb::Error| unusable_error(path, &error);
    let transaction = database.begin_read().map_err(|e| refuse(e.into()))?;
    match transaction.open_table(COUNTERS) {
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(refuse(error.into())),
        Ok(counters) => {
            let format = counters.get(FORMAT).map_err(|e| refuse(e.into()))?.map(|v| v.value());
            if format.is_some_and(|f| f > CURRENT_FORMAT) {
                return Err(StoreError::Embedded {
                    path: path.display().to_string(),
                    problem: "a newer musterd has written it; run that version again".to_owned(),
                });
            }
        }
    }
    read_image(database, now).map_err(refuse)
}

fn read_image(database: &Database, now: Instant) -> Result<Image, redb::Error> {
    let (revision, last_lease) = read_counters(database)?;
    let mut image = Image { revision, last_lease, ..Image::default() };
    let transaction = database.begin_read()?;
    if revision == 1 && last_lease == 0 {
        return Ok(image);
    }
    for row in transaction.open_table(LEASES)?.iter()? {
        let (id, millis) = row?;
        let ttl = Duration::from_millis(millis.value());
        // Nobody could prolong a lease while the store was closed, so each gets its whole time again.
        let deadline = now + ttl;
        let live = LiveLease { ttl, deadline, ending: false, keys: BTreeSet::new() };
        image.leases.insert(LeaseId(id.value()), live);
    }
    for row in transaction.open_table(RECORDS)?.iter()? {
        let (key, row) = row?;
        let key = key.value().to_owned();
        let (create_revision, mod_revision, lease, value) = row.value();
        let lease = (lease != 0).then_some(LeaseId(lease));
        if let Some(live) = lease.and_then(|l| image.leases.get_mut(&l)) {
            live.keys.insert(key.clone());
        }
        let value = value.to_vec().into();
        let record = KeyValue { key: key.clone(), value, create_revision, mod_revision, lease };
        image.records.insert(key, record);
    }
    Ok(image)
}

fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error)
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

fn write_failure(path: &Path, during: &str, error: &redb::Error) -> StoreError {
    if is_full(error) {
        let source = Some(error.to_string().into());
        return StoreError::Full { during: format!("{during} in {}", path.display()), source };
    }
    unusable_error(path, error)
}

fn unusable_error(path: &Path, error: &redb::Error) -> StoreError {
    let problem = match error {
        redb::Error::DatabaseAlreadyOpen => {
            "another musterd has it open; stop that one, or give this one a directory of its own"
                .to_owned()
        }
        redb::Error::UpgradeRequired(_) => {
            format!("another version of musterd has written it ({error})")
        }
        redb::Error::Io(io) if io.kind() != io::ErrorKind::InvalidData => io.to_string(),
        other => format!(
            "it is damaged ({other}); restore it from a backup, or move it away to begin with an empty store \
             (units that run go on running, and are submitted anew)"
        ),
    };
    StoreError::Embedded { path: path.display().to_string(), problem }
}
