//! Removals: volumes and networks with their units, and containers without one.

pub(crate) mod discard;
pub(crate) mod orphans;
