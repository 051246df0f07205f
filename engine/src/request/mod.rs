//! What a user's request makes of units.

pub mod references;
