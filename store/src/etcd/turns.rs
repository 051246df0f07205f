//! Which endpoint is asked next.
//!
//! Owns the order of endpoints and what is remembered of each; it reaches nobody and reads no clock.

use std::time::Duration;

use muster_common::probe::{is_planted, reached};
use muster_runtime::Instant;

/// For how long an endpoint that was of no use is held to be of none, when the only one that answers is late once. Longer than it takes to
/// ask every other one, and short enough that a member which was started anew is asked first after the next trouble.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Who is late twice within this time is of no use, whatever it answers in between.
const LATE_ONCE: Duration = Duration::from_secs(2);

/// The endpoint that is asked, as a count of turns: the endpoint is the turn modulo their number.
#[derive(Debug)]
pub(super) struct EndpointTurns {
    turn: usize,
    /// The endpoint has answered in this turn.
    has_answered: bool,
    /// When an endpoint last had another turn at once.
    stayed: Option<Instant>,
    /// When each endpoint was given up, unless it has answered since.
    given_up: Vec<Option<Instant>>,
}

impl EndpointTurns {
    /// The first of so many endpoints.
    pub(super) fn new(endpoints: usize) -> Self {
        Self { turn: 0, has_answered: false, stayed: None, given_up: vec![None; endpoints] }
    }

    /// The turn, which grows with each endpoint that is given up.
    pub(super) fn current_turn(&self) -> usize {
        self.turn
    }

    /// The number of the endpoint of a turn.
    pub(super) fn endpoint_of(&self, turn: usize) -> usize {
        turn.checked_rem(self.given_up.len()).unwrap_or(0)
    }

    /// The endpoint has answered.
    pub(super) fn note_answer(&mut self) {
        self.has_answered = true;
        let endpoint = self.endpoint_of(self.turn);
        if let Some(given_up) = self.given_up.get_mut(endpoint) {
            *given_up = None;
        }
    }

    /// The endpoint was of no use: the next turn begins. It is that of the next endpoint; but where no other one was of use lately and this
    /// one was, it has another turn first: a message that is late once costs less than to wait for each of the others, and for longer than
    /// a lease lasts.
    pub(super) fn give_up(&mut self, now: Instant) {
        let endpoint = self.endpoint_of(self.turn);
        let late_before =
            self.stayed.is_some_and(|at| now.saturating_duration_since(at) < LATE_ONCE);
        let stays = self.has_answered
            && !late_before
            && self.are_others_useless(endpoint, now)
            && !is_planted("late-once-given-up");
        if stays {
            self.stayed = Some(now);
            if self.given_up.len() > 1 {
                reached("only-endpoint-that-answers");
            }
        }
        let steps = if stays { self.given_up.len() } else { 1 };
        self.turn = self.turn.wrapping_add(steps);
        self.has_answered = false;
        if let Some(given_up) = self.given_up.get_mut(endpoint) {
            *given_up = Some(now);
        }
    }

    fn are_others_useless(&self, endpoint: usize, now: Instant) -> bool {
        self.given_up.iter().enumerate().all(|(other, given_up)| {
            other == endpoint
                || given_up.is_some_and(|at| now.saturating_duration_since(at) < REMEMBERED)
        })
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
