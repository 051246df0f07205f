//! The seed of a process that was given none.
//!
//! Owns the only place where this crate draws chance from the system.

use std::hash::{BuildHasher as _, RandomState};

use muster_common::seed::Seed;

/// A seed drawn from the system, another one with each call: the standard library seeds its hash maps from the system's
/// randomness, and that is all that is needed here.
pub(crate) fn draw_seed() -> Seed {
    Seed(RandomState::new().hash_one(0))
}
