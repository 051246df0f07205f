//! Plays the scripts in `tests/scenarios/node`: one machine's daemon, its store, its runner and its disk.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what the node does into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `registered LEASE`, `pending`, `refused`, `unreachable` | the registration is so now |
//! | `lapse`, `renewed` | the lease is over by the machine's own clock, and the store has not said so; or it has said otherwise |
//! | `store UNIT STATE GENERATION…` | the store wants these units here, whether the node is told or not |
//! | `place UNIT STATE GENERATION`, `unplace UNIT` | the store wants so, and tells |
//! | `edit UNIT` | somebody has submitted another file of a job that is placed here, without starting it |
//! | `damage UNIT`, `repair UNIT` | a unit's placement cannot be read any more, or can be |
//! | `lost` | the watch cannot reach the store |
//! | `reset UNIT STATE GENERATION…` | the same, and the watch sends everything anew |
//! | `cluster same\|other\|unknown` | what the store says from now on, and to the question that waits, when it is asked whose it is |
//! | `cluster silent` | it does not answer that question any more |
//! | `disk UNIT STATE GENERATION…` | these are the last known placements on disk |
//! | `note outage`, `note none` | an outage of the store is noted on disk, or is not |
//! | `order` | a person has said that the last known placements are to be started |
//! | `rot` | the newest placements on disk cannot be read; these are older |
//! | `disk full`, `disk free` | what is saved from now on is not, or is |
//! | `runner up`, `runner down` | the line to the runner |
//! | `runner busy`, `runner free` | it answers no question, though its line is up, or does again |
//! | `see UNIT ACTIVE` | a unit's state changes by itself |
//! | `begun UNIT` | somebody has started a unit, and its runner does not know that it is wanted |
//! | `obstacle UNIT [WORDS…]` | something of the host's is in the way of enabling it, in these words of the runner's, or no more |
//! | `foreign UNIT` | a unit of that name is the host's own |
//! | `end UNIT done\|dropped\|held` | its chain ends; what it did is seen and remembered if it is done |
//! | `answer taken\|gone\|unknown` | the store answers the oldest publication that it has not answered |
//! | `reboot` | the machine comes back: nothing runs, and nothing is remembered but what lies on disk |
//! | `restart` | the daemon comes back: what runs and what is remembered stays |
//! | `wait SECONDS` | time passes, and every deadline in it comes |
//! | `states UNIT…`, `states unreadable` | the store has these states of ours when the next session begins, or cannot say |
//! | `hold`, `hear` | it is busy, and what it is told from now on waits; or it hears all of that at once |
//! | `leave`, `stay` | the machine is about to go down, or is not after all |
//! | `release UNIT` | nothing of it is left on a machine that goes down |
//! | `close` | the daemon ends |
//!
//! A unit whose name begins with `job` is a job, and one whose name begins with `boot` has an `[Install]` section.
//!
//! Lines that begin with `>` are what it does; `#` begins a comment. The runner and the disk answer at once; chains and
//! publications end when the script says so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod node {
    pub(crate) mod world;
}
#[path = "support/scripts.rs"]
mod scripts;
#[path = "support/steps.rs"]
mod steps;

use node::world::World;
use scripts::{Player, fails_without, play_directory};

impl Player for World {
    fn carry_out(&mut self, words: &[&str], _body: &str) -> String {
        self.play_line(words).join("\n")
    }
}

#[test]
fn scripts_of_a_machine() {
    play_directory::<World>("node");
}

#[test]
fn a_rule_of_a_machine_that_is_left_out_is_noticed() {
    for planted in [
        "changed-wish-forgotten",
        "cluster-not-remembered",
        "disk-after-the-store",
        "cut-off-stop-forgotten",
        "disk-undoes-what-runs",
        "dropped-chain-forgotten",
        "empty-listing-believed",
        "ended-unit-started",
        "failed-publication-counts",
        "given-up-watch-believed",
        "held-unit-not-stopped-again",
        "hosts-own-unit-stopped",
        "job-begun-again",
        "lapsed-lease-relied-on",
        "late-answer-counts",
        "late-publication-overlooked",
        "later-job-start-counts-as-this",
        "lost-job-start-repeated",
        "lost-watch-empties-placements",
        "old-placements-started",
        "only-active-is-up",
        "placed-jobs-run-forgotten",
        "placements-never-saved",
        "queued-start-forgotten",
        "refused-publication-accepted",
        "removed-jobs-run-forgotten",
        "replaced-job-begun-again",
        "replaced-unit-runs-on",
        "reset-keeps-removed",
        "restored-states-kept",
        "running-unit-removed",
        "session-outlives-lease",
        "settled-unit-restarted",
        "states-of-before-forgotten",
        "stopped-unit-not-released",
        "superseded-start-counts-as-heard",
        "superseded-wish-forgotten",
        "unanswered-look-not-repeated",
        "unread-states-taken-for-none",
        "withdrawal-forgotten",
    ] {
        fails_without(planted, scripts_of_a_machine);
    }
}
