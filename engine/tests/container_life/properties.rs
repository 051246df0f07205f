//! Whatever happens, in whatever order: what holds all the time.

use std::time::Duration;

use muster_engine::container::{
    ContainerAction, ContainerLife, Ended, FoundContainer, HealthState, LifeEvent, Phase,
};
use proptest::prelude::*;

use super::policy;

const BURST: usize = 3;
const INTERVAL: Duration = Duration::from_secs(20);

fn lines() -> impl Strategy<Value = String> {
    let restart = prop::sample::select(vec![
        "no",
        "always",
        "on-success",
        "on-failure",
        "on-abnormal",
        "on-abort",
    ]);
    let health = prop::sample::select(vec!["none", "kill", "restart", "stop"]);
    let notify = prop::sample::select(vec!["healthy", "false"]);
    let kind = prop::sample::select(vec!["Type=notify", "Type=oneshot\nRemainAfterExit=yes"]);
    (restart, health, notify, kind, 0_u32..5).prop_filter_map(
        "systemd refuses it",
        |(restart, health, notify, kind, delay)| {
            let refused = kind != "Type=notify" && matches!(restart, "always" | "on-success");
            (!refused).then(|| {
                format!(
                    "HealthCmd=true\nNotify={notify}\nHealthOnFailure={health}\n[Unit]\nStartLimitBurst={BURST}\n\
                     StartLimitIntervalSec={}\n[Service]\n{kind}\nRestart={restart}\nRestartSec={delay}\n\
                     RestartForceExitStatus=7\nRestartPreventExitStatus=8",
                    INTERVAL.as_secs()
                )
            })
        },
    )
}

fn event() -> impl Strategy<Value = LifeEvent> {
    let code = prop::sample::select(vec![0_i64, 1, 7, 8, 137, 139, 143]);
    prop_oneof![
        3 => Just(LifeEvent::Start),
        1 => Just(LifeEvent::Restart),
        1 => Just(LifeEvent::Stop),
        3 => Just(LifeEvent::Prepared),
        1 => Just(LifeEvent::Unprepared),
        3 => Just(LifeEvent::Started),
        1 => Just(LifeEvent::NotStarted),
        1 => Just(LifeEvent::Health(HealthState::Healthy)),
        1 => Just(LifeEvent::Health(HealthState::Unhealthy)),
        4 => (code.clone(), any::<bool>())
            .prop_map(|(code, oom)| LifeEvent::Ended(Ended { code, oom })),
        1 => proptest::option::of(code)
            .prop_map(|code| LifeEvent::TakenAlong(code.map(|code| Ended { code, oom: false }))),
        1 => Just(LifeEvent::Gone),
        6 => Just(LifeEvent::Tick),
    ]
}

fn history() -> impl Strategy<Value = Vec<(u64, LifeEvent)>> {
    prop::collection::vec((0_u64..8_000, event()), 1..120)
}

/// Plays a history and shows every step: the time, the event, the actions, and the life after it.
fn play(
    lines: &str,
    history: &[(u64, LifeEvent)],
    mut look: impl FnMut(Duration, LifeEvent, &[ContainerAction], &ContainerLife),
) -> ContainerLife {
    let mut life = ContainerLife::new(policy(lines));
    let mut now = Duration::ZERO;
    for (pause, event) in history {
        now += Duration::from_millis(*pause);
        let actions = life.step(now, *event);
        look(now, *event, &actions, &life);
    }
    life
}

proptest! {
    #[test]
    fn no_interval_has_more_starts_than_the_limit(lines in lines(), history in history()) {
        let mut starts = Vec::new();
        play(&lines, &history, |now, _, actions, _| {
            starts.extend(actions.iter().filter(|action| **action == ContainerAction::Prepare).map(|_| now));
        });
        for window in starts.windows(BURST + 1) {
            prop_assert!(window.last().unwrap().checked_sub(*window.first().unwrap()).unwrap() >= INTERVAL);
        }
    }

    #[test]
    fn nothing_starts_after_a_stop_until_somebody_asks(lines in lines(), history in history()) {
        let mut wanted = false;
        let mut started = Ok(());
        play(&lines, &history, |now, event, actions, _| {
            match event {
                LifeEvent::Start | LifeEvent::Restart => wanted = true,
                LifeEvent::Stop => wanted = false,
                _ => {}
            }
            let starts = actions.iter().any(|action| matches!(action, ContainerAction::Prepare | ContainerAction::Start));
            if starts && !wanted {
                started = Err(format!("{event:?} at {now:?} starts it"));
            }
        });
        prop_assert_eq!(started, Ok(()));
    }

    #[test]
    fn it_is_made_once_for_each_time_it_was_prepared(lines in lines(), history in history()) {
        let mut prepared = 0_i32;
        let mut balance = Vec::new();
        play(&lines, &history, |_, _, actions, _| {
            for action in actions {
                match action {
                    ContainerAction::Prepare => prepared += 1,
                    ContainerAction::Start => prepared -= 1,
                    ContainerAction::CancelPrepare => prepared = 0,
                    ContainerAction::Signal | ContainerAction::Kill => {}
                }
                balance.push(prepared);
            }
        });
        prop_assert!(balance.iter().all(|balance| *balance >= 0), "{balance:?}");
    }

    #[test]
    fn a_tick_at_the_deadline_gets_it_further(lines in lines(), history in history()) {
        let mut life = play(&lines, &history, |_, _, _, _| {});
        // Time goes on and nothing else happens: it comes to rest, runs, is prepared, or is killed again and again.
        for _ in 0..10 {
            let Some(deadline) = life.next_deadline() else { return Ok(()) };
            let before = life.current_phase();
            let actions = life.step(deadline, LifeEvent::Tick);
            prop_assert!(life.current_phase() != before || !actions.is_empty(), "{before:?}");
            prop_assert!(life.next_deadline().is_none_or(|next| next > deadline), "{before:?}");
        }
        let phase = life.current_phase();
        prop_assert!(matches!(phase, Phase::Kill { .. }), "{phase:?}");
    }

    #[test]
    fn only_the_stopped_are_killed_and_only_the_living_stopped(lines in lines(), history in history()) {
        let mut alive = false;
        let mut problem = Ok(());
        play(&lines, &history, |_, event, actions, life| {
            if actions.contains(&ContainerAction::Start) || event == LifeEvent::Started {
                alive = true;
            }
            let touched = actions.iter().any(|action| matches!(action, ContainerAction::Signal | ContainerAction::Kill));
            if touched && !alive {
                problem = Err(format!("{event:?} leads to {actions:?}"));
            }
            if matches!(life.current_phase(), Phase::Dead | Phase::Exited | Phase::Failed(_) | Phase::Wait { .. }) {
                alive = false;
            }
        });
        prop_assert_eq!(problem, Ok(()));
    }

    #[test]
    fn a_daemon_that_restarts_touches_nothing_that_rests_or_runs(lines in lines(), history in history()) {
        let mut now = Duration::ZERO;
        let life = play(&lines, &history, |at, _, _, _| now = at);
        let seen = match life.current_phase() {
            Phase::Running => FoundContainer::Running(None),
            Phase::Dead | Phase::Exited | Phase::Failed(_) => FoundContainer::Absent,
            _ => return Ok(()),
        };
        let (again, actions) = ContainerLife::adopt_container(policy(&lines), life.persistent_memory().clone(), (seen, false), now);
        prop_assert_eq!(actions, Vec::new());
        if seen == FoundContainer::Absent {
            prop_assert_eq!((again.active_state(), again.sub_state()), (life.active_state(), life.sub_state()));
        }
    }
}
