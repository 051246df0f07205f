//! The rules of records and of who may write them: each case of the store's suite that is about one fails once it is left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]
#![allow(dead_code, reason = "the whole suite is run elsewhere")]

#[path = "../../store/tests/cases/cordons.rs"]
mod cordons;
#[path = "../../store/tests/cases/crossed.rs"]
mod crossed;
mod exam;
#[path = "../../store/tests/cases/forget.rs"]
mod forget;
#[path = "../../store/tests/cases/identities.rs"]
mod identities;
#[path = "../../store/tests/cases/late.rs"]
mod late;
#[path = "../../store/tests/cases/machines.rs"]
mod machines;
#[path = "../../store/tests/cases/places.rs"]
mod places;
#[path = "../../store/tests/cases/poison.rs"]
mod poison;
mod support;
#[path = "../../store/tests/cases/units.rs"]
mod units;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use exam::holds_unless;
use muster_common::decision::StateUpdate;
use muster_store::Op;
use support::Bed;

/// True if a case of the suite passes. It runs on this thread, on which the rule is left out.
macro_rules! passes {
    ($module:ident :: $case:ident) => {
        || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let case = async { $module::$case(&Bed::simulated(1)).await };
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(case))).is_ok()
        }
    };
}

#[test]
fn a_late_destruction_changes_nothing() {
    holds_unless(
        "destruction-unguarded",
        passes!(late::a_unit_submitted_after_a_destruction_stays),
    );
}

#[test]
fn a_late_report_changes_nothing() {
    holds_unless(
        "publication-without-revision",
        passes!(late::no_older_state_takes_the_place_of_a_newer_one),
    );
}

#[test]
fn a_late_word_on_a_machine_changes_nothing() {
    holds_unless(
        "record-replaced-unguarded",
        passes!(late::what_is_said_of_machines_stays_as_it_was_said_last),
    );
}

#[test]
fn a_late_word_on_who_is_held_changes_nothing() {
    holds_unless("held-written-late", passes!(late::who_is_held_stays_as_the_leader_wrote_it_last));
}

#[test]
fn a_machine_that_is_cordoned_meanwhile_takes_nothing_new() {
    holds_unless(
        "placed-without-cordon",
        passes!(places::a_cordon_unseen_keeps_new_placements_away_and_no_others),
    );
}

#[test]
fn nothing_moves_away_from_a_machine_that_is_back() {
    holds_unless(
        "moved-from-the-returned",
        passes!(places::nothing_moves_away_from_a_machine_that_is_back),
    );
}

#[test]
fn nothing_moves_away_from_a_machine_that_stays_after_all() {
    holds_unless(
        "moved-from-the-stayer",
        passes!(places::nothing_moves_away_from_a_machine_that_stays_after_all),
    );
}

#[test]
fn whoever_takes_its_leave_is_not_written_back() {
    holds_unless("leave-overwritten", passes!(machines::members_are_recorded_and_take_their_leave));
}

#[test]
fn whoever_is_back_after_its_leave_is_a_member_from_its_registration_on() {
    holds_unless(
        "members-by-leader-alone",
        passes!(machines::whoever_is_back_after_its_leave_is_a_member_from_its_registration_on),
    );
}

#[test]
fn whoever_is_back_stays_a_member_whatever_its_leader_saw_before() {
    holds_unless(
        "members-of-before-written",
        passes!(machines::whoever_is_back_stays_a_member_whatever_was_seen_before),
    );
}

#[test]
fn nothing_is_left_of_a_machine_that_is_forgotten() {
    holds_unless(
        "forgotten-machine-leaves-records",
        passes!(forget::a_machine_that_is_gone_leaves_nothing_behind),
    );
}

#[test]
fn a_plan_of_before_a_doubt_is_written_nowhere() {
    holds_unless("plan-not-fenced", passes!(places::a_plan_of_before_a_doubt_is_written_nowhere));
}

#[test]
fn nothing_is_written_to_a_store_that_is_not_ours() {
    holds_unless(
        "foreign-store-written",
        passes!(identities::nothing_is_written_to_a_store_that_is_not_ours),
    );
}

#[test]
fn a_goodbye_of_the_boot_before_says_nothing_of_the_next() {
    holds_unless(
        "late-leave-counts-for-next-boot",
        passes!(late::a_goodbye_of_the_boot_before_says_nothing_of_the_next),
    );
}

#[test]
fn a_store_that_takes_the_place_of_ours_takes_no_write() {
    holds_unless(
        "identity-not-guarded",
        passes!(identities::a_store_that_takes_the_place_of_ours_takes_no_write_of_whoever_has_not_looked),
    );
}

#[test]
fn of_two_who_campaign_at_once_one_leads() {
    holds_unless(
        "campaign-unguarded",
        passes!(crossed::of_two_who_campaign_at_the_same_moment_one_leads),
    );
}

#[test]
fn a_lease_that_nothing_is_known_of_hides_no_other() {
    holds_unless(
        "unanswered-lease-hides-all",
        passes!(crossed::a_lease_that_nothing_is_known_of_hides_no_other),
    );
}

#[test]
fn a_file_that_a_backup_names_again_stays() {
    holds_unless(
        "file-removed-from-a-backup",
        passes!(crossed::a_file_that_a_backup_names_again_stays),
    );
}

/// Runs a case of our own on a store of one member.
fn with_store<F: Future<Output = bool>>(case: impl FnOnce(Bed) -> F) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { case(Bed::simulated(1)).await })
}

#[test]
fn whoever_is_registered_no_more_reports_nothing() {
    holds_unless("published-without-registration", || {
        with_store(|bed| async move {
            let registry = bed.registry();
            let presence = machines::present(&registry, "m1").await;
            // Its lease lives on: only the record says that it is not here any more.
            bed.store.commit(vec![], vec![bed.delete("machine/m1")]).await.unwrap();
            let state = Some(machines::state("active"));
            let update = StateUpdate { unit: units::name("a.service"), state };
            registry.publish_states(&presence, vec![update]).await.is_err()
        })
    });
}

#[test]
fn whoever_leads_no_more_holds_nobody() {
    holds_unless("held-written-unguarded", || {
        with_store(|bed| async move {
            let registry = bed.registry();
            let first = machines::present(&registry, "m1").await;
            let led = registry.campaign_for_leadership(&first).await.unwrap().unwrap();
            registry.resign_leadership(&first).await.unwrap();
            let second = machines::present(&registry, "m2").await;
            registry.campaign_for_leadership(&second).await.unwrap().unwrap();
            let held = [first.machine.clone()].into();
            registry.write_held_machines(led, &first, held).await.is_err()
        })
    });
}

#[test]
fn an_unreadable_leader_record_of_ones_own_is_replaced() {
    holds_unless("own-unreadable-record-kept", || {
        with_store(|bed| async move {
            let registry = bed.registry();
            let presence = machines::present(&registry, "m1").await;
            let (key, lease) = (bed.key("leader"), Some(presence.lease.id));
            let put = Op::Put { key, value: "{".into(), lease };
            bed.store.commit(vec![], vec![put]).await.unwrap();
            let led = registry.campaign_for_leadership(&presence).await.unwrap();
            led.is_some() && registry.read_snapshot().await.unwrap().leader.is_some()
        })
    });
}
