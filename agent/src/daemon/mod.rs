//! The daemon put together: its parts, and the process around them.
//!
//! Owns what is made at the start, what runs, in which order it ends, and what systemd is told. It decides nothing about units.
//!
//! ```text
//!   main ─▶ process ─▶ assembly (what is made) ─▶ store, core's settings, API, reboot role
//!                   ├▶ core (registration, leading, converging), reboot role, API: what runs
//!                   └▶ reload, service: what systemd says, and is told
//! ```

mod assembly;
pub mod core;
pub mod orders;
pub mod process;
pub mod reload;
pub mod service;
pub mod store;
