//! The faults that are planted in the product on purpose.
//!
//! Owns the table: each fault's name, what it leaves out, and within how many seeds a run has to notice. A test compares the names
//! with those in the code.

/// A fault that is planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlantedFault {
    /// Its name in the code.
    pub name: &'static str,
    /// The rule that it leaves out.
    pub leaves_out: &'static str,
    /// The number of seeds within which it has to be found; 0: what it is about is out of a world's reach.
    pub budget: u64,
    /// A test that leaves the rule out and fails then, by its file and its function. Where seeds find nothing, it has to.
    pub test: Option<&'static str>,
}

/// The fault of this name.
pub fn find_fault(name: &str) -> Option<&'static PlantedFault> {
    PLANTED.iter().find(|fault| fault.name == name)
}

/// A fault that one of so many seeds finds.
const fn planted(name: &'static str, budget: u64, leaves_out: &'static str) -> PlantedFault {
    PlantedFault { name, leaves_out, budget, test: None }
}

/// A fault that a test finds.
const fn tested(name: &'static str, test: &'static str, leaves_out: &'static str) -> PlantedFault {
    PlantedFault { name, leaves_out, budget: 0, test: Some(test) }
}

/// A fault that one of so many seeds finds, or else a test.
const fn either(
    name: &'static str,
    budget: u64,
    test: &'static str,
    leaves_out: &'static str,
) -> PlantedFault {
    PlantedFault { name, leaves_out, budget, test: Some(test) }
}

// Tests of the engine that play its scripts once with each of their rules left out.
const CONVERGE: &str = "engine/tests/converge::a_rule_of_one_unit_that_is_left_out_is_noticed";
const CONTAINERS: &str = "sim/tests/containers::a_rule_of_containers_that_is_left_out_is_noticed";
const DEPARTURE: &str = "engine/tests/departure::a_rule_of_a_departure_that_is_left_out_is_noticed";
const ELECTIONS: &str = "engine/tests/leadership::a_rule_of_elections_that_is_left_out_is_noticed";
const LEADER: &str = "engine/tests/leadership::a_rule_of_a_leader_that_is_left_out_is_noticed";
const LOSSES: &str = "engine/tests/leadership::a_rule_on_losses_that_is_left_out_is_noticed";
const MACHINE: &str = "engine/tests/node::a_rule_of_a_machine_that_is_left_out_is_noticed";
const PLACING: &str = "engine/tests/scenarios::a_rule_of_placing_that_is_left_out_is_noticed";
const REGISTRATION: &str =
    "engine/tests/registration::a_rule_of_registration_that_is_left_out_is_noticed";
const SLOTS: &str = "engine/tests/semaphore::a_rule_of_slots_that_is_left_out_is_noticed";
const WAITS: &str = "engine/src/wait/units_tests::a_rule_of_waits_that_is_left_out_is_noticed";

