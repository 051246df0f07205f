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
fn leading() {
    scripts::play_directory::<reign::Reign>("leading");
}

#[test]
fn freezing() {
    scripts::play_directory::<reign::Reign>("freezing");
}
