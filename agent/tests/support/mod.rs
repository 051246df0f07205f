//! A daemon's core on an embedded store, with a runner in memory, and what else tests of a daemon share.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "a module of test binaries: each uses its own part, and a panic is the failure"
)]

pub mod engine;
pub mod machine;

pub use machine::*;
