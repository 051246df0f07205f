//! The cluster as one picture, and what is told of it to people.
//!
//! Owns the picture ([`Cluster`]), the tables made from it ([`lists`], and [`fleet`] for fleet's API), the machines a unit is on ([`whereabouts`]) and the account of a drain ([`drain`]). Where a unit goes is
//! [`crate::schedule`]'s to decide.

pub mod drain;
pub mod fleet;
pub mod freshness;
pub mod linger;
pub mod lists;
mod picture;
pub mod recent_stops;
pub mod whereabouts;

pub use picture::{Cluster, PicturePosition};
