//! Rolling reboots: groups, slots and who holds them, phases, and why a host waits.
//!
//! Owns the words that the semaphore, the phase machine, the records, HTTP and people share. It never decides who may
//! reboot: `muster_engine::reboot` does.
//!
//! Times are seconds since the Unix epoch on the clock of whoever wrote them. They are shown to people, and of the
//! decisions only windows and the pause between reboots rest on them: neither can be told from a machine's own clock.

mod history;
mod holder;
mod host;
mod journal;
mod method;
mod phase;
mod wait;

pub use history::{HISTORY_BYTES, HISTORY_LENGTH, HistoryEntry, SlotOutcome};
pub use holder::{
    Group, Holder, HolderId, HolderKind, InvalidGroup, InvalidHolderId, InvalidMax, MAX_SLOTS,
    Semaphore, parse_slots,
};
pub use host::{DueReason, HostStatus, InvalidStrategy, Request, Strategy};
pub use journal::{Journal, Retry};
pub use method::{InvalidMethod, RebootMethod};
pub use phase::{Phase, PhaseSpan};
pub use wait::{StuckUnit, WaitReason};

#[cfg(test)]
mod tests;
