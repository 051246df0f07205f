//! Moves: why a unit leaves its machine, and how it gets to another.
//!
//! | why | file |
//! | --- | --- |
//! | it is wanted and nowhere, or nowhere it may stay | `place` |
//! | its machine is drained | `drain` |
//! | another takes its place | `replace` |
//! | its group comes together elsewhere | `gather` |
//!
//! How it gets there is the same for all: first started, then stopped (`handover`), or first stopped where it may not run twice
//! (`run_twice`); what is written is worded in `write`.

mod drain;
mod gather;
mod handover;
mod place;
mod reason;
mod replace;
mod run_twice;
mod verdict;
mod write;

pub(crate) use verdict::DrainVerdict;
