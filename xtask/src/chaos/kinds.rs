//! The kinds of faults, and what each may do to units.
//!
//! Clock steps are not among them: hosts of the lab share the kernel's wall clock, a time namespace has none of its own, and a preloaded
//! library does not reach etcd, which asks the kernel itself. They are the simulator's.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// A host loses power, and has it back later.
    PowerCut,
    /// A host reboots by itself, in order.
    CleanReboot,
    /// A host stands still with all that is on it, as a virtual machine that is paused, and goes on later.
    HostPaused,
    /// A host's cable is pulled.
    CableCut,
    /// A host hears nobody, and is heard.
    DeafHost,
    /// A host is heard by nobody, and hears.
    MuteHost,
    /// A host does not hear one of the others, and is heard by it.
    DeafToOne,
    /// A part of what a host is sent does not arrive.
    LossyHost,
    /// A host's card sends slowly: what is queued arrives late.
    SlowHost,
    /// The disk that a daemon keeps its state on has no room left.
    DiskFull,
    /// A daemon is paused.
    DaemonPaused,
    /// A daemon is killed; systemd starts it again.
    DaemonKilled,
    /// A daemon is restarted.
    DaemonRestarted,
    /// Muster's package is installed over itself while it runs.
    Upgraded,
    /// A member of etcd is paused.
    MemberPaused,
    /// A member of etcd is killed, and started later.
    MemberKilled,
    /// All members of etcd are paused: an outage of the store.
    StorePaused,
    /// The history of etcd is dropped.
    Compacted,
    /// etcd says that it has no room, and has it again later.
    StoreFull,
    /// etcd is restored from a snapshot that was taken a while before.
    StoreRestored,
    /// etcd has lost its data, and gets them back later.
    StoreEmptied,
    /// The container engine is killed; systemd starts it again, and its containers have run on.
    EngineKilled,
    /// The container engine hangs.
    EnginePaused,
    /// The bus of a host is killed; systemd starts another for whoever asks.
    BusKilled,
    /// systemd executes itself anew.
    Reexecuted,
}

use FaultKind as K;

/// All kinds, each as often as it stands here.
pub(super) const KINDS: [FaultKind; 31] = [
    K::PowerCut,
    K::PowerCut,
    K::CleanReboot,
    K::HostPaused,
    K::HostPaused,
    K::CableCut,
    K::CableCut,
    K::DeafHost,
    K::MuteHost,
    K::DeafToOne,
    K::LossyHost,
    K::SlowHost,
    K::DiskFull,
    K::DaemonPaused,
    K::DaemonPaused,
    K::DaemonKilled,
    K::DaemonKilled,
    K::DaemonRestarted,
    K::Upgraded,
    K::MemberPaused,
    K::MemberKilled,
    K::StorePaused,
    K::StorePaused,
    K::Compacted,
    K::StoreFull,
    K::StoreRestored,
    K::StoreEmptied,
    K::EngineKilled,
    K::EnginePaused,
    K::BusKilled,
    K::Reexecuted,
];

impl FaultKind {
    /// True if no unit may stop, start or move for it, however long it lasts.
    pub(super) fn keeps_everything(self) -> bool {
        match self {
            K::PowerCut
            | K::CleanReboot
            | K::HostPaused
            | K::CableCut
            | K::DeafHost
            | K::MuteHost
            | K::DeafToOne
            | K::LossyHost
            | K::SlowHost
            | K::DaemonPaused => false,
            K::DiskFull
            | K::DaemonKilled
            | K::DaemonRestarted
            | K::Upgraded
            | K::MemberPaused
            | K::MemberKilled
            | K::StorePaused
            | K::Compacted
            | K::StoreFull
            | K::StoreRestored
            | K::StoreEmptied
            | K::EngineKilled
            | K::EnginePaused
            | K::BusKilled
            | K::Reexecuted => true,
        }
    }

    /// True if it is over as soon as it is done.
    pub(super) fn is_instant(self) -> bool {
        matches!(
            self,
            K::CleanReboot
                | K::DaemonKilled
                | K::DaemonRestarted
                | K::Upgraded
                | K::Compacted
                | K::EngineKilled
                | K::BusKilled
                | K::Reexecuted
        )
    }

    /// True if its end needs a store that answers, and so waits for the ends of all others of its round.
    pub(super) fn ends_last(self) -> bool {
        self == Self::StoreFull
    }

    /// True if the data of all members are exchanged for it, which takes every host and every member.
    pub(super) fn exchanges_data(self) -> bool {
        matches!(self, K::StoreRestored | K::StoreEmptied)
    }

    /// True if a host or a member is out of reach while it lasts.
    fn takes_members_away(self) -> bool {
        matches!(
            self,
            K::PowerCut
                | K::CleanReboot
                | K::HostPaused
                | K::CableCut
                | K::DeafHost
                | K::MuteHost
                | K::DeafToOne
                | K::LossyHost
                | K::SlowHost
                | K::MemberPaused
                | K::MemberKilled
                | K::StorePaused
                | K::StoreFull
                | K::StoreRestored
                | K::StoreEmptied
        )
    }

    /// True if the two cannot be done at a time: each would take back what the other has done, or stand in its way.
    pub(super) fn clashes_with(self, other: Self) -> bool {
        self == other
            || self.exchanges_data() && other.takes_members_away()
            || other.exchanges_data() && self.takes_members_away()
    }
}
