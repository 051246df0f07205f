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
//! nothing. So a daemon that is killed finds in its journal at least what it had begun, and begins it again. The boot id
//! in the journal tells whether the reboot has happened: in another boot than the journal's, it has.
//!
//! - The slot is taken in `locking`, so a daemon killed there may hold one: it asks again, which is granted again.
//! - From `locking` on a slot may be held, so there is no way back to `waiting` but through `giving-up`, which gives it
//!   back (except a refusal in `locking` itself, which says that there is none).
//! - No way leads from `returned` or `settling` to `releasing` but health, for the whole settling time. A host that does
//!   not come back, or not well, keeps its slot.
//! - A slot that a host of Muster holds and whose journal knows nothing of it, is what a lost disk leaves: the host proves
//!   itself before it gives it back.

mod after;
mod before;
mod during;

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::reboot::{
    DueReason, Group, Journal, Phase, PhaseSpan, SlotOutcome, Strategy, StuckUnit, WaitReason,
};
use muster_common::unit::UnitName;

use super::window::{Opening, Window, opening_at};

/// The time for which a host that was asked to reboot may stay before that is given up: longer than any stop job of systemd's
/// defaults takes (90 s, some in a row), shorter than a person's patience with a roll that stands still.
pub const REBOOT_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The way a host is configured to go about its reboots.
#[derive(Debug, Clone)]
pub struct RebootPolicy {
    /// The strategy: with a slot, without one, or not at all.
    pub strategy: Strategy,
    /// Whose slots.
    pub group: Group,
    /// When it may begin; none: always.
    pub windows: Vec<Window>,
    /// The zone of the windows.
    pub zone: TimeZone,
    /// The time that logged-in users get between the warning and the reboot; zero: they are not warned.
    pub warn: Duration,
    /// The time that units may take to move away.
    pub drain: Duration,
    /// The fate of units that do not.
    pub stuck: WhenStuck,
    /// The time for which all has to be well before the slot is given back.
    pub settle: Duration,
    /// The pause between the last reboot of the group and the next.
    pub pause: Duration,
    /// The pause after an attempt that was given up.
    pub retry: Duration,
    /// True if failed units hold a reboot back.
    pub block_on_failed: bool,
    /// True if there is a check command.
    pub check: bool,
    /// Which hooks there are.
    pub hooks: Hooks,
}

/// The fate of units that do not move away in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenStuck {
    /// The host reboots all the same and stops them as it goes down.
    #[default]
    Force,
    /// The attempt is given up.
    GiveUp,
}

/// Which hooks are configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before units move away.
    pub before_drain: bool,
    /// After they have, before the reboot.
    pub before_reboot: bool,
    /// After the boot, before units return.
    pub after_boot: bool,
}

/// One of the hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before units move away.
    BeforeDrain,
    /// After they have, before the reboot.
    BeforeReboot,
    /// After the boot, before units return.
    AfterBoot,
}

impl Hook {
    /// Its name, as configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeDrain => "before-drain",
            Self::BeforeReboot => "before-reboot",
            Self::AfterBoot => "after-boot",
        }
    }
}

/// The state of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CommandState {
    /// Not in this phase, or too long ago.
    #[default]
    No,
    /// It runs.
    Running,
    /// It ended well.
    Well,
    /// It did not, and how.
    Badly(String),
}

/// The state of each hook in this attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookStates {
    /// Before units move away.
    pub before_drain: CommandState,
    /// After they have, before the reboot.
    pub before_reboot: CommandState,
    /// After the boot, before units return.
    pub after_boot: CommandState,
}

/// The slots of the group, as they were when last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// They cannot be looked at.
    Unknown {
        /// Why.
        problem: String,
    },
    /// This host holds one, since then.
    Mine {
        /// Seconds since the Unix epoch.
        since: u64,
        /// True if the host took it; otherwise a person did in its name.
        by_host: bool,
    },
    /// It holds none, and there is one.
    Free,
    /// It holds none, and there is none, and why.
    Full(WaitReason),
}

