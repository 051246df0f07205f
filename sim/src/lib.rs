//! Muster's simulator: the real loops of many daemons, in a world that fails by a seed.
//!
//! Owns the world: time, network, store, systemd, disks, power, users, and what must never happen. It has no rule of the
//! product's: those are linked.

mod api_call;
mod api_line;
mod api_traffic;
mod by_hand;
mod calm;
mod clock;
pub mod command;
mod conditions;
mod connections;
mod container_faults;
pub mod containers;
mod copies;
mod coverage;
mod daemon_parts;
pub mod etcd;
mod events;
mod fact_entries;
mod facts;
mod fault_effects;
mod host_faults;
mod host_line;
mod host_power;
mod host_traffic;
mod host_unit;
mod invariants;
mod keep;
mod machine;
mod member_faults;
mod members;
mod moment;
mod network;
mod next_version;
mod plan;
mod planted;
mod queue;
mod run;
mod seed;
mod shrink;
mod step_guard;
mod store_faults;
mod store_state;
mod store_traffic;
mod story;
pub mod systemd;
mod trace;
mod unit_starts;
mod user_traffic;
mod users;
mod watched_runner;
mod wire;
mod world;

pub use coverage::Coverage;
pub use invariants::Violation;
pub use keep::{KeepError, KeptRun, KeptVerdict, check_kept_run, keep_run, kept_runs};
pub use moment::Micros;
pub use plan::Plan;
pub use planted::{BRANCHES, PLANTED, PlantedFault, find_fault};
pub use run::{RunOutcome, run_plan};
pub use shrink::shrink_plan;
pub use story::tell_story;
pub use trace::Trace;
