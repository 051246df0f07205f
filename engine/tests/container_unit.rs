//! A container unit as stories: what comes in on the left, what is asked for on the right.
//!
//! `SECONDS INPUT => EFFECT; EFFECT; ...`. A status that is published is shown as `ACTIVE/SUB [RUN] [(REMARK)]`, one that
//! the cluster is not told of in square brackets. What is remembered and logged is left out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to fail it")]

#[path = "container_unit/next_daemon.rs"]
mod next_daemon;
#[path = "container_unit/properties.rs"]
mod properties;

use std::sync::Arc;
use std::time::Duration;

use muster_common::container::{HostFacts, Quadlet, read};
use muster_common::unit::FileHash;
use muster_engine::container::unit::{
    ContainerPlan, ContainerUnit, InspectedContainer, Moment, Prepared, UnitEffect, UnitInput,
    UnitMemory, UnitOrder, UnitStatus, WorkResult,
};
use muster_engine::container::{
    Ended, EngineRun, EngineSessions, FoundContainer, HealthState, Identity, Owner,
};

/// An engine without live-restore, whose processes nothing tells apart.
const NOT_LIVE: EngineRun = EngineRun { live_restore: Some(false), process: None };

/// The plan of a container with these lines below its image.
fn plan(lines: &str) -> ContainerPlan {
    let text = format!("[Container]\nImage=a\n{lines}\n");
    match read(&"web.container".parse().unwrap(), &text.parse().unwrap(), &HostFacts::stand_in()) {
        Ok((Quadlet::Container(spec), _)) => ContainerPlan {
            file: FileHash::of_text(&text),
            spec: Arc::from(spec),
            open: None,
            is_job: false,
        },
        other => panic!("{other:?}"),
    }
}

fn prepared(plan: &ContainerPlan) -> WorkResult {
    let plan = plan.clone();
    WorkResult::Prepared(Prepared { plan, names: [].into(), image: None })
}

fn container(id: &str, seen: FoundContainer) -> InspectedContainer {
    let identity = Identity {
        unit: "web.container".parse().unwrap(),
        file: FileHash::of_text(""),
        generation: 5,
        cluster: "here".to_owned(),
    };
    InspectedContainer {
        id: id.to_owned(),
        owner: Owner::Ours(identity),
        seen,
        stop_signal: None,
        fault: String::new(),
        paused: false,
    }
}

fn seen(words: &[&str]) -> Option<FoundContainer> {
    let ended =
        |code: &str| FoundContainer::Ended(Ended { code: code.parse().unwrap(), oom: false });
    match words {
        ["none"] => None,
        ["created"] => Some(FoundContainer::Absent),
        ["runs"] => Some(FoundContainer::Running(None)),
        ["ill"] => Some(FoundContainer::Running(Some(HealthState::Unhealthy))),
        ["ended", code] => Some(ended(code)),
        other => panic!("{other:?}"),
    }
}

fn started(id: &str, since: EngineSessions) -> UnitInput {
    UnitInput::WorkDone(WorkResult::Started { id: id.to_owned(), since })
}

/// A unit, and the world around it.
struct Story {
    unit: ContainerUnit,
    plan: ContainerPlan,
    sessions: EngineSessions,
    memory: UnitMemory,
    status: UnitStatus,
    first: String,
}

impl Story {
    /// One that is found so by a daemon that has just started.
    fn adopts(lines: &str, memory: Option<UnitMemory>, found: Option<InspectedContainer>) -> Self {
        Self::adopts_from(lines, NOT_LIVE, memory, found)
    }

    /// The same from an engine that says this of itself.
    fn adopts_from(
        lines: &str,
        engine: EngineRun,
        memory: Option<UnitMemory>,
        found: Option<InspectedContainer>,
    ) -> Self {
        let plan = plan(lines);
        let mut sessions = EngineSessions::default();
        sessions.begin(engine);
        let at = Moment { now: Duration::ZERO, wall: 1_000, sessions };
        let (unit, effects) =
            ContainerUnit::adopt_container(plan.clone(), memory.clone(), found, &at);
        let memory = memory.unwrap_or_default();
        let status = UnitStatus::from_memory(None);
        let mut story = Self { unit, plan, sessions, memory, status, first: String::new() };
        story.first = story.shown(&effects);
        story
    }

