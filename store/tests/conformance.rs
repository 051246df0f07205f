//! What every store does: one suite of cases for all backends, and the registry's cases on top of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[path = "cases/commits.rs"]
mod commits;
#[path = "cases/cordons.rs"]
mod cordons;
#[path = "cases/identities.rs"]
mod identities;
#[path = "cases/leases.rs"]
mod leases;
#[path = "cases/machines.rs"]
mod machines;
#[path = "cases/places.rs"]
mod places;
#[path = "cases/poison.rs"]
mod poison;
#[path = "cases/reads.rs"]
mod reads;
#[path = "cases/reboots.rs"]
mod reboots;
#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;
#[path = "cases/units.rs"]
mod units;
#[path = "cases/watches.rs"]
mod watches;

/// Makes three tests of each case.
macro_rules! on_every_backend {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod on_embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::embedded()).await;
                }
            )+
        }

        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::memory()).await;
                }
            )+
        }

        mod on_etcd {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::etcd().await).await;
                }
            )+
        }
    };
}

on_every_backend![
    reads::a_range_holds_its_keys_in_order_and_no_others,
    reads::thousands_of_large_records_are_read_at_one_revision,
    reads::records_near_the_limit_are_read,
    commits::revisions_rise_and_records_tell_theirs,
    commits::guards_decide,
    commits::a_commit_is_all_or_nothing,
    commits::what_changes_nothing_has_no_revision,
    commits::as_many_operations_as_allowed_and_not_one_more,
    commits::what_is_too_large_is_refused_and_harms_nothing,
    commits::counters_lose_no_increment,
    leases::records_end_with_their_lease,
    leases::a_lease_that_is_kept_alive_lasts,
    leases::a_lease_that_is_gone_is_said_to_be,
    leases::a_record_leaves_its_lease_with_a_later_put,
    leases::no_lease_is_longer_or_shorter_than_sensible,
    leases::the_time_left_runs_down_and_is_prolonged,
    watches::a_watch_begins_with_all_there_is,
    watches::changes_come_in_order_and_each_commit_whole,
    watches::a_watch_sees_its_range_only,
    watches::the_end_of_a_lease_is_seen,
    watches::a_watch_followed_equals_a_fresh_read,
    watches::a_slow_reader_ends_up_with_everything,
    units::a_unit_is_written_with_its_file,
    units::files_are_found_by_unit_or_by_template,
    units::a_unit_someone_else_wrote_is_a_conflict,
    units::a_thousand_units_are_written_and_results_are_in_order,
    units::conflicts_are_found_among_many,
    units::of_two_writes_of_one_unit_the_first_counts,
    units::destroying_removes_units_and_files_nobody_names,
    units::a_file_replaced_is_removed,
    units::a_file_named_again_survives_its_removal,
    units::two_writers_lose_nothing,
    units::a_unit_too_large_is_refused,
    machines::a_machine_registers_and_leaves,
    machines::registering_again_keeps_its_place_under_a_new_lease,
    machines::metadata_survives_the_machine,
    machines::states_are_published_and_withdrawn,
    machines::who_is_not_registered_publishes_nothing,
    machines::one_leads_at_a_time,
    machines::a_leader_record_of_nobody_bars_nobody,
    machines::held_machines_are_recorded_and_let_go,
    machines::members_are_recorded_and_take_their_leave,
    machines::the_time_left_of_each_machine_is_told,
    cordons::each_holder_takes_back_its_own,
    cordons::who_cordons_again_keeps_the_time_and_the_drain,
    cordons::only_the_leader_ends_a_drain_and_only_the_one_it_means,
    cordons::holders_at_once_lose_nothing,
    places::placements_are_written_and_removed,
    places::whoever_is_deposed_writes_nothing,
    places::decisions_on_what_is_no_more_are_conflicts,
    places::a_cordon_unseen_keeps_new_placements_away_and_no_others,
    places::a_group_is_all_or_nothing,
    places::a_thousand_placements_are_written,
    places::a_group_larger_than_a_commit_is_written_piece_by_piece,
    places::a_machine_sees_its_placements_only,
    reboots::a_semaphore_is_written_where_it_was_read,
    reboots::of_many_writers_each_revision_has_one,
    reboots::what_has_ended_is_remembered_a_hundred_times,
    reboots::a_history_of_any_size_makes_room,
    reboots::texts_of_any_length_keep_no_record_from_being_written,
    reboots::hosts_and_requests_come_and_go,
    reboots::a_semaphore_nobody_can_read_is_no_free_slot,
    reboots::news_of_what_is_watched_and_nothing_else,
    identities::a_cluster_gets_one_identity_and_keeps_it,
    identities::a_store_of_the_release_before_is_adopted,
    identities::an_identity_nobody_can_read_is_not_replaced,
    poison::each_kind_of_record_poisons_only_itself,
    poison::a_watch_tells_of_poison_and_of_its_end,
    poison::destroying_a_poisoned_unit_removes_it,
    poison::records_of_a_later_version_are_read,
];

/// Compaction is etcd's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_under_a_watch_loses_nothing() {
    // A server of its own, since it is restarted.
    let bed = support::Bed::etcd_of_its_own().await;
    watches::survive_compaction(&bed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_at_the_very_revision_compacted_is_seen() {
    let bed = support::Bed::etcd_of_its_own().await;
    watches::see_what_compaction_hides(&bed).await;
}
