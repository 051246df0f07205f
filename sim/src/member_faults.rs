//! The faults that a member of etcd is under.
//!
//! Owns how many of them keep it down or standing still. What they do is [`crate::members`]'.

/// The faults that a member is under.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemberFaults {
    /// Faults by which its process is not there.
    pub(crate) downs: u32,
    /// Faults by which it stands still.
    pub(crate) pauses: u32,
}

/// A fault of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberFault {
    /// Its process is gone.
    Down,
    /// Its process stands still.
    Paused,
}
