//! The cluster, by number: what is known of units and machines, in the form in which it is decided on.
//!
//! Owns the rows and every index over them, and keeps them in line with the changes of the cluster. It never decides.

mod apply;
mod classes;
mod patterns;
mod requirements;
mod state;

pub(crate) use state::{Index, Place, Spec};
