//! What one machine does next.
//!
//! Owns the comparison of what a machine should run with what it runs, and the steps from one to the other, in
//! systemd's words but for any runner. It never touches a unit the daemon does not own, and never starts or stops
//! anything on the strength of not knowing: a caller that could not read the desired state does not call.
//!
//! | desired | remembered | runner reports | steps |
//! | --- | --- | --- | --- |
//! | no | owned | up, or a start is under way | Stop, `AwaitEmpty`, Remove |
//! | no | owned | else | Remove |
//! | any | any | the host's own unit, or one in the way of ours | Refuse |
//! | any | no | our file, runs | Adopt, Settle |
//! | launched | no | else | Write, Start, Settle |
//! | loaded | no | else | Write, Load, Settle |
//! | launched | other file | runs | Write, Restart, Settle |
//! | loaded | other file | else | Write, Load, Settle |
//! | launched | other file | else | Write, then as below |
//! | launched | this generation | anything | none: it runs, or it ended by itself |
//! | launched | this generation, and a stop that was cut off | runs | Restart, Settle |
//! | launched | this generation, and a stop that was cut off | else | Start, Settle |
//! | launched | this generation | its run was cut off | Start, Settle |
//! | launched | older generation, launched | runs | Restart, Settle |
//! | launched | older generation | else | Start, Settle |
//! | launched | a start begun at this generation | runs | Settle |
//! | launched | a start begun at another generation | runs | Restart, Settle |
//! | launched | a restart begun at this generation | another run than before it | Settle |
//! | launched | any | runs from an earlier file of ours | Restart, Settle |
//! | launched | no, or not launched at this generation | runs, and its runner was not asked for it | as above, with a Start before Settle |
//! | loaded | a start begun | up | Stop, `AwaitEmpty`, Settle |
//! | loaded | launched | up | Stop, `AwaitEmpty`, Settle |
//! | loaded | loaded | anything | none: who starts a loaded unit by hand, timer or socket may |
//!
//! A unit *runs* unless it is `inactive`, `failed` or `deactivating`; it is *up* when it runs or is `deactivating`, which it is for
//! as long as any of its processes is left, whatever systemd says. So what goes is waited for, and what comes back to a
//! machine on which it is about to end is started: how two runs on one machine follow each other is systemd's affair.
//!
//! A unit whose run was cut off while nobody looked after it is up and does not run: what would have been started again by its runner's
//! rules is started where it still belongs, and stopped elsewhere.
//!
//! A start that is under way counts as up wherever the unit is remembered: systemd shows `inactive` for as long as it is in the queue.
//! A `Write` or `Adopt` of a file with `[Install]` is followed by `Enable`. Whether systemd wants a daemon-reload is for the
//! runner to see (`NeedDaemonReload`), once for all files written in a pass, so there is no step for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use muster_common::probe::is_planted;
use muster_common::state::{ActiveState, DesiredState, sub};
use muster_common::unit::{FileHash, UnitName};

use crate::run_origin::RunOrigin;

/// The cluster's wish for one unit on this machine: its placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The file it is to run from.
    pub file: FileHash,
    /// `Loaded` or `Launched`; `Inactive` is the same as no entry at all.
    pub desired: DesiredState,
    /// Generation of the placement. A rise asks a unit that runs to run anew and one that ended to start.
    pub generation: u64,
    /// The file has an `[Install]` section to be enabled.
    pub install: bool,
}

/// A unit that this daemon wrote earlier on this machine and remembers.
///
/// The memory must not outlive a boot (it lies beside the files, in `/run`): after a reboot nothing is owned and
/// everything desired is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The file it wrote.
    pub file: FileHash,
    /// The generation it last carried out or gave up on, or began a start for.
    pub generation: u64,
    /// The desired state it last carried out or gave up on, or is about to; `Inactive` when it wrote the file and nothing more, or began a
    /// start from nothing at the generation.
    pub desired: DesiredState,
    /// It enabled the unit.
    pub enabled: bool,
    /// A start was asked of the runner and nobody knows how it ended. It may be in systemd's queue, where the unit is still
    /// `inactive`, and come to its turn later.
    pub starting: bool,
    /// A stop was begun and nobody knows how it ended: the daemon ended, or its line to the runner did. Whatever the unit does, it has
    /// not ended by itself. Or it runs from another file than the one it has now, and the restart that takes that up has not come about.
    pub stopping: bool,
}

