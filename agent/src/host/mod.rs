//! The host under the daemon: who it is, and who may read what the daemon keeps on it.
//!
//! Owns every look at the machine itself that is not about units. It never changes what is not the daemon's own.

pub mod identity;
pub mod modes;
pub mod power;
pub mod systemd_host;
mod wakes;
