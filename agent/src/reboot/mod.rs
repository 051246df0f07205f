//! Rolling reboots on this machine.
//!
//! Owns the carrying out of what `muster_engine::reboot` decides: the slots in the store, and the role that reboots this
//! machine. It never decides who may reboot, nor when.
//!
//! ```text
//!   due (request, mark, update_engine, command) ┐
//!   host (logind: inhibitors, sessions)         │             ┌─▶ journal, on disk and in the store, before anything else
//!   lock (the group's slots)                    ├─▶ role ─────┤
//!   drain, gate (the cluster)                   │   phase::step
//!   commands (check, hooks)                     ┘             └─▶ actions
//! ```

mod commands;
mod due;
mod follower;
mod groups;
mod journal;
pub mod lock;
mod metrics;
mod observe;
pub mod overview;
pub mod role;

pub use follower::LatestRecords;
pub use groups::group_gauges;
pub use lock::{AcquireResult, GroupStatus, Lock, LockError, ReleaseReport, ReleaseResult};
pub use metrics::RoleCollector;
