//! The cluster as one picture.
//!
//! Owns what is told of it to people. It decides nothing.

pub mod drain;
