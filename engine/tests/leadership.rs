//! Plays the scripts in `tests/scenarios/{electing,leading,freezing}`: daemons that campaign, and a leader in its term, each with
//! a store on paper.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what is said into the scripts, for a person to read in the diff. The commands are
//! in [`candidates`] and [`reign`].

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail, and reads its scripts")]
#![allow(clippy::cast_precision_loss, reason = "times of scripts are short")]

#[path = "leadership/candidates.rs"]
mod candidates;
#[path = "leadership/paper_cluster.rs"]
mod paper_cluster;
#[path = "leadership/properties.rs"]
mod properties;
#[path = "leadership/reign.rs"]
mod reign;
#[path = "support/scripts.rs"]
mod scripts;

#[test]
fn electing() {
    scripts::play_directory::<candidates::Candidates>("electing");
}

#[test]
fn a_rule_of_elections_that_is_left_out_is_noticed() {
    scripts::fails_without("won-under-an-earlier-lease", electing);
}

#[test]
fn leading() {
    scripts::play_directory::<reign::Reign>("leading");
}

#[test]
fn a_rule_of_a_leader_that_is_left_out_is_noticed() {
    for planted in [
        "conflict-not-planned-again",
        "drain-time-never-over",
        "failed-plan-not-made-again",
        "fence-kept-in-doubt",
        "found-members-taken-for-leave",
        "late-members-taken-for-leave",
        "lease-lost-while-leading",
        "lost-lead-unnoticed",
        "members-not-recorded",
        "members-under-way-taken-for-leave",
        "own-commit-not-waited-for",
        "own-members-taken-for-leave",
        "resigned-leader-stays-away",
        "return-behind-a-listing-overlooked",
        "restored-store-waited-for",
        "return-in-one-boot-overlooked",
        "return-while-recording-forgotten",
    ] {
        scripts::fails_without(planted, leading);
    }
}

#[test]
fn freezing() {
    scripts::play_directory::<reign::Reign>("freezing");
}

#[test]
fn a_rule_on_losses_that_is_left_out_is_noticed() {
    for planted in [
        "contact-never-broken",
        "election-taken-for-keepalives",
        "freeze-ended-by-one",
        "full-store-unnoticed",
        "mass-loss-moved",
        "members-not-recorded",
        "old-verdict-outlives-outage",
        "others-not-asked-after",
        "outage-counts-as-loss",
        "own-commit-not-waited-for",
        "own-write-taken-for-unfreeze",
        "room-not-looked-for-after-outage",
        "waiting-machines-moved",
    ] {
        scripts::fails_without(planted, freezing);
    }
}
