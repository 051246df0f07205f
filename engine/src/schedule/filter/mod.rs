//! Filters: which machines may have a unit.

mod beside_global;
