//! The daemon put together: its core, and the process around it.
//!
//! Owns what is made at the start, in which order it ends, and what systemd is told. It decides nothing about units.

pub mod core;
pub mod process;
pub mod reload;
pub mod service;
