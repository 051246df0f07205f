//! The three-host lab, and the tests that need it.
//!
//! Owns real hosts on one Linux machine ([`lab`]), Muster on them as a test sees it ([`cluster`]), what their reboots leave
//! in the store ([`reboots`], [`rolls`]), whether the whole of it is sound ([`soundness`]), and the end-to-end tests that use them (`tests/tests/`). It knows Muster only from outside:
//! binaries, unit files, commands and HTTP; it never links the daemon.

pub mod cluster;
pub mod lab;
pub mod reboots;
pub mod rolls;
pub mod soundness;
