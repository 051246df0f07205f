//! The converge loop: makes this machine run what it was placed to run, and says what it runs.
//!
//! Owns the hands of [`muster_engine::machine::node`]: the watch on this machine's placements, the runner, the disk, the store,
//! and the chains of steps on their way. The loop waits, feeds the node with what it has learned, and carries out what the node
//! says; it decides nothing.

mod chain;
mod converge_loop;
mod effects;
mod first_moments;
mod leaving;

pub use converge_loop::{Converge, ConvergeConfig};
