//! What a user's request makes of units.

pub mod change;
pub mod references;
