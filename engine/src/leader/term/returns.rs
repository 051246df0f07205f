//! Machines that may come back after an outage, or once the store has room.
//!
//! Owns when a term looks at them again, and what it learns of the store's room from the answers to its writes.

use std::time::Duration;

use muster_common::probe::reached;

use super::{PROBE_INTERVAL, RETRY, Term};
use crate::leader::messages::{TermAnswer, TermEffect, TermNotice};

impl Term {
    /// Notes whether the store takes writes. Once it does again, whoever could not register meanwhile has the time to.
    pub(super) fn note_room(&mut self, now: Duration, answer: &TermAnswer) {
        let freeze = &mut self.view.freeze;
        match answer {
            TermAnswer::Full(_) => {
                freeze.on_store_full();
                // A write of our own tells when there is room again.
                self.fence = None;
                self.retry_by(now + RETRY);
            }
            TermAnswer::Done | TermAnswer::Committed(_) | TermAnswer::Written { .. }
                if freeze.is_store_full() =>
            {
                freeze.on_store_written(now);
                // The wait for them begins with the next turn.
                self.retry_by(now + PROBE_INTERVAL);
            }
            _ => {}
        }
    }

    /// After an outage of the store whoever is missing may come back. Looks again when the time for that is over.
    pub(super) fn wait_for_returns(&mut self, now: Duration, effects: &mut Vec<TermEffect>) {
        let (machines, until) = self.view.freeze.machines_that_may_return(now);
        if !machines.is_empty() {
            reached("loss-waits-for-return");
            // Where contact is not known the next keepalive says more.
            if let Some(until) = until {
                self.retry_by(until.max(now + PROBE_INTERVAL));
            }
        }
        if !machines.is_subset(&self.told_may_return) {
            let notice = TermNotice::MachinesMayReturn(machines.clone());
            effects.push(TermEffect::Log(notice));
        }
        self.told_may_return = machines;
    }
}
