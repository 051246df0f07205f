//! The store as restores and mistakes leave it.
//!
//! Owns which state the members are on, and whether that is ours. Who puts them on another is [`crate::store_faults`]' business.

use std::collections::BTreeMap;

use crate::etcd::EtcdModel;
use crate::moment::Micros;

/// The time after a mistake was put right for which an answer may still be that of the wrong store.
const LATE_ANSWERS: Micros = Micros::from_secs(20);

/// The store as restores and mistakes leave it.
#[derive(Debug, Default)]
pub(crate) struct StoreState {
    /// The fault by which the members are stopped, or on another state.
    pub(crate) replaced_by: Option<usize>,
    /// Backups and when they were made, by the fault that puts them back.
    pub(crate) backups: BTreeMap<usize, (Micros, EtcdModel)>,
    /// The data that is put back when a mistake is put right.
    pub(crate) own_data: Option<EtcdModel>,
    /// The last moment at which the members were on what is not ours.
    pub(crate) foreign_until: Option<Micros>,
    /// Faults by which it takes no writes.
    pub(crate) full: u32,
    /// The revision up to which the facts know everything.
    pub(crate) known_revision: u64,
    /// The clusters that the members were of before, by what they call themselves.
    pub(crate) renamed: u64,
    /// The id that our own cluster has now.
    pub(crate) own_id: u64,
}

impl StoreState {
    /// True while the members are on what is not ours.
    pub(crate) fn is_foreign(&self) -> bool {
        self.own_data.is_some()
    }

    /// True if an answer that arrives now may be that of a store that is not ours.
    pub(crate) fn may_be_foreign(&self, now: Micros) -> bool {
        self.is_foreign() || self.foreign_until.is_some_and(|until| until + LATE_ANSWERS > now)
    }
}
