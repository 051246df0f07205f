//! Warns of etcd servers with known faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::Client;

use super::connection::DEADLINE;

/// The first releases of each line without the faults: reads that are stale after a pause of the server, leases that
/// are revoked wrongly or not at all.
const SOUND: [(u64, u64, u64); 3] = [(3, 4, 42), (3, 5, 28), (3, 6, 9)];

/// Asks the server for its version in the background, unless that has been done.
pub(super) fn check_once(done: &Arc<AtomicBool>, mut client: Client) {
    if done.swap(true, Ordering::Relaxed) {
        return;
    }
    let done = Arc::clone(done);
    tokio::spawn(async move {
        let status = tokio::time::timeout(DEADLINE, client.status()).await;
        match status {
            Ok(Ok(status)) if !is_sound(status.version()) => tracing::warn!(
                version = status.version(),
                "this etcd has known faults (stale reads after a pause, leases revoked wrongly); \
                 3.4.42, 3.5.28, 3.6.9 and later have not"
            ),
            Ok(Ok(_)) => {}
            // Not reached: the next connection asks again.
            Ok(Err(_)) | Err(_) => done.store(false, Ordering::Relaxed),
        }
    });
}

fn is_sound(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().ok());
    let (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        // Not a version we can judge, so nothing to warn of.
        return true;
    };
    match SOUND.iter().find(|(m, n, _)| (*m, *n) == (major, minor)) {
        Some((_, _, sound)) => patch >= *sound,
        None => (major, minor) > (3, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::is_sound;

    #[test]
    fn servers_before_the_fixes_of_their_line_are_warned_of() {
        for version in ["3.3.27", "3.4.23", "3.4.41", "3.5.27", "3.6.0", "3.6.8"] {
            assert!(!is_sound(version), "{version}");
        }
        for version in ["3.4.42", "3.5.28", "3.6.9", "3.7.0", "4.0.0", "3.6.9-rc.0", "", "main"] {
            assert!(is_sound(version), "{version}");
        }
    }
}
