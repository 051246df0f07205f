//! Muster's words: pure types and parsing, shared by every other crate.
//!
//! Owns what things are called and how they are written down: unit names, unit files, container units, placement
//! requirements, machines, their boots and identities, clusters, leases, states, reboots, free texts, seeds, the snapshot a decision is taken on, and the HTTP
//! contract. It performs no I/O, reads no clock and is not asynchronous; anything that does belongs to another crate.

pub mod api;
pub mod backup;
pub mod boot;
pub mod cluster_id;
pub mod container;
pub mod cordon;
pub mod decision;
pub mod drain;
pub mod errors;
pub mod lease;
pub mod machine;
pub mod pki;
pub mod probe;
pub mod reboot;
pub mod refusal;
pub mod seed;
pub mod snapshot;
pub mod state;
pub mod text;
pub mod unit;