impl Owned {
    /// True if a start of it was begun, for its generation and from nothing, and nobody has learnt how it ended: what runs has come of it.
    fn is_start_unheard(&self) -> bool {
        self.desired == DesiredState::Inactive && self.generation > 0
    }
}

/// One unit as decisions see it, in its runner's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// systemd's `LoadState`.
    pub load: String,
    /// systemd's `ActiveState`; `deactivating` for as long as processes of the unit are left.
    pub active: ActiveState,
    /// systemd's `SubState`.
    pub sub: String,
    /// The unit comes from a file that is not ours: the host's own, or one that overrides ours.
    pub foreign: bool,
    /// The thing of the host's own that is in the unit's way, for the user. Empty when nothing is, or when there is no more to say
    /// of a unit that is `foreign`. One that is not goes on if it runs, and is stopped when it is no longer wanted.
    pub obstacle: String,
    /// The file that lies at our place for this unit, whoever remembers it.
    pub file: Option<FileHash>,
    /// It runs from an earlier file of ours: somebody has started it before it was given the present one, or has started what was left
    /// of that.
    pub outdated: bool,
    /// Whose word it runs on, while it runs. Without a start that says that the cluster wants it, one that others have started would be
    /// looked after as nobody's.
    pub origin: RunOrigin,
    /// Its runner has brought the run before to its end and is about to begin the next. Nothing where the runner does not say.
    pub between_runs: bool,
    /// The generation for which it was restarted, where the run that was to be replaced is known and this is another one.
    pub restarted_for: Option<u64>,
}

impl Observed {
    /// True while anything of the unit is there: everything but `inactive` and `failed`. A unit that waits for systemd to
    /// restart it is `activating`.
    pub(crate) fn is_up(&self) -> bool {
        !self.active.is_down()
    }

    /// True where its run was cut off while nobody looked after it: its runner would start it again, and leaves that to whoever knows
    /// whether it still belongs here.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.sub == sub::INTERRUPTED
    }

    /// True while the unit is up and not about to end, nor to be started again only if it still belongs here.
    pub(crate) fn is_running(&self) -> bool {
        self.is_up() && self.active != ActiveState::Deactivating && !self.is_interrupted()
    }
}

/// The remark on a unit of ours that a file of the host's wins over by now.
pub const OVERRIDDEN: &str = "this machine has come to have a unit of that name of its own, whose file wins over this one's; \
                          what is there now is left as it is until this unit leaves; rename one of them";

/// Why a machine does not do what it is asked, for the user to see in the unit's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The machine has a unit of that name of its own.
    Foreign,
    /// It has something else in the unit's place, in the runner's words.
    Obstacle(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "this machine has a unit of that name of its own, which Muster does not touch; rename one of them",
            ),
            Self::Obstacle(problem) => f.write_str(problem),
        }
    }
}

