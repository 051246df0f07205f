//! systemd's `LoadState`: the words that anything here depends on.
//!
//! It stays text in records, as systemd may say more; the words that decisions rest on are named here once.

/// The unit's file was found and read.
pub const LOADED: &str = "loaded";
/// There is no file of the unit.
pub const NOT_FOUND: &str = "not-found";
