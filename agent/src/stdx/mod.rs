//! What the standard library and its neighbours do not have, written once.
//!
//! Owns small things without a meaning of their own. It knows no other module of this crate.

pub(crate) mod files;
pub(crate) mod timer;

pub(crate) use muster_common::errors;
