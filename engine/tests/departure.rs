//! Plays the scripts in `tests/scenarios/departing`: the end of a daemon on its machine, and a store that answers as it is told.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what is said into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `daemon [unregistered] [outage]` | a daemon of a machine that is registered or not, in an outage that was noted or not |
//! | `stop` | it is stopped, and its units are to go on |
//! | `stop host` | the host goes down |
//! | `stop removed` | Muster is removed from the machine |
//! | `answer done\|gone\|late\|TEXT` | the store's answer; a text is its problem |
//! | `units down\|up` | the units have stopped; or the time is over, and one has not |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail, and reads its scripts")]

#[path = "support/scripts.rs"]
mod scripts;

use std::time::Duration;

use muster_common::lease::{Lease, LeaseId, Presence};
use muster_engine::machine::departure::{
    Departure, DepartureAnswer, DepartureEffect, DepartureInput, DepartureRequest, LeaveReason,
};
use scripts::{Player, fails_without, play_directory, show_duration};

#[test]
fn departing() {
    play_directory::<World>("departing");
}

#[test]
fn a_rule_of_a_departure_that_is_left_out_is_noticed() {
    for planted in [
        "lease-ended-under-a-note",
        "lease-left-half-over",
        "reboot-forgets-placements",
        "stop-taken-for-shutdown",
    ] {
        fails_without(planted, departing);
    }
}

#[derive(Default)]
struct World(Option<Departure>);

impl Player for World {
    fn carry_out(&mut self, words: &[&str], _: &str) -> String {
        let input = match words {
            ["daemon", facts @ ..] => {
                let presence = (!facts.contains(&"unregistered")).then(presence);
                self.0 = Some(Departure::new(presence, facts.contains(&"outage")));
                return String::new();
            }
            ["stop"] => DepartureInput::Stopping { reason: None },
            ["stop", "host"] => DepartureInput::Stopping { reason: Some(LeaveReason::HostStops) },
            ["stop", "removed"] => DepartureInput::Stopping { reason: Some(LeaveReason::Removed) },
            ["answer", "done"] => DepartureInput::Answer(DepartureAnswer::Done),
            ["answer", "gone"] => DepartureInput::Answer(DepartureAnswer::LeaseGone),
            ["answer", "late"] => DepartureInput::Answer(DepartureAnswer::TimedOut),
            ["answer", problem @ ..] => {
                DepartureInput::Answer(DepartureAnswer::Failed(problem.join(" ")))
            }
            ["units", how] => DepartureInput::UnitsStopped { all_down: *how == "down" },
            other => panic!("{other:?}: no such command"),
        };
        let effects = self.0.as_mut().unwrap().step(input);
        let waits = |effect: &DepartureEffect| {
            matches!(effect, DepartureEffect::Ask { .. } | DepartureEffect::StopUnits { .. })
        };
        let waited: Vec<_> = effects.iter().map(waits).collect();
        assert!(waited.iter().rev().skip(1).all(|waits| !waits), "what is waited for comes last");
        let mut said: Vec<String> = effects.iter().map(show_effect).collect();
        if waited.last() != Some(&true) {
            said.push("over".to_owned());
        }
        said.join("\n")
    }
}

fn presence() -> Presence {
    let lease = Lease { id: LeaseId(7), ttl: Duration::from_secs(10) };
    Presence { machine: "m1".parse().unwrap(), lease, created: 3 }
}

fn show_request(request: &DepartureRequest) -> &'static str {
    match request {
        DepartureRequest::ProlongLease(_) => "prolong the lease",
        DepartureRequest::TakeLeave(_) => "take leave",
        DepartureRequest::ResignLeadership(_) => "resign the lead",
        DepartureRequest::RevokeLease(_) => "end the lease",
    }
}

fn show_effect(effect: &DepartureEffect) -> String {
    match effect {
        DepartureEffect::LogLeaving(reason) => format!("log: leaving, {reason:?}"),
        DepartureEffect::SetLeaving => "lets nothing new come".to_owned(),
        DepartureEffect::Ask { request, within } => {
            format!("asks to {} within {}", show_request(request), show_duration(*within))
        }
        DepartureEffect::LogUnanswered { request, answer } => {
            format!("log: cannot {}: {answer:?}", show_request(request))
        }
        DepartureEffect::StopUnits { grace, single_grace } => format!(
            "stops units: {}, or {} where they may not run twice",
            show_duration(*grace),
            show_duration(*single_grace)
        ),
        DepartureEffect::ForgetPlacements => "forgets the placements".to_owned(),
        DepartureEffect::NoteOutage => "notes an outage".to_owned(),
        DepartureEffect::LogNotDown => "log: not every unit is down".to_owned(),
    }
}
