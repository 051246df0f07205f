//! Draining as the reboot role sees it.
//!
//! Owns the order the role gives, and how far it has come, in the engine's words. The moves themselves are the leader's.

use std::time::Duration;

use muster_common::cordon::{AtDeadline, Cordon, Drain as Order, Hold, Holder};
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::unit::Requirements;
use muster_engine::reboot::phase::{Drain, WhenStuck};

/// The hold the role takes, with the order to empty the machine.
pub(super) fn order(now: u64, time: Duration, stuck: WhenStuck) -> Hold {
    Hold {
        by: String::new(),
        reason: String::new(),
        since: now,
        drain: Some(Order {
            began: now,
            deadline: Some(time.as_secs()),
            then: match stuck {
                WhenStuck::Force => AtDeadline::Force,
                WhenStuck::GiveUp => AtDeadline::GiveUp,
            },
            ended: None,
        }),
    }
}

/// Whether the role has cordoned a machine.
pub(super) fn is_ours(cordon: Option<&Cordon>) -> bool {
    cordon.is_some_and(|cordon| cordon.holds.contains_key(&Holder::Reboot))
}

/// Whether the role has ordered its machine to be emptied.
pub(super) fn is_ordered(cordon: &Cordon) -> bool {
    cordon.holds.get(&Holder::Reboot).is_some_and(|hold| hold.drain.is_some())
}

/// How far the machine is drained.
pub(super) fn progress(snapshot: &Snapshot, machine: &MachineId) -> Drain {
    if !snapshot.cordons.get(machine).is_some_and(is_ordered) {
        return Drain::No;
    }
    let is_global = |name, file| {
        snapshot
            .files
            .get(file)
            .is_some_and(|file| Requirements::of(name, file).is_ok_and(|asked| asked.global))
    };
    let here = snapshot.places.iter().filter(|(name, places)| {
        places.get(machine).is_some_and(|place| !is_global(name, &place.file))
    });
    match u64::try_from(here.count()).unwrap_or(u64::MAX) {
        0 => Drain::Done,
        moving => Drain::Going { moving, stuck: Vec::new() },
    }
}
