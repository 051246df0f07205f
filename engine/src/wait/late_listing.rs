//! Waits on a picture of the cluster that may fall back for a moment.
//!
//! Owns what a wait makes of a picture that is older than the one it began on. Pictures are brought by two: a watch, and reads beside it for
//! those who cannot wait for it. A watch that begins anew brings its listing when that comes, which may be after a read that was made
//! later: the picture is then of before the change that is waited for, until the watch goes on. Such a picture is passed over. A store that was
//! put back from a backup without a bump of its revisions looks the same, and stays so: after a while it is believed.

use std::time::Duration;

use muster_common::probe::is_planted;

use super::ClusterWait;
use crate::cluster::Cluster;

/// The time in which a watch that has listed goes on with what came after.
const PATIENCE: Duration = Duration::from_secs(5);

/// A wait on pictures that are at least at a revision.
#[derive(Debug)]
pub struct PatientWait<W> {
    wait: W,
    /// The revision of the picture that it began on; 0: whatever comes is believed.
    revision: u64,
    behind_since: Option<Duration>,
}

impl<W> PatientWait<W> {
    /// A wait that begins on a picture of this revision.
    pub fn new(wait: W, revision: u64) -> Self {
        Self { wait, revision, behind_since: None }
    }

    /// True while the picture is one to be passed over.
    fn passes_over(&mut self, now: Duration, revision: u64) -> bool {
        if revision >= self.revision || is_planted("late-listing-believed") {
            self.behind_since = None;
            return false;
        }
        let since = *self.behind_since.get_or_insert(now);
        if now < since.saturating_add(PATIENCE) {
            return true;
        }
        (self.revision, self.behind_since) = (0, None);
        false
    }
}

impl<W: ClusterWait> ClusterWait for PatientWait<W> {
    type Update = W::Update;

    fn update(&mut self, now: Duration, cluster: &mut Cluster) -> Vec<W::Update> {
        if self.passes_over(now, cluster.current_snapshot().revision) {
            return Vec::new();
        }
        self.wait.update(now, cluster)
    }

    fn is_over(&self) -> bool {
        self.wait.is_over()
    }

    fn next_deadline(&self) -> Option<Duration> {
        match self.behind_since {
            Some(since) => Some(since.saturating_add(PATIENCE)),
            None => self.wait.next_deadline(),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::Snapshot;

    use super::*;

    /// Tells the revisions that it sees.
    struct Seen;

    impl ClusterWait for Seen {
        type Update = u64;

        fn update(&mut self, _: Duration, cluster: &mut Cluster) -> Vec<u64> {
            vec![cluster.current_snapshot().revision]
        }

        fn is_over(&self) -> bool {
            false
        }

        fn next_deadline(&self) -> Option<Duration> {
            None
        }
    }

    fn look(wait: &mut PatientWait<Seen>, second: u64, revision: u64) -> Vec<u64> {
        let mut cluster = Cluster::default();
        cluster.reset(Snapshot { revision, ..Snapshot::default() }, Duration::ZERO);
        wait.update(Duration::from_secs(second), &mut cluster)
    }

    #[test]
    fn a_listing_that_comes_late_is_passed_over() {
        let mut wait = PatientWait::new(Seen, 88);
        assert_eq!(look(&mut wait, 1, 91), [91]);
        assert_eq!(look(&mut wait, 2, 87), Vec::<u64>::new());
        assert_eq!(wait.next_deadline(), Some(Duration::from_secs(7)));
        assert_eq!(look(&mut wait, 3, 88), [88]);
        assert_eq!(wait.next_deadline(), None);
    }

    #[test]
    fn a_store_that_was_put_back_is_believed_after_a_while() {
        let mut wait = PatientWait::new(Seen, 88);
        assert_eq!(look(&mut wait, 2, 60), Vec::<u64>::new());
        assert_eq!(look(&mut wait, 6, 61), Vec::<u64>::new());
        assert_eq!(look(&mut wait, 7, 61), [61]);
        assert_eq!(look(&mut wait, 8, 62), [62]);
    }
}