    fn new(lines: &str) -> Self {
        Self::adopts(lines, None, None)
    }

    /// One whose container runs.
    fn up(lines: &str) -> Self {
        let mut story = Self::new(lines);
        story.go_on(
            "
            0 start 7     => prepare; activating/start-pre
            1 prepared    => start for 7; activating/start
            2 started abc => inspect abc; active/running abc
            3 abc runs    => nothing
            ",
        );
        story
    }

    fn input(&mut self, words: &[&str]) -> UnitInput {
        let order = |order, generation: Option<&&str>| {
            let generation = generation.map(|generation| generation.parse().unwrap());
            UnitInput::Order { order, generation }
        };
        let work = |result: fn(String) -> WorkResult| UnitInput::WorkDone(result("why".to_owned()));
        match words {
            ["start", rest @ ..] => order(UnitOrder::Start, rest.first()),
            ["restart", rest @ ..] => order(UnitOrder::Restart, rest.first()),
            ["stop"] => order(UnitOrder::Stop, None),
            ["file", lines @ ..] => {
                self.plan = plan(&lines.join("\n"));
                UnitInput::Plan(self.plan.clone())
            }
            ["prepared"] => UnitInput::WorkDone(prepared(&self.plan)),
            ["prepared", "another"] => UnitInput::WorkDone(prepared(&plan("Label=before=1"))),
            ["unprepared"] => work(WorkResult::Unprepared),
            ["unmet"] => work(WorkResult::Unmet),
            ["assert"] => work(WorkResult::AssertFailed),
            ["refused"] => work(WorkResult::NotStarted),
            ["started", id] => started(id, self.sessions),
            // By an attempt of before everything that became of the engine.
            ["started", id, "before"] => started(id, EngineSessions::default()),
            ["sent"] => UnitInput::WorkDone(WorkResult::Sent),
            ["hint"] => UnitInput::Hint,
            ["start-hint"] => UnitInput::StartHint,
            ["progress", text] => UnitInput::Progress((*text).to_owned()),
            ["remove"] => UnitInput::Remove,
            ["removed"] => UnitInput::Removed(true),
            ["unremoved"] => UnitInput::Removed(false),
            ["tick"] => UnitInput::Tick,
            [id, state @ ..] => UnitInput::Inspected {
                container: (*id).to_owned(),
                found: seen(state).map(|seen| container(id, seen)),
            },
            [] => panic!("a line without an input"),
        }
    }

    fn shown(&mut self, effects: &[UnitEffect]) -> String {
        let mut shown = Vec::new();
        for effect in effects {
            match effect {
                UnitEffect::Prepare(_) => shown.push("prepare".to_owned()),
                UnitEffect::Start { replaces, generation, .. } => {
                    let before = replaces.as_ref().map(|id| format!(" in place of {id}"));
                    shown.push(format!("start for {generation}{}", before.unwrap_or_default()));
                }
                UnitEffect::Signal { container, signal } => {
                    shown.push(format!("{signal} to {container}"));
                }
                UnitEffect::CancelWork => shown.push("cancel".to_owned()),
                UnitEffect::CallOffStart => shown.push("call off".to_owned()),
                UnitEffect::Inspect(id) => shown.push(format!("inspect {id}")),
                UnitEffect::FindContainer => shown.push("find".to_owned()),
                UnitEffect::RemoveContainers(ids) => {
                    shown.push(format!("remove {}", ids.join(" ")).trim_end().to_owned());
                }
                UnitEffect::Forget => shown.push("forget".to_owned()),
                UnitEffect::Publish { status, is_news } => {
                    self.status = status.clone();
                    let line = status_line(status);
                    shown.push(if *is_news { line } else { format!("[{line}]") });
                }
                UnitEffect::DiscardNetworks(_) => shown.push("discard networks".to_owned()),
                UnitEffect::CountRestart => shown.push("count".to_owned()),
                UnitEffect::Remember(memory) => self.memory = memory.clone(),
                UnitEffect::LogPhase { .. } => {}
            }
        }
        if shown.is_empty() { "nothing".to_owned() } else { shown.join("; ") }
    }

