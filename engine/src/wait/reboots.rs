//! A wait for whatever changes about reboots; it has no end of its own.
//!
//! Owns what is new from one reading of the records to the next.

use muster_common::api::reboot::{RebootEvent, Reboots};

use super::cluster_wait::StoreLoss;

/// One client's view of the reboots.
pub struct RebootsWait {
    told: Reboots,
    store_loss: StoreLoss,
    was_lost: bool,
}

impl RebootsWait {
    /// Begins with what was read for this client, which is to be told at once. Nothing older is told afterwards: the client
    /// sees what it has just done.
    pub fn new(first: Reboots) -> Self {
        Self { told: first, store_loss: StoreLoss::default(), was_lost: false }
    }

    /// The event that a client begins with.
    pub fn first_event(&self) -> RebootEvent {
        RebootEvent::Status(self.told.clone())
    }

    /// The events that a reading adds to those of before. `lost`: why the store cannot be reached, while it cannot; `reboots`: what was
    /// last read of the records, if anything was.
    pub fn update(&mut self, lost: Option<&str>, reboots: Option<Reboots>) -> Vec<RebootEvent> {
        let mut events = Vec::new();
        if let Some(message) = self.store_loss.update(lost) {
            events.push(RebootEvent::Degraded { message });
        }
        let is_back = self.was_lost && lost.is_none();
        self.was_lost = lost.is_some();
        if let Some(mut now) = reboots.filter(|now| now.revision >= self.told.revision) {
            // The store's revision moves with whatever is written to it; that alone is nothing new.
            let revision = std::mem::replace(&mut now.revision, self.told.revision);
            let has_changed = now != self.told;
            now.revision = revision;
            self.told = now;
            if has_changed || is_back {
                events.push(self.first_event());
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use muster_common::reboot::Group;

    use super::*;

    fn reboots(revision: u64, slots: u32) -> Reboots {
        let group = muster_common::api::reboot::GroupSlots::new(
            Group::default(),
            muster_common::reboot::Semaphore { max: slots, ..Default::default() },
        );
        Reboots {
            machine: "m1".parse().unwrap(),
            group: None,
            revision,
            groups: vec![group],
            hosts: Vec::new(),
            requests: Vec::new(),
            unreadable: Vec::new(),
            machines: Vec::new(),
        }
    }

    #[test]
    fn only_what_has_changed_is_told_and_nothing_older_than_the_first() {
        let mut wait = RebootsWait::new(reboots(5, 1));
        assert_eq!(wait.update(None, None), []);
        assert_eq!(wait.update(None, Some(reboots(4, 9))), []);
        assert_eq!(wait.update(None, Some(reboots(6, 1))), [], "a revision alone is nothing new");
        let changed = reboots(7, 2);
        assert_eq!(wait.update(None, Some(changed.clone())), [RebootEvent::Status(changed)]);
    }

    #[test]
    fn a_store_that_comes_back_is_told_with_what_it_holds() {
        let mut wait = RebootsWait::new(reboots(5, 1));
        let degraded = wait.update(Some("no answer"), Some(reboots(5, 1)));
        assert!(matches!(&degraded[..], [RebootEvent::Degraded { .. }]), "{degraded:?}");
        assert_eq!(wait.update(Some("no answer"), Some(reboots(5, 1))), []);
        let back = reboots(6, 1);
        assert_eq!(wait.update(None, Some(back.clone())), [RebootEvent::Status(back)]);
    }
}
