//! The HTTP contract: what clients send and daemons answer. `fleet` is fleet's API and `fleetlock` FleetLock, to the letter; `v1` is ours.

pub mod cordon;
pub mod drain;
pub mod fleet;
pub mod fleetlock;
pub mod forget;
pub mod inspect;
pub mod join;
pub mod journal;
pub mod plan;
pub mod reboot;
pub mod v1;
