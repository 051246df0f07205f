//! The HTTP API: fleet's under `/fleet/v1`, ours under `/v1`, FleetLock under `/fleetlock/v1`, `/healthz` and `/metrics`.
//!
//! Owns requests and answers: paths, limits, errors, and what a handler needs. It decides nothing about units: that
//! is the engine's. The unix socket is served all of it, a TCP listener what it is configured for.

mod app;
mod body;
pub mod error;
mod events;
pub(crate) mod extract;
mod fleet;
mod fleetlock;
mod health;
mod rights;
mod router;
mod v1;

pub use app::{App, AppParts, SLOT_LIMIT};
pub(crate) use router::no_sniffing;
pub use router::{api_router, router_for};
