//! Before a slot is wanted: is a reboot due, and may it begin?
//!
//! Owns `idle`, `due`, `waiting` and `warning`. No slot is held in them.

use muster_common::reboot::{Phase, RebootMethod, Strategy, WaitReason};

use super::action::RebootAction;
use super::evaluation::{Evaluation, Transition, as_millis};
use super::observation::{CommandState, SlotState};
use crate::reboot::window::WindowState;

pub(super) fn step(eval: &mut Evaluation<'_>) -> Transition {
    let phase = eval.journal.phase;
    if eval.seen.due.is_empty() {
        // What is due later is another reboot.
        eval.journal.retry = None;
        if phase == Phase::Warning {
            eval.push_action(RebootAction::Unwarn);
        }
        return if phase == Phase::Idle { Transition::Stay } else { Transition::Go(Phase::Idle) };
    }
    if eval.journal.retry.as_ref().is_some_and(|retry| retry.until_up <= eval.seen.up) {
        eval.journal.retry = None;
    }
    if matches!(phase, Phase::Idle | Phase::Unknown) {
        return Transition::Go(Phase::Due);
    }
    eval.journal.due.clone_from(&eval.seen.due);
    collect_obstacles(eval);
    if eval.waits.is_empty() && phase != Phase::Warning {
        check_command(eval);
    }
    if !eval.waits.is_empty() {
        // The check runs in `due`; everything else is waited for in `waiting`.
        let running = eval.waits.first() == Some(&WaitReason::CheckRunning);
        if phase == Phase::Warning {
            eval.push_action(RebootAction::Unwarn);
        }
        return if running || phase == Phase::Waiting {
            Transition::Stay
        } else {
            Transition::Go(Phase::Waiting)
        };
    }
    let warned = phase == Phase::Warning;
    if eval.seen.sessions > 0 && !eval.policy.warn.is_zero() {
        if !warned {
            return Transition::Go(Phase::Warning);
        }
        if let Some(until) = eval.time_left(eval.policy.warn) {
            eval.push_action(RebootAction::Warn { at: until });
            eval.push_wait(WaitReason::UsersWarned { users: eval.seen.sessions, until });
            return Transition::Stay;
        }
    }
    Transition::Go(if eval.needs_slot() { Phase::Locking } else { Phase::Draining })
}

/// Everything that stands in the way, so that a person sees it all at once.
fn collect_obstacles(eval: &mut Evaluation<'_>) {
    if eval.policy.strategy == Strategy::Off {
        eval.push_wait(WaitReason::Off);
        return;
    }
    if let Some(retry) = eval.journal.retry.clone() {
        let left = retry.until_up.saturating_sub(eval.seen.up);
        eval.wake_in(left);
        let until = eval.wall_after(left);
        eval.push_wait(WaitReason::Retry { until, problem: retry.problem });
    }
    if let WindowState::Closed { opens } = eval.window_opening() {
        eval.push_wait(WaitReason::WindowClosed { opens });
    }
    // A hook may be what loads the kernel.
    if eval.wanted_method() != RebootMethod::Kexec || !eval.policy.hooks.before_reboot {
        eval.check_method();
    }
    check_inhibitors(eval);
    if eval.policy.block_on_failed && !eval.seen.failed.is_empty() {
        eval.push_wait(WaitReason::UnitsFailed { units: eval.seen.failed.clone() });
    }
    check_pause(eval);
    if eval.needs_slot() {
        match &eval.seen.slots {
            SlotState::Unknown { problem } => {
                eval.waits.push(WaitReason::StoreAway { problem: problem.clone() });
            }
            SlotState::Full(wait) => eval.waits.push(wait.clone()),
            SlotState::Free | SlotState::Mine { .. } => {}
        }
    }
}

/// The programs that inhibit a shutdown.
pub(super) fn check_inhibitors(eval: &mut Evaluation<'_>) {
    match &eval.seen.inhibitors {
        Ok(all) => {
            let waits = all
                .iter()
                .map(|one| WaitReason::Inhibited { who: one.who.clone(), why: one.why.clone() });
            eval.waits.extend(waits);
        }
        Err(problem) => eval.waits.push(WaitReason::HostAway { problem: problem.clone() }),
    }
}

/// The pause after the group's last reboot. A time that lies ahead was written by a clock that is wrong, or ours is: more
/// than one pause is never waited for, and a clock that is wrong by more than that counts as none.
fn check_pause(eval: &mut Evaluation<'_>) {
    let Some(last) = eval.seen.last_reboot else { return };
    let until = last.saturating_add(as_millis(eval.policy.pause).div_ceil(1000));
    let ahead = last.saturating_sub(eval.seen.wall);
    if until > eval.seen.wall && ahead <= eval.policy.pause.as_secs() {
        eval.wake_at(until);
        eval.push_wait(WaitReason::Pause { until });
    }
}

fn check_command(eval: &mut Evaluation<'_>) {
    if !eval.policy.check {
        return;
    }
    match &eval.seen.check {
        CommandState::Well => {}
        CommandState::Badly(output) => {
            eval.waits.push(WaitReason::CheckRefused { output: output.clone() });
        }
        CommandState::No | CommandState::Running => {
            eval.push_action(RebootAction::Check);
            eval.push_wait(WaitReason::CheckRunning);
        }
    }
}
