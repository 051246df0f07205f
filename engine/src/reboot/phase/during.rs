//! From the wish for a slot to the reboot.
//!
//! Owns `locking`, `draining`, `before-reboot` and `rebooting`. A slot is held in them, or may be; whatever goes wrong
//! leads to `giving-up`, which gives it back.

use std::time::Duration;

use muster_common::reboot::{Phase, Strategy, StuckUnit, WaitReason};

use super::super::window::Opening;
use super::{
    DrainState, Evaluation, Hook, REBOOT_DEADLINE, RebootAction, RebootCall, SlotState, Transition,
    WhenStuck, before, millis,
};

pub(super) fn step(turn: &mut Evaluation<'_>) -> Transition {
    // Once it goes down, nothing is decided any more.
    if turn.journal.phase == Phase::Rebooting {
        return rebooting(turn);
    }
    if turn.seen.due.is_empty() {
        return turn.give_up("the reboot is not due any more");
    }
    turn.journal.due.clone_from(&turn.seen.due);
    if turn.policy.strategy == Strategy::Off {
        return turn.give_up("the strategy is off now");
    }
    let Opening::Open { until: closes } = turn.opening() else {
        return turn.give_up("the window has closed");
    };
    match turn.journal.phase {
        Phase::Locking => locking(turn),
        Phase::Draining => draining(turn, closes),
        _ => before_reboot(turn),
    }
}

fn locking(turn: &mut Evaluation<'_>) -> Transition {
    if !turn.locks() {
        return Transition::Go(Phase::Draining);
    }
    match &turn.seen.slots {
        SlotState::Mine { since, .. } => {
            turn.journal.slot = Some(*since);
            Transition::Go(Phase::Draining)
        }
        // There is certainly none of ours among them.
        SlotState::Full(_) => Transition::Go(Phase::Waiting),
        SlotState::Free => {
            turn.act(RebootAction::Acquire);
            Transition::Stay
        }
        SlotState::Unknown { problem } => {
            // It may have been taken: only an answer tells.
            let problem = problem.clone();
            turn.act(RebootAction::Acquire);
            turn.wait(WaitReason::StoreAway { problem });
            Transition::Stay
        }
    }
}

/// Whether the slot is ours as far as is known; `Err`: it is not.
fn keeps_slot(turn: &Evaluation<'_>) -> Result<(), String> {
    if !turn.locks() {
        return Ok(());
    }
    match turn.seen.slots {
        SlotState::Mine { .. } | SlotState::Unknown { .. } => Ok(()),
        SlotState::Free | SlotState::Full(_) => Err("the slot was taken away".to_owned()),
    }
}

fn draining(turn: &mut Evaluation<'_>, closes: Option<u64>) -> Transition {
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    match turn.hook(Hook::BeforeDrain) {
        Ok(true) => {}
        Ok(false) => return Transition::Stay,
        Err(problem) => return turn.give_up(format!("the before-drain hook failed: {problem}")),
    }
    let until = drain_deadline(turn, closes);
    match turn.seen.drain.clone() {
        DrainState::Done => return Transition::Go(Phase::BeforeReboot),
        DrainState::No => {}
        DrainState::Going { moving: 0, stuck } => {
            // Nothing left will move: more time changes nothing.
            return if stuck.is_empty() {
                Transition::Go(Phase::BeforeReboot)
            } else {
                left_behind(turn, &stuck)
            };
        }
        DrainState::Going { moving, stuck } => match until {
            None if stuck.is_empty() => return overdue(turn, moving),
            None => return left_behind(turn, &stuck),
            Some(until) if stuck.is_empty() => {
                turn.wait(WaitReason::Draining { left: moving, until });
            }
            Some(until) => {
                turn.wait(WaitReason::Draining { left: moving, until });
                turn.wait(WaitReason::DrainStuck { units: stuck, until });
            }
        },
        DrainState::Unknown { problem } => {
            if until.is_none() {
                return overdue_unknown(turn, &problem);
            }
            turn.wait(WaitReason::StoreAway { problem });
        }
    }
    match until {
        Some(until) => {
            turn.act(RebootAction::Drain { until });
            Transition::Stay
        }
        None => overdue(turn, 0),
    }
}

/// When the time is up, on the wall; `None`: it is. It ends with the window at the latest.
fn drain_deadline(turn: &mut Evaluation<'_>, closes: Option<u64>) -> Option<u64> {
    let began = *turn.journal.drain_up.get_or_insert(turn.seen.up);
    let until = turn.left_since(began, turn.policy.drain)?;
    Some(closes.map_or(until, |closes| until.min(closes)))
}

fn overdue(turn: &mut Evaluation<'_>, moving: u64) -> Transition {
    match turn.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => turn.give_up(match moving {
            0 => "draining did not begin in time".to_owned(),
            1 => "1 unit did not move away in time".to_owned(),
            n => format!("{n} units did not move away in time"),
        }),
    }
}

fn overdue_unknown(turn: &mut Evaluation<'_>, problem: &str) -> Transition {
    match turn.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => turn.give_up(format!("draining did not end in time: {problem}")),
    }
}

fn left_behind(turn: &mut Evaluation<'_>, stuck: &[StuckUnit]) -> Transition {
    match turn.policy.stuck {
        WhenStuck::Force => Transition::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => {
            let wait = WaitReason::DrainStuck { units: stuck.to_vec(), until: 0 };
            turn.give_up(wait.to_string())
        }
    }
}

fn before_reboot(turn: &mut Evaluation<'_>) -> Transition {
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    match turn.hook(Hook::BeforeReboot) {
        Ok(true) => {}
        Ok(false) => return Transition::Stay,
        Err(problem) => return turn.give_up(format!("the before-reboot hook failed: {problem}")),
    }
    // Somebody may have begun something since; nobody holds a drained host up for longer than draining may take.
    before::inhibitors(turn);
    if turn.locks()
        && let SlotState::Unknown { problem } = &turn.seen.slots
    {
        turn.waits.push(WaitReason::StoreAway { problem: problem.clone() });
    }
    if turn.waits.is_empty() {
        return Transition::Go(Phase::Rebooting);
    }
    let patience = turn.policy.drain.max(Duration::from_secs(60));
    if turn.left(patience).is_none() {
        let problem = turn.waits.first().map(ToString::to_string).unwrap_or_default();
        return turn.give_up(problem);
    }
    Transition::Stay
}

fn rebooting(turn: &mut Evaluation<'_>) -> Transition {
    if turn.seen.stopping {
        turn.wait(WaitReason::ShuttingDown);
        return Transition::Stay;
    }
    if let RebootCall::Refused(problem) = &turn.seen.asked {
        let problem = format!("the host does not reboot: {problem}");
        return turn.give_up(problem);
    }
    if turn.elapsed() >= millis(REBOOT_DEADLINE) {
        let minutes = REBOOT_DEADLINE.as_secs() / 60;
        return turn.give_up(format!("the host has not gone down in {minutes} minutes"));
    }
    turn.wake_in(millis(REBOOT_DEADLINE).saturating_sub(turn.elapsed()));
    if turn.seen.asked == RebootCall::Accepted {
        turn.wait(WaitReason::ShuttingDown);
        return Transition::Stay;
    }
    // Not asked yet, or by a daemon that was killed since: then the slot must still be ours.
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    if turn.locks()
        && let SlotState::Unknown { problem } = &turn.seen.slots
    {
        turn.waits.push(WaitReason::StoreAway { problem: problem.clone() });
        return Transition::Stay;
    }
    turn.act(RebootAction::Reboot);
    turn.wait(WaitReason::ShuttingDown);
    Transition::Stay
}
