//! What is wrong with a cluster, as data.
//!
//! Owns the kinds of violations and what each is about. The words and how much they weigh are in `words`, the sentences for people
//! in `sentences`, what to do in `ways_out`. When there is one is the affair of the rules.

mod sentences;
mod subject;
mod ways_out;
mod words;

use std::collections::BTreeSet;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::reboot::{Group, HolderId};
use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitName};

pub use words::{Severity, WORDS};

/// One thing that is wrong, or worth knowing. Texts of others are in it as they are; they are cleaned where it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Violation {
    // Must never be.
    /// A unit that is not global has more than one home.
    PlacedTwice {
        /// The unit.
        unit: UnitName,
        /// The machines.
        machines: BTreeSet<MachineId>,
    },
    /// A unit that may not run twice at a time is up on several machines.
    RunsTwice {
        /// The unit.
        unit: UnitName,
        /// The machines.
        machines: BTreeSet<MachineId>,
    },
    /// A template is placed.
    TemplatePlaced {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// Two units that may not be on one machine have been put there, both as they are now.
    ConflictTogether {
        /// The unit.
        unit: UnitName,
        /// The other unit.
        with: UnitName,
        /// The `Conflicts=` that keeps them apart.
        pattern: String,
        /// The machine.
        machine: MachineId,
    },
    /// A unit's file is not in the store.
    FileMissing {
        /// The unit.
        unit: UnitName,
        /// The file.
        file: FileHash,
    },
    /// A record that is to end with a lease has none.
    RecordWithoutLease {
        /// The key, below the prefix.
        key: String,
    },
    /// Somebody holds two slots of one group.
    SlotTwice {
        /// The group.
        group: Group,
        /// Who holds it.
        holder: HolderId,
    },
    /// A machine carries out placements of another cluster than the one whose store was read.
    OtherCluster {
        /// The machine.
        machine: MachineId,
        /// The identity of the cluster that it knows.
        known: ClusterId,
        /// That of the cluster in the store.
        store: ClusterId,
    },

    // Wrong if it stays: the records.
    /// The store could not be read.
    StoreUnread {
        /// The problem, as a sentence.
        problem: String,
    },
    /// A record cannot be read.
    RecordUnreadable {
        /// The key, below the prefix.
        key: String,
        /// The problem, as a sentence.
        problem: String,
    },
    /// No leader, though machines are registered.
    LeaderMissing,
    /// The leader's record names a machine that has no registration, under whose lease it is.
    LeaderWithoutLease {
        /// The machine.
        machine: MachineId,
    },
    /// Several daemons believe that they lead.
    LeadsTwice {
        /// The machines.
        machines: BTreeSet<MachineId>,
    },
    /// The daemon that leads by the record does not know of it.
    LeaderUnaware {
        /// The machine.
        machine: MachineId,
    },
    /// Half of the machines or more vanished together, and their units stay where they are.
    Frozen {
        /// The machines.
        machines: BTreeSet<MachineId>,
    },
    /// A machine that belongs to the cluster is not registered.
    MemberMissing {
        /// The machine.
        machine: MachineId,
    },
    /// A machine is registered and no member.
    MemberUnlisted {
        /// The machine.
        machine: MachineId,
    },
    /// More hosts of a group hold a slot than it has.
    SlotsAboveMax {
        /// The group.
        group: Group,
        /// The number of those who hold one.
        holders: usize,
        /// The number of slots.
        max: u32,
    },
    /// A slot is held by a host that the cluster does not know.
    SlotOfNobody {
        /// The group.
        group: Group,
        /// Who holds it.
        holder: HolderId,
    },

    // Wrong if it stays: placements.
    /// A unit that is wanted is on no machine, though one takes it.
    UnitUnplaced {
        /// The unit.
        unit: UnitName,
    },
    /// A global unit is not on a machine that takes it.
    GlobalMissing {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A unit is placed on a machine that is gone, though another takes it.
    PlacementWithoutMachine {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A unit that nobody wants is placed.
    PlacementUnwanted {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A placement says something else than the unit's record.
    PlacementOutdated {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A unit is where it may not stay.
    PlacementUnsuitable {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A unit's move from a machine that is drained, or was, does not go on.
    MoveUnfinished {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },

    // Wrong if it stays: states.
    /// A machine reports a unit that is not placed there.
    StateOfNobody {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// Its `ActiveState`, as it is told.
        active: ActiveState,
    },
    /// There is a report of a machine that is not registered.
    StateWithoutMachine {
        /// The machine.
        machine: MachineId,
        /// The number of units that it reported.
        units: usize,
    },
    /// A machine says nothing of a unit that is placed there.
    StateMissing {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A machine has not carried out what its placement says, and names no problem.
    NotCarriedOut {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// The state in the store is not the one that the machine's runner tells.
    StaleState {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// Its `ActiveState` in the store.
        told: ActiveState,
        /// Its `ActiveState`, as it is told.
        active: ActiveState,
    },

    // Wrong if it stays: machines.
    /// A registered machine does not answer.
    MachineSilent {
        /// The machine.
        machine: MachineId,
        /// The problem, as a sentence.
        problem: String,
    },
    /// A machine answers and is not registered.
    MachineUnregistered {
        /// The machine.
        machine: MachineId,
    },
    /// Two machines have one id: the boot that is registered is not the one that answers.
    MachineTwice {
        /// The machine.
        machine: MachineId,
        /// The boot that is registered.
        registered: String,
        /// The one that answers.
        answers: String,
    },
    /// Two registered machines are to be asked at one address.
    AddressTwice {
        /// The address.
        api: String,
        /// The machines.
        machines: BTreeSet<MachineId>,
    },
    /// At a machine's address another one answers.
    OtherMachineAnswers {
        /// The machine.
        machine: MachineId,
        /// The one that answers.
        answers: MachineId,
    },
    /// A component of a daemon does not work.
    ComponentFailed {
        /// The machine.
        machine: MachineId,
        /// The component.
        component: String,
        /// The problem, as a sentence.
        problem: String,
    },
    /// A machine's runner could not be asked.
    RunnerUnseen {
        /// The machine.
        machine: MachineId,
        /// The problem, as a sentence.
        problem: String,
    },

    // Wrong if it stays: what runs.
    /// A unit of ours is up where it is not placed.
    RunsUnplaced {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// Its `ActiveState`, as it is told.
        active: ActiveState,
    },
    /// A machine keeps a unit of ours that is not placed there and does not run.
    OwnedUnplaced {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A unit is up while its file on the machine is not the one that is placed.
    OldTextRuns {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
    /// A machine's copy of its placements is not what is placed there.
    LastKnownDiffers {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },

    // Worth knowing.
    /// No machine takes a unit that is wanted.
    UnitWaits {
        /// The unit.
        unit: UnitName,
        /// Who refuses it and why, in lines.
        refusal: String,
    },
    /// A unit has failed, or could not be brought to where it is wanted.
    UnitFailed {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// The problem, as a sentence.
        problem: String,
    },
    /// A file that no unit names.
    FileOfNobody {
        /// The file.
        file: FileHash,
    },
    /// A cordon of a machine that the cluster does not know.
    CordonOfNobody {
        /// The machine.
        machine: MachineId,
    },
    /// Metadata set for a machine that the cluster does not know.
    MetadataOfNobody {
        /// The machine.
        machine: MachineId,
    },
    /// A record about the reboot of a machine that the cluster does not know.
    RebootOfNobody {
        /// The machine.
        machine: MachineId,
        /// The key, below the prefix.
        key: String,
    },
    /// A slot has been held for long.
    HeldForLong {
        /// The group.
        group: Group,
        /// Who holds it.
        holder: HolderId,
        /// The hours since it was taken.
        hours: u64,
    },
    /// A machine can be asked by no other.
    MachineUnasked {
        /// The machine.
        machine: MachineId,
        /// The problem, as a sentence.
        problem: String,
    },
    /// A machine's clock is off.
    ClockOff {
        /// The machine.
        machine: MachineId,
        /// The milliseconds that it is ahead.
        milliseconds: i64,
    },
    /// Daemons of several versions.
    VersionMixed {
        /// The versions.
        versions: BTreeSet<String>,
    },
    /// The store works and warns.
    StoreWarning {
        /// The problem, as a sentence.
        problem: String,
    },
}