    #[track_caller]
    fn go_on(&mut self, script: &str) {
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (left, _) = line.split_once("=>").unwrap();
            let words: Vec<&str> = left.split_whitespace().collect();
            expected.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
            let (second, asked) = words.split_first().unwrap();
            let second: u64 = second.parse().unwrap();
            if asked == ["engine-restart"] {
                self.sessions.begin(NOT_LIVE);
                got.push(format!("{} => nothing", words.join(" ")));
                continue;
            }
            let (now, wall) = (Duration::from_secs(second), 1_000 + second);
            let at = Moment { now, wall, sessions: self.sessions };
            let input = self.input(asked);
            let effects = self.unit.step(&at, input);
            got.push(format!("{} => {}", words.join(" "), self.shown(&effects)));
        }
        assert_eq!(got.join("\n"), expected.join("\n"));
    }
}

fn status_line(status: &UnitStatus) -> String {
    let invocation = Some(&status.invocation).filter(|text| !text.is_empty());
    let remark = Some(&status.remark).filter(|text| !text.is_empty());
    [
        Some(format!("{}/{}", status.active, status.sub)),
        invocation.cloned(),
        remark.map(|remark| format!("({remark})")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}

#[test]
fn it_is_started_stopped_and_removed() {
    let mut story = Story::up("");
    story.go_on(
        "
        10 stop          => SIGTERM to abc; deactivating/stop-sigterm abc
        10 sent          => inspect abc
        11 abc ended 143 => discard networks; inactive/dead
        12 remove        => remove abc
        13 removed       => forget
        ",
    );
}

#[test]
fn a_signal_is_the_files_the_images_or_sigterm() {
    let mut story = Story::up("StopSignal=SIGINT");
    story.go_on("10 stop => SIGINT to abc; deactivating/stop-sigterm abc");
    let found = InspectedContainer {
        stop_signal: Some("SIGQUIT".to_owned()),
        ..container("abc", FoundContainer::Running(None))
    };
    let mut story = Story::adopts("", None, Some(found));
    assert_eq!(story.first, "active/running abc");
    story.go_on("10 stop => SIGQUIT to abc; deactivating/stop-sigterm abc");
}

#[test]
fn what_a_hint_means_is_looked_up_and_again_if_something_happened_meanwhile() {
    let mut story = Story::up("");
    story.go_on(
        "
        5 hint        => inspect abc
        5 hint        => nothing
        5 hint        => nothing
        6 abc runs    => inspect abc
        7 abc ended 1 => discard networks; failed/failed (exit-code, code 1)
        8 hint        => inspect abc
        9 abc ended 1 => nothing
        ",
    );
}

#[test]
fn a_start_by_hand_is_looked_for_only_where_nothing_should_run() {
    let mut story = Story::up("");
    story.go_on(
        "
        5 start-hint   => nothing
        6 stop         => SIGTERM to abc; deactivating/stop-sigterm abc
        6 sent         => inspect abc
        7 abc ended 0  => discard networks; inactive/dead
        8 start-hint   => inspect abc
        9 abc runs     => active/running abc
        ",
    );
}

#[test]
fn the_one_before_a_start_that_came_to_nothing_is_still_its_container() {
    let mut story = Story::up("");
    story.go_on(
        "
        5  hint        => inspect abc
        6  abc ended 1 => discard networks; failed/failed (exit-code, code 1)
        7  start 8     => prepare; activating/start-pre
        8  prepared    => start for 8 in place of abc; activating/start
        9  refused     => discard networks; failed/failed (resources: why)
        10 start-hint  => find
        11 abc runs    => active/running abc
        ",
    );
}

#[test]
fn a_start_that_is_to_be_stopped_is_called_off() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7    => prepare; activating/start-pre
        1 prepared   => start for 7; activating/start
        2 stop       => call off; deactivating/stop-sigterm
        3 refused    => discard networks; inactive/dead
        4 start 8    => prepare; activating/start-pre
        5 prepared   => start for 8; activating/start
        6 stop       => call off; deactivating/stop-sigterm
        7 started abc => SIGTERM to abc; inspect abc; deactivating/stop-sigterm abc
        ",
    );
}

