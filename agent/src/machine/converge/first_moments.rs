//! Waiting for a unit's first moments to pass.
//!
//! Owns the bells of those who have started a unit and wait. Which unit is steady is [`Steadiness`]'s affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::unit::UnitName;
use muster_engine::machine::steadiness::Steadiness;
use tokio::sync::Notify;

/// Units in their first moments, and whoever waits for them.
#[derive(Debug, Default)]
pub(super) struct FirstMoments {
    pub(super) steadiness: Steadiness,
    bells: BTreeMap<UnitName, Arc<Notify>>,
}

impl FirstMoments {
    /// A unit is about to be started. The bell rings when it may have failed, even if nobody listens yet.
    pub(super) fn begin_watch(&mut self, unit: &UnitName) -> Arc<Notify> {
        self.steadiness.begin_watch(unit);
        let bell = Arc::new(Notify::new());
        self.bells.insert(unit.clone(), Arc::clone(&bell));
        bell
    }

    /// Its first moments are over.
    pub(super) fn end_watch(&mut self, unit: &UnitName) {
        self.steadiness.end_watch(unit);
        self.bells.remove(unit);
    }

    /// It is not here any more.
    pub(super) fn forget_unit(&mut self, unit: &UnitName) {
        self.steadiness.forget_unit(unit);
        self.bells.remove(unit);
    }

    /// Rings for whoever has started the unit.
    pub(super) fn ring_bell(&self, unit: &UnitName) {
        if let Some(bell) = self.bells.get(unit) {
            bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_that_rang_before_anybody_listened_is_heard() {
        let unit: UnitName = "a.service".parse().unwrap();
        let mut moments = FirstMoments::default();
        let bell = moments.begin_watch(&unit);
        moments.ring_bell(&unit);
        bell.notified().await;
        moments.end_watch(&unit);
        moments.ring_bell(&unit);
    }
}
