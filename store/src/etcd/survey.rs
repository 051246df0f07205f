//! A look at the servers now and then: what they are, and whether they forget their history.
//!
//! Owns what is asked and when. It judges no version (see [`faults`]) and keeps nobody waiting: it runs in the background, and
//! what cannot be found out is not said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use etcd_client::{Client, GetOptions, WatchOptions};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connection;
use super::faults;
use super::error::Trouble;

/// How often the servers are looked at: what is asked for changes with an upgrade or a configuration.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon again while a server has not answered.
const AGAIN: Duration = Duration::from_secs(30);

/// How many revisions a history may have that was never cut: a few thousand units come and go in them, and at a kilobyte or two
/// each they are far from etcd's quota (2 GiB). A cluster that is compacted every hour passes it only in its first hour.
const LONG_HISTORY: u64 = 10_000;

/// For how long a history of that length may stay uncut: any sensible compaction is done once a day at the least.
const UNCUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the servers that a person should know.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// By endpoint, and one for the history.
    warnings: Mutex<BTreeMap<String, String>>,
}

/// Where the history was cut last, and since when that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// The revision; 0: never.
    at: u64,
    since: Instant,
}

impl Survey {
    /// The warnings that stand.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.kept().values().cloned().collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what there is to say of something, and logs it when it is new.
    fn note(&self, of: &str, warning: Option<String>) {
        let mut kept = self.kept();
        if kept.get(of) == warning.as_ref() {
            return;
        }
        match warning {
            Some(warning) => {
                tracing::warn!(warning, "the store has a known fault");
                kept.insert(of.to_owned(), warning);
            }
            None => drop(kept.remove(of)),
        }
    }
}

/// Looks at the servers until the connection is gone. `key` is one that we may read.
pub(super) async fn run(connection: Weak<Connection>, key: String) {
    let mut cut: Option<Cut> = None;
    loop {
        let Some(there) = connection.upgrade() else { return };
        let all = look(&there, &key, &mut cut).await;
        drop(there);
        sleep(if all { EVERY } else { AGAIN }).await;
    }
}

/// Looks at each server once; whether all have answered, and one of them for the history.
async fn look(connection: &Arc<Connection>, key: &str, cut: &mut Option<Cut>) -> bool {
    let deadline = connection.liveness.call;
    let mut all = true;
    let mut asked = false;
    for endpoint in connection.endpoints() {
        // One that is away is nothing to warn of here, and another look will find it.
        let Ok(Ok((mut client, users))) = timeout(deadline, connection.connect(endpoint)).await
        else {
            all = false;
            continue;
        };
        // The history is the cluster's: one server is enough. Its version comes last: once that is told, all is.
        if !asked && let Some((at, revision)) = history(&mut client, key, deadline).await {
            asked = true;
            let now = Instant::now();
            let since = cut.filter(|cut| cut.at == at).map_or(now, |cut| cut.since);
            *cut = Some(Cut { at, since });
            let warning = uncut(at, revision, now.duration_since(since));
            connection.survey().note("history", warning);
        }
        match timeout(deadline, client.status()).await {
            Ok(Ok(status)) => {
                let warning = faults::warning(endpoint, status.version(), users);
                connection.survey().note(endpoint, warning);
            }
            Ok(Err(_)) | Err(_) => all = false,
        }
    }
    all && asked
}

/// What is to be said of a history that was cut at `at` and has come to `revision`, when it is known for so long that it was not
/// cut since.
fn uncut(at: u64, revision: u64, known: Duration) -> Option<String> {
    let kept = revision.saturating_sub(at);
    if kept <= LONG_HISTORY || (at > 0 && known < UNCUT) {
        return None;
    }
    let told = if at == 0 { "was never compacted" } else { "was not compacted for a day" };
    Some(format!(
        "etcd {told} and keeps {kept} revisions: it grows until its quota is used up, and then takes no more writes; \
         set auto-compaction (ETCD_AUTO_COMPACTION_MODE=periodic, ETCD_AUTO_COMPACTION_RETENTION=1h) on every member"
    ))
}

/// Where the history was cut, and the revision it has come to; `None`: it could not be told.
async fn history(client: &mut Client, key: &str, deadline: Duration) -> Option<(u64, u64)> {
    let now = timeout(deadline, client.get(key, None)).await.ok()?.ok()?;
    let revision = u64::try_from(now.header()?.revision()).ok()?;
    // Whoever can read the first revision has them all. To watch from there would read them all, so that is asked first.
    let first = GetOptions::new().with_revision(1);
    match timeout(deadline, client.get(key, Some(first))).await.ok()?.map_err(Trouble::from) {
        Ok(_) => return Some((0, revision)),
        Err(Trouble::Compacted) => {}
        Err(_) => return None,
    }
    let options = WatchOptions::new().with_start_revision(1);
    let mut watch = timeout(deadline, client.watch(key, Some(options))).await.ok()?.ok()?;
    loop {
        let event = timeout(deadline, watch.message()).await.ok()?.ok()??;
        if event.canceled() {
            return Some((u64::try_from(event.compact_revision()).ok()?, revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_is_told_of_when_it_is_never_cut() {
        let hour = Duration::from_secs(3600);
        assert_eq!(uncut(0, 10_000, UNCUT * 9), None, "it is short");
        assert!(uncut(0, 10_001, Duration::ZERO).unwrap().starts_with("etcd was never compacted"));
        assert_eq!(uncut(1_000, 900_000, hour), None, "it may be cut yet");
        let told = uncut(1_000, 900_000, UNCUT).unwrap();
        assert!(told.contains("not compacted for a day and keeps 899000 revisions"), "{told}");
        assert_eq!(uncut(895_000, 900_000, UNCUT), None, "it was cut not long ago");
        assert_eq!(uncut(10, 5, UNCUT), None, "a restored store");
    }
}
