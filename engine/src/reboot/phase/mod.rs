//! The phases of one host's reboot: what it does next, and what it waits for.
//!
//! Owns every choice of the reboot role. [`step`] is total and pure: what the host knows of itself comes in, the journal
//! to keep and what should be going on come out. It never carries anything out, and never remembers anything itself.
//!
//! ```text
//!   idle ──▶ due ──▶ warning ──▶ locking ──▶ draining ──▶ before-reboot ──▶ rebooting ──▶ (another boot)
//!    ▲        ▲│         │           │           │               │              │                │
//!    │        │▼         │           │           ▼               ▼              ▼                ▼
//!    │      waiting ◀────┘◀──────────┘        giving-up ◀────────┴──────────────┘            returned
//!    │        ▲                                  │                                              │
//!    │        └──────────────────────────────────┘                                              ▼
//!    └────────────────────────────────── releasing ◀──────────────────────────────────────── settling
//! ```
//!
//! # Killed at any point
//!
//! Whoever carries out keeps the journal first, on disk, and only then does what [`RebootStep::actions`] says. Actions are
//! levels, not edges: they say what should be going on in this phase, again and again, and doing one again changes
//! nothing. So a daemon that is killed finds in its journal at least what it had begun, and begins it again. The boot
//! in the journal tells whether the reboot has happened: in another boot than the journal's, it has. A soft-reboot is a boot
//! as well ([`BootMark`]), whoever asked for it.
//!
//! - The slot is taken in `locking`, so a daemon killed there may hold one: it asks again, which is granted again.
//! - From `locking` on a slot may be held, so there is no way back to `waiting` but through `giving-up`, which gives it
//!   back (except a refusal in `locking` itself, which says that there is none).
//! - No way leads from `returned` or `settling` to `releasing` but health, for the whole settling time. A host that does
//!   not come back, or not well, keeps its slot.
//! - A slot that a host of Muster holds and whose journal knows nothing of it, is what a lost disk leaves: the host proves
//!   itself before it gives it back.

mod action;
mod after;
mod before;
mod during;
mod evaluation;
mod observation;
mod policy;

use muster_common::boot::BootMark;
use muster_common::reboot::{Journal, Phase, PhaseSpan, SlotOutcome, Strategy};

pub use self::action::{RebootAction, RebootStep};
use self::evaluation::{Evaluation, Transition};
pub use self::observation::{
    CommandState, DrainState, HookStates, Inhibitor, Observation, RebootCall, SlotState,
};
pub use self::policy::{Hook, Hooks, REBOOT_DEADLINE, RebootPolicy, WhenStuck};

/// Most steps in a row that one decision takes: there are fewer phases, and no circle among them without an event.
const CHAIN: usize = 16;

/// Decides what to do next.
pub fn step(policy: &RebootPolicy, journal: &Journal, seen: &Observation) -> RebootStep {
    let mut journal = adopt_journal(policy, journal, seen);
    let mut all = Vec::new();
    for _ in 0..CHAIN {
        let mut eval = Evaluation {
            policy,
            seen,
            journal: journal.clone(),
            actions: Vec::new(),
            waits: Vec::new(),
            wake: None,
        };
        let next = match journal.phase {
            Phase::Idle | Phase::Due | Phase::Waiting | Phase::Warning | Phase::Unknown => {
                before::step(&mut eval)
            }
            Phase::Locking | Phase::Draining | Phase::BeforeReboot | Phase::Rebooting => {
                during::step(&mut eval)
            }
            Phase::Returned | Phase::Settling | Phase::Releasing | Phase::GivingUp => {
                after::step(&mut eval)
            }
            // `Phase` can grow; what this version does not know begins anew.
            _ => Transition::Go(Phase::Idle),
        };
        all.append(&mut eval.actions);
        match next {
            Transition::Stay => {
                let step = RebootStep {
                    journal: eval.journal,
                    actions: all,
                    waits: eval.waits,
                    wake: eval.wake,
                };
                if cfg!(debug_assertions) {
                    assert_sound(&step);
                }
                return step;
            }
            Transition::Go(phase) => {
                debug_assert!(
                    may_follow(eval.journal.phase, phase),
                    "{} never leads to {phase}; see the picture above",
                    eval.journal.phase
                );
                journal = eval.journal;
                enter_phase(&mut journal, phase, seen);
                // What the phase before wanted to be done has no place in this one, but for words to users.
                all.retain(|action| matches!(action, RebootAction::Unwarn));
            }
        }
    }
    RebootStep { journal, actions: Vec::new(), waits: Vec::new(), wake: Some(0) }
}

/// Tells whether a phase may lead to another in the same boot, as the picture has it.
///
/// Two things rest on it: no way leads back from a slot that may be held but through `giving-up` (or a refusal in `locking`,
/// which says that none is), and none leads to `releasing` but through `settling`, where the host proves itself.
fn may_follow(from: Phase, to: Phase) -> bool {
    use Phase::{
        BeforeReboot, Draining, Due, GivingUp, Idle, Locking, Rebooting, Releasing, Returned,
        Settling, Waiting, Warning,
    };
    match from {
        Idle => to == Due,
        Due => matches!(to, Idle | Waiting | Warning | Locking | Draining),
        Waiting => matches!(to, Idle | Warning | Locking | Draining),
        Warning => matches!(to, Idle | Waiting | Locking | Draining),
        Locking => matches!(to, Draining | Waiting | GivingUp),
        Draining => matches!(to, BeforeReboot | GivingUp),
        BeforeReboot => matches!(to, Rebooting | GivingUp),
        Rebooting => to == GivingUp,
        Returned => to == Settling,
        Settling => to == Releasing,
        Releasing => to == Idle,
        GivingUp => matches!(to, Idle | Waiting),
        // A phase of another version begins anew.
        _ => matches!(to, Idle | Due),
    }
}

