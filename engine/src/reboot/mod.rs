//! Who may reboot, when, and how a host goes about it.
//!
//! Owns the decisions of rolling reboots: the semaphore's, the windows' and the phases'. It never carries one out, reads
//! no clock and knows no store: what it decides on comes in, what it decided goes out.

pub mod commands;
pub mod drain;
pub mod due;
pub mod gate;
pub mod phase;
pub mod publish;
pub mod reading;
pub mod retry;
pub mod role;
pub mod semaphore;
pub mod ways;
pub mod window;
