//! The semaphore held against a model: clients that ask in any order, on reads that may be old, through a register that
//! takes a write only where nothing was written meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

use std::collections::BTreeSet;

use muster_common::probe::plant_fault;
use muster_common::reboot::{Group, Holder, HolderId, HolderKind, Semaphore, WaitReason};
use muster_engine::reboot::semaphore::{Acquire, Release, acquire_slot, release_slot, set_max};
use proptest::prelude::*;

fn id(client: usize) -> HolderId {
    format!("m{client}").parse().unwrap()
}

fn holder(client: usize, since: u64) -> Holder {
    Holder { id: id(client), kind: HolderKind::Host, since }
}

fn ids(semaphore: &Semaphore) -> Vec<&str> {
    semaphore.holders.iter().map(|holder| holder.id.as_str()).collect()
}

#[test]
fn slots_are_granted_until_there_are_none() {
    let group = Group::default();
    let Acquire::Grant(one) =
        acquire_slot(&group, &set_max(&Semaphore::default(), 2), holder(2, 10))
    else {
        panic!("a free slot is granted")
    };
    let Acquire::Grant(two) = acquire_slot(&group, &one, holder(1, 20)) else {
        panic!("so is the next")
    };
    assert_eq!(ids(&two), ["m1", "m2"], "by id");
    assert_eq!(acquire_slot(&group, &two, holder(2, 99)), Acquire::AlreadyHeld { since: 10 });
    let full = WaitReason::SlotsTaken { group: group.clone(), max: 2, holders: vec![id(1), id(2)] };
    assert_eq!(acquire_slot(&group, &two, holder(3, 30)), Acquire::Wait(full));
    let Release::Freed(freed, was) = release_slot(&two, &id(2)) else { panic!("it was held") };
    assert_eq!((ids(&freed), was.since), (vec!["m1"], 10));
    assert_eq!(release_slot(&freed, &id(2)), Release::NotHeld);
}

#[test]
fn fewer_slots_evict_nobody_and_grant_nothing() {
    let group = Group::default();
    let three = Semaphore { max: 3, holders: (0..3).map(|n| holder(n, 1)).collect() };
    let one = set_max(&three, 1);
    assert_eq!(one.holders, three.holders);
    assert_eq!(acquire_slot(&group, &one, holder(1, 9)), Acquire::AlreadyHeld { since: 1 });
    let Release::Freed(two_left, _) = release_slot(&one, &id(0)) else { panic!("it was held") };
    assert!(matches!(acquire_slot(&group, &two_left, holder(0, 9)), Acquire::Wait(_)), "2 of 1");
    let none = set_max(&Semaphore::default(), 0);
    assert!(matches!(acquire_slot(&group, &none, holder(0, 9)), Acquire::Wait(_)));
}

/// What a client does in its turn.
#[derive(Debug, Clone)]
enum Turn {
    /// Reads the register and remembers it, however long.
    Read(usize),
    /// Decides on what it has read, and writes if nothing was written since.
    Acquire(usize),
    Release(usize),
    SetMax(usize, u32),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0..5_usize, 0..4_u32, 0..7_u8).prop_map(|(client, max, kind)| match kind {
        0..=2 => Turn::Read(client),
        3 | 4 => Turn::Acquire(client),
        5 => Turn::Release(client),
        _ => Turn::SetMax(client, max),
    });
    prop::collection::vec(turn, 0..120)
}

proptest! {
    /// Whatever the order and however old the reads: a grant never takes the holders above max, a change of max evicts
    /// nobody, who holds a slot keeps it until it gives it back, and the holders are a sorted set.
    #[test]
    fn the_register_never_holds_what_the_model_does_not(turns in turns()) {
        let group = Group::default();
        let mut register = (0_u64, Semaphore::default());
        let mut read = vec![register.clone(); 5];
        // The model: who holds, by the grants and releases that were written.
        let mut model: BTreeSet<usize> = BTreeSet::new();
        let mut time = 0;
        for turn in turns {
            time += 1;
            let (client, decided, change): (usize, Option<Semaphore>, Turn) = match turn {
                Turn::Read(client) => {
                    read[client] = register.clone();
                    continue;
                }
                Turn::Acquire(client) => match acquire_slot(&group, &read[client].1, holder(client, time)) {
                    Acquire::Grant(next) => (client, Some(next), turn),
                    Acquire::AlreadyHeld { .. } => {
                        prop_assert!(read[client].1.find_holder(&id(client)).is_some());
                        (client, None, turn)
                    }
                    Acquire::Wait(_) => {
                        prop_assert_eq!(read[client].1.free_slots(), 0);
                        (client, None, turn)
                    }
                },
                Turn::Release(client) => match release_slot(&read[client].1, &id(client)) {
                    Release::Freed(next, _) => (client, Some(next), turn),
                    Release::NotHeld => (client, None, turn),
                },
                Turn::SetMax(client, max) => (client, Some(set_max(&read[client].1, max)), turn),
            };
            let Some(next) = decided else { continue };
            // Compare and swap: a client that has read something old writes nothing.
            if read[client].0 != register.0 {
                continue;
            }
            let before = register.1.holders.len();
            register = (register.0 + 1, next);
            match change {
                Turn::Acquire(client) => {
                    prop_assert!(before < register.1.max as usize, "a grant above max");
                    prop_assert!(model.insert(client), "a second slot for one holder");
                }
                Turn::Release(client) => prop_assert!(model.remove(&client)),
                Turn::SetMax(_, max) => prop_assert_eq!(register.1.max, max),
                Turn::Read(_) => {}
            }
            let held: Vec<HolderId> = register.1.holders.iter().map(|h| h.id.clone()).collect();
            let expected: Vec<HolderId> = model.iter().map(|client| id(*client)).collect();
            prop_assert_eq!(held, expected);
        }
    }

    /// Asking again changes nothing, and giving back what was granted leads back.
    #[test]
    fn asking_twice_is_asking_once(max in 0..6_u32, held in prop::collection::btree_set(0..8_usize, 0..8), who in 0..8_usize) {
        let group = Group::default();
        let before = Semaphore { max, holders: held.iter().map(|n| holder(*n, 1)).collect() };
        if let Acquire::Grant(granted) = acquire_slot(&group, &before, holder(who, 2)) {
            prop_assert_eq!(acquire_slot(&group, &granted, holder(who, 3)), Acquire::AlreadyHeld { since: 2 });
            let Release::Freed(after, was) = release_slot(&granted, &id(who)) else { panic!("it was granted") };
            prop_assert_eq!(after, before);
            prop_assert_eq!(was, holder(who, 2));
        }
    }
}

/// Asserts that a rule is noticed when it is left out.
fn fails_without(planted: &'static str, tests: fn()) {
    plant_fault(Some(planted));
    let passed = std::panic::catch_unwind(tests);
    plant_fault(None);
    assert!(passed.is_err(), "{planted} makes no difference here");
}

#[test]
fn a_rule_of_slots_that_is_left_out_is_noticed() {
    for planted in ["slot-granted-above-max", "slot-granted-twice"] {
        fails_without(planted, slots_are_granted_until_there_are_none);
    }
}
