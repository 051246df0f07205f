//! Plays the scripts in `tests/scenarios/schedule` and compares what the scheduler says with what the script expects.
//!
//! `UPDATE=1 cargo test -p muster-engine` writes what it says into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `machine ID [docker] [k=v]…` | registers a machine, or registers it anew |
//! | `lose ID…` | its lease ends |
//! | `leave ID` | it goes down: it takes nothing new, and begins nothing |
//! | `withdraw UNIT on ID` | it takes back what it has said of a unit: nothing of that is left there |
//! | `set ID k=v…`, `unset ID k…` | metadata at run time |
//! | `launch`, `load`, `unload`, `destroy UNIT…` | what a user wants; indented lines below are the file of each |
//! | `unreadable KEY`, `readable KEY` | a record in the store is damaged, or repaired |
//! | `losefile UNIT [on ID]` | the store has a unit's file no more, or that of its placement there |
//! | `place UNIT on ID` | a placement out of nowhere |
//! | `cordon ID HOLDER [by=WHO]`, `uncordon ID HOLDER` | the machine takes nothing new, as far as that holder is concerned |
//! | `drain ID HOLDER`, `end ID HOLDER gave-up\|forced` | its units are to move away; that drain is at its deadline |
//! | `obey [UNIT…]` | machines do what is asked of them (with these units) and say so: what is launched runs |
//! | `report UNIT on ID ACTIVE/SUB` | a machine says how a unit stands |
//! | `progress ID`, `rehearse ID` | prints what becomes of each unit on a machine that is drained, or would be |
//! | `hold ID…` | re-placement is frozen for these machines |
//! | `propose` | prints the plan |
//! | `plan` | prints the plan and writes it |
//! | `admit UNIT…` | prints what would become of units with the file below |
//! | `show` | prints who is where |
//!
//! Lines that begin with `>` are what it says; `#` begins a comment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its scripts"
)]

#[path = "support/scripts.rs"]
mod scripts;
mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use muster_common::cordon::{DrainEnd, Hold};
use muster_common::decision::{Decision, MoveReason};
use muster_common::drain::DrainProgress;
use muster_common::machine::{MachineId, RunnerKind};
use muster_common::refusal::Refusal;
use muster_common::snapshot::{Change, Handover, Placement, Unreadable};
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::cluster::drain;
use muster_engine::schedule::{Candidate, Plan, Scheduler};

use scripts::{Player, fails_without, play_directory};
use support::Cluster;

#[derive(Default)]
struct Script(Cluster);

impl Player for Script {
    fn carry_out(&mut self, words: &[&str], body: &str) -> String {
        run_command(&mut self.0, words, body)
    }
}

#[test]
fn scenarios() {
    play_directory::<Script>("schedule");
}

#[test]
fn a_rule_of_placing_that_is_left_out_is_noticed() {
    for planted in [
        "conflict-overlooked",
        "cordon-overlooked",
        "leaving-host-keeps-units",
        "leaving-host-takes-units",
        "single-moves-at-once",
        "unheard-single-taken",
    ] {
        fails_without(planted, scenarios);
    }
}

