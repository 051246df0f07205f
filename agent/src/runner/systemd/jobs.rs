//! Who waits for which of systemd's jobs.
//!
//! Owns the pairing of a job with its end, in whatever order the two become known. It never talks to systemd.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::oneshot;

use super::manager::{JobId, JobResult};

/// Ends of jobs kept for a caller who has not asked yet. A caller asks right after systemd's reply, so only ends that
/// arrive between the two matter; every job of the host passes through here, and a busy boot has a few hundred.
const KEPT: usize = 1024;

/// Waiters and early ends.
#[derive(Debug, Default)]
pub(super) struct JobWaiters {
    /// In an order: when the line breaks all of them are told, and a simulated daemon goes on from there in the same way each time.
    waiters: BTreeMap<JobId, oneshot::Sender<JobResult>>,
    early: HashMap<JobId, JobResult>,
    order: VecDeque<JobId>,
}

impl JobWaiters {
    /// Waits for the end of a job, which may have come already. The receiver yields systemd's result; it fails when
    /// the connection is lost.
    pub(super) fn wait(&mut self, job: &JobId) -> oneshot::Receiver<JobResult> {
        let (sender, receiver) = oneshot::channel();
        if let Some(result) = self.early.remove(job) {
            let _ = sender.send(result);
        } else {
            self.waiters.insert(job.clone(), sender);
        }
        receiver
    }

    /// A job has ended.
    pub(super) fn on_job_removed(&mut self, job: &JobId, result: JobResult) {
        if let Some(waiter) = self.waiters.remove(job) {
            let _ = waiter.send(result);
            return;
        }
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.early.remove(&oldest);
        }
        self.early.insert(job.clone(), result);
        self.order.push_back(job.clone());
    }

    /// Nobody waits for it any more.
    pub(super) fn forget_waiter(&mut self, job: &JobId) {
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

    fn job(path: &str) -> JobId {
        JobId(path.to_owned())
    }

    #[test]
    fn an_end_is_found_whether_it_comes_before_or_after_the_question() {
        let mut jobs = JobWaiters::default();
        jobs.on_job_removed(&job("/job/1"), JobResult::Done);
        assert_eq!(jobs.wait(&job("/job/1")).try_recv(), Ok(JobResult::Done));

        let mut waiting = jobs.wait(&job("/job/2"));
        assert!(waiting.try_recv().is_err());
        jobs.on_job_removed(&job("/job/2"), JobResult::Failed);
        assert_eq!(waiting.try_recv(), Ok(JobResult::Failed));
    }

    #[test]
    fn only_so_many_early_ends_are_kept() {
        let mut jobs = JobWaiters::default();
        for number in 0..=KEPT {
            jobs.on_job_removed(&job(&format!("/job/{number}")), JobResult::Done);
        }
        assert!(jobs.wait(&job("/job/0")).try_recv().is_err());
        assert!(jobs.wait(&job("/job/1")).try_recv().is_ok());
    }

    #[test]
    fn a_lost_connection_tells_whoever_waits() {
        let mut jobs = JobWaiters::default();
        let mut waiting = jobs.wait(&job("/job/1"));
        jobs.clear();
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
