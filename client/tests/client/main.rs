//! The client against a server of scripted bytes: what it asks, what it takes, and when it gives up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test whose scenery does not stand has failed"
)]

mod following;
mod requests;
mod server;