/// Asserts what holds of every decision, whatever was observed.
fn assert_sound(step: &RebootStep) {
    let (journal, phase) = (&step.journal, step.journal.phase);
    for action in &step.actions {
        let fits = match action {
            // The journal says `locking` before a slot can be ours, and `rebooting` before the host goes down: whoever is
            // killed in between finds it there.
            RebootAction::Acquire => phase == Phase::Locking,
            RebootAction::Reboot => phase == Phase::Rebooting,
            // A slot is given back by who has proven itself, or has undone what it did.
            RebootAction::Release(outcome) => match phase {
                Phase::Releasing => *outcome == SlotOutcome::Rebooted,
                Phase::GivingUp => matches!(outcome, SlotOutcome::GaveUp { .. }),
                _ => false,
            },
            RebootAction::Drain { .. } => phase == Phase::Draining,
            _ => true,
        };
        debug_assert!(fits, "{action:?} has no place in {phase}");
    }
    let mut passed: Vec<Phase> = journal.passed.iter().map(|span| span.phase).collect();
    passed.sort_unstable();
    passed.dedup();
    debug_assert_eq!(passed.len(), journal.passed.len(), "one entry a phase: {:?}", journal.passed);
    debug_assert!(
        phase != Phase::Idle || journal.slot.is_none() && journal.passed.is_empty(),
        "nothing is left of an attempt when it is over: {journal:?}"
    );
}

/// Adopts a journal that may be of an earlier boot: the reboot has happened then.
fn adopt_journal(policy: &RebootPolicy, journal: &Journal, seen: &Observation) -> Journal {
    let mut journal = journal.clone();
    if !is_this_boot(&journal, seen) {
        journal.soft = journal.boot == seen.boot;
        let phase = match journal.phase {
            // The reboot has happened, by us or otherwise, with a slot that may be held.
            Phase::Locking
            | Phase::Draining
            | Phase::BeforeReboot
            | Phase::Rebooting
            | Phase::GivingUp
            | Phase::Returned
            | Phase::Settling => Phase::Returned,
            Phase::Releasing => Phase::Releasing,
            _ => Phase::Idle,
        };
        journal.retry = None;
        journal.well_up = None;
        journal.drain_up = None;
        journal.problem = None;
        enter_phase(&mut journal, phase, seen);
    }
    keep_boot(&mut journal, seen);
    let orphan = matches!(seen.slots, SlotState::Mine { by_host: true, .. });
    let before = matches!(
        journal.phase,
        Phase::Idle | Phase::Due | Phase::Waiting | Phase::Warning | Phase::Unknown
    );
    if orphan && before && policy.strategy != Strategy::Off {
        enter_phase(&mut journal, Phase::Returned, seen);
    }
    journal
}

/// Tells whether nothing says that there was a boot since the journal was kept, of the machine or of its userspace.
pub(in crate::reboot) fn is_this_boot(journal: &Journal, seen: &Observation) -> bool {
    let now = BootMark { machine: seen.boot.clone(), userspace: seen.userspace.clone() };
    now.is_same(&journal.boot_mark())
}

/// Notes the boot of now. A userspace that is known is not forgotten because nobody can tell it now.
fn keep_boot(journal: &mut Journal, seen: &Observation) {
    if journal.boot != seen.boot || seen.userspace.is_some() {
        journal.userspace.clone_from(&seen.userspace);
    }
    journal.boot.clone_from(&seen.boot);
}

/// Enters a phase and remembers how long the one before took.
fn enter_phase(journal: &mut Journal, phase: Phase, seen: &Observation) {
    let is_this_boot = is_this_boot(journal, seen);
    if journal.phase == phase && is_this_boot {
        return;
    }
    let seconds = if is_this_boot {
        seen.up.saturating_sub(journal.entered_up) / 1000
    } else {
        // Only the clock on the wall goes on over a reboot.
        seen.wall.saturating_sub(journal.since)
    };
    if matches!(phase, Phase::Idle) {
        journal.passed.clear();
        journal.due.clear();
        journal.slot = None;
        journal.problem = None;
        journal.well_up = None;
        journal.drain_up = None;
        journal.soft = false;
    } else if !matches!(journal.phase, Phase::Idle | Phase::Unknown) {
        match journal.passed.iter_mut().find(|span| span.phase == journal.phase) {
            Some(span) => span.seconds = span.seconds.saturating_add(seconds),
            None => journal.passed.push(PhaseSpan { phase: journal.phase, seconds }),
        }
    }
    journal.phase = phase;
    keep_boot(journal, seen);
    journal.entered_up = seen.up;
    journal.since = seen.wall;
}
