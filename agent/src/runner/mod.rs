//! The runners of units on a machine, behind one trait.
//!
//! Declares the runners, systemd, Podman before it and a Docker engine, the one that joins them, and what they share.

mod combined;
pub mod docker;
mod files;
mod host_facts;
mod install_specifiers;
mod interface;
pub mod podman;
pub mod systemd;
mod unit_sources;

pub use self::combined::CombinedRunner;
pub use self::interface::{Runner, RunnerError, RunnerEvents, StartOutcome};
pub use self::unit_sources::Sources;
pub use muster_engine::machine::observation::{RunnerEvent, UnitObservation};
