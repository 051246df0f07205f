//! The calls of a daemon that are on their way to systemd.
//!
//! Owns when each arrives: in the order in which they were made, after a moment, and later where systemd is busy. What has been sent is
//! heard even when whoever sent it is gone by then.

use std::collections::VecDeque;
use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use musterd::runner::RunnerError;
use tokio::sync::oneshot;

use super::calls::{SystemdAnswer, SystemdCall};

/// The shortest and the longest that a call is on its way, in microseconds.
const LATENCY: (u64, u64) = (100, 3_000);

/// The answer to a call, or the reason not to give one.
pub(super) type SystemdCallResult = Result<SystemdAnswer, RunnerError>;

/// A call on its way.
#[derive(Debug)]
pub(super) struct WaitingCall {
    pub(super) arrives: Duration,
    pub(super) call: SystemdCall,
    /// The generation that whoever sent it had in mind, where it is a start.
    pub(super) generation: u64,
    pub(super) reply: oneshot::Sender<SystemdCallResult>,
}

/// The calls that systemd has not read yet.
#[derive(Debug, Default)]
pub(super) struct CallQueue {
    calls: VecDeque<WaitingCall>,
    last_arrival: Duration,
    busy_until: Duration,
    /// Where a call takes time. Without it each arrives at once.
    chance: Option<RandomSequence>,
}

impl CallQueue {
    /// Calls take time from now on.
    pub(super) fn set_latency(&mut self, seed: Seed) {
        self.chance = Some(seed.random_sequence());
    }

    /// systemd reads no calls until then.
    pub(super) fn set_busy(&mut self, until: Duration) {
        self.busy_until = until;
    }

    /// True if systemd reads no calls.
    pub(super) fn is_busy(&self, now: Duration) -> bool {
        self.busy_until > now
    }

    /// Puts a call on its way.
    pub(super) fn send(
        &mut self,
        now: Duration,
        call: SystemdCall,
        generation: u64,
    ) -> oneshot::Receiver<SystemdCallResult> {
        let takes = self.chance.as_ref().map_or(0, |chance| {
            LATENCY.0 + chance.next().checked_rem(LATENCY.1 - LATENCY.0).unwrap_or(0)
        });
        let arrives = (now + Duration::from_micros(takes)).max(self.last_arrival);
        self.last_arrival = arrives;
        let (reply, answer) = oneshot::channel();
        self.calls.push_back(WaitingCall { arrives, call, generation, reply });
        answer
    }

    /// The moment at which the next call is read.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        self.calls.front().map(|call| call.arrives.max(self.busy_until))
    }

    /// Takes the next call out.
    pub(super) fn pop(&mut self) -> Option<WaitingCall> {
        self.calls.pop_front()
    }

    /// The line breaks: nobody hears an answer any more, and by chance half of what was sent is lost.
    pub(super) fn break_line(&mut self) {
        for waiting in std::mem::take(&mut self.calls) {
            let arrives = self.chance.as_ref().is_some_and(|chance| chance.next() % 2 == 0);
            if arrives {
                let (reply, _) = oneshot::channel();
                self.calls.push_back(WaitingCall { reply, ..waiting });
            }
        }
    }

    /// Everything on its way is gone, with systemd itself.
    pub(super) fn clear(&mut self) {
        self.calls.clear();
        (self.last_arrival, self.busy_until) = (Duration::ZERO, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> CallQueue {
        let mut queue = CallQueue::default();
        queue.set_latency(Seed(1));
        queue
    }

    #[test]
    fn calls_arrive_in_their_order_and_after_a_moment() {
        let mut queue = queue();
        let mut last = Duration::ZERO;
        let _answers: Vec<_> =
            (0..50).map(|_| queue.send(Duration::ZERO, SystemdCall::UnitPath, 0)).collect();
        while let Some(at) = queue.next_arrival() {
            assert!(at >= last && at > Duration::ZERO);
            last = at;
            queue.pop();
        }
        assert!(last <= Duration::from_micros(LATENCY.1));
    }

    #[test]
    fn a_busy_systemd_reads_all_calls_when_it_is_busy_no_more() {
        let mut queue = queue();
        queue.set_busy(Duration::from_secs(9));
        let _answer = queue.send(Duration::from_secs(1), SystemdCall::ReloadUnits, 0);
        assert_eq!(queue.next_arrival(), Some(Duration::from_secs(9)));
        assert!(queue.is_busy(Duration::from_secs(8)) && !queue.is_busy(Duration::from_secs(9)));
    }

    #[test]
    fn some_calls_arrive_over_a_line_that_broke_and_nobody_hears_the_answer() {
        let mut queue = queue();
        let answers: Vec<_> =
            (0..50).map(|_| queue.send(Duration::ZERO, SystemdCall::ReloadUnits, 0)).collect();
        queue.break_line();
        let arrive = std::iter::from_fn(|| queue.pop()).count();
        assert!((5..45).contains(&arrive), "{arrive} of 50");
        for mut answer in answers {
            assert!(answer.try_recv().is_err());
        }
    }
}