#[test]
fn one_that_a_start_has_left_behind_is_looked_for_when_somebody_starts_it() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7    => prepare; activating/start-pre
        1 prepared   => start for 7; activating/start
        2 refused    => discard networks; failed/failed (resources: why)
        3 start-hint => find
        3 def none   => nothing
        4 start-hint => find
        5 def runs   => active/running def
        ",
    );
}

#[test]
fn a_container_that_is_gone_counts_as_killed() {
    let mut story = Story::up("");
    story.go_on(
        "
        5 hint     => inspect abc
        6 abc none => discard networks; failed/failed (signal)
        7 hint     => nothing
        ",
    );
}

#[test]
fn what_is_said_of_an_earlier_container_is_passed_over() {
    let mut story = Story::up("");
    story.go_on(
        "
        5 hint        => inspect abc
        5 restart 8   => SIGTERM to abc; deactivating/stop-sigterm abc
        5 sent        => nothing
        6 abc ended 0 => inspect abc; prepare; activating/start-pre
        7 prepared    => start for 8 in place of abc; activating/start
        8 abc ended 0 => nothing
        9 started def => inspect def; active/running def
        ",
    );
}

#[test]
fn preparing_that_is_called_off_is_dropped() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7           => prepare; activating/start-pre
        1 progress fetching => activating/start-pre (fetching)
        2 stop              => discard networks; cancel; inactive/dead
        ",
    );
}

#[test]
fn what_was_prepared_for_another_file_is_prepared_anew() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7          => prepare; activating/start-pre
        1 file Label=a=1   => nothing
        2 prepared another => prepare
        3 prepared         => start for 7; activating/start
        ",
    );
}

#[test]
fn a_start_that_comes_to_nothing_says_why() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7    => prepare; activating/start-pre
        1 unprepared => discard networks; failed/failed (resources: why)
        2 start 8    => prepare; activating/start-pre
        3 unmet      => discard networks; inactive/dead (condition: why)
        4 start 9    => prepare; activating/start-pre
        5 assert     => discard networks; failed/failed (assert: why)
        6 start 10   => prepare; activating/start-pre
        7 prepared   => start for 10; activating/start
        8 refused    => discard networks; failed/failed (resources: why)
        ",
    );
    assert_eq!(story.unit.failure_count(), 3, "a condition that does not hold is no failure");
}

#[test]
fn it_is_started_again_as_its_file_says() {
    let mut story = Story::up("[Service]\nRestart=always\nRestartSec=5");
    story.go_on(
        "
        5  hint        => inspect abc
        6  abc ended 1 => count; activating/auto-restart (ended with code 1, restart 1)
        7  tick        => nothing
        11 tick        => prepare; activating/start-pre
        12 prepared    => start for 7 in place of abc; activating/start
        13 started def => inspect def; active/running def
        ",
    );
}

#[test]
fn a_container_that_its_engine_took_along_is_no_failure() {
    let mut story = Story::up("");
    story.go_on(
        "
        5 engine-restart => nothing
        6 hint           => inspect abc
        7 abc ended 137  => prepare; activating/start-pre
        ",
    );
}

