//! Muster's simulator: the real loops of many daemons, in a world that fails by a seed.
//!
//! Owns the world: time, network, store, systemd, disks, power, users, and what must never happen. It has no rule of the
//! product's: those are linked.

pub mod etcd;
pub mod systemd;