/// All planted faults, by name. A table is read row by row.
#[rustfmt::skip]
pub const PLANTED: &[PlantedFault] = &[
    either("absent-machine-holds-global-up", 200, WAITS, "that a machine that is gone for good holds no global unit up"),
    either("any-store-is-ours", 200, REGISTRATION, "that a store of another identity is not ours"),
    either("called-off-start-goes-on", 5000, CONTAINERS, "that a container that is told to stop while it is made is not started"),
    tested("campaign-unguarded", "sim/tests/store_rules::of_two_who_campaign_at_once_one_leads", "that only a vacant lead is taken"),
    either("changed-wish-forgotten", 200, MACHINE, "that a wish that changed while its unit was busy is carried out after"),
    either("cleared-away-counts-as-failed", 5000, CONTAINERS, "that a container which its engine took along is started again though somebody clears it away"),
    either("clone-at-one-address-taken-for-ours", 200, REGISTRATION, "that a second daemon of one id is told apart by its boot"),
    either("cluster-not-remembered", 200, MACHINE, "that a machine remembers the cluster whose placements it carries out"),
    either("conflict-not-planned-again", 200, LEADER, "that a plan that was overtaken is made again"),
    either("conflict-overlooked", 50, PLACING, "that units that conflict are not placed together"),
    either("contact-outlasts-vain-attempts", 3000, REGISTRATION, "that a machine which could not register in a store without room knows that nobody could"),
    either("contact-never-broken", 200, LOSSES, "that a leader that was cut off itself does not know who was lost"),
    either("copy-reboots", 1000, "sim/src/daemon_parts_tests::a_machine_whose_name_another_bears_says_and_does_nothing_about_reboots", "that what is done in a machine's name is done by its bearer"),
    either("cordon-overlooked", 200, PLACING, "that a cordoned machine takes nothing new"),
    tested("cut-off-fetch-not-repeated", CONTAINERS, "that what a start lacks is fetched once more when the engine goes while it is fetched"),
    either("cut-off-stop-forgotten", 300, MACHINE, "that a unit whose stop was cut off has not ended by itself"),
    tested("destruction-unguarded", "sim/tests/store_rules::a_late_destruction_changes_nothing", "that a destruction rests on the unit that was to be destroyed"),
    either("directory-not-synced", 200, "sim/tests/rules::placements_that_were_saved_are_there_after_a_power_cut", "that a file's name is put where a power cut does not reach it"),
    either("disk-after-the-store", 200, MACHINE, "that once the store has spoken the disk does not"),
    either("disk-undoes-what-runs", 200, MACHINE, "that placements from disk stop nothing"),
    either("drain-outlives-deadline", 200, "engine/src/wait/drain_tests::a_drain_is_over_at_its_deadline", "that a drain comes to its end at its deadline"),
    either("drain-time-never-over", 200, LEADER, "that a drain ends at its deadline"),
    tested("dropped-call-blames-endpoint", "store/src/etcd/connection_tests::a_call_that_its_caller_drops_says_nothing_of_the_endpoint", "that a call which its caller dropped says nothing of the endpoint"),
    tested("dropped-calls-outlast-lease", "store/src/etcd/connection_tests::an_endpoint_that_is_silent_for_longer_than_a_keepalive_may_take_is_given_up", "that a member which is silent for longer than a lease allows is given up"),
    either("dropped-chain-forgotten", 200, MACHINE, "that steps which could not be tried are tried again"),
    either("earlier-report-believed", 200, "sim/tests/rules::a_report_on_an_earlier_start_says_nothing_of_a_later_one", "that a report on an earlier start says nothing of a later one"),
    either("earlier-file-runs-on", 2000, CONVERGE, "that a unit which somebody has started from an earlier file runs from the one it has once it is wanted"),
    either("earlier-restart-taken-for-this", 3000, CONVERGE, "that a restart of an earlier wish is none of this one"),
    tested("earlier-run-joined", "sim/tests/removals::what_a_timer_has_started_from_the_file_before_is_started_anew", "that a start takes the new file up where somebody has started the unit from the one before"),
    tested("election-taken-for-keepalives", LOSSES, "that after an election of etcd's nobody knows yet whose lease was prolonged"),
    either("empty-listing-believed", 200, MACHINE, "that a listing counts only from the store that is ours"),
    planted("ended-unit-started", 50, "that a unit which has ended by itself is not started again"),
    tested("engine-run-forgotten", CONTAINERS, "that a container is started again whose engine took it along while its daemon was away"),
    either("failed-plan-not-made-again", 200, LEADER, "that a plan that the store did not take is made again"),
    either("failed-publication-counts", 200, MACHINE, "that a state is published until the store has taken it"),
    either("failed-stop-counts-as-done", 500, "sim/tests/machine_rules::what_does_not_stop_stays_ours", "that a unit whose stop failed stays owned until it is down"),
    either("failed-stop-waited-for-ever", 200, WAITS, "that a stop that failed is told, and not waited for"),
    either("fence-kept-in-doubt", 200, LEADER, "that a leader writes its record again after a plan of which it does not know"),
    either("file-removed-from-a-backup", 200, "sim/tests/store_rules::a_file_that_a_backup_names_again_stays", "that a file that no unit names is removed only while the units are as they were"),
    either("foreign-slot-relied-on", 3000, "sim/src/daemon_parts_tests::a_machine_goes_down_on_no_slot_of_another_cluster", "that whose store it is is asked right before a machine goes down on a slot of it"),
    either("foreign-store-written", 200, "sim/tests/store_rules::nothing_is_written_to_a_store_that_is_not_ours", "that nothing is written to a store that is not ours"),
    tested("forgotten-machine-leaves-records", "sim/tests/store_rules::nothing_is_left_of_a_machine_that_is_forgotten", "that nothing is left of a machine that is forgotten"),
    either("found-members-taken-for-leave", 700, LEADER, "that members which a restored store does not list have not taken their leave"),
    either("freeze-ended-by-one", 200, LOSSES, "that a freeze lasts until the last of its machines is back"),
    either("full-store-unnoticed", 200, LOSSES, "that whoever could not register in a store without room has a whole time to live to do so"),
    either("given-up-watch-believed", 2000, MACHINE, "that a watch which was given up is heard no further, and another one begins"),
    either("global-done-before-it-is-placed", 200, WAITS, "that a global unit that is nowhere yet is not done"),
    either("global-done-with-nobody-here", 300, WAITS, "that a global unit whose machines are all away is nowhere"),
    tested("half-without-margin", "sim/tests/rules::half_of_a_large_cluster_has_a_margin_for_leases_that_end_late", "that half of a large cluster is counted with those that a sample misses"),
    tested("health-of-an-earlier-boot", "sim/tests/rules::a_host_that_is_registered_from_the_boot_before_is_not_back", "that a host is well when it is registered in this boot"),
    either("held-unit-not-stopped-again", 200, MACHINE, "that a unit that did not stop is asked to once more"),
    tested("held-written-late", "sim/tests/store_rules::a_late_word_on_who_is_held_changes_nothing", "that what a leader writes late of who is held changes nothing"),
    tested("held-written-unguarded", "sim/tests/store_rules::whoever_leads_no_more_holds_nobody", "that only the leader writes who is held"),
    tested("hook-taken-for-a-run", "sim/tests/rules::a_hook_that_is_taken_away_says_nothing_of_the_userspace", "that a unit which is hooked in or no more was carried out in the boot that it was carried out in"),
    either("hooks-outlast-a-departure", 200, "sim/tests/machine_rules::what_was_given_up_is_hooked_into_nothing", "that no boot starts by itself what was given up"),
    either("hosts-own-unit-stopped", 200, MACHINE, "that a unit of the host's own is never touched"),
    either("identity-not-guarded", 2000, "sim/tests/store_rules::a_store_that_takes_the_place_of_ours_takes_no_write", "that a store which takes the place of ours takes no write, found out or not"),
    either("identity-read-apart", 200, "sim/tests/one_store::placements_and_the_name_of_their_store_are_of_one_store", "that placements and whose they are come of one store"),
    either("idle-machine-begins-a-cluster", 200, REGISTRATION, "that a machine that was in a cluster takes no emptied store for a new one"),
    tested("interrupted-run-goes-on-unasked", CONTAINERS, "that a container which was cut off while its daemon was away goes on only where it still belongs"),
    planted("job-begin-not-noted", 200, "that a job's beginning is on disk before it begins"),
    either("job-begun-again", 200, MACHINE, "that a job that was begun is not begun again"),
    tested("job-restart-numbered-low", "sim/tests/rules::a_job_that_is_started_again_has_a_generation_that_no_earlier_start_had", "that no start of a job has the generation of one that a restored store has forgotten"),
    either("lapsed-lease-relied-on", 2000, MACHINE, "that nothing begins on a machine whose lease is over by its own clock"),
    either("late-answer-counts", 200, MACHINE, "that the answer to an earlier publication is not taken for that to a later one"),
    tested("late-leave-counts-for-next-boot", "sim/tests/store_rules::a_goodbye_of_the_boot_before_says_nothing_of_the_next", "that a goodbye which comes late is none of the next boot's"),
    either("late-listing-believed", 3000, "sim/tests/rules::a_wait_passes_over_a_listing_that_comes_late", "that a wait is told of nothing older than what it began on"),
    either("late-members-taken-for-leave", 200, LEADER, "that the leader's own late write of the members is nobody's leave"),
    tested("late-once-given-up", "store/src/etcd/turns_tests::the_only_endpoint_that_answers_has_another_turn_and_no_third", "that the only member which answers is asked once more when it is late"),
    either("late-publication-overlooked", 3000, MACHINE, "that a state which a late write has brought back is withdrawn"),
    either("later-job-start-counts-as-this", 500, MACHINE, "that a job which was begun for a later start is not begun for an earlier one"),
    tested("lease-ended-under-a-note", DEPARTURE, "that a machine which notes that nobody could be told of its leave does not end its lease"),
    either("lease-left-half-over", 200, DEPARTURE, "that a machine that leaves in an outage does not end half of its lease"),
    either("lease-lost-while-leading", 200, LEADER, "that a leader whose registration is another's ends its term"),
    tested("lease-not-remembered", "sim/tests/machine_rules::a_daemon_that_comes_back_goes_on_under_its_lease", "that a daemon started anew takes its lease over"),
    either("lease-suspicion-ignored", 200, REGISTRATION, "that a lease is looked at when a write under it is refused"),
    either("lease-timed-from-answer", 200, REGISTRATION, "that a lease counts from when it was asked for"),
    either("leave-overwritten", 200, "sim/tests/store_rules::whoever_takes_its_leave_is_not_written_back", "that who takes its leave is not written back among the members"),
    either("leaving-host-keeps-units", 200, PLACING, "that units of a machine that goes down move"),
    either("leaving-host-takes-units", 200, PLACING, "that a machine that goes down takes nothing new"),
    planted("ledger-unsaved", 50, "that what a daemon owns outlives it"),
    tested("left-container-not-removed", CONTAINERS, "that with a unit goes whatever the engine has of it, known or not"),
    tested("left-container-unknown", CONTAINERS, "that a container is known that a refused start has left behind and somebody starts by hand"),
    planted("loaded-unit-left-up", 50, "that a unit that is to be loaded only is stopped"),
    tested("lost-container-start-repeated", CONTAINERS, "that a container which a start has begun whose answer did not come is not begun again"),
    either("lost-job-start-repeated", 200, MACHINE, "that a job whose start was not answered is not begun again"),
    either("lost-lead-unnoticed", 200, LEADER, "that a leader whose record is another's ends its term"),
    planted("lost-lease-unnoticed", 50, "that a machine whose lease is gone registers anew"),
    planted("lost-watch-empties-placements", 50, "that what is known stays known when the store falls silent"),
    planted("mass-loss-moved", 50, "that half of the machines lost together keep their units"),
    either("members-by-leader-alone", 3000, "sim/tests/store_rules::whoever_is_back_after_its_leave_is_a_member_from_its_registration_on", "that a machine which is back is missed from its registration on, whether a leader has looked or not"),
    either("members-not-recorded", 200, LEADER, "that the next leader knows who belongs to the cluster"),
    either("members-of-before-written", 3000, "sim/tests/store_rules::whoever_is_back_stays_a_member_whatever_its_leader_saw_before", "that members are written only as they were seen last"),
    either("members-under-way-taken-for-leave", 1000, LEADER, "that the leader's own write of the members is nobody's leave, though the watch tells of it first"),
    tested("memory-outlives-userspace", CONTAINERS, "that after a soft-reboot no container counts as running or failed for what it was before"),
    either("moved-from-the-returned", 1000, "sim/tests/store_rules::nothing_moves_away_from_a_machine_that_is_back", "that nothing moves for the loss of a machine that is registered again"),
    either("moved-from-the-stayer", 2000, "sim/tests/store_rules::nothing_moves_away_from_a_machine_that_stays_after_all", "that nothing moves away from a machine that went down once it is back"),
    either("note-vouches-for-an-earlier-lease", 5000, "sim/tests/machine_rules::nobody_vouches_for_placements_of_an_earlier_lease", "that an outage is noted only of placements that were told under the lease that ran out"),
    either("old-placements-started", 200, MACHINE, "that only what cannot run elsewhere starts from disk"),
    either("old-verdict-outlives-outage", 200, LOSSES, "that a loss that was about to be acted on is judged anew after an outage"),
    tested("one-generation-of-placements", "sim/tests/rules::what_was_given_up_is_there_when_the_newest_placements_are_damaged", "that an older copy of the placements is there when the newest cannot be read"),
    either("only-active-is-up", 200, MACHINE, "that a unit on its way up has to be stopped as well"),
    either("others-not-asked-after", 200, LOSSES, "that the others are asked after before a lost machine's units move"),
    planted("outage-counts-as-loss", 50, "that whoever is missing after an outage has a whole time to live to come back"),
    either("outage-note-kept", 200, REGISTRATION, "that the note of an outage is taken back when the lease is held again"),
    either("own-commit-not-waited-for", 200, LEADER, "that nothing is planned before the own commit is seen"),
    either("own-members-taken-for-leave", 2000, LEADER, "that a listing of before the leader's own write of the members makes nobody's leave of it"),
    either("own-run-taken-for-the-hosts", 5000, "engine/src/machine/memory_tests::what_runs_of_ours_is_known_though_the_host_has_the_name", "that a run of ours is known to the next daemon though the host has come to have a unit of that name"),
    tested("own-unreadable-record-kept", "sim/tests/store_rules::an_unreadable_leader_record_of_ones_own_is_replaced", "that an unreadable record under one's own lease is replaced"),
    either("own-write-taken-for-unfreeze", 200, LOSSES, "that the leader knows its own writes from a person's"),
    tested("pages-of-two-stores-joined", "sim/tests/one_store::the_pages_of_a_listing_are_of_one_store", "that the pages of a listing are of one store"),
    either("placed-jobs-run-forgotten", 200, MACHINE, "that only runs of jobs that are not placed are forgotten"),
    tested("placed-without-cordon", "sim/tests/store_rules::a_machine_that_is_cordoned_meanwhile_takes_nothing_new", "the guard that nothing new is placed on a machine that was cordoned meanwhile"),
    planted("placed-without-lead", 20, "the guard that only the leader's plans are written"),
    planted("placed-without-machine", 20, "the guard that a machine is registered as it was when it was chosen"),
    planted("placed-without-unit", 20, "the guard that a placement rests on the unit as it is"),
    either("placements-never-saved", 200, MACHINE, "that placements are on disk before power fails"),
    either("plan-not-fenced", 200, "sim/tests/store_rules::a_plan_of_before_a_doubt_is_written_nowhere", "that a plan after a doubt is written nowhere else"),
    tested("publication-without-revision", "sim/tests/store_rules::a_late_report_changes_nothing", "that an earlier state does not overwrite a later one"),
    tested("published-without-registration", "sim/tests/store_rules::whoever_is_registered_no_more_reports_nothing", "that only whoever is registered reports"),
    either("queued-start-forgotten", 200, MACHINE, "that a start of which nobody knows how it ended counts as up"),
    either("reboot-forgets-placements", 200, DEPARTURE, "that what could not be handed over is still there after a reboot"),
    either("record-not-verified", 200, REGISTRATION, "that a lease counts only while the own record hangs on it"),
    either("record-put-back-waited-for", 1000, REGISTRATION, "that a machine takes its name back at once where a backup has it in another boot"),
    tested("record-replaced-unguarded", "sim/tests/store_rules::a_late_word_on_a_machine_changes_nothing", "that a record is replaced only as it was seen"),
    either("refresh-holds-renewal-up", 1000, REGISTRATION, "that a record which is written again leaves the renewal its time"),
    either("refused-publication-accepted", 200, MACHINE, "that a machine whose report is refused looks at its lease"),
    planted("registration-heard-late", 3000, "that what was told under a registration of before is not carried out after it"),
    tested("remembered-for-any-userspace", CONTAINERS, "that what is remembered of a container before the userspace is told holds for this one alone"),
    tested("removal-at-no-revision", "sim/tests/one_store::a_removal_whose_answer_was_lost_has_its_revision", "that whoever waits for a removal is told of its revision"),
    tested("removal-not-looked-at", "sim/tests/removals::what_was_started_between_its_stop_and_its_removal_stays_ours", "that a removed unit is looked at once more"),
    either("removal-not-reloaded", 200, "sim/tests/removals::a_timer_starts_nothing_of_a_removed_service", "that systemd forgets a removed file"),
    tested("removed-job-begun-again", CONTAINERS, "that a job is not begun again when its container was removed behind its daemon's back"),
    either("removed-jobs-run-forgotten", 500, MACHINE, "that a backup in which a job is still placed does not have it begun again"),
    either("renewal-cut-short", 2000, REGISTRATION, "that each member has its time for a keepalive"),
    tested("replaced-file-not-taken-up", "sim/tests/machine_rules::a_file_that_was_replaced_is_taken_up_though_its_restart_was_cut_off", "that a unit runs from the file it has, though the restart that takes that up was cut off"),
    planted("replaced-file-not-written", 50, "that a unit gets the file that its user gave last"),
    either("replaced-job-begun-again", 1000, MACHINE, "that a job whose file is replaced while it runs is not begun again"),
    planted("replaced-unit-runs-on", 50, "that a unit whose file was replaced runs from the new one"),
    either("replacement-not-reloaded", 200, "sim/tests/removals::what_is_replaced_and_not_started_is_read_all_the_same", "that systemd reads a replaced file anew"),
    planted("reset-keeps-removed", 50, "that what is missing when everything is told is gone"),
    either("resigned-leader-stays-away", 200, LEADER, "that who led before and is back after its leave is a member again"),
    either("restart-under-way-repeated", 2000, "engine/src/machine/memory_tests::a_restart_that_is_under_way_is_not_made_once_more", "that a restart which its engine's going has held up is not made once more when the engine is back"),
    tested("restored-history-taken-for-ours", "sim/tests/etcd_stories::that_a_restored_store_is_another_history_is_noticed_when_it_is_left_out", "that a store restored from a backup that has grown since is another history"),
    either("restored-states-kept", 1200, MACHINE, "that states which a backup brings back are taken back again"),
    tested("restored-store-not-shown", "sim/tests/rules::a_view_of_a_restored_store_begins_anew", "that a view of a restored store begins anew"),
    either("restored-store-waited-for", 200, LEADER, "that a leader begins anew when revisions go backwards"),
    tested("return-behind-a-listing-overlooked", LEADER, "that a machine which is back in its boot behind the leader's back has not taken its leave"),
    either("return-in-one-boot-overlooked", 500, LEADER, "that a machine which took its leave is back when it is registered anew from the same boot"),
    either("return-while-recording-forgotten", 1000, LEADER, "that a machine which comes back while the members are written is a member again"),
    tested("room-not-looked-for-after-outage", LOSSES, "that a store which is back from an outage is written to before anybody's time is counted"),
    planted("running-unit-removed", 50, "that a unit is stopped before it is removed"),
    either("session-outlives-lease", 200, MACHINE, "that what was known under an earlier lease is read again"),
    planted("settled-unit-restarted", 50, "that a unit which has been started as asked is not started again"),
    either("silent-lease-relied-on", 200, REGISTRATION, "that a lease that the store is silent about is over by the own clock"),
    either("single-moves-at-once", 200, PLACING, "that what may not run twice has ended before it comes elsewhere"),
    either("sleep-unnoticed", 1000, REGISTRATION, "that a machine which has slept prolongs its lease at once"),
    tested("slot-freed-before-units-are-well", "sim/tests/rules::a_host_whose_unit_is_down_is_not_well", "that a slot is given back when every unit of the host is as it should be"),
    tested("slot-granted-above-max", SLOTS, "that no grant takes a group above its slots"),
    tested("slot-granted-twice", SLOTS, "that the same holder is granted the same slot however often it asks"),
    tested("slot-trusted-until-reboot", "sim/src/daemon_parts_tests::a_machine_whose_slot_goes_right_before_its_reboot_does_not_reboot", "that a machine makes sure of its slot right before it goes down"),
    tested("soft-reboot-is-no-boot", "sim/tests/rules::another_userspace_is_another_boot", "that a soft reboot is a boot"),
    either("start-after-giving-up", 500, "sim/tests/machine_rules::nothing_is_started_once_the_units_are_given_up", "that nothing is started once the units are given up"),
    tested("start-dated-by-its-answer", CONTAINERS, "that a container is started again whose start was not answered because its engine went away"),
    either("start-rests-on-run-before", 300, "sim/tests/machine_rules::what_was_down_before_its_start_is_not_started_again_once_it_runs", "that what runs after the start of a unit that was down has come of that start"),
    either("start-under-a-stop-that-goes-on", 5000, CONVERGE, "that what is on its way down is started once it is down"),
    either("states-of-before-forgotten", 200, MACHINE, "that what a daemon before has said is withdrawn"),
    planted("stop-taken-for-shutdown", 50, "that a daemon's stop leaves its units"),
    either("stopped-unit-not-released", 200, MACHINE, "that a unit of a machine that goes down is given away when it is down"),
    tested("superseded-chain-goes-on", "sim/tests/machine_rules::a_start_that_hangs_is_ended_by_a_stop", "that nobody waits for a start that nobody wants any more"),
    either("superseded-start-begun", 500, "sim/tests/machine_rules::a_start_that_nobody_wants_any_more_is_not_begun", "that a start that nobody wants any more is not begun"),
    either("superseded-wish-forgotten", 200, MACHINE, "that a chain that was not waited for is followed by a pass"),
    tested("taken-job-begun-again", CONTAINERS, "that a job is not begun again when its engine has taken its container along"),
    tested("superseded-start-counts-as-heard", MACHINE, "that a start which was not waited for, and is wanted again, is asked for again"),
    tested("temporary-file-named-after-unit", "sim/tests/rules::a_file_with_the_longest_name_there_is_can_be_replaced", "that no unit's name is that of a temporary file"),
    tested("told-run-forgotten", "sim/tests/removals::what_systemd_tells_of_a_run_says_that_it_is_ours", "that a run of ours which nobody waited for is known as ours when the host comes to have a unit of that name"),
    tested("unanswered-lease-hides-all", "sim/tests/store_rules::a_lease_that_nothing_is_known_of_hides_no_other", "that what is known of some leases counts though nothing is known of others"),
    either("unanswered-look-not-repeated", 500, MACHINE, "that a runner that did not answer is asked again"),
    either("unasked-run-left-to-itself", 3000, CONVERGE, "that a container which somebody else has started is looked after as ours once it is wanted"),
    either("unheard-restart-repeated", 500, CONVERGE, "that a restart whose end nobody has heard is not made once more"),
    either("unheard-single-taken", 200, PLACING, "that what may not run twice is not taken from a machine that has not spoken of it"),
    either("unpause-race-loses-signal", 10000, CONTAINERS, "that a paused container which somebody lets go on meanwhile is stopped all the same"),
    either("unread-states-taken-for-none", 200, MACHINE, "that a session begins with what the store has of the machine's units"),
    either("unreported-host-leaves", 500, REGISTRATION, "that a machine which goes down is taken at its word once it has said what runs on it"),
    either("untrue-record-kept", 200, REGISTRATION, "that a machine's record is written again when it is true no more"),
    either("userspace-not-asked-for-again", 300, "sim/tests/rules::a_userspace_that_could_not_be_told_is_asked_for_again", "that a memory is held against its boot once that can be told"),
    tested("wait-ends-without-the-store", WAITS, "that nothing is said to be over by a daemon that does not see the store"),
    either("waiting-machines-moved", 200, LOSSES, "that units of machines of which nobody knows yet stay"),
    either("withdrawal-forgotten", 200, MACHINE, "that a withdrawal is told until it is told"),
    either("won-under-an-earlier-lease", 200, ELECTIONS, "that nobody leads under a lease of before"),
    tested("written-for-any-userspace", "sim/tests/rules::what_was_written_down_before_the_userspace_was_told_is_of_this_one", "that what is written down before the userspace is told holds for this one alone"),
];

/// The branches of the product that are counted.
pub const BRANCHES: &[&str] = &[
    "another-store-not-written",
    "clone-refused",
    "container-started-unheard",
    "container-taken-along-unwatched",
    "foreign-placements",
    "foreign-store-not-written",
    "freeze-begins",
    "given-up-watch",
    "last-known-withheld",
    "leaves-in-an-outage",
    "ledger-of-another-boot",
    "listing-of-two-stores",
    "loss-waits-for-return",
    "old-definition-in-memory",
    "only-endpoint-that-answers",
    "placements-not-saved",
    "plan-in-doubt",
    "record-was-put-back",
    "revision-goes-backwards",
    "start-without-lease",
    "started-between-stop-and-removal",
    "state-is-back",
    "store-is-foreign",
    "store-was-full",
    "unpaused-by-somebody-else",
];
