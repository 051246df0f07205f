//! Plays the scripts in `tests/scenarios/converge`: one machine's unit a line, the steps below it.
//!
//! `want STATE FILE GENERATION [install] ; own FILE GENERATION STATE [enabled] ; see ACTIVE [FILE] [foreign|taken|blocked|outdated|unasked]
//! [restarted:GENERATION]`, any part of which may be missing. Each line is also carried out, after which there must be nothing left to do.
//! `UPDATE=1 cargo test -p muster-engine` rewrites the expectations.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "support/one_machine.rs"]
mod one_machine;
#[path = "support/scripts.rs"]
mod scripts;
#[path = "support/steps.rs"]
mod steps;

use std::fmt::Write as _;

use muster_common::state::sub;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::{Desired, Observed, Owned, Step, Steps, next_steps};

use muster_engine::run_origin::RunOrigin;
use one_machine::Machine;
use scripts::{Player, fails_without, play_directory};
use steps::describe_step;

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
                    stopping: rest.contains(&"stopping"),
                };
                case.owned.insert(name(), owned);
            }
            ["see", active, rest @ ..] => {
                let words = ["foreign", "taken", "blocked", "interrupted", "outdated", "unasked"];
                let restarted = rest.iter().find_map(|word| word.strip_prefix("restarted:"));
                let is_file = |word: &str| !words.contains(&word) && !word.contains(':');
                let file = rest.iter().find(|word| is_file(word));
                let observed = Observed {
                    active: (*active).into(),
                    foreign: rest.contains(&"foreign") || rest.contains(&"taken"),
                    obstacle: if rest.contains(&"taken") || rest.contains(&"blocked") {
                        "the runner says why".to_owned()
                    } else {
                        String::new()
                    },
                    file: file.map(|file| FileHash::of_text(file)),
                    sub: rest
                        .iter()
                        .find(|word| **word == sub::INTERRUPTED)
                        .map_or("", |word| word)
                        .to_owned(),
                    outdated: rest.contains(&"outdated"),
                    origin: if rest.contains(&"unasked") {
                        RunOrigin::Others
                    } else {
                        RunOrigin::Cluster
                    },
                    restarted_for: restarted.map(|generation| generation.parse().unwrap()),
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

fn describe_steps(steps: &Steps) -> String {
    let mut line = String::new();
    for (phase, chains) in [("first", &steps.removals), ("then", &steps.others)] {
        for chain in chains {
            let words: Vec<String> = chain.steps.iter().map(describe).collect();
            let _ = writeln!(line, "{phase}: {}", words.join(", "));
        }
    }
    if line.is_empty() {
        line.push_str("nothing\n");
    }
    line
}

fn describe(step: &Step) -> String {
    describe_step(step, |file| {
        ["A", "B"].into_iter().find(|l| FileHash::of_text(l) == *file).unwrap_or("?").to_owned()
    })
}

/// One line of a script: a case of its own.
#[derive(Default)]
struct Cases;

impl Player for Cases {
    fn carry_out(&mut self, words: &[&str], _body: &str) -> String {
        let mut case = parse(&words.join(" "));
        let steps = next_steps(&case.desired, &case.observed, &case.owned);
        let text = describe_steps(&steps);
        case.carry_out(&steps);
        let again = next_steps(&case.desired, &case.observed, &case.owned);
        let refused = text.contains("refuse");
        assert!(again.is_empty() || refused, "{words:?}: and then {}", describe_steps(&again));
        text
    }
}

#[test]
fn scripts_of_one_unit() {
    play_directory::<Cases>("converge");
}

#[test]
fn a_rule_of_one_unit_that_is_left_out_is_noticed() {
    for planted in [
        "earlier-file-runs-on",
        "earlier-restart-taken-for-this",
        "ended-unit-started",
        "hosts-own-unit-stopped",
        "loaded-unit-left-up",
        "only-active-is-up",
        "queued-start-forgotten",
        "replaced-file-not-written",
        "replaced-unit-runs-on",
        "running-unit-removed",
        "settled-unit-restarted",
        "start-under-a-stop-that-goes-on",
        "unasked-run-left-to-itself",
        "unheard-restart-repeated",
    ] {
        fails_without(planted, scripts_of_one_unit);
    }
}
