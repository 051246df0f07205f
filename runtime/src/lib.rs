//! Time and tasks of Muster's loops.
//!
//! Owns what a loop needs of its runtime: the monotonic clock, timers, and tasks of its own. On a machine they are tokio's. On a
//! thread that runs a [`simulated::Node`], they are that node's: its clock stands still until the simulator moves it, and its
//! tasks run one after the other in an order that depends on nothing else. So the loops that run on hosts are the loops that are
//! simulated.
//!
//! Channels, watches and `select!` are tokio's in both, for they need no runtime; a `select!` has to be `biased`. Sockets,
//! processes and threads are not here: what uses them is behind a trait of its own, and a simulator stands on its other side.

mod instant;
pub mod simulated;
mod sleep;
mod task;
mod task_set;
mod timeout;

pub use instant::Instant;
pub use sleep::{Sleep, sleep, sleep_until};
pub use task::{Task, TaskLost, spawn};
pub use task_set::TaskSet;
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
