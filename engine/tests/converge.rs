//! Plays the scripts in `tests/scenarios/converge`: one machine's unit a line, the steps below it.
//!
//! `want STATE FILE GENERATION [install] ; own FILE GENERATION STATE [enabled] ; see ACTIVE [FILE] [foreign|taken|blocked]`, any part
//! of which may be missing. Each line is also carried out, after which there must be nothing left to do.
//! `UPDATE=1 cargo test -p muster-engine` rewrites the expectations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its scripts"
)]

#[path = "support/one_machine.rs"]
mod one_machine;

use std::fmt::Write as _;
use std::path::PathBuf;

use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::{Desired, Observed, Owned, Step, Steps, next_steps};

use one_machine::Machine;

fn name() -> UnitName {
    "web.service".parse().unwrap()
}

fn parse(line: &str) -> Machine {
    let mut case = Machine::default();
    for part in line.split(';') {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["want", state, file, generation, rest @ ..] => {
                let desired = Desired {
                    file: FileHash::of_text(file),
                    desired: state.parse().unwrap(),
                    generation: generation.parse().unwrap(),
                    install: rest.contains(&"install"),
                };
                case.desired.insert(name(), desired);
            }
            ["own", file, generation, state, rest @ ..] => {
                let owned = Owned {
                    file: FileHash::of_text(file),
                    generation: generation.parse().unwrap(),
                    desired: state.parse().unwrap(),
                    enabled: rest.contains(&"enabled"),
                    starting: rest.contains(&"starting"),
                };
                case.owned.insert(name(), owned);
            }
            ["see", active, rest @ ..] => {
                let file =
                    rest.iter().find(|word| !["foreign", "taken", "blocked"].contains(*word));
                let observed = Observed {
                    active: (*active).into(),
                    foreign: rest.contains(&"foreign") || rest.contains(&"taken"),
                    obstacle: if rest.contains(&"taken") || rest.contains(&"blocked") {
                        "the runner says why".to_owned()
                    } else {
                        String::new()
                    },
                    file: file.map(|file| FileHash::of_text(file)),
                    ..Observed::default()
                };
                case.observed.insert(name(), observed);
            }
            [] => {}
            words => panic!("{words:?}"),
        }
    }
    case
}

fn say(steps: &Steps) -> String {
    let mut line = String::new();
    for (phase, chains) in [("first", &steps.removals), ("then", &steps.others)] {
        for chain in chains {
            let words: Vec<String> = chain.steps.iter().map(word).collect();
            let _ = writeln!(line, "> {phase}: {}", words.join(", "));
        }
    }
    if line.is_empty() {
        line.push_str("> nothing\n");
    }
    line
}

fn word(step: &Step) -> String {
    let letter = |file: &FileHash| {
        ["A", "B"].into_iter().find(|l| FileHash::of_text(l) == *file).unwrap_or("?").to_owned()
    };
    match step {
        Step::Refuse { problem, generation, desired } => {
            format!("refuse {desired} {generation}: {problem}")
        }
        Step::Write { file } => format!("write {}", letter(file)),
        Step::Adopt { file } => format!("adopt {}", letter(file)),
        Step::Enable => "enable".to_owned(),
        Step::Disable => "disable".to_owned(),
        Step::Load => "load".to_owned(),
        Step::Start { .. } => "start".to_owned(),
        Step::Restart { .. } => "restart".to_owned(),
        Step::Stop => "stop".to_owned(),
        Step::AwaitEmpty => "await empty".to_owned(),
        Step::Remove => "remove".to_owned(),
        Step::Settle { generation, desired } => format!("settle {desired} {generation}"),
    }
}

#[test]
fn scripts() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/converge");
    let update = std::env::var("UPDATE").is_ok();
    let mut scripts: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let mut played = String::new();
        for line in script.lines().filter(|line| !line.starts_with('>')) {
            let _ = writeln!(played, "{line}");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut case = parse(line);
            let steps = next_steps(&case.desired, &case.observed, &case.owned);
            played += &say(&steps);
            case.carry_out(&steps);
            let again = next_steps(&case.desired, &case.observed, &case.owned);
            let refused = say(&steps).contains("refuse");
            assert!(again.is_empty() || refused, "{line}: and then {}", say(&again));
        }
        if update {
            std::fs::write(&path, played).unwrap();
        } else {
            assert_eq!(script, played, "{}", path.display());
        }
    }
}
