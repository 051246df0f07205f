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
    /// The thing that has to find it.
    pub found_by: FoundBy,
}

/// The thing that has to find a planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// One of so many seeds.
    Seeds(u64),
    /// A test, by its file and its function, which leaves the rule out and fails then. It is run with all others.
    Test(&'static str),
}

impl PlantedFault {
    /// The number of seeds within which it has to be found; none where a test finds it.
    pub(crate) fn budget(&self) -> u64 {
        match self.found_by {
            FoundBy::Seeds(budget) => budget,
            FoundBy::Test(_) => 0,
        }
    }
}

/// The fault of this name.
pub fn find_fault(name: &str) -> Option<&'static PlantedFault> {
    PLANTED.iter().find(|fault| fault.name == name)
}

/// A fault that one of so many seeds finds.
const fn planted(name: &'static str, budget: u64, leaves_out: &'static str) -> PlantedFault {
    PlantedFault { name, leaves_out, found_by: FoundBy::Seeds(budget) }
}

/// A fault that a test finds.
const fn tested(name: &'static str, test: &'static str, leaves_out: &'static str) -> PlantedFault {
    PlantedFault { name, leaves_out, found_by: FoundBy::Test(test) }
}

/// All planted faults.
pub const PLANTED: &[PlantedFault] = &[
    tested(
        "restored-history-taken-for-ours",
        "sim/tests/etcd_stories::that_a_restored_store_is_another_history_is_noticed_when_it_is_left_out",
        "that a store restored from a backup that has grown since is another history",
    ),
    tested(
        "forgotten-machine-leaves-records",
        "sim/tests/store_rules::nothing_is_left_of_a_machine_that_is_forgotten",
        "that nothing is left of a machine that is forgotten",
    ),
    planted(
        "unanswered-lease-hides-all",
        500,
        "that what is known of some leases counts though nothing is known of others",
    ),
    planted("conflict-not-planned-again", 500, "that a plan that was overtaken is made again"),
    planted(
        "failed-plan-not-made-again",
        500,
        "that a plan that the store did not take is made again",
    ),
    planted(
        "own-commit-not-waited-for",
        200,
        "that nothing is planned before the own commit is seen",
    ),
    planted(
        "lease-lost-while-leading",
        500,
        "that a leader whose registration is another's ends its term",
    ),
    planted(
        "fence-kept-in-doubt",
        500,
        "that a leader writes its record again after a plan of which it does not know",
    ),
    planted("members-not-recorded", 500, "that the next leader knows who belongs to the cluster"),
    planted("lost-lead-unnoticed", 200, "that a leader whose record is another's ends its term"),
    planted("mass-loss-moved", 50, "that half of the machines lost together keep their units"),
    planted(
        "others-not-asked-after",
        500,
        "that the others are asked after before a lost machine's units move",
    ),
    planted(
        "freeze-ended-by-one",
        500,
        "that a freeze lasts until the last of its machines is back",
    ),
    planted("waiting-machines-moved", 200, "that units of machines of which nobody knows yet stay"),
    planted("drain-time-never-over", 500, "that a drain ends at its deadline"),
    planted(
        "contact-never-broken",
        500,
        "that a leader that was cut off itself does not know who was lost",
    ),
    planted("won-under-an-earlier-lease", 500, "that nobody leads under a lease of before"),
    planted(
        "record-not-verified",
        500,
        "that a lease counts only while the own record hangs on it",
    ),
    planted("lease-timed-from-answer", 500, "that a lease counts from when it was asked for"),
    planted(
        "silent-lease-relied-on",
        500,
        "that a lease that the store is silent about is over by the own clock",
    ),
    planted(
        "lease-suspicion-ignored",
        500,
        "that a lease is looked at when a write under it is refused",
    ),
    planted(
        "untrue-record-kept",
        500,
        "that a machine's record is written again when it is true no more",
    ),
    planted(
        "session-outlives-lease",
        200,
        "that what was known under an earlier lease is read again",
    ),
    planted(
        "lost-watch-empties-placements",
        50,
        "that what is known stays known when the store falls silent",
    ),
    planted("disk-after-the-store", 500, "that once the store has spoken the disk does not"),
    planted("placements-never-saved", 500, "that placements are on disk before power fails"),
    planted(
        "cluster-not-remembered",
        500,
        "that a machine remembers the cluster whose placements it carries out",
    ),
    planted(
        "unread-states-taken-for-none",
        500,
        "that a session begins with what the store has of the machine's units",
    ),
    planted(
        "refused-publication-accepted",
        500,
        "that a machine whose report is refused looks at its lease",
    ),
    planted(
        "held-unit-not-stopped-again",
        500,
        "that a unit that did not stop is asked to once more",
    ),
    planted(
        "changed-wish-forgotten",
        200,
        "that a wish that changed while its unit was busy is carried out after",
    ),
    planted(
        "superseded-wish-forgotten",
        200,
        "that a chain that was not waited for is followed by a pass",
    ),
    planted(
        "unanswered-look-not-repeated",
        500,
        "that a runner that did not answer is asked again",
    ),
    planted("running-unit-removed", 50, "that a unit is stopped before it is removed"),
    planted("replaced-file-not-written", 50, "that a unit gets the file that its user gave last"),
    planted(
        "replaced-unit-runs-on",
        50,
        "that a unit whose file was replaced runs from the new one",
    ),
    planted("loaded-unit-left-up", 50, "that a unit that is to be loaded only is stopped"),
    planted(
        "queued-start-forgotten",
        500,
        "that a start of which nobody knows how it ended counts as up",
    ),
    planted("hosts-own-unit-stopped", 500, "that a unit of the host's own is never touched"),
    planted("job-begun-again", 200, "that a job that was begun is not begun again"),
    planted(
        "removed-units-jobs-forgotten",
        500,
        "that only runs of jobs that are not placed are forgotten",
    ),
    planted(
        "single-moves-at-once",
        200,
        "that what may not run twice has ended before it comes elsewhere",
    ),
    planted(
        "unheard-single-taken",
        500,
        "that what may not run twice is not taken from a machine that has not spoken of it",
    ),
    planted("cordon-overlooked", 200, "that a cordoned machine takes nothing new"),
    planted("conflict-overlooked", 50, "that units that conflict are not placed together"),
    tested(
        "slot-granted-above-max",
        "engine/tests/semaphore::a_rule_of_slots_that_is_left_out_is_noticed",
        "that no grant takes a group above its slots",
    ),
    tested(
        "slot-granted-twice",
        "engine/tests/semaphore::a_rule_of_slots_that_is_left_out_is_noticed",
        "that the same holder is granted the same slot however often it asks",
    ),
    tested(
        "slot-freed-before-units-are-well",
        "sim/tests/rules::a_host_whose_unit_is_down_is_not_well",
        "that a slot is given back when every unit of the host is as it should be",
    ),
    tested(
        "health-of-an-earlier-boot",
        "sim/tests/rules::a_host_that_is_registered_from_the_boot_before_is_not_back",
        "that a host is well when it is registered in this boot",
    ),
    planted(
        "earlier-report-believed",
        500,
        "that a report on an earlier start says nothing of a later one",
    ),
    planted("campaign-unguarded", 50, "that only a vacant lead is taken"),
    tested(
        "published-without-registration",
        "sim/tests/store_rules::whoever_is_registered_no_more_reports_nothing",
        "that only whoever is registered reports",
    ),
    tested(
        "held-written-unguarded",
        "sim/tests/store_rules::whoever_leads_no_more_holds_nobody",
        "that only the leader writes who is held",
    ),
    planted("job-begin-not-noted", 200, "that a job's beginning is on disk before it begins"),
    planted("lease-not-remembered", 200, "that a daemon started anew takes its lease over"),
    planted(
        "failed-stop-counts-as-done",
        500,
        "that a unit whose stop failed stays owned until it is down",
    ),
    planted(
        "failed-stop-waited-for-ever",
        500,
        "that a stop that failed is told, and not waited for",
    ),
    tested(
        "removal-not-looked-at",
        "sim/tests/removals::what_was_started_between_its_stop_and_its_removal_stays_ours",
        "that a removed unit is looked at once more",
    ),
    tested(
        "removal-not-reloaded",
        "sim/tests/removals::a_timer_starts_nothing_of_a_removed_service",
        "that systemd forgets a removed file",
    ),
    tested(
        "replacement-not-reloaded",
        "sim/tests/removals::what_is_replaced_and_not_started_is_read_all_the_same",
        "that systemd reads a replaced file anew",
    ),
    tested(
        "soft-reboot-is-no-boot",
        "sim/tests/rules::another_userspace_is_another_boot",
        "that a soft reboot is a boot",
    ),
    planted(
        "absent-machine-holds-global-up",
        500,
        "that a machine that is gone for good holds no global unit up",
    ),
    planted(
        "clone-at-one-address-taken-for-ours",
        500,
        "that a second daemon of one id is told apart by its boot",
    ),
    tested(
        "destruction-unguarded",
        "sim/tests/store_rules::a_late_destruction_changes_nothing",
        "that a destruction rests on the unit that was to be destroyed",
    ),
    planted(
        "dropped-call-blames-endpoint",
        500,
        "that a call which its caller dropped says nothing of the endpoint",
    ),
    planted(
        "leave-overwritten",
        500,
        "that who takes its leave is not written back among the members",
    ),
    planted(
        "outage-counts-as-loss",
        50,
        "that whoever is missing after an outage has a whole time to live to come back",
    ),
    tested(
        "own-unreadable-record-kept",
        "sim/tests/store_rules::an_unreadable_leader_record_of_ones_own_is_replaced",
        "that an unreadable record under one's own lease is replaced",
    ),
    planted(
        "own-write-taken-for-unfreeze",
        200,
        "that the leader knows its own writes from a person's",
    ),
    planted("plan-not-fenced", 500, "that a plan after a doubt is written nowhere else"),
    tested(
        "publication-without-revision",
        "sim/tests/store_rules::a_late_report_changes_nothing",
        "that an earlier state does not overwrite a later one",
    ),
    tested(
        "record-replaced-unguarded",
        "sim/tests/store_rules::a_late_word_on_a_machine_changes_nothing",
        "that a record is replaced only as it was seen",
    ),
    tested(
        "restored-store-not-shown",
        "sim/tests/rules::a_view_of_a_restored_store_begins_anew",
        "that a view of a restored store begins anew",
    ),
    planted(
        "restored-store-waited-for",
        500,
        "that a leader begins anew when revisions go backwards",
    ),
    planted("any-store-is-ours", 500, "that a store of another identity is not ours"),
    planted(
        "directory-not-synced",
        500,
        "that a file's name is put where a power cut does not reach it",
    ),
    planted("disk-undoes-what-runs", 500, "that placements from disk stop nothing"),
    planted("drain-outlives-deadline", 500, "that a drain comes to its end at its deadline"),
    planted("dropped-chain-forgotten", 200, "that steps which could not be tried are tried again"),
    planted(
        "empty-listing-believed",
        500,
        "that a listing counts only from the store that is ours",
    ),
    planted("ended-unit-started", 50, "that a unit which has ended by itself is not started again"),
    planted(
        "failed-publication-counts",
        200,
        "that a state is published until the store has taken it",
    ),
    planted(
        "late-answer-counts",
        500,
        "that the answer to an earlier publication is not taken for that to a later one",
    ),
    planted(
        "lease-left-half-over",
        500,
        "that a machine that leaves in an outage does not end half of its lease",
    ),
    planted("leaving-host-keeps-units", 500, "that units of a machine that goes down move"),
    planted("leaving-host-takes-units", 500, "that a machine that goes down takes nothing new"),
    planted("ledger-unsaved", 50, "that what a daemon owns outlives it"),
    planted("lost-lease-unnoticed", 50, "that a machine whose lease is gone registers anew"),
    planted("old-placements-started", 50, "that only what cannot run elsewhere starts from disk"),
    tested(
        "one-generation-of-placements",
        "sim/tests/rules::what_was_given_up_is_there_when_the_newest_placements_are_damaged",
        "that an older copy of the placements is there when the newest cannot be read",
    ),
    planted("only-active-is-up", 200, "that a unit on its way up has to be stopped as well"),
    planted(
        "outage-note-kept",
        500,
        "that the note of an outage is taken back when the lease is held again",
    ),
    tested(
        "placed-without-cordon",
        "sim/tests/store_rules::a_machine_that_is_cordoned_meanwhile_takes_nothing_new",
        "the guard that nothing new is placed on a machine that was cordoned meanwhile",
    ),
    planted("placed-without-lead", 20, "the guard that only the leader's plans are written"),
    planted(
        "placed-without-machine",
        20,
        "the guard that a machine is registered as it was when it was chosen",
    ),
    planted("placed-without-unit", 20, "the guard that a placement rests on the unit as it is"),
    planted(
        "reboot-forgets-placements",
        500,
        "that what could not be handed over is still there after a reboot",
    ),
    planted("reset-keeps-removed", 50, "that what is missing when everything is told is gone"),
    planted(
        "settled-unit-restarted",
        50,
        "that a unit which has been started as asked is not started again",
    ),
    planted("start-after-giving-up", 500, "that nothing is started once the units are given up"),
    planted("states-of-before-forgotten", 500, "that what a daemon before has said is withdrawn"),
    planted("stop-taken-for-shutdown", 50, "that a daemon's stop leaves its units"),
    planted(
        "stopped-unit-not-released",
        500,
        "that a unit of a machine that goes down is given away when it is down",
    ),
    planted(
        "superseded-chain-goes-on",
        200,
        "that nobody waits for a start that nobody wants any more",
    ),
    planted("superseded-start-begun", 500, "that a start that nobody wants any more is not begun"),
    tested(
        "temporary-file-named-after-unit",
        "sim/tests/rules::a_file_with_the_longest_name_there_is_can_be_replaced",
        "that no unit's name is that of a temporary file",
    ),
    planted("withdrawal-forgotten", 200, "that a withdrawal is told until it is told"),
];

/// The branches of the product that are counted.
pub const BRANCHES: &[&str] = &[
    "clone-refused",
    "foreign-placements",
    "freeze-begins",
    "last-known-withheld",
    "leaves-in-an-outage",
    "ledger-of-another-boot",
    "loss-waits-for-return",
    "old-definition-in-memory",
    "placements-not-saved",
    "plan-in-doubt",
    "revision-goes-backwards",
    "started-between-stop-and-removal",
    "store-is-foreign",
];
