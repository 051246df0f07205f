//! Connections: where the daemon listens, who is let in and how much each may have, and how other daemons are reached.
//!
//! Owns sockets and their limits. It never looks into a request further than to know whether it may come in; what is answered is
//! [`crate::http`]'s.

pub mod door;
mod gate;
pub mod limits;
pub mod listen;
pub mod peer;
pub mod quota;
pub mod serve;
pub mod tls;
