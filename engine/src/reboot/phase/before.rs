//! Before a slot is wanted: is a reboot due, and may it begin?
//!
//! Owns `idle`, `due`, `waiting` and `warning`. No slot is held in them.

use muster_common::reboot::{Phase, Strategy, Wait};

use super::super::window::Opening;
use super::{Action, Next, Ran, Slots, Turn, millis};

pub(super) fn step(turn: &mut Turn<'_>) -> Next {
    let phase = turn.journal.phase;
    if turn.seen.due.is_empty() {
        // What is due later is another reboot.
        turn.journal.retry = None;
        if phase == Phase::Warning {
            turn.act(Action::Unwarn);
        }
        return if phase == Phase::Idle { Next::Stay } else { Next::Go(Phase::Idle) };
    }
    if turn.journal.retry.as_ref().is_some_and(|retry| retry.until_up <= turn.seen.up) {
        turn.journal.retry = None;
    }
    if matches!(phase, Phase::Idle | Phase::Unknown) {
        return Next::Go(Phase::Due);
    }
    turn.journal.due.clone_from(&turn.seen.due);
    obstacles(turn);
    if turn.waits.is_empty() && phase != Phase::Warning {
        check(turn);
    }
    if !turn.waits.is_empty() {
        // The check runs in `due`; everything else is waited for in `waiting`.
        let running = turn.waits.first() == Some(&Wait::CheckRunning);
        if phase == Phase::Warning {
            turn.act(Action::Unwarn);
        }
        return if running || phase == Phase::Waiting {
            Next::Stay
        } else {
            Next::Go(Phase::Waiting)
        };
    }
    let warned = phase == Phase::Warning;
    if turn.seen.sessions > 0 && !turn.policy.warn.is_zero() {
        if !warned {
            return Next::Go(Phase::Warning);
        }
        if let Some(until) = turn.left(turn.policy.warn) {
            turn.act(Action::Warn { at: until });
            turn.wait(Wait::UsersWarned { users: turn.seen.sessions, until });
            return Next::Stay;
        }
    }
    Next::Go(if turn.locks() { Phase::Locking } else { Phase::Draining })
}

/// Everything that stands in the way, so that a person sees it all at once.
fn obstacles(turn: &mut Turn<'_>) {
    if turn.policy.strategy == Strategy::Off {
        turn.wait(Wait::Off);
        return;
    }
    if let Some(retry) = turn.journal.retry.clone() {
        let left = retry.until_up.saturating_sub(turn.seen.up);
        turn.wake_in(left);
        let until = turn.after(left);
        turn.wait(Wait::Retry { until, problem: retry.problem });
    }
    if let Opening::Closed { opens } = turn.opening() {
        turn.wait(Wait::WindowClosed { opens });
    }
    inhibitors(turn);
    if turn.policy.block_on_failed && !turn.seen.failed.is_empty() {
        turn.wait(Wait::UnitsFailed { units: turn.seen.failed.clone() });
    }
    pause(turn);
    if turn.locks() {
        match &turn.seen.slots {
            Slots::Unknown { problem } => {
                turn.waits.push(Wait::StoreAway { problem: problem.clone() });
            }
            Slots::Full(wait) => turn.waits.push(wait.clone()),
            Slots::Free | Slots::Mine { .. } => {}
        }
    }
}

/// What inhibits a shutdown.
pub(super) fn inhibitors(turn: &mut Turn<'_>) {
    match &turn.seen.inhibitors {
        Ok(all) => {
            let waits = all
                .iter()
                .map(|one| Wait::Inhibited { who: one.who.clone(), why: one.why.clone() });
            turn.waits.extend(waits);
        }
        Err(problem) => turn.waits.push(Wait::HostAway { problem: problem.clone() }),
    }
}

/// The pause after the group's last reboot. A time that lies ahead was written by a clock that is wrong, or ours is: more
/// than one pause is never waited for, and a clock that is wrong by more than that counts as none.
fn pause(turn: &mut Turn<'_>) {
    let Some(last) = turn.seen.last_reboot else { return };
    let until = last.saturating_add(millis(turn.policy.pause).div_ceil(1000));
    let ahead = last.saturating_sub(turn.seen.wall);
    if until > turn.seen.wall && ahead <= turn.policy.pause.as_secs() {
        turn.wake_at(until);
        turn.wait(Wait::Pause { until });
    }
}

fn check(turn: &mut Turn<'_>) {
    if !turn.policy.check {
        return;
    }
    match &turn.seen.check {
        Ran::Well => {}
        Ran::Badly(output) => turn.waits.push(Wait::CheckRefused { output: output.clone() }),
        Ran::No | Ran::Running => {
            turn.act(Action::Check);
            turn.wait(Wait::CheckRunning);
        }
    }
}