fn run_command(cluster: &mut Cluster, words: &[&str], text: &str) -> String {
    let (verb, arguments) = words.split_first().unwrap();
    let text = (!text.is_empty()).then_some(text);
    let mut launch = |desired: DesiredState| {
        for name in arguments {
            let known = cluster.snapshot.units.contains_key(&name.parse::<UnitName>().unwrap());
            let text = text.or((!known).then_some("[Service]\nExecStart=/bin/true\n"));
            cluster.write_unit(name, text, desired);
        }
        String::new()
    };
    match *verb {
        "machine" => {
            let mut runners = vec![RunnerKind::Systemd];
            let mut metadata = Vec::new();
            for word in &arguments[1..] {
                match word.split_once('=') {
                    Some(pair) => metadata.push(pair),
                    None if *word == "docker" => runners.push(RunnerKind::Docker),
                    None if word.starts_with("podman") => runners.push(RunnerKind::Podman),
                    None if *word == "bare" => runners.clear(),
                    None => panic!("{word}: docker, podman, podman*, bare or k=v"),
                }
            }
            cluster.join_machine(arguments[0], &metadata, &runners);
            if arguments.contains(&"podman*") {
                cluster.prefer_podman(arguments[0]);
            }
            String::new()
        }
        "leave" => {
            cluster.leave_machine(arguments[0]);
            String::new()
        }
        "withdraw" => {
            cluster.withdraw_state(arguments[0], arguments[2]);
            String::new()
        }
        "lose" => {
            for id in arguments {
                cluster.lose_machine(id);
            }
            String::new()
        }
        "set" | "unset" => {
            for word in &arguments[1..] {
                let (key, value) =
                    word.split_once('=').map_or((*word, None), |(k, v)| (k, Some(v)));
                let id = arguments[0].parse().unwrap();
                cluster.apply(Change::Metadata(id, key.to_owned(), value.map(str::to_owned)));
            }
            String::new()
        }
        "launch" => launch(DesiredState::Launched),
        "load" => launch(DesiredState::Loaded),
        "unload" => launch(DesiredState::Inactive),
        "destroy" => {
            for name in arguments {
                cluster.destroy_unit(name);
            }
            String::new()
        }
        "unreadable" => {
            let key = arguments[0].to_owned();
            let record = Unreadable { key: key.clone(), problem: "it is no JSON".to_owned() };
            if let Some(name) = key.strip_prefix("unit/") {
                cluster.apply(Change::Unit(name.parse().unwrap(), None));
            } else if let Some((id, name)) =
                key.strip_prefix("place/").and_then(|rest| rest.split_once('/'))
            {
                cluster.apply(Change::Place(id.parse().unwrap(), name.parse().unwrap(), None));
            } else if let Some(id) = key.strip_prefix("machine/") {
                cluster.lose_machine(id);
            }
            cluster.apply(Change::Unreadable(key, Some(record)));
            String::new()
        }
        "readable" => {
            cluster.apply(Change::Unreadable(arguments[0].to_owned(), None));
            String::new()
        }
        "losefile" => {
            let name: UnitName = arguments[0].parse().unwrap();
            let file = match arguments[1..] {
                ["on", id] => {
                    cluster.snapshot.places[&name][&id.parse::<MachineId>().unwrap()].file
                }
                _ => cluster.snapshot.units[&name].file,
            };
            cluster.apply(Change::File(file, None));
            String::new()
        }
        "place" => {
            let name: UnitName = arguments[0].parse().unwrap();
            let unit = &cluster.snapshot.units[&name];
            let placement = Placement {
                file: unit.file,
                desired: unit.desired,
                generation: unit.generation,
                handover: Handover::default(),
                revision: cluster.snapshot.revision + 1,
            };
            cluster.apply(Change::Place(arguments[2].parse().unwrap(), name, Some(placement)));
            String::new()
        }
        "cordon" => {
            let mut hold = Hold::default();
            for word in arguments.iter().skip(2) {
                match word.split_once('=') {
                    Some(("by", who)) => who.clone_into(&mut hold.by),
                    _ => panic!("{word}: by=WHO"),
                }
            }
            cluster.set_cordon(arguments[0], arguments[1], Some(hold));
            String::new()
        }
        "uncordon" => {
            cluster.set_cordon(arguments[0], arguments[1], None);
            String::new()
        }
        "drain" => {
            cluster.order_drain(arguments[0], arguments[1], None);
            String::new()
        }
        "end" => {
            let end = match arguments[2] {
                "gave-up" => DrainEnd::GaveUp,
                "forced" => DrainEnd::Forced,
                word => panic!("{word}: gave-up or forced"),
            };
            cluster.order_drain(arguments[0], arguments[1], Some(end));
            String::new()
        }
        "obey" => {
            cluster
                .obey_placements(|name| arguments.is_empty() || arguments.contains(&name.as_str()));
            String::new()
        }
        "report" => {
            let (active, sub) = arguments[3].split_once('/').unwrap();
            cluster.report_state(arguments[0], arguments[2], active, sub);
            String::new()
        }
        "progress" => {
            let id = arguments[0].parse().unwrap();
            let output = drain::drain_progress(&cluster.snapshot, &id);
            let followed = drain::drain_progress_by(&cluster.snapshot, &id, &mut cluster.scheduler);
            assert_eq!(output, followed, "a scheduler made from nothing tells otherwise");
            describe_statuses(&output)
        }
        "rehearse" => {
            let before = cluster.plan();
            let id = arguments[0].parse().unwrap();
            let output = drain::rehearse_drain(&cluster.snapshot, &id, &cluster.scheduler);
            assert_eq!(before, cluster.plan(), "a rehearsal leaves no trace");
            describe_statuses(&output)
        }
        "hold" => {
            cluster
                .scheduler
                .hold_machines(arguments.iter().map(|id| id.parse().unwrap()).collect());
            String::new()
        }
        "propose" => {
            let plan = cluster.plan();
            describe_plan(&plan, cluster)
        }
        "plan" => {
            let plan = cluster.plan();
            let output = describe_plan(&plan, cluster);
            cluster.write_plan(&plan);
            output
        }
        "admit" => {
            let file: Arc<UnitFile> =
                Arc::new(text.unwrap_or("[Service]\nExecStart=/bin/true\n").parse().unwrap());
            let wanted: Vec<Candidate> = arguments
                .iter()
                .map(|name| {
                    let name: UnitName = name.parse().unwrap();
                    let known = cluster.snapshot.units.get(&name);
                    let known = known.and_then(|unit| cluster.snapshot.files.get(&unit.file));
                    let file = known.filter(|_| text.is_none()).unwrap_or(&file);
                    Candidate { name, file: Arc::clone(file) }
                })
                .collect();
            let before = cluster.plan();
            let refusals = cluster.scheduler.admit_candidates(&wanted);
            assert_eq!(before, cluster.plan(), "admit leaves no trace");
            let mut output = String::new();
            for name in wanted.iter().map(|c| &c.name) {
                match refusals.get(name) {
                    Some(refusal) => output += &describe_refusal(name, refusal),
                    None => {
                        let _ = writeln!(output, "admit {name}");
                    }
                }
            }
            output
        }
        "show" => {
            let mut output = String::new();
            for (name, places) in &cluster.snapshot.places {
                let machines: Vec<&str> = places.keys().map(MachineId::as_str).collect();
                let _ = writeln!(output, "{name} on {}", machines.join(" "));
            }
            output
        }
        verb => panic!("{verb} is no command"),
    }
}

