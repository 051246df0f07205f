//! From the wish for a slot to the reboot.
//!
//! Owns `locking`, `draining`, `before-reboot` and `rebooting`. A slot is held in them, or may be; whatever goes wrong
//! leads to `giving-up`, which gives it back.

use std::time::Duration;

use muster_common::reboot::{Phase, Strategy, StuckUnit, WaitReason};

use super::action::RebootAction;
use super::before;
use super::evaluation::{Evaluation, Transition, as_millis};
use super::observation::{DrainState, RebootCall, SlotState};
use super::policy::{Hook, REBOOT_DEADLINE, WhenStuck};
use crate::reboot::window::WindowState;

pub(super) fn step(eval: &mut Evaluation<'_>) -> Transition {
    // Once it goes down, nothing is decided any more.
    if eval.journal.phase == Phase::Rebooting {
        return step_rebooting(eval);
    }
    if eval.seen.due.is_empty() {
        return eval.give_up("the reboot is not due any more");
    }
    eval.journal.due.clone_from(&eval.seen.due);
    if eval.policy.strategy == Strategy::Off {
        return eval.give_up("the strategy is off now");
    }
    let WindowState::Open { until: closes } = eval.window_opening() else {
        return eval.give_up("the window has closed");
    };
    match eval.journal.phase {
        Phase::Locking => step_locking(eval),
        Phase::Draining => step_draining(eval, closes),
        _ => step_before_reboot(eval),
    }
}

fn step_locking(eval: &mut Evaluation<'_>) -> Transition {
    if !eval.needs_slot() {
        return Transition::Go(Phase::Draining);
    }
    match &eval.seen.slots {
        SlotState::Mine { since, .. } => {
            eval.journal.slot = Some(*since);
            Transition::Go(Phase::Draining)
        }
        // There is certainly none of ours among them.
        SlotState::Full(_) => Transition::Go(Phase::Waiting),
        SlotState::Free => {
            eval.push_action(RebootAction::Acquire);
            Transition::Stay
        }
        SlotState::Unknown { problem } => {
            // It may have been taken: only an answer tells.
            let problem = problem.clone();
            eval.push_action(RebootAction::Acquire);
            eval.push_wait(WaitReason::StoreAway { problem });
            Transition::Stay
        }
    }
}

/// Tells whether the slot is ours as far as is known; `Err`: it is not.
fn keeps_slot(eval: &Evaluation<'_>) -> Result<(), String> {
    if !eval.needs_slot() {
        return Ok(());
    }
    match eval.seen.slots {
        SlotState::Mine { .. } | SlotState::Unknown { .. } => Ok(()),
        SlotState::Free | SlotState::Full(_) => Err("the slot was taken away".to_owned()),
    }
}

fn step_draining(eval: &mut Evaluation<'_>, closes: Option<u64>) -> Transition {
    if let Err(problem) = keeps_slot(eval) {
        return eval.give_up(problem);
    }
    match eval.follow_hook(Hook::BeforeDrain) {
        Ok(true) => {}
        Ok(false) => return Transition::Stay,
        Err(problem) => return eval.give_up(format!("the before-drain hook failed: {problem}")),
    }
    let until = drain_deadline(eval, closes);
    match eval.seen.drain.clone() {
        DrainState::Done => return Transition::Go(Phase::BeforeReboot),
        DrainState::No => {}
        DrainState::Going { moving: 0, stuck } => {
            // Nothing left will move: more time changes nothing.
            return if stuck.is_empty() {
                Transition::Go(Phase::BeforeReboot)
            } else {
                units_left_behind(eval, &stuck)
            };
        }
        DrainState::Going { moving, stuck } => match until {
            None if stuck.is_empty() => return drain_overdue(eval, moving),
            None => return units_left_behind(eval, &stuck),
            Some(until) if stuck.is_empty() => {
                eval.push_wait(WaitReason::Draining { left: moving, until });
            }
            Some(until) => {
                eval.push_wait(WaitReason::Draining { left: moving, until });
                eval.push_wait(WaitReason::DrainStuck { units: stuck, until });
            }
        },
        DrainState::Unknown { problem } => {
            if until.is_none() {
                return overdue_unknown(eval, &problem);
            }
            eval.push_wait(WaitReason::StoreAway { problem });
        }
    }
    match until {
        Some(until) => {
            eval.push_action(RebootAction::Drain { until });
            Transition::Stay
        }
        None => drain_overdue(eval, 0),
    }
}

