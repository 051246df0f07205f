//! The words for violations and how much they weigh.
//!
//! Owns both lists. A word is what a person searches for in the pages, and a promise to scripts: it stays.

use super::Violation;

/// The weight of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It must never be, at any moment.
    Unsafe,
    /// It is wrong if it stays.
    Unsettled,
    /// It is worth knowing.
    Remark,
}

impl Severity {
    /// The word for it in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsafe => "unsafe",
            Self::Unsettled => "unsettled",
            Self::Remark => "remark",
        }
    }
}

/// Every word with its weight, in the order in which violations are listed.
pub const WORDS: [(&str, Severity); 53] = [
    ("placed-twice", Severity::Unsafe),
    ("runs-twice", Severity::Unsafe),
    ("template-placed", Severity::Unsafe),
    ("conflict-together", Severity::Unsafe),
    ("file-missing", Severity::Unsafe),
    ("record-without-lease", Severity::Unsafe),
    ("slot-twice", Severity::Unsafe),
    ("other-cluster", Severity::Unsafe),
    ("store-unread", Severity::Unsettled),
    ("record-unreadable", Severity::Unsettled),
    ("leader-missing", Severity::Unsettled),
    ("leader-without-lease", Severity::Unsettled),
    ("leads-twice", Severity::Unsettled),
    ("leader-unaware", Severity::Unsettled),
    ("frozen", Severity::Unsettled),
    ("member-missing", Severity::Unsettled),
    ("member-unlisted", Severity::Unsettled),
    ("slots-above-max", Severity::Unsettled),
    ("slot-of-nobody", Severity::Unsettled),
    ("unit-unplaced", Severity::Unsettled),
    ("global-missing", Severity::Unsettled),
    ("placement-without-machine", Severity::Unsettled),
    ("placement-unwanted", Severity::Unsettled),
    ("placement-outdated", Severity::Unsettled),
    ("placement-unsuitable", Severity::Unsettled),
    ("move-unfinished", Severity::Unsettled),
    ("state-of-nobody", Severity::Unsettled),
    ("state-without-machine", Severity::Unsettled),
    ("state-missing", Severity::Unsettled),
    ("not-carried-out", Severity::Unsettled),
    ("stale-state", Severity::Unsettled),
    ("machine-silent", Severity::Unsettled),
    ("machine-unregistered", Severity::Unsettled),
    ("machine-twice", Severity::Unsettled),
    ("address-twice", Severity::Unsettled),
    ("other-machine-answers", Severity::Unsettled),
    ("component-failed", Severity::Unsettled),
    ("runner-unseen", Severity::Unsettled),
    ("runs-unplaced", Severity::Unsettled),
    ("owned-unplaced", Severity::Unsettled),
    ("old-text-runs", Severity::Unsettled),
    ("last-known-differs", Severity::Unsettled),
    ("unit-waits", Severity::Remark),
    ("unit-failed", Severity::Remark),
    ("file-of-nobody", Severity::Remark),
    ("cordon-of-nobody", Severity::Remark),
    ("metadata-of-nobody", Severity::Remark),
    ("reboot-of-nobody", Severity::Remark),
    ("held-for-long", Severity::Remark),
    ("machine-unasked", Severity::Remark),
    ("clock-off", Severity::Remark),
    ("version-mixed", Severity::Remark),
    ("store-warning", Severity::Remark),
];

impl Violation {
    /// The word for it.
    pub fn as_word(&self) -> &'static str {
        match self {
            Self::PlacedTwice { .. } => "placed-twice",
            Self::RunsTwice { .. } => "runs-twice",
            Self::TemplatePlaced { .. } => "template-placed",
            Self::ConflictTogether { .. } => "conflict-together",
            Self::FileMissing { .. } => "file-missing",
            Self::RecordWithoutLease { .. } => "record-without-lease",
            Self::SlotTwice { .. } => "slot-twice",
            Self::OtherCluster { .. } => "other-cluster",
            Self::StoreUnread { .. } => "store-unread",
            Self::RecordUnreadable { .. } => "record-unreadable",
            Self::LeaderMissing => "leader-missing",
            Self::LeaderWithoutLease { .. } => "leader-without-lease",
            Self::LeadsTwice { .. } => "leads-twice",
            Self::LeaderUnaware { .. } => "leader-unaware",
            Self::Frozen { .. } => "frozen",
            Self::MemberMissing { .. } => "member-missing",
            Self::MemberUnlisted { .. } => "member-unlisted",
            Self::SlotsAboveMax { .. } => "slots-above-max",
            Self::SlotOfNobody { .. } => "slot-of-nobody",
            Self::UnitUnplaced { .. } => "unit-unplaced",
            Self::GlobalMissing { .. } => "global-missing",
            Self::PlacementWithoutMachine { .. } => "placement-without-machine",
            Self::PlacementUnwanted { .. } => "placement-unwanted",
            Self::PlacementOutdated { .. } => "placement-outdated",
            Self::PlacementUnsuitable { .. } => "placement-unsuitable",
            Self::MoveUnfinished { .. } => "move-unfinished",
            Self::StateOfNobody { .. } => "state-of-nobody",
            Self::StateWithoutMachine { .. } => "state-without-machine",
            Self::StateMissing { .. } => "state-missing",
            Self::NotCarriedOut { .. } => "not-carried-out",
            Self::StaleState { .. } => "stale-state",
            Self::MachineSilent { .. } => "machine-silent",
            Self::MachineUnregistered { .. } => "machine-unregistered",
            Self::MachineTwice { .. } => "machine-twice",
            Self::AddressTwice { .. } => "address-twice",
            Self::OtherMachineAnswers { .. } => "other-machine-answers",
            Self::ComponentFailed { .. } => "component-failed",
            Self::RunnerUnseen { .. } => "runner-unseen",
            Self::RunsUnplaced { .. } => "runs-unplaced",
            Self::OwnedUnplaced { .. } => "owned-unplaced",
            Self::OldTextRuns { .. } => "old-text-runs",
            Self::LastKnownDiffers { .. } => "last-known-differs",
            Self::UnitWaits { .. } => "unit-waits",
            Self::UnitFailed { .. } => "unit-failed",
            Self::FileOfNobody { .. } => "file-of-nobody",
            Self::CordonOfNobody { .. } => "cordon-of-nobody",
            Self::MetadataOfNobody { .. } => "metadata-of-nobody",
            Self::RebootOfNobody { .. } => "reboot-of-nobody",
            Self::HeldForLong { .. } => "held-for-long",
            Self::MachineUnasked { .. } => "machine-unasked",
            Self::ClockOff { .. } => "clock-off",
            Self::VersionMixed { .. } => "version-mixed",
            Self::StoreWarning { .. } => "store-warning",
        }
    }

    /// The weight of it.
    pub fn severity_level(&self) -> Severity {
        let word = self.as_word();
        // Each word is in the list, as a test says; one that were not would weigh most.
        WORDS
            .iter()
            .find(|(listed, _)| *listed == word)
            .map_or(Severity::Unsafe, |(_, weight)| *weight)
    }
}
