//! A look at the servers now and then: what they are, and whether they forget their history.
//!
//! Owns what is asked and when. It judges no version (see [`faults`]) and keeps nobody waiting: it runs in the background, and
//! what cannot be found out is not said.

use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_runtime::{Instant, sleep, timeout};

use super::connection::Connection;
use super::error::EtcdError;
use super::faults;
use super::protocol::{MemberConnection, PageQuery, WatchQuery};
use crate::store::Range;

/// How often the servers are looked at: what is asked for changes with an upgrade or a configuration.
const SURVEY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Longest time before the first look. It costs a connection to each server, and when a thousand daemons begin at once, in those
/// moments the servers are needed for what their leases hang on.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How soon again while a server has not answered.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// How many revisions a history may have that was never cut: a few thousand units come and go in them, and at a kilobyte or two
/// each they are far from etcd's quota (2 GiB). A cluster that is compacted every hour passes it only in its first hour.
const LONG_HISTORY: u64 = 10_000;

/// Largest answer with one record, as a client takes it by itself.
const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// For how long a history of that length may stay uncut: any sensible compaction is done once a day at the least.
const UNCOMPACTED_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the history was cut last, and since when that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Compaction {
    /// The revision; 0: never.
    at: u64,
    since: Instant,
}

/// Looks at the servers until the connection is gone. `key` is one that we may read.
pub(super) async fn run(connection: Weak<Connection>, key: String) {
    let mut cut: Option<Compaction> = None;
    let Some(part) = connection.upgrade().map(|connection| connection.next_jitter()) else {
        return;
    };
    sleep(FIRST_LOOK.mul_f64(unit_fraction(part))).await;
    loop {
        let Some(there) = connection.upgrade() else { return };
        let all = survey_servers(&there, &key, &mut cut).await;
        drop(there);
        sleep(if all { SURVEY_INTERVAL } else { RETRY_INTERVAL }).await;
    }
}

/// A random number as a part of one.
fn unit_fraction(random: u64) -> f64 {
    // Its upper half is exact as a float.
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// Looks at each server once; whether all have answered, and one of them for the history.
async fn survey_servers(
    connection: &Arc<Connection>,
    key: &str,
    cut: &mut Option<Compaction>,
) -> bool {
    let deadline = connection.liveness.call;
    let mut all = true;
    let mut asked = false;
    for endpoint in connection.all_endpoints() {
        // One that is away is nothing to warn of here, and another look will find it.
        let Ok(Ok((member, users))) = timeout(deadline, connection.connect(endpoint)).await else {
            all = false;
            continue;
        };
        // The history is the cluster's: one server is enough. Its version comes last: once that is told, all is.
        if !asked && let Some((at, revision)) = read_history(&*member, key, deadline).await {
            asked = true;
            let now = Instant::now();
            let since = cut.filter(|cut| cut.at == at).map_or(now, |cut| cut.since);
            *cut = Some(Compaction { at, since });
            let warning = uncompacted_warning(at, revision, now.duration_since(since));
            connection.server_warnings().set_warning("history", warning);
        }
        match timeout(deadline, member.read_version()).await {
            Ok(Ok(version)) => {
                let warning = faults::version_warning(endpoint, &version, users);
                connection.server_warnings().set_warning(endpoint, warning);
            }
            Ok(Err(_)) | Err(_) => all = false,
        }
    }
    all && asked
}

/// What is to be said of a history that was cut at `at` and has come to `revision`, when it is known for so long that it was not
/// cut since.
fn uncompacted_warning(at: u64, revision: u64, known: Duration) -> Option<String> {
    let kept = revision.saturating_sub(at);
    if kept <= LONG_HISTORY || (at > 0 && known < UNCOMPACTED_LIMIT) {
        return None;
    }
    let phrase = if at == 0 { "was never compacted" } else { "was not compacted for a day" };
    Some(format!(
        "etcd {phrase} and keeps {kept} revisions: it grows until its quota is used up, and then takes no more writes; \
         set auto-compaction (ETCD_AUTO_COMPACTION_MODE=periodic, ETCD_AUTO_COMPACTION_RETENTION=1h) on every member"
    ))
}

/// Where the history was cut, and the revision it has come to; `None`: it could not be told.
async fn read_history(
    member: &dyn MemberConnection,
    key: &str,
    deadline: Duration,
) -> Option<(u64, u64)> {
    let range = Range::Key(key.to_owned());
    let mut query = PageQuery {
        range: range.clone(),
        after: None,
        revision: 0,
        limit: 1,
        max_bytes: MAX_RECORD_BYTES,
    };
    let revision = timeout(deadline, member.read_page(&query)).await.ok()?.ok()?.revision;
    // Whoever can read the first revision has them all. To watch from there would read them all, so that is asked first.
    query.revision = 1;
    match timeout(deadline, member.read_page(&query)).await.ok()? {
        Ok(_) => return Some((0, revision)),
        Err(EtcdError::Compacted) => {}
        Err(_) => return None,
    }
    let query = WatchQuery { range, from: 1 };
    let mut watch = timeout(deadline, member.open_watch(&query)).await.ok()?.ok()?;
    loop {
        let message = timeout(deadline, watch.next_message()).await.ok()?.ok()??;
        if let Some(end) = message.end {
            return Some((end.compact_revision, revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_is_told_of_when_it_is_never_cut() {
        let hour = Duration::from_secs(3600);
        assert_eq!(uncompacted_warning(0, 10_000, UNCOMPACTED_LIMIT * 9), None, "it is short");
        assert!(
            uncompacted_warning(0, 10_001, Duration::ZERO)
                .unwrap()
                .starts_with("etcd was never compacted")
        );
        assert_eq!(uncompacted_warning(1_000, 900_000, hour), None, "it may be cut yet");
        let phrase = uncompacted_warning(1_000, 900_000, UNCOMPACTED_LIMIT).unwrap();
        assert!(phrase.contains("not compacted for a day and keeps 899000 revisions"), "{phrase}");
        assert_eq!(
            uncompacted_warning(895_000, 900_000, UNCOMPACTED_LIMIT),
            None,
            "it was cut not long ago"
        );
        assert_eq!(uncompacted_warning(10, 5, UNCOMPACTED_LIMIT), None, "a restored store");
    }
}