#[test]
fn a_kill_is_not_lined_up_twice_while_the_engine_is_away() {
    let mut story = Story::up("StopTimeout=5");
    story.go_on(
        "
        10 stop          => SIGTERM to abc; deactivating/stop-sigterm abc
        15 tick          => deactivating/stop-sigkill abc
        25 tick          => nothing
        35 tick          => nothing
        36 sent          => inspect abc; SIGKILL to abc
        37 sent          => nothing
        37 abc ended 137 => inspect abc; discard networks; failed/failed (timeout)
        ",
    );
}

#[test]
fn a_removal_waits_for_a_container_on_its_way() {
    let mut story = Story::new("");
    story.go_on(
        "
        0  start 7     => prepare; activating/start-pre
        1  prepared    => start for 7; activating/start
        2  remove      => nothing
        30 tick        => nothing
        31 started abc => remove abc
        32 removed     => forget
        ",
    );
    let mut story = Story::new("");
    story.go_on(
        "
        0  start 7  => prepare; activating/start-pre
        1  prepared => start for 7; activating/start
        2  remove   => nothing
        32 tick     => cancel; remove
        33 removed  => forget
        ",
    );
}

#[test]
fn a_unit_that_could_not_be_removed_goes_on_where_it_was() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7     => prepare; activating/start-pre
        1 remove      => cancel; remove
        2 unremoved   => prepare
        3 prepared    => start for 7; activating/start
        4 remove      => nothing
        5 started abc => remove abc
        6 unremoved   => inspect abc; active/running abc
        7 abc runs    => nothing
        8 remove      => remove abc
        9 removed     => forget
        ",
    );
}

#[test]
fn a_stop_that_a_failed_removal_broke_off_comes_to_its_end() {
    // The start was called off after its time, so no container is known whose end could be told.
    let mut story = Story::new("");
    story.go_on(
        "
        0  start 7   => prepare; activating/start-pre
        1  prepared  => start for 7; activating/start
        2  stop      => call off; deactivating/stop-sigterm
        3  remove    => nothing
        33 tick      => cancel; remove
        34 unremoved => discard networks; inactive/dead
        ",
    );
    let mut story = Story::up("");
    story.go_on(
        "
        10 stop      => SIGTERM to abc; deactivating/stop-sigterm abc
        11 remove    => cancel; remove abc
        12 unremoved => SIGTERM to abc
        13 sent      => inspect abc
        ",
    );
}

#[test]
fn a_start_that_was_not_heard_of_is_of_the_session_it_was_made_in() {
    let mut story = Story::new("");
    story.go_on(
        "
        0 start 7            => prepare; activating/start-pre
        1 prepared           => start for 7; activating/start
        2 engine-restart     => nothing
        3 started abc before => inspect abc; active/running abc
        4 abc ended 137      => prepare; activating/start-pre
        ",
    );
}

#[test]
fn an_order_has_an_outcome_once_the_unit_is_settled() {
    let mut story = Story::up("");
    assert_eq!(story.status.outcome_of(UnitOrder::Start, 0), Some(Ok(())));
    story.go_on("5 stop => SIGTERM to abc; deactivating/stop-sigterm abc");
    assert_eq!(story.status.outcome_of(UnitOrder::Stop, 0), None);
    story.go_on(
        "
        5 sent        => inspect abc
        6 abc ended 3 => discard networks; failed/failed (exit-code, code 3)
        ",
    );
    assert_eq!(story.status.outcome_of(UnitOrder::Stop, 0), Some(Ok(())), "it is down");
    story.go_on(
        "
        7 start 8    => prepare; activating/start-pre
        8 unprepared => discard networks; failed/failed (resources: why)
        ",
    );
    let failed = |order| story.status.outcome_of(order, 0).unwrap().unwrap_err();
    assert_eq!(failed(UnitOrder::Start), "start failed: why");
    assert_eq!(failed(UnitOrder::Restart), "restart failed: why");
}
