//! Who waits for which of systemd's jobs.
//!
//! Owns the pairing of a job with its end, in whatever order the two become known. It never talks to systemd.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

/// Ends of jobs kept for a caller who has not asked yet. A caller asks right after systemd's reply, so only ends that
/// arrive between the two matter; every job of the host passes through here, and a busy boot has a few hundred.
const KEPT: usize = 1024;

/// Waiters and early ends.
#[derive(Debug, Default)]
pub(super) struct JobWaiters {
    waiters: HashMap<String, oneshot::Sender<String>>,
    early: HashMap<String, String>,
    order: VecDeque<String>,
}

impl JobWaiters {
    /// Waits for the end of a job, which may have come already. The receiver yields systemd's result; it fails when
    /// the connection is lost.
    pub(super) fn wait(&mut self, job: &str) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        if let Some(result) = self.early.remove(job) {
            let _ = sender.send(result);
        } else {
            self.waiters.insert(job.to_owned(), sender);
        }
        receiver
    }

    /// A job has ended.
    pub(super) fn on_job_removed(&mut self, job: &str, result: &str) {
        if let Some(waiter) = self.waiters.remove(job) {
            let _ = waiter.send(result.to_owned());
            return;
        }
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.early.remove(&oldest);
        }
        self.early.insert(job.to_owned(), result.to_owned());
        self.order.push_back(job.to_owned());
    }

    /// Nobody waits for it any more.
    pub(super) fn forget_waiter(&mut self, job: &str) {
        self.waiters.remove(job);
    }

    /// Forgets the ends of jobs that nobody waits for yet: they were told by one that is systemd no more.
    pub(super) fn forget_early(&mut self) {
        self.early.clear();
        self.order.clear();
    }

    /// The connection is lost: whoever waits is told, and job numbers may be used again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_found_whether_it_comes_before_or_after_the_question() {
        let mut jobs = JobWaiters::default();
        jobs.on_job_removed("/job/1", "done");
        assert_eq!(jobs.wait("/job/1").try_recv(), Ok("done".to_owned()));

        let mut waiting = jobs.wait("/job/2");
        assert!(waiting.try_recv().is_err());
        jobs.on_job_removed("/job/2", "failed");
        assert_eq!(waiting.try_recv(), Ok("failed".to_owned()));
    }

    #[test]
    fn only_so_many_early_ends_are_kept() {
        let mut jobs = JobWaiters::default();
        for job in 0..=KEPT {
            jobs.on_job_removed(&format!("/job/{job}"), "done");
        }
        assert!(jobs.wait("/job/0").try_recv().is_err());
        assert!(jobs.wait("/job/1").try_recv().is_ok());
    }

    #[test]
    fn a_lost_connection_tells_whoever_waits() {
        let mut jobs = JobWaiters::default();
        let mut waiting = jobs.wait("/job/1");
        jobs.clear();
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
