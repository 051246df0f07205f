//! Plays the scripts in `tests/scenarios/node`: one machine's daemon, its store, its runner and its disk.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what the node does into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `registered LEASE`, `pending`, `refused`, `unreachable` | the registration is so now |
//! | `store UNIT STATE GENERATION…` | the store wants these units here, whether the node is told or not |
//! | `place UNIT STATE GENERATION`, `unplace UNIT` | the store wants so, and tells |
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
//! | `see UNIT ACTIVE` | a unit's state changes by itself |
//! | `foreign UNIT` | a unit of that name is the host's own |
//! | `end UNIT done\|dropped\|held` | its chain ends; what it did is seen and remembered if it is done |
//! | `answer taken\|gone\|unknown` | the store answers the oldest publication that it has not answered |
//! | `reboot` | the machine comes back: nothing runs, and nothing is remembered but what lies on disk |
//! | `restart` | the daemon comes back: what runs and what is remembered stays |
//! | `wait SECONDS` | time passes, and every deadline in it comes |
//! | `states UNIT…`, `states unreadable` | the store has these states of ours when the next session begins, or cannot say |
//! | `leave`, `stay` | the machine is about to go down, or is not after all |
//! | `release UNIT` | nothing of it is left on a machine that goes down |
//! | `close` | the daemon ends |
//!
//! Lines that begin with `>` are what it does; `#` begins a comment. The runner and the disk answer at once; chains and
//! publications end when the script says so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its scripts"
)]

mod node {
    pub(crate) mod world;
}

use std::fmt::Write as _;
use std::path::PathBuf;

use node::world::World;

#[test]
fn scripts_of_a_machine() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/node");
    let update = std::env::var("UPDATE").is_ok();
    let mut scripts: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let mut world = World::new();
        let mut played = String::new();
        for line in script.lines().filter(|line| !line.starts_with('>')) {
            let _ = writeln!(played, "{line}");
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            for said in world.play_line(&words) {
                let _ = writeln!(played, "> {said}");
            }
        }
        if update {
            std::fs::write(&path, played).unwrap();
        } else {
            assert_eq!(script, played, "{}", path.display());
        }
    }
}
