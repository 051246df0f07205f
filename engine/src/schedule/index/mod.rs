//! The cluster, by number: what is known of units and machines, in the form in which it is decided on.
//!
//! Owns the rows and every index over them, and keeps them in line with the changes of the cluster. It never decides.

mod apply;
mod check;
mod classes;
mod dirty;
mod facts;
mod globals;
mod occupancy;
mod patterns;
mod requirements;
mod rows;
mod state;
mod ties;

pub(crate) use classes::MachineDemand;
pub(crate) use rows::UnitSpec;
pub(crate) use state::Index;
