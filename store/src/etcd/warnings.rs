//! What a person should know of the servers while they work.
//!
//! Owns the sentences that stand, one for each server and one for the history, and logs each once. It finds out nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The warnings that stand.
#[derive(Debug, Default)]
pub(super) struct ServerWarnings {
    /// By endpoint, and one for the history.
    standing: Mutex<BTreeMap<String, String>>,
}

impl ServerWarnings {
    /// The warnings that stand, one sentence each.
    pub(super) fn list(&self) -> Vec<String> {
        self.lock_standing().values().cloned().collect()
    }

    /// Sets or takes back the warning about a server or the history, and logs it when it is new.
    pub(super) fn set_warning(&self, about: &str, warning: Option<String>) {
        let mut standing = self.lock_standing();
        if standing.get(about) == warning.as_ref() {
            return;
        }
        match warning {
            Some(warning) => {
                tracing::warn!(warning, "the store has a known fault");
                standing.insert(about.to_owned(), warning);
            }
            None => drop(standing.remove(about)),
        }
    }

    fn lock_standing(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
