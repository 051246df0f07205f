//! Things that the standard library and its neighbours do not have, written once.
//!
//! Owns small things without a meaning of their own, and the seams to the world that have none either: the disk and the wall
//! clock. It knows no other module of this crate.

pub mod clock;
pub mod disk;
pub(crate) mod files;
pub(crate) mod sync;
pub(crate) mod timer;

pub(crate) use muster_common::errors;
