//! The daemon's word on itself: its health, its metrics, its log.
//!
//! Owns the words and numbers. What is wrong is found out elsewhere and told here; nothing is decided by it.

pub mod health;
pub mod logs;
pub mod metrics;
pub mod sight;
