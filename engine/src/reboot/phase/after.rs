//! After the reboot, or instead of it.
//!
//! Owns `returned`, `settling`, `releasing` and `giving-up`. The slot is given back here, and nowhere else.

use muster_common::reboot::{DueReason, Phase, Retry, SlotOutcome, Strategy, WaitReason};

use super::{Evaluation, Hook, RebootAction, SlotState, Transition, millis};

pub(super) fn step(turn: &mut Evaluation<'_>) -> Transition {
    match turn.journal.phase {
        Phase::Returned => returned(turn),
        Phase::Settling => settling(turn),
        Phase::Releasing => releasing(turn),
        _ => giving_up(turn),
    }
}

fn returned(turn: &mut Evaluation<'_>) -> Transition {
    if let SlotState::Mine { since, .. } = turn.seen.slots {
        turn.journal.slot = Some(since);
    }
    if unfulfilled(turn) {
        turn.act(RebootAction::Fulfil);
    }
    match turn.hook(Hook::AfterBoot) {
        Ok(true) => Transition::Go(Phase::Settling),
        Ok(false) => Transition::Stay,
        Err(problem) => {
            // It is run again by and by; until it ends well the slot is kept, and nothing runs here.
            let hook = Hook::AfterBoot.as_str().to_owned();
            turn.act(RebootAction::Hook(Hook::AfterBoot));
            turn.wait(WaitReason::HookFailed { hook, problem });
            Transition::Stay
        }
    }
}

/// Whether the wish that this reboot was for still stands: it would make the next one due.
fn unfulfilled(turn: &Evaluation<'_>) -> bool {
    let wish = |due: &&DueReason| matches!(due, DueReason::Requested { .. });
    turn.seen.due.iter().filter(wish).any(|due| turn.journal.due.contains(due))
}

fn settling(turn: &mut Evaluation<'_>) -> Transition {
    let unfulfilled = unfulfilled(turn);
    if unfulfilled {
        turn.act(RebootAction::Fulfil);
    }
    if turn.seen.cordoned {
        turn.act(RebootAction::Uncordon);
    }
    if turn.seen.registered == Some(false) {
        turn.wait(WaitReason::NotRegistered);
    }
    if !turn.seen.unhealthy.is_empty() {
        turn.wait(WaitReason::UnitsUnhealthy { units: turn.seen.unhealthy.clone() });
    }
    if turn.locks()
        && let SlotState::Unknown { problem } = &turn.seen.slots
    {
        turn.waits.push(WaitReason::StoreAway { problem: problem.clone() });
    }
    if !turn.waits.is_empty() || turn.seen.cordoned || unfulfilled {
        turn.journal.well_up = None;
        return Transition::Stay;
    }
    let since = *turn.journal.well_up.get_or_insert(turn.seen.up);
    let well = turn.seen.up.saturating_sub(since);
    let left = millis(turn.policy.settle).saturating_sub(well);
    if left == 0 {
        return Transition::Go(Phase::Releasing);
    }
    turn.wake_in(left);
    let until = turn.after(left);
    turn.wait(WaitReason::Settling { until });
    Transition::Stay
}

/// Whether a slot of ours is certainly not held any more. Asks for its release otherwise.
fn freed(turn: &mut Evaluation<'_>, outcome: SlotOutcome) -> bool {
    // Who never wanted a slot need not wait for a store to say that it has none.
    let wanted = turn.locks() || turn.journal.slot.is_some();
    match &turn.seen.slots {
        SlotState::Free | SlotState::Full(_) => true,
        _ if !wanted => true,
        SlotState::Mine { .. } => {
            turn.act(RebootAction::Release(outcome));
            false
        }
        SlotState::Unknown { problem } => {
            let problem = problem.clone();
            turn.act(RebootAction::Release(outcome));
            turn.wait(WaitReason::StoreAway { problem });
            false
        }
    }
}

fn releasing(turn: &mut Evaluation<'_>) -> Transition {
    if !freed(turn, SlotOutcome::Rebooted) {
        return Transition::Stay;
    }
    // What made the reboot due should be gone with it. Where it is not, another reboot would not help either: it is left
    // be for a while, so that a mark that nobody removes makes no circle.
    if !turn.seen.due.is_empty() {
        let problem = "rebooted only just now, and it is still due".to_owned();
        turn.journal.retry = Some(Retry {
            until_up: turn.seen.up.saturating_add(millis(turn.policy.retry)),
            problem,
        });
    }
    Transition::Go(Phase::Idle)
}

fn giving_up(turn: &mut Evaluation<'_>) -> Transition {
    let problem = turn.journal.problem.clone().unwrap_or_else(|| "it was given up".to_owned());
    if turn.seen.cordoned {
        turn.act(RebootAction::Uncordon);
    }
    let free = freed(turn, SlotOutcome::GaveUp { problem: problem.clone() });
    if turn.seen.cordoned || !free {
        if turn.waits.is_empty() {
            let until = turn.seen.wall;
            turn.wait(WaitReason::Retry { until, problem });
        }
        return Transition::Stay;
    }
    turn.journal.slot = None;
    turn.journal.problem = None;
    turn.journal.drain_up = None;
    turn.journal.passed.clear();
    let until_up = turn.seen.up.saturating_add(millis(turn.policy.retry));
    turn.journal.retry = Some(Retry { until_up, problem });
    let idle = turn.seen.due.is_empty() || turn.policy.strategy == Strategy::Off;
    Transition::Go(if idle { Phase::Idle } else { Phase::Waiting })
}