/// One thing to do to one unit. A step carries all that its execution needs and leaves it no choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Report the problem at this generation and desired state, and do nothing. Said again in every pass.
    Refuse {
        /// The thing that stands in the way.
        problem: Problem,
        /// The generation that is given up on.
        generation: u64,
        /// The desired state that is given up on.
        desired: DesiredState,
    },
    /// Remember the unit, with nothing carried out yet (generation 0, `Inactive`) or what was carried out before, then
    /// put the file in its place.
    Write {
        /// The file.
        file: FileHash,
    },
    /// Remember the unit as it is, file and all: it is ours by name and content.
    Adopt {
        /// The file.
        file: FileHash,
    },
    /// Enable the unit until the next boot, as its `[Install]` says, and remember that.
    Enable,
    /// Take back an `Enable`.
    Disable,
    /// Have the runner read the file, for whoever wants to know whether it is any good before it is started.
    Load,
    /// Start the unit and wait for the outcome.
    Start {
        /// Of the placement, for the log and for what the runner marks.
        generation: u64,
    },
    /// Stop and start the unit and wait for the outcome.
    Restart {
        /// Of the placement, for the log and for what the runner marks.
        generation: u64,
    },
    /// Stop the unit and wait for the outcome.
    Stop,
    /// Wait until no process of the unit is left, whatever its `KillMode=` says. A unit that runs again, or still, holds its
    /// place: the rest of the chain is dropped, and decided anew.
    AwaitEmpty,
    /// Delete the file, clear a failed state, forget the unit.
    Remove,
    /// Remember and report the generation and desired state as carried out. When a step before it failed for good,
    /// its problem is reported with them: it is tried again when the generation rises, not in every pass. When it
    /// could not be tried (no connection to the runner) the rest of the chain is dropped, this step included.
    Settle {
        /// The generation.
        generation: u64,
        /// The desired state.
        desired: DesiredState,
    },
}

/// The steps of one unit, to be taken in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The unit.
    pub unit: UnitName,
    /// The steps, in order; never empty.
    pub steps: Vec<Step>,
}

/// All that a machine does next. Chains of different units run concurrently; those in `removals` are done, or have failed,
/// before the first of `others` begins, so that what comes finds the ports and names free of what goes. Both are
/// sorted by unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Units that leave the machine or stop.
    pub removals: Vec<Chain>,
    /// Everything else.
    pub others: Vec<Chain>,
}

impl Steps {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.others.is_empty()
    }
}

/// The steps that lead one machine from what it runs to what it should run; see the module's table.
///
/// `observed` has an entry for every unit in `desired` and `owned` that the runner knows anything of.
pub fn next_steps(
    desired: &BTreeMap<UnitName, Desired>,
    observed: &BTreeMap<UnitName, Observed>,
    owned: &BTreeMap<UnitName, Owned>,
) -> Steps {
    let nothing = Observed::default();
    let mut steps = Steps::default();
    let units: BTreeSet<&UnitName> = desired.keys().chain(owned.keys()).collect();
    for unit in units {
        let seen = observed.get(unit).unwrap_or(&nothing);
        let wanted = desired.get(unit).filter(|d| d.desired != DesiredState::Inactive);
        let chain = match (wanted, owned.get(unit)) {
            (None, None) => Vec::new(),
            (None, Some(owned)) => steps_to_leave(seen, owned),
            (Some(wanted), owned) => steps_to_keep(wanted, seen, owned),
        };
        if !chain.is_empty() {
            let phase = match chain.first() {
                Some(Step::Stop | Step::Remove | Step::Disable) => &mut steps.removals,
                _ => &mut steps.others,
            };
            phase.push(Chain { unit: unit.clone(), steps: chain });
        }
    }
    steps
}

/// Ours, and no longer wanted here.
fn steps_to_leave(seen: &Observed, owned: &Owned) -> Vec<Step> {
    let mut steps = Vec::new();
    // A unit of the host's that has taken the name is not ours to stop; our file goes all the same.
    let up = if is_planted("only-active-is-up") {
        seen.active.is_up()
    } else {
        seen.is_up() || (owned.starting && !is_planted("queued-start-forgotten"))
    };
    if up && !seen.foreign && !is_planted("running-unit-removed") {
        steps.extend([Step::Stop, Step::AwaitEmpty]);
    }
    if owned.enabled {
        steps.push(Step::Disable);
    }
    steps.push(Step::Remove);
    steps
}