/// When the time is up, on the wall; `None`: it is. It ends with the window at the latest.
fn drain_deadline(eval: &mut Evaluation<'_>, closes: Option<u64>) -> Option<u64> {
    let began = *eval.journal.drain_up.get_or_insert(eval.seen.up);
    let until = eval.time_left_since(began, eval.policy.drain)?;
    Some(closes.map_or(until, |closes| until.min(closes)))
}

fn drain_overdue(eval: &mut Evaluation<'_>, moving: u64) -> Transition {
    match eval.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => eval.give_up(match moving {
            0 => "draining did not begin in time".to_owned(),
            1 => "1 unit did not move away in time".to_owned(),
            n => format!("{n} units did not move away in time"),
        }),
    }
}

fn overdue_unknown(eval: &mut Evaluation<'_>, problem: &str) -> Transition {
    match eval.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => eval.give_up(format!("draining did not end in time: {problem}")),
    }
}

fn units_left_behind(eval: &mut Evaluation<'_>, stuck: &[StuckUnit]) -> Transition {
    match eval.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => {
            let wait = WaitReason::DrainStuck { units: stuck.to_vec(), until: 0 };
            eval.give_up(wait.to_string())
        }
    }
}

fn step_before_reboot(eval: &mut Evaluation<'_>) -> Transition {
    if let Err(problem) = keeps_slot(eval) {
        return eval.give_up(problem);
    }
    match eval.follow_hook(Hook::BeforeReboot) {
        Ok(true) => {}
        Ok(false) => return Transition::Stay,
        Err(problem) => return eval.give_up(format!("the before-reboot hook failed: {problem}")),
    }
    // Somebody may have begun something since; nobody holds a drained host up for longer than draining may take.
    before::check_inhibitors(eval);
    eval.check_method();
    if eval.needs_slot()
        && let SlotState::Unknown { problem } = &eval.seen.slots
    {
        eval.waits.push(WaitReason::StoreAway { problem: problem.clone() });
    }
    if eval.waits.is_empty() {
        return Transition::Go(Phase::Rebooting);
    }
    let limit = eval.policy.drain.max(Duration::from_secs(60));
    if eval.time_left(limit).is_none() {
        let problem = eval.waits.first().map(ToString::to_string).unwrap_or_default();
        return eval.give_up(problem);
    }
    Transition::Stay
}

fn step_rebooting(eval: &mut Evaluation<'_>) -> Transition {
    if eval.seen.stopping {
        eval.push_wait(WaitReason::ShuttingDown);
        return Transition::Stay;
    }
    if let RebootCall::Refused(problem) = &eval.seen.call {
        let problem = format!("the host does not reboot: {problem}");
        return eval.give_up(problem);
    }
    if eval.elapsed_millis() >= as_millis(REBOOT_DEADLINE) {
        let minutes = REBOOT_DEADLINE.as_secs() / 60;
        return eval.give_up(format!("the host has not gone down in {minutes} minutes"));
    }
    eval.wake_in(as_millis(REBOOT_DEADLINE).saturating_sub(eval.elapsed_millis()));
    if eval.seen.call == RebootCall::Accepted {
        eval.push_wait(WaitReason::ShuttingDown);
        return Transition::Stay;
    }
    // Not asked yet, or by a daemon that was killed since: then the slot must still be ours.
    if let Err(problem) = keeps_slot(eval) {
        return eval.give_up(problem);
    }
    if eval.needs_slot()
        && let SlotState::Unknown { problem } = &eval.seen.slots
    {
        eval.waits.push(WaitReason::StoreAway { problem: problem.clone() });
        return Transition::Stay;
    }
    eval.push_action(RebootAction::Reboot);
    eval.push_wait(WaitReason::ShuttingDown);
    Transition::Stay
}
