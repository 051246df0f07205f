//! The semaphore: who gets a slot.
//!
//! Owns the rule that no grant takes a group above its max, that the same holder is granted the same slot however often it
//! asks, and that nobody is evicted. Whoever carries a decision out writes the new semaphore only where the one that was
//! decided upon still stands, and decides anew otherwise.

use muster_common::probe::is_planted;
use muster_common::reboot::{Group, Holder, HolderId, Semaphore, WaitReason};

/// The answer to somebody who wants a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquire {
    /// Yes: write this.
    Grant(Semaphore),
    /// It is the holder's already, since then.
    AlreadyHeld {
        /// When it was taken.
        since: u64,
    },
    /// Not now, and why.
    Wait(WaitReason),
}

/// The answer to somebody who gives a slot back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// Write this; that was the holder.
    Freed(Semaphore, Holder),
    /// It holds none, which is as good.
    NotHeld,
}

/// Decides on the wish of somebody for a slot.
pub fn acquire_slot(group: &Group, semaphore: &Semaphore, wanted: Holder) -> Acquire {
    let known = semaphore.find_holder(&wanted.id);
    if let Some(holder) = known.filter(|_| !is_planted("slot-granted-twice")) {
        return Acquire::AlreadyHeld { since: holder.since };
    }
    if semaphore.free_slots() == 0 && !is_planted("slot-granted-above-max") {
        return Acquire::Wait(WaitReason::SlotsTaken {
            group: group.clone(),
            max: semaphore.max,
            holders: semaphore.holders.iter().map(|holder| holder.id.clone()).collect(),
        });
    }
    let mut granted = semaphore.clone();
    granted.holders.push(wanted);
    granted.holders.sort_by(|a, b| a.id.cmp(&b.id));
    // The group had a slot to spare. There can be more holders than slots after `set_max`, but never by a grant.
    debug_assert!(
        u32::try_from(granted.holders.len()).is_ok_and(|holders| holders <= granted.max),
        "a grant takes the group above its max: {granted:?}"
    );
    debug_assert!(
        granted.holders.windows(2).all(|pair| matches!(pair, [a, b] if a.id < b.id)),
        "a holder has one slot, and they are sorted: {granted:?}"
    );
    Acquire::Grant(granted)
}

/// Decides on the end of somebody's holding: the rest of the semaphore.
pub fn release_slot(semaphore: &Semaphore, id: &HolderId) -> Release {
    let Some(holder) = semaphore.find_holder(id).cloned() else { return Release::NotHeld };
    let mut freed = semaphore.clone();
    freed.holders.retain(|holder| holder.id != *id);
    Release::Freed(freed, holder)
}

/// The semaphore with another number of slots. Whoever holds one keeps it, even when there are fewer slots now.
pub fn set_max(semaphore: &Semaphore, max: u32) -> Semaphore {
    Semaphore { max, holders: semaphore.holders.clone() }
}