/// Wanted here.
fn steps_to_keep(wanted: &Desired, seen: &Observed, owned: Option<&Owned>) -> Vec<Step> {
    let Desired { file, desired, generation, install } = *wanted;
    if (seen.foreign || !seen.obstacle.is_empty()) && !is_planted("hosts-own-unit-stopped") {
        let problem = match seen.obstacle.as_str() {
            "" => Problem::Foreign,
            obstacle => Problem::Obstacle(obstacle.to_owned()),
        };
        return vec![Step::Refuse { problem, generation, desired }];
    }
    let settle = Step::Settle { generation, desired };
    let in_place = seen.file == Some(file);
    let unasked = desired == DesiredState::Launched
        && seen.is_running()
        && seen.origin == RunOrigin::Others
        && !is_planted("unasked-run-left-to-itself");
    let Some(owned) = owned else {
        let adopted = in_place && seen.is_running();
        let mut steps = vec![if adopted { Step::Adopt { file } } else { Step::Write { file } }];
        if install {
            steps.push(Step::Enable);
        }
        if adopted {
            if unasked {
                steps.push(Step::Start { generation });
            }
            steps.push(settle);
            return steps;
        }
        if desired == DesiredState::Loaded {
            steps.push(Step::Load);
        } else {
            // A unit of ours that runs from another file has to take the new one up.
            steps.push(if seen.is_running() {
                Step::Restart { generation }
            } else {
                Step::Start { generation }
            });
        }
        steps.push(settle);
        return steps;
    };

    let changed = owned.file != file;
    let interrupted = desired == DesiredState::Launched && seen.is_interrupted();
    let cut_off = interrupted || owned.stopping && !is_planted("cut-off-stop-forgotten");
    let outdated = desired == DesiredState::Launched
        && seen.is_running()
        && seen.outdated
        && !is_planted("earlier-file-runs-on");
    let settled =
        (owned.generation, owned.desired) == (generation, desired) && !cut_off && !outdated;
    // Nobody has heard the end of the restart, and it has come about.
    let restarted = seen.is_running()
        && seen.restarted_for == Some(generation)
        && !(changed || outdated || is_planted("unheard-restart-repeated"));
    // So has one that was asked for at an earlier wish, and this one is still to be carried out.
    let earlier = seen.restarted_for.is_some_and(|restart| restart != generation)
        && !is_planted("earlier-restart-taken-for-this");
    let mut steps = Vec::new();
    // A running unit is stopped under the file it was started from, whose ExecStop= it expects.
    let up = seen.is_up() && (owned.desired == DesiredState::Launched || owned.is_start_unheard());
    let stops = (up || owned.starting) && !is_planted("loaded-unit-left-up");
    if desired == DesiredState::Loaded && stops {
        steps.extend([Step::Stop, Step::AwaitEmpty]);
    }
    if (changed || !in_place) && !is_planted("replaced-file-not-written") {
        steps.push(Step::Write { file });
    }
    if install && !owned.enabled {
        steps.push(Step::Enable);
    } else if owned.enabled && !install {
        steps.push(Step::Disable);
    }
    if desired == DesiredState::Loaded && changed {
        steps.push(Step::Load);
    }
    if desired == DesiredState::Launched && !restarted {
        let again = (!settled || is_planted("settled-unit-restarted"))
            && (owned.desired == DesiredState::Launched
                || outdated
                || earlier
                || owned.is_start_unheard() && owned.generation != generation);
        let under_way = owned.starting && owned.desired == DesiredState::Launched;
        // It is on its way down, as far as is known, and may have been told to stop by a daemon that is no more: a start that finds it up
        // still would be none.
        let ends = seen.active == ActiveState::Deactivating
            && !settled
            && !is_planted("start-under-a-stop-that-goes-on");
        if (seen.is_running() || under_way || ends)
            && (changed || again || ends)
            && !is_planted("replaced-unit-runs-on")
        {
            steps.push(Step::Restart { generation });
        } else if (!settled || is_planted("ended-unit-started")) && (!seen.is_running() || unasked)
        {
            steps.push(Step::Start { generation });
        }
    }
    if changed || !settled || owned.starting {
        steps.push(settle);
    }
    steps
}
