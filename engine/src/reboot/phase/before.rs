//! Before a slot is wanted: is a reboot due, and may it begin?
//!
//! Owns `idle`, `due`, `waiting` and `warning`. No slot is held in them.

use muster_common::reboot::{Phase, Strategy, WaitReason};

use super::super::window::Opening;
use super::{CommandState, Evaluation, RebootAction, SlotState, Transition, millis};

pub(super) fn step(turn: &mut Evaluation<'_>) -> Transition {
    let phase = turn.journal.phase;
    if turn.seen.due.is_empty() {
        // What is due later is another reboot.
        turn.journal.retry = None;
        if phase == Phase::Warning {
            turn.act(RebootAction::Unwarn);
        }
        return if phase == Phase::Idle { Transition::Stay } else { Transition::Go(Phase::Idle) };
    }
    if turn.journal.retry.as_ref().is_some_and(|retry| retry.until_up <= turn.seen.up) {
        turn.journal.retry = None;
    }
    if matches!(phase, Phase::Idle | Phase::Unknown) {
        return Transition::Go(Phase::Due);
    }
    turn.journal.due.clone_from(&turn.seen.due);
    obstacles(turn);
    if turn.waits.is_empty() && phase != Phase::Warning {
        check(turn);
    }
    if !turn.waits.is_empty() {
        // The check runs in `due`; everything else is waited for in `waiting`.
        let running = turn.waits.first() == Some(&WaitReason::CheckRunning);
        if phase == Phase::Warning {
            turn.act(RebootAction::Unwarn);
        }
        return if running || phase == Phase::Waiting {
            Transition::Stay
        } else {
            Transition::Go(Phase::Waiting)
        };
    }
    let warned = phase == Phase::Warning;
    if turn.seen.sessions > 0 && !turn.policy.warn.is_zero() {
        if !warned {
            return Transition::Go(Phase::Warning);
        }
        if let Some(until) = turn.left(turn.policy.warn) {
            turn.act(RebootAction::Warn { at: until });
            turn.wait(WaitReason::UsersWarned { users: turn.seen.sessions, until });
            return Transition::Stay;
        }
    }
    Transition::Go(if turn.locks() { Phase::Locking } else { Phase::Draining })
}

/// Everything that stands in the way, so that a person sees it all at once.
fn obstacles(turn: &mut Evaluation<'_>) {
    if turn.policy.strategy == Strategy::Off {
        turn.wait(WaitReason::Off);
        return;
    }
    if let Some(retry) = turn.journal.retry.clone() {
        let left = retry.until_up.saturating_sub(turn.seen.up);
        turn.wake_in(left);
        let until = turn.after(left);
        turn.wait(WaitReason::Retry { until, problem: retry.problem });
    }
    if let Opening::Closed { opens } = turn.opening() {
        turn.wait(WaitReason::WindowClosed { opens });
    }
    inhibitors(turn);
    if turn.policy.block_on_failed && !turn.seen.failed.is_empty() {
        turn.wait(WaitReason::UnitsFailed { units: turn.seen.failed.clone() });
    }
    pause(turn);
    if turn.locks() {
        match &turn.seen.slots {
            SlotState::Unknown { problem } => {
                turn.waits.push(WaitReason::StoreAway { problem: problem.clone() });
            }
            SlotState::Full(wait) => turn.waits.push(wait.clone()),
            SlotState::Free | SlotState::Mine { .. } => {}
        }
    }
}

/// What inhibits a shutdown.
pub(super) fn inhibitors(turn: &mut Evaluation<'_>) {
    match &turn.seen.inhibitors {
        Ok(all) => {
            let waits = all
                .iter()
                .map(|one| WaitReason::Inhibited { who: one.who.clone(), why: one.why.clone() });
            turn.waits.extend(waits);
        }
        Err(problem) => turn.waits.push(WaitReason::HostAway { problem: problem.clone() }),
    }
}

/// The pause after the group's last reboot. A time that lies ahead was written by a clock that is wrong, or ours is: more
/// than one pause is never waited for, and a clock that is wrong by more than that counts as none.
fn pause(turn: &mut Evaluation<'_>) {
    let Some(last) = turn.seen.last_reboot else { return };
    let until = last.saturating_add(millis(turn.policy.pause).div_ceil(1000));
    let ahead = last.saturating_sub(turn.seen.wall);
    if until > turn.seen.wall && ahead <= turn.policy.pause.as_secs() {
        turn.wake_at(until);
        turn.wait(WaitReason::Pause { until });
    }
}

fn check(turn: &mut Evaluation<'_>) {
    if !turn.policy.check {
        return;
    }
    match &turn.seen.check {
        CommandState::Well => {}
        CommandState::Badly(output) => {
            turn.waits.push(WaitReason::CheckRefused { output: output.clone() });
        }
        CommandState::No | CommandState::Running => {
            turn.act(RebootAction::Check);
            turn.wait(WaitReason::CheckRunning);
        }
    }
}
