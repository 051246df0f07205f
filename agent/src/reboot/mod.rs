//! Rolling reboots on this machine.
//!
//! Owns the carrying out of what `muster_engine::reboot` decides: the slots in the store. It never decides who may
//! reboot.

pub mod lock;
pub mod overview;

pub use lock::{Asked, GroupStatus, Lock, LockError, Release, Released};
