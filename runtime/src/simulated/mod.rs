//! A node of a simulation: a process with a clock of its own, in the simulator's hands.
//!
//! Owns the tasks of one process, its timers and its clock. The simulator says what time it is on the node and lets it run;
//! the node runs until none of its tasks can go on, and says when it wants to be run again. Nothing here knows of other nodes, of
//! what passes between them, or of chance.

pub(crate) mod context;
mod node;
mod process;
mod queue;
pub(crate) mod timers;

pub use node::Node;
