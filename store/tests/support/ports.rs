//! Ports for servers that are told theirs before they start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports below those that the kernel gives to outgoing connections (32768 and up): one of those may be gone between this look
/// and the server's start, taken by a client of another test.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;
/// Tests run in processes of their own, several at once; each begins somewhere else.
const EACH: u32 = 16;

/// A port nobody uses at the moment, and that nobody else is about to be given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(EACH);
    let mut tries = 0..COUNT;
    let free = tries.find_map(|_| {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    });
    free.expect("every port is taken")
}
