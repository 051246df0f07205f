//! Plays the scripts in `tests/scenarios` and compares what the checker finds with what the script expects.
//!
//! `UPDATE=1 cargo test -p muster-checker` writes what it finds into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `cluster ID…` | machines with reports of themselves, the first of which leads |
//! | `launch`, `load`, `unload`, `destroy UNIT…` | what a user wants; indented lines below are the file of each |
//! | `settle` | the leader places, machines carry out and report; nothing is left to do |
//! | `obey` | machines carry out and report; the leader decides nothing |
//! | `lose ID…`, `leave ID…` | its registration ends; of one that leaves the membership as well |
//! | `place UNIT on ID`, `unplace UNIT on ID` | a placement out of nowhere, or gone |
//! | `state UNIT on ID ACTIVE [GENERATION]`, `silence UNIT on ID` | a report in the store, or none |
//! | `run UNIT on ID ACTIVE [FILE]` | what that machine's runner says, of the file of another unit if one is named |
//! | `owned UNIT on ID`, `known UNIT on ID GENERATION` | an entry in that machine's ledger, or in its last known placements |
//! | `report ID FIELD VALUE…` | a field of what a machine says of itself: boot, cluster, revision, leading, clock, id, unseen, warning, component |
//! | `register ID FIELD VALUE` | a field of its registration: boot, version, api |
//! | `silent ID`, `unasked ID`, `answers ID` | a machine that was asked and does not answer, cannot be asked, or does |
//! | `record FIELD VALUE…` | something else in the store: leader, held, nomember, cluster, unreadable, unleased, warning, cordon, drain, metadata, losefile, file |
//! | `slot GROUP HOLDER [KIND] [since=S]`, `slots GROUP MAX`, `host ID`, `request ID` | records about reboots |
//! | `unread PROBLEM` | the store cannot be read |
//! | `wall SECONDS` | the time of the look |
//! | `check` | prints all that is found |
//! | `check-after SECONDS` | prints what counts once nothing has happened for so long, with a TTL of ten |
//!
//! Lines that begin with `>` are what it says; `#` begins a comment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its scripts"
)]

mod paper;
#[path = "../../engine/tests/support/scripts.rs"]
mod scripts;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use muster_checker::{Violation, WORDS, check_after, check_cluster, check_safety};

use paper::PaperCluster;
use scripts::{Player, play_directory};

/// The words that were said in all scripts.
static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

#[derive(Default)]
struct Script(PaperCluster);

impl Player for Script {
    fn carry_out(&mut self, words: &[&str], body: &str) -> String {
        match *words {
            ["check"] => {
                let picture = self.0.picture();
                let found = check_cluster(&picture);
                let safety = check_safety(&picture);
                let worst = found.iter().filter(|violation| safety.contains(violation)).count();
                assert_eq!(worst, safety.len(), "what must never be is found either way");
                show_violations(&found)
            }
            ["check-after", seconds] => {
                let calm = Duration::from_secs(seconds.parse().unwrap());
                show_violations(&check_after(&self.0.picture(), calm, Duration::from_secs(10)))
            }
            _ => {
                self.0.carry_out(words, body);
                String::new()
            }
        }
    }
}

fn show_violations(found: &[Violation]) -> String {
    let mut text = String::new();
    for violation in found {
        let (word, severity) = (violation.as_word(), violation.severity_level());
        assert!(WORDS.contains(&(word, severity)), "{word} is not in the list");
        SAID.lock().unwrap().insert(word);
        let _ = writeln!(text, "{word} ({}): {violation}", severity.as_str());
        assert!(!violation.way_out().is_empty());
        assert_ne!(violation.to_string(), word, "it has a sentence");
    }
    if text.is_empty() { "nothing wrong\n".to_owned() } else { text }
}

#[test]
fn each_word_has_a_script_that_says_it() {
    play_directory::<Script>("");
    let said = SAID.lock().unwrap();
    let unsaid: Vec<&str> =
        WORDS.iter().map(|(word, _)| *word).filter(|word| !said.contains(word)).collect();
    assert!(unsaid.is_empty(), "no script says {unsaid:?}");
}

#[test]
fn the_page_explains_each_word_under_its_weight() {
    let page = include_str!("../../docs/operations.md");
    let section = page.split_once("## What is wrong with my cluster?\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: Vec<&str> = rows.map(|row| row.split_once('`').unwrap().0).collect();
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    assert_eq!(explained, words, "docs/operations.md has the words in the order of the list");
}