/// The state of the machine's drain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DrainState {
    /// It has not begun.
    #[default]
    No,
    /// It goes on.
    Going {
        /// Units that are still moving.
        moving: u64,
        /// Units that nothing will move, and why.
        stuck: Vec<StuckUnit>,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        problem: String,
    },
    /// Nothing is left that could move, or nothing on this host moves at all.
    Done,
}

/// The state of the request to reboot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RebootCall {
    /// Not made in this phase by this daemon.
    #[default]
    No,
    /// Made, and accepted.
    Accepted,
    /// Made, and refused.
    Refused(String),
}

/// A block inhibitor on shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// The program.
    pub who: String,
    /// Its work.
    pub why: String,
}

/// Everything that a host knows when it decides.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Seconds since the Unix epoch. Only windows, pauses between hosts and what people read rest on it.
    pub wall: u64,
    /// Milliseconds since the boot, suspend included.
    pub up: u64,
    /// The boot.
    pub boot: String,
    /// Why a reboot is due; empty: none is.
    pub due: Vec<DueReason>,
    /// The programs that inhibit a shutdown; an error: logind does not answer.
    pub inhibitors: Result<Vec<Inhibitor>, String>,
    /// Sessions of logged-in users.
    pub sessions: u64,
    /// Units of the cluster that have failed.
    pub failed: Vec<UnitName>,
    /// When the last host of the group had rebooted.
    pub last_reboot: Option<u64>,
    /// The group's slots.
    pub slots: SlotState,
    /// The check command.
    pub check: CommandState,
    /// The hooks, as they were run for this attempt.
    pub hooks: HookStates,
    /// The state of the machine's drain.
    pub drain: DrainState,
    /// True if this role has cordoned the machine.
    pub cordoned: bool,
    /// The request to reboot.
    pub call: RebootCall,
    /// True if the host is going down.
    pub stopping: bool,
    /// True if the machine is registered; `None`: this daemon does not register it.
    pub registered: Option<bool>,
    /// Units of this machine that are not as they should be.
    pub unhealthy: Vec<StuckUnit>,
}

/// Something that should be going on. Doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootAction {
    /// Run the check command.
    Check,
    /// Tell logged-in users.
    Warn {
        /// When the host goes down at the earliest.
        at: u64,
    },
    /// Tell them that it does not after all.
    Unwarn,
    /// Take a slot.
    Acquire,
    /// Run a hook.
    Hook(Hook),
    /// Take no more units and move those there are.
    Drain {
        /// When they are left no more time.
        until: u64,
    },
    /// Reboot.
    Reboot,
    /// Remove the wish that was fulfilled.
    Fulfil,
    /// Take units again.
    Uncordon,
    /// Give the slot back.
    Release(SlotOutcome),
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootStep {
    /// To be kept before anything is done.
    pub journal: Journal,
    /// The actions that should be going on.
    pub actions: Vec<RebootAction>,
    /// Why it does not go further; empty where it does by itself.
    pub waits: Vec<WaitReason>,
    /// After how many milliseconds to decide again, if nothing happens before.
    pub wake: Option<u64>,
}

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

/// The end of one look at a phase.
enum Transition {
    /// It goes on.
    Stay,
    /// Another follows.
    Go(Phase),
}

/// A decision in the making.
struct Evaluation<'a> {
    policy: &'a RebootPolicy,
    seen: &'a Observation,
    journal: Journal,
    actions: Vec<RebootAction>,
    waits: Vec<WaitReason>,
    wake: Option<u64>,
}

