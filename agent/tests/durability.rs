//! What the daemon keeps on disk, after power has failed.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::path::Path;
use std::sync::Arc;

use muster_common::snapshot::{Handover, Placement};
use muster_common::state::DesiredState;
use muster_common::unit::FileHash;
use muster_engine::machine::memory::LastKnown;
use musterd::machine::last_known::{self, FoundPlacements};
use musterd::machine::ledger::Ledger;
use support::LossyDisk;
use support::name;

const TEXT: &str = "[Service]\nExecStart=/bin/true\n";

/// A unit at a generation, placed here.
fn placed(generation: u64) -> LastKnown {
    let file = FileHash::of_text(TEXT);
    let (desired, handover) = (DesiredState::Launched, Handover::default());
    let place = Placement { file, desired, generation, handover, revision: 0 };
    LastKnown {
        places: [(name("a.service"), place)].into(),
        files: [(file, TEXT.to_owned())].into(),
    }
}

#[test]
fn placements_that_were_saved_are_there_after_a_power_cut() {
    let disk = LossyDisk::new();
    let path = Path::new("/var/lib/muster/placements.json");
    for generation in 1..=3 {
        last_known::save(&disk, path, &placed(generation)).unwrap();
        disk.cut_power();
        let found = FoundPlacements { known: placed(generation), is_newest: true };
        assert_eq!(last_known::load(&disk, path), Some(found));
    }
}

#[test]
fn what_is_remembered_of_units_outlives_the_daemon_and_no_power_cut() {
    let disk = LossyDisk::new();
    let directory = Path::new("/run/muster/owned");
    let open = || Ledger::open(Arc::new(disk.clone()), directory.to_owned()).unwrap();
    open().record_file(&name("a.service"), FileHash::of_text(TEXT)).unwrap();
    assert!(open().get(&name("a.service")).is_some());
    disk.cut_power();
    assert!(open().owned_units().is_empty());
}
