//! Muster's hands: the daemon `musterd`, as a library.
//!
//! Owns the wiring of store, engine, runners and HTTP on one machine, and every touch of that machine. It makes no
//! choices: what goes where is `muster_engine`'s to decide, what is remembered is `muster_store`'s.

mod bus;
pub mod config;
pub mod cordon;
pub mod daemon;
pub mod host;
pub mod http;
pub mod identity;
pub mod inspect;
pub mod leader;
pub mod machine;
pub mod net;
pub mod reboot;
pub mod runner;
pub mod stdx;
pub mod telemetry;
pub mod view;

pub use daemon::core::{CoreError, CoreSettings, CoreSetup, run_core};
pub use telemetry::health::Health;