impl Evaluation<'_> {
    /// Milliseconds since the phase began.
    fn elapsed_millis(&self) -> u64 {
        self.seen.up.saturating_sub(self.journal.entered_up)
    }

    /// When a length since the phase began will be over, on the wall; `None`: it is.
    fn time_left(&mut self, length: Duration) -> Option<u64> {
        self.time_left_since(self.journal.entered_up, length)
    }

    /// The same since another time on the boot's clock.
    fn time_left_since(&mut self, since: u64, length: Duration) -> Option<u64> {
        let elapsed = self.seen.up.saturating_sub(since);
        let left = as_millis(length).checked_sub(elapsed).filter(|left| *left > 0)?;
        self.wake_in(left);
        Some(self.wall_after(left))
    }

    /// The time on the wall so many milliseconds from now.
    fn wall_after(&self, millis: u64) -> u64 {
        self.seen.wall.saturating_add(millis.div_ceil(1000))
    }

    fn wake_in(&mut self, millis: u64) {
        self.wake = Some(self.wake.map_or(millis, |wake| wake.min(millis)));
    }

    fn wake_at(&mut self, wall: u64) {
        self.wake_in(wall.saturating_sub(self.seen.wall).saturating_mul(1000));
    }

    fn push_wait(&mut self, wait: WaitReason) {
        self.waits.push(wait);
    }

    fn push_action(&mut self, action: RebootAction) {
        self.actions.push(action);
    }

    fn window_opening(&mut self) -> Opening {
        let opening = opening_at(&self.policy.windows, &self.policy.zone, self.seen.wall);
        match opening {
            Opening::Open { until: Some(at) } | Opening::Closed { opens: Some(at) } => {
                self.wake_at(at);
            }
            Opening::Open { until: None } | Opening::Closed { opens: None } => {}
        }
        opening
    }

    fn needs_slot(&self) -> bool {
        // What this version does not know is the careful one.
        !matches!(self.policy.strategy, Strategy::Now)
    }

    /// Gives up, and says why.
    fn give_up(&mut self, problem: impl Into<String>) -> Transition {
        self.journal.problem = Some(problem.into());
        Transition::Go(Phase::GivingUp)
    }

    /// Follows a hook.
    /// `Ok(true)`: nothing stands in the way; `Ok(false)`: it runs; `Err`: it failed, and how.
    fn follow_hook(&mut self, hook: Hook) -> Result<bool, String> {
        let (hooks, all) = (self.policy.hooks, &self.seen.hooks);
        let (configured, ran) = match hook {
            Hook::BeforeDrain => (hooks.before_drain, &all.before_drain),
            Hook::BeforeReboot => (hooks.before_reboot, &all.before_reboot),
            Hook::AfterBoot => (hooks.after_boot, &all.after_boot),
        };
        if !configured {
            return Ok(true);
        }
        match ran {
            CommandState::Well => return Ok(true),
            CommandState::Badly(problem) => return Err(problem.clone()),
            CommandState::No | CommandState::Running => {}
        }
        self.push_action(RebootAction::Hook(hook));
        self.push_wait(WaitReason::HookRunning { hook: hook.as_str().to_owned() });
        Ok(false)
    }
}

fn as_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Adopts a journal that may be of an earlier boot: the reboot has happened then.
fn adopt_journal(policy: &RebootPolicy, journal: &Journal, seen: &Observation) -> Journal {
    let mut journal = journal.clone();
    if journal.boot != seen.boot {
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

/// Enters a phase and remembers how long the one before took.
fn enter_phase(journal: &mut Journal, phase: Phase, seen: &Observation) {
    if journal.phase == phase && journal.boot == seen.boot {
        return;
    }
    let seconds = if journal.boot == seen.boot {
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
    } else if !matches!(journal.phase, Phase::Idle | Phase::Unknown) {
        match journal.passed.iter_mut().find(|span| span.phase == journal.phase) {
            Some(span) => span.seconds = span.seconds.saturating_add(seconds),
            None => journal.passed.push(PhaseSpan { phase: journal.phase, seconds }),
        }
    }
    journal.phase = phase;
    journal.boot.clone_from(&seen.boot);
    journal.entered_up = seen.up;
    journal.since = seen.wall;
}
