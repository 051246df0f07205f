//! Moves: why a unit leaves its machine, and how it gets to another.

mod gather;
mod handover;
mod replace;
mod write;
