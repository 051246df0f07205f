//! After the reboot, or instead of it.
//!
//! Owns `returned`, `settling`, `releasing` and `giving-up`. The slot is given back here, and nowhere else.

use muster_common::reboot::{DueReason, Phase, Retry, SlotOutcome, Strategy, WaitReason};

use super::action::RebootAction;
use super::evaluation::{Evaluation, Transition, as_millis};
use super::observation::SlotState;
use super::policy::Hook;
use crate::reboot::due::is_fulfilled_by;

pub(super) fn step(eval: &mut Evaluation<'_>) -> Transition {
    match eval.journal.phase {
        Phase::Returned => step_returned(eval),
        Phase::Settling => step_settling(eval),
        Phase::Releasing => step_releasing(eval),
        _ => step_giving_up(eval),
    }
}

fn step_returned(eval: &mut Evaluation<'_>) -> Transition {
    if let SlotState::Mine { since, .. } = eval.seen.slots {
        eval.journal.slot = Some(since);
    }
    if has_unfulfilled_wish(eval) {
        eval.push_action(RebootAction::Fulfil);
    }
    match eval.follow_hook(Hook::AfterBoot) {
        Ok(true) => Transition::Go(Phase::Settling),
        Ok(false) => Transition::Stay,
        Err(problem) => {
            // It is run again by and by; until it ends well the slot is kept, and nothing runs here.
            let hook = Hook::AfterBoot.as_str().to_owned();
            eval.push_action(RebootAction::Hook(Hook::AfterBoot));
            eval.push_wait(WaitReason::HookFailed { hook, problem });
            Transition::Stay
        }
    }
}

/// Tells whether the wish that this reboot was for still stands: it would make the next one due.
fn has_unfulfilled_wish(eval: &Evaluation<'_>) -> bool {
    let is_fulfilled =
        |due: &&DueReason| is_fulfilled_by(due, eval.policy.method, eval.journal.soft);
    eval.seen.due.iter().filter(is_fulfilled).any(|due| eval.journal.due.contains(due))
}

fn step_settling(eval: &mut Evaluation<'_>) -> Transition {
    let unfulfilled = has_unfulfilled_wish(eval);
    if unfulfilled {
        eval.push_action(RebootAction::Fulfil);
    }
    if eval.seen.cordoned {
        eval.push_action(RebootAction::Uncordon);
    }
    if eval.seen.registered == Some(false) {
        eval.push_wait(WaitReason::NotRegistered);
    }
    if !eval.seen.unhealthy.is_empty() {
        eval.push_wait(WaitReason::UnitsUnhealthy { units: eval.seen.unhealthy.clone() });
    }
    if eval.needs_slot()
        && let SlotState::Unknown { problem } = &eval.seen.slots
    {
        eval.waits.push(WaitReason::StoreAway { problem: problem.clone() });
    }
    if !eval.waits.is_empty() || eval.seen.cordoned || unfulfilled {
        eval.journal.well_up = None;
        return Transition::Stay;
    }
    let since = *eval.journal.well_up.get_or_insert(eval.seen.up);
    let well = eval.seen.up.saturating_sub(since);
    let left = as_millis(eval.policy.settle).saturating_sub(well);
    if left == 0 {
        return Transition::Go(Phase::Releasing);
    }
    eval.wake_in(left);
    let until = eval.wall_after(left);
    eval.push_wait(WaitReason::Settling { until });
    Transition::Stay
}

/// Tells whether a slot of ours is certainly not held any more. Asks for its release otherwise.
fn slot_is_free(eval: &mut Evaluation<'_>, outcome: SlotOutcome) -> bool {
    // Who never wanted a slot need not wait for a store to say that it has none.
    let wanted = eval.needs_slot() || eval.journal.slot.is_some();
    match &eval.seen.slots {
        SlotState::Free | SlotState::Full(_) => true,
        _ if !wanted => true,
        SlotState::Mine { .. } => {
            eval.push_action(RebootAction::Release(outcome));
            false
        }
        SlotState::Unknown { problem } => {
            let problem = problem.clone();
            eval.push_action(RebootAction::Release(outcome));
            eval.push_wait(WaitReason::StoreAway { problem });
            false
        }
    }
}

fn step_releasing(eval: &mut Evaluation<'_>) -> Transition {
    if !slot_is_free(eval, SlotOutcome::Rebooted) {
        return Transition::Stay;
    }
    // What made the reboot due should be gone with it. Where it is not, another reboot would not help either: it is left
    // be for a while, so that a mark that nobody removes makes no circle.
    if !eval.seen.due.is_empty() {
        let problem = "rebooted only just now, and it is still due".to_owned();
        eval.journal.retry = Some(Retry {
            until_up: eval.seen.up.saturating_add(as_millis(eval.policy.retry)),
            problem,
        });
    }
    Transition::Go(Phase::Idle)
}

fn step_giving_up(eval: &mut Evaluation<'_>) -> Transition {
    let problem = eval.journal.problem.clone().unwrap_or_else(|| "it was given up".to_owned());
    if eval.seen.cordoned {
        eval.push_action(RebootAction::Uncordon);
    }
    let free = slot_is_free(eval, SlotOutcome::GaveUp { problem: problem.clone() });
    if eval.seen.cordoned || !free {
        if eval.waits.is_empty() {
            let until = eval.seen.wall;
            eval.push_wait(WaitReason::Retry { until, problem });
        }
        return Transition::Stay;
    }
    eval.journal.slot = None;
    eval.journal.problem = None;
    eval.journal.drain_up = None;
    eval.journal.passed.clear();
    let until_up = eval.seen.up.saturating_add(as_millis(eval.policy.retry));
    eval.journal.retry = Some(Retry { until_up, problem });
    let idle = eval.seen.due.is_empty() || eval.policy.strategy == Strategy::Off;
    Transition::Go(if idle { Phase::Idle } else { Phase::Waiting })
}
