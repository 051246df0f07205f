//! The three-host lab.