fn describe_plan(plan: &Plan, cluster: &Cluster) -> String {
    let mut output = String::new();
    for step in &plan.moves {
        let decisions: Vec<String> = step.decisions.iter().map(describe_decision).collect();
        let _ = writeln!(output, "{}{}", decisions.join(" and "), describe_reason(&step.reason));
    }
    for name in &plan.refused {
        match cluster.scheduler.explain_refusal(name) {
            Some(refusal) => output += &describe_refusal(name, &refusal),
            None => panic!("{name} is refused without a reason"),
        }
    }
    if output.is_empty() {
        output.push_str("nothing to do");
    }
    // What the scheduler has followed and what the snapshot has become are the same cluster. What is held is told to it
    // apart, so a script that holds machines is not compared.
    let fresh = Scheduler::new(&cluster.snapshot).plan();
    if !output.contains("vanished together") {
        assert_eq!(fresh, *plan, "a scheduler made from nothing plans otherwise");
    }
    output
}

/// Why, where the decisions do not say so themselves.
fn describe_reason(reason: &MoveReason) -> String {
    match reason {
        MoveReason::Lost { machine } => format!(" (lost: {machine})"),
        MoveReason::Unsuitable { machine } => format!(" (unsuitable: {machine})"),
        MoveReason::Drain { machine } => format!(" (drain: {machine})"),
        MoveReason::CallBack { machine } => format!(" (call back: {machine})"),
        MoveReason::MachineOf => " (MachineOf)".to_owned(),
        MoveReason::Replace { units } => {
            let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            format!(" (replace: {})", units.join(" "))
        }
        _ => String::new(),
    }
}

fn describe_decision(decision: &Decision) -> String {
    match decision {
        Decision::Place { machine, unit, placement, .. } => {
            let Placement { desired, generation, handover, revision, .. } = placement;
            let mut output = match revision {
                0 => format!("place {unit} on {machine}, {desired}"),
                _ => format!("update {unit} on {machine}, {desired}, generation {generation}"),
            };
            if let Some(source) = &handover.takes_over {
                let _ = write!(output, ", taking over from {source}");
            }
            for (id, problem) in &handover.tried {
                let _ = write!(output, ", tried on {id}: {problem}");
            }
            output
        }
        Decision::Remove { machine, unit, .. } => format!("remove {unit} from {machine}"),
    }
}

fn describe_statuses(progress: &DrainProgress) -> String {
    let mut output = String::new();
    for (name, status) in &progress.units {
        let status = status.to_string();
        if status.contains('\n') {
            let _ = writeln!(output, "{name}:");
            for line in status.lines() {
                let _ = writeln!(output, "  {line}");
            }
        } else {
            let _ = writeln!(output, "{name}: {status}");
        }
    }
    if progress.is_done() {
        output.push_str("done");
    }
    output
}

fn describe_refusal(name: &UnitName, refusal: &Refusal) -> String {
    let mut output = format!("refuse {name}\n");
    for line in refusal.to_string().lines() {
        let _ = writeln!(output, "  {line}");
    }
    output
}
