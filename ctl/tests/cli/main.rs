//! The client as a user sees it: the real binary, its two streams and its exit code, against a daemon whose answers are
//! scripted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test whose scenery does not stand has failed"
)]

mod answers;
mod change;
mod connection_errors;
mod cordon;
mod daemon;
mod doctor;
mod drain;
mod help;
mod hidden;
mod journal;
mod patterns;
#[path = "../../../store/tests/support/ports.rs"]
mod ports;
mod reboot;
mod show;
mod ssh;
mod sshd;
mod wait;
