//! The events that a waiting client is told.
//!
//! Owns the difference between one look at the cluster and the next ([`ClusterWait`]), and when there is nothing more to come: for
//! units ([`units`]), a drain ([`drain`]), the machine of a journal ([`journal`]) and reboots ([`reboots`]). The stream around it
//! brings the cluster and carries the events away.

mod cluster_wait;
pub mod drain;
pub mod journal;
mod late_listing;
pub mod reboots;
pub mod units;

pub use cluster_wait::ClusterWait;
pub use late_listing::PatientWait;
