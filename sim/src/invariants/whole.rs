//! The rules for whole clusters: those that hold at any moment, against the world's records, and all of them once it is calm, as
//! `musterctl doctor` sees the cluster.
//!
//! The rules are the checker's. What machines say of themselves is their daemons' answer.

use std::collections::BTreeSet;

use muster_checker::{
    ClusterPicture, RecordPicture, Severity, Violation, check_cluster, check_safety,
};
use muster_common::api::inspect::{ClusterRecords, MachineReports};
use muster_store::{Listing, StoreContents};

use super::Findings;
use crate::facts::Facts;
use crate::machine::PREFIX;

/// Words that are true of a machine that nobody hears, or was not heard a moment ago: it runs what was moved away from it, as far
/// as it cannot help it. [`super::twice`] knows when it can.
const OF_CUT_MACHINES: [&str; 1] = ["runs-twice"];

/// Remarks that are true of a world in which nothing is wrong: units that fail by chance, that conflict and are more than machines,
/// clocks that were set, files that were left when two changes of their units crossed, and a release of etcd with known faults, which is
/// the plan's choice.
const HARMLESS: [&str; 5] =
    ["unit-waits", "unit-failed", "clock-off", "file-of-nobody", "store-warning"];

/// The doing of people, and right for as long as they want it: fewer slots than are held. A host whose units do not get well after its
/// reboot keeps its slot; that no grant goes above what there is, is checked as it is made.
const OF_PEOPLE: [&str; 1] = ["slots-above-max"];

/// Checks the records against what must never be, at this moment.
pub(crate) fn check_records(facts: &Facts) -> Findings {
    let entries = facts.records.values().cloned().collect();
    let revision = facts.records.values().map(|record| record.mod_revision).max().unwrap_or(0);
    let contents = StoreContents::from_listing(PREFIX, &Listing { revision, entries });
    let records = RecordPicture {
        snapshot: contents.snapshot,
        groups: contents.reboots.groups,
        hosts: contents.reboots.hosts,
        requests: contents.reboots.requests,
        unleased: contents.unleased,
        ..RecordPicture::default()
    };
    let picture = ClusterPicture { records: Some(records), ..ClusterPicture::default() };
    let found = check_safety(&picture);
    let found = found.into_iter().filter(|found| !OF_CUT_MACHINES.contains(&found.as_word()));
    // A unit that somebody has written by hand names whatever text it likes.
    let is_by_hand = |found: &Violation| found.unit().is_some_and(|unit| facts.is_by_hand(unit));
    let found = found.filter(|it| !matches!(it, Violation::FileMissing { .. }) || !is_by_hand(it));
    found.map(|found| (found.as_word(), found.to_string())).collect()
}

/// A look at the whole cluster.
pub(crate) fn look_at_cluster(
    machines: MachineReports,
    records: ClusterRecords,
) -> BTreeSet<Violation> {
    let picture = ClusterPicture {
        records: Some(RecordPicture::from(records)),
        machines: machines.machines,
        ..ClusterPicture::default()
    };
    let counts = |found: &Violation| {
        let word = found.as_word();
        let is_remark = found.severity_level() == Severity::Remark;
        !(OF_PEOPLE.contains(&word) || is_remark && HARMLESS.contains(&word))
    };
    check_cluster(&picture).into_iter().filter(counts).collect()
}

/// The findings of two looks, one a while after the other: what both show.
pub(crate) fn compare_looks(first: &BTreeSet<Violation>, second: &BTreeSet<Violation>) -> Findings {
    let both = first.intersection(second);
    both.map(|found| (found.as_word(), format!("{found}, and all is calm"))).collect()
}
