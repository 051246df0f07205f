//! The knowledge of images beside what the engine says.
//!
//! Owns the memory of what was seen and loaded, and the turns of those who fetch. It asks no engine.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::runner::docker::host::ArchiveStamp;
use crate::stdx::sync::lock;

/// The knowledge of images beside what the engine says.
#[derive(Debug, Default)]
pub(crate) struct ImageCache {
    /// One fetch at a time for each image or archive: units that want the same one wait for the first.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Images that were seen, so that not every start of every container asks for its own. Whoever is told otherwise forgets
    /// them.
    pub(crate) present: Mutex<HashSet<String>>,
    /// Images of archives for which the file names none, by the path of the archive, with the archive as it was then.
    pub(crate) loaded: Mutex<HashMap<String, (ArchiveStamp, String)>>,
}

impl ImageCache {
    /// Forgets what was seen: one of them is there no more.
    pub(crate) fn forget_present(&self) {
        lock(&self.present).clear();
    }

    /// The turn to fetch from a source.
    pub(crate) fn fetch_turn(&self, source: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.fetching).entry(source.to_owned()).or_default())
    }
}
