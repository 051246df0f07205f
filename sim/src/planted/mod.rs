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
    /// A test in `sim/tests`, by its file and its name: what it is about is out of reach of a world without real disks, buses or members.
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
        "removals::what_was_started_between_its_stop_and_its_removal_stays_ours",
        "that a removed unit is looked at once more",
    ),
    tested(
        "removal-not-reloaded",
        "removals::a_timer_starts_nothing_of_a_removed_service",
        "that systemd forgets a removed file",
    ),
    tested(
        "replacement-not-reloaded",
        "removals::what_is_replaced_and_not_started_is_read_all_the_same",
        "that systemd reads a replaced file anew",
    ),
    planted("soft-reboot-is-no-boot", 500, "that a soft reboot is a boot"),
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
    planted(
        "destruction-unguarded",
        500,
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
    planted(
        "own-unreadable-record-kept",
        500,
        "that an unreadable record under one's own lease is replaced",
    ),
    planted(
        "own-write-taken-for-unfreeze",
        200,
        "that the leader knows its own writes from a person's",
    ),
    planted("plan-not-fenced", 500, "that a plan after a doubt is written nowhere else"),
    planted(
        "publication-without-revision",
        500,
        "that an earlier state does not overwrite a later one",
    ),
    planted("record-replaced-unguarded", 500, "that a record is replaced only as it was seen"),
    planted("restored-store-not-shown", 500, "that a view of a restored store begins anew"),
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
    planted(
        "one-generation-of-placements",
        500,
        "that an older copy of the placements is there when the newest cannot be read",
    ),
    planted("only-active-is-up", 200, "that a unit on its way up has to be stopped as well"),
    planted(
        "outage-note-kept",
        500,
        "that the note of an outage is taken back when the lease is held again",
    ),
    planted(
        "placed-without-cordon",
        200,
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
    planted(
        "temporary-file-named-after-unit",
        500,
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
