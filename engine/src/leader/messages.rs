//! The words between a term of leadership and whoever carries it out.
//!
//! Owns what a term is told, what it asks the store, and what it says to people. The rules are [`super::term`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::cordon::{CordonHolder, Drain, DrainEnd};
use muster_common::decision::{Move, PlacesCommitted};
use muster_common::lease::{Leadership, Presence, TimeLeft};
use muster_common::machine::MachineId;
use muster_common::snapshot::ClusterEvent;

use crate::contact::StoreContact;
use crate::machine::registration::Registration;

/// An input of a term.
#[derive(Debug, Clone, PartialEq)]
pub enum TermInput {
    /// Nothing but that time has passed; see [`super::term::Term::next_deadline`].
    Tick,
    /// Events of the watch over the whole cluster, as many as have arrived: they belong into one plan.
    Cluster(Vec<ClusterEvent>),
    /// Where the leading machine stands.
    Registration(Registration),
    /// The contact of its daemon with the store; `None`: there is none, or it does not know. Times are of the term's own clock.
    Contact(Option<StoreContact>),
    /// The answer to the request that is under way.
    Answer(TermAnswer),
    /// Make the plan that [`TermEffect::MakePlan`] announced.
    MakePlan,
}

/// A question or an order to the store. Orders carry the leadership that guards them.
#[derive(Debug, Clone, PartialEq)]
pub enum TermRequest {
    /// Asks for the time that the leases of these machines have left. As many answers count as come in time.
    ProbeLeases {
        /// The machines.
        machines: BTreeSet<MachineId>,
        /// The time that is given.
        limit: Duration,
    },
    /// Note that these drains of a machine are at their deadline.
    EndDrains {
        /// The leadership.
        leadership: Leadership,
        /// The machine.
        machine: MachineId,
        /// Who ordered them, and the orders as they were seen.
        drains: Vec<(CordonHolder, Drain)>,
    },
    /// Write which machines belong to the cluster, unless the record is another by now than was seen.
    RecordMembers {
        /// The leadership.
        leadership: Leadership,
        /// The members as they were seen.
        seen: BTreeSet<MachineId>,
        /// The revision up to which the store was seen.
        seen_at: u64,
        /// All of them.
        members: BTreeSet<MachineId>,
    },
    /// Write into the leader record which machines' units stay where they are, unless the record is changed at the same moment.
    RecordHeld {
        /// The leadership.
        leadership: Leadership,
        /// The presence the record lives under.
        presence: Presence,
        /// All of them.
        held: BTreeSet<MachineId>,
    },
    /// Write a plan, each move guarded by all it rests on.
    CommitPlan {
        /// The leadership.
        leadership: Leadership,
        /// Revision of the leader record as it was last written, which guards all of them.
        fence: u64,
        /// The moves.
        moves: Vec<Move>,
    },
}

impl TermRequest {
    /// The leadership that guards the order; `None` for a question.
    pub fn guarding_leadership(&self) -> Option<Leadership> {
        match self {
            Self::ProbeLeases { .. } => None,
            Self::EndDrains { leadership, .. }
            | Self::RecordMembers { leadership, .. }
            | Self::RecordHeld { leadership, .. }
            | Self::CommitPlan { leadership, .. } => Some(*leadership),
        }
    }
}

/// The store's answer to a [`TermRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum TermAnswer {
    /// The order is carried out.
    Done,
    /// The plan is written, but for what was overtaken.
    Committed(PlacesCommitted),
    /// The order is carried out, at this revision.
    Written {
        /// The revision.
        revision: u64,
    },
    /// The time that the machines' leases have left, of those that could be told in time; one whose lease ended meanwhile has none.
    Leases(BTreeMap<MachineId, TimeLeft>),
    /// The order rests on something that has changed, and is not carried out.
    Overtaken,
    /// Another leads.
    Deposed,
    /// The store could not, or nobody knows whether it did, for this reason.
    Failed(String),
    /// The store has no room: it has not carried out the order, and takes no machine's registration either.
    Full(String),
    /// There was no answer in the time that was given.
    TimedOut,
}

impl TermAnswer {
    /// Why the store did not do as it was asked; `None` if it did.
    pub(super) fn into_problem(self) -> Option<String> {
        match self {
            Self::Done | Self::Written { .. } | Self::Committed(_) | Self::Leases(_) => None,
            Self::Failed(problem) | Self::Full(problem) => Some(problem),
            Self::Overtaken => Some("it has changed meanwhile".to_owned()),
            Self::Deposed => Some("another daemon leads now".to_owned()),
            Self::TimedOut => Some("the store does not answer in time".to_owned()),
        }
    }
}

/// Something that a term wants done. Several are carried out in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum TermEffect {
    /// Ask the store. Exactly one [`TermInput::Answer`] follows.
    Ask {
        /// The question or order.
        request: TermRequest,
        /// The time it may take, where the store's own limits are too long: [`TermAnswer::TimedOut`] when it has passed.
        within: Option<Duration>,
    },
    /// Make a plan with [`TermInput::MakePlan`], now. It is a step of its own because whoever carries it out says how long plans
    /// take.
    MakePlan,
    /// Make known which machines' units stay where they are.
    SetHeld(BTreeSet<MachineId>),
    /// Count decisions that were written and moves that were overtaken.
    CountCommitted {
        /// Decisions of the plan.
        decisions: u64,
        /// Moves that met a conflict.
        conflicts: u64,
    },
    /// Say this in the log.
    Log(TermNotice),
    /// The term is over: another leads, or the lease is not good any more.
    End,
}

/// A line of a term for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum TermNotice {
    /// The watch over the cluster is broken.
    StoreLost {
        /// The problem.
        problem: String,
    },
    /// A machine's registration has ended, and it has not taken its leave.
    MachineLost(MachineId),
    /// The store was away, or may have been: machines that are missing have time to come back before their units move.
    MachinesMayReturn(BTreeSet<MachineId>),
    /// Half of the machines or more vanished together.
    MassLoss(BTreeSet<MachineId>),
    /// A person has ended the freeze.
    Unfrozen,
    /// Units of lost machines wait until it is known who else is lost.
    LossesWait {
        /// Why that is not known yet.
        problem: String,
    },
    /// A drain is at its deadline.
    DrainDue {
        /// The machine.
        machine: MachineId,
        /// Who ordered the drain.
        holder: CordonHolder,
        /// The way it ends.
        end: DrainEnd,
    },
    /// Part of a plan was overtaken.
    PlanOvertaken {
        /// Moves that were.
        conflicts: u64,
    },
    /// The end of drains could not be written.
    CannotEndDrains {
        /// The machine.
        machine: MachineId,
        /// Why.
        problem: String,
    },
    /// The members could not be written.
    CannotRecordMembers {
        /// Why.
        problem: String,
    },
    /// The held machines could not be written.
    CannotRecordHeld {
        /// Why.
        problem: String,
    },
    /// The plan could not be written, or nobody knows whether it was.
    CannotCommitPlan {
        /// Why.
        problem: String,
    },
}
