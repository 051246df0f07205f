//! Filters: which machines may have a unit, as a set for planning, one by one, and with the reason why not.

mod beside_global;
mod beside_group;
mod chain;
mod check;
mod conflicts;
mod contract;
mod machine_id;
mod metadata;
mod ready;
mod replaces;
mod runner;

pub(crate) use beside_group::GroupHome;
