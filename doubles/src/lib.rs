//! Stand-ins for the world around Muster's daemon.
//!
//! Owns a runner and a host in memory, a disk that loses what was not synced, a line to a store that can be cut, and a store
//! on the time of its runtime. They are complete: whoever links them has a daemon's whole world, in which nothing happens but
//! what is asked for. They are for tests and simulators; no program links them.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a lock that is poisoned belongs to a test that has failed, and so does whatever else panics here"
)]

mod disk;
mod host;
mod line;
mod power;
mod runner;
mod time;

pub use disk::{DiskImage, LossyDisk};
pub use host::ScriptedHost;
pub use line::StoreLine;
pub use runner::ScriptedRunner;
pub use time::{LONG, long_after, open_timed, timed_store};
