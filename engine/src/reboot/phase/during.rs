//! From the wish for a slot to the reboot.
//!
//! Owns `locking`, `draining`, `before-reboot` and `rebooting`. A slot is held in them, or may be; whatever goes wrong
//! leads to `giving-up`, which gives it back.

use std::time::Duration;

use muster_common::reboot::{Phase, Strategy, Stuck, Wait};

use super::super::window::Opening;
use super::{
    Action, Asked, Drain, Hook, Next, REBOOT_DEADLINE, Slots, Turn, WhenStuck, before, millis,
};

pub(super) fn step(turn: &mut Turn<'_>) -> Next {
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

fn locking(turn: &mut Turn<'_>) -> Next {
    if !turn.locks() {
        return Next::Go(Phase::Draining);
    }
    match &turn.seen.slots {
        Slots::Mine { since, .. } => {
            turn.journal.slot = Some(*since);
            Next::Go(Phase::Draining)
        }
        // There is certainly none of ours among them.
        Slots::Full(_) => Next::Go(Phase::Waiting),
        Slots::Free => {
            turn.act(Action::Acquire);
            Next::Stay
        }
        Slots::Unknown { problem } => {
            // It may have been taken: only an answer tells.
            let problem = problem.clone();
            turn.act(Action::Acquire);
            turn.wait(Wait::StoreAway { problem });
            Next::Stay
        }
    }
}

/// Whether the slot is ours as far as is known; `Err`: it is not.
fn keeps_slot(turn: &Turn<'_>) -> Result<(), String> {
    if !turn.locks() {
        return Ok(());
    }
    match turn.seen.slots {
        Slots::Mine { .. } | Slots::Unknown { .. } => Ok(()),
        Slots::Free | Slots::Full(_) => Err("the slot was taken away".to_owned()),
    }
}

fn draining(turn: &mut Turn<'_>, closes: Option<u64>) -> Next {
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    match turn.hook(Hook::BeforeDrain) {
        Ok(true) => {}
        Ok(false) => return Next::Stay,
        Err(problem) => return turn.give_up(format!("the before-drain hook failed: {problem}")),
    }
    let until = drain_deadline(turn, closes);
    match turn.seen.drain.clone() {
        Drain::Done => return Next::Go(Phase::BeforeReboot),
        Drain::No => {}
        Drain::Going { moving: 0, stuck } => {
            // Nothing left will move: more time changes nothing.
            return if stuck.is_empty() {
                Next::Go(Phase::BeforeReboot)
            } else {
                left_behind(turn, &stuck)
            };
        }
        Drain::Going { moving, stuck } => match until {
            None if stuck.is_empty() => return overdue(turn, moving),
            None => return left_behind(turn, &stuck),
            Some(until) if stuck.is_empty() => turn.wait(Wait::Draining { left: moving, until }),
            Some(until) => {
                turn.wait(Wait::Draining { left: moving, until });
                turn.wait(Wait::DrainStuck { units: stuck, until });
            }
        },
        Drain::Unknown { problem } => {
            if until.is_none() {
                return overdue_unknown(turn, &problem);
            }
            turn.wait(Wait::StoreAway { problem });
        }
    }
    match until {
        Some(until) => {
            turn.act(Action::Drain { until });
            Next::Stay
        }
        None => overdue(turn, 0),
    }
}

/// When the time is up, on the wall; `None`: it is. It ends with the window at the latest.
fn drain_deadline(turn: &mut Turn<'_>, closes: Option<u64>) -> Option<u64> {
    let began = *turn.journal.drain_up.get_or_insert(turn.seen.up);
    let until = turn.left_since(began, turn.policy.drain)?;
    Some(closes.map_or(until, |closes| until.min(closes)))
}

fn overdue(turn: &mut Turn<'_>, moving: u64) -> Next {
    match turn.policy.stuck {
        WhenStuck::Force => Next::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => turn.give_up(match moving {
            0 => "draining did not begin in time".to_owned(),
            1 => "1 unit did not move away in time".to_owned(),
            n => format!("{n} units did not move away in time"),
        }),
    }
}

fn overdue_unknown(turn: &mut Turn<'_>, problem: &str) -> Next {
    match turn.policy.stuck {
        WhenStuck::Force => Next::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => turn.give_up(format!("draining did not end in time: {problem}")),
    }
}

fn left_behind(turn: &mut Turn<'_>, stuck: &[Stuck]) -> Next {
    match turn.policy.stuck {
        WhenStuck::Force => Next::Go(Phase::BeforeReboot),
        WhenStuck::GiveUp => {
            let wait = Wait::DrainStuck { units: stuck.to_vec(), until: 0 };
            turn.give_up(wait.to_string())
        }
    }
}

fn before_reboot(turn: &mut Turn<'_>) -> Next {
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    match turn.hook(Hook::BeforeReboot) {
        Ok(true) => {}
        Ok(false) => return Next::Stay,
        Err(problem) => return turn.give_up(format!("the before-reboot hook failed: {problem}")),
    }
    // Somebody may have begun something since; nobody holds a drained host up for longer than draining may take.
    before::inhibitors(turn);
    if turn.locks()
        && let Slots::Unknown { problem } = &turn.seen.slots
    {
        turn.waits.push(Wait::StoreAway { problem: problem.clone() });
    }
    if turn.waits.is_empty() {
        return Next::Go(Phase::Rebooting);
    }
    let patience = turn.policy.drain.max(Duration::from_secs(60));
    if turn.left(patience).is_none() {
        let problem = turn.waits.first().map(ToString::to_string).unwrap_or_default();
        return turn.give_up(problem);
    }
    Next::Stay
}

fn rebooting(turn: &mut Turn<'_>) -> Next {
    if turn.seen.stopping {
        turn.wait(Wait::ShuttingDown);
        return Next::Stay;
    }
    if let Asked::Refused(problem) = &turn.seen.asked {
        let problem = format!("the host does not reboot: {problem}");
        return turn.give_up(problem);
    }
    if turn.elapsed() >= millis(REBOOT_DEADLINE) {
        let minutes = REBOOT_DEADLINE.as_secs() / 60;
        return turn.give_up(format!("the host has not gone down in {minutes} minutes"));
    }
    turn.wake_in(millis(REBOOT_DEADLINE).saturating_sub(turn.elapsed()));
    if turn.seen.asked == Asked::Accepted {
        turn.wait(Wait::ShuttingDown);
        return Next::Stay;
    }
    // Not asked yet, or by a daemon that was killed since: then the slot must still be ours.
    if let Err(problem) = keeps_slot(turn) {
        return turn.give_up(problem);
    }
    if turn.locks()
        && let Slots::Unknown { problem } = &turn.seen.slots
    {
        turn.waits.push(Wait::StoreAway { problem: problem.clone() });
        return Next::Stay;
    }
    turn.act(Action::Reboot);
    turn.wait(Wait::ShuttingDown);
    Next::Stay
}
