//! The trace of a run: each event as a line, and a hash over all of them.
//!
//! Owns that two runs are the same when their hashes are. Lines are kept where somebody wants to read them.

use std::fmt::{self, Write as _};

use crate::moment::Micros;

/// Basis and factor of the hash FNV-1a: it has to tell runs apart, not to withstand anybody.
const HASH_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x100_0000_01b3;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    line: String,
    kept: Option<Vec<(Micros, String)>>,
}

impl Trace {
    /// A trace of nothing. It keeps its lines where they are wanted.
    pub(crate) fn new(keeps_lines: bool) -> Self {
        Self { hash: HASH_BASIS, events: 0, line: String::new(), kept: keeps_lines.then(Vec::new) }
    }

    /// Adds an event.
    pub(crate) fn note_event(&mut self, at: Micros, text: fmt::Arguments<'_>) {
        self.line.clear();
        // A string takes everything.
        let _ = self.line.write_fmt(text);
        for byte in self.line.bytes().chain(at.0.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(HASH_FACTOR);
        }
        self.events += 1;
        if let Some(kept) = &mut self.kept {
            kept.push((at, self.line.clone()));
        }
    }

    /// The hash over all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The number of events so far.
    pub fn count_events(&self) -> u64 {
        self.events
    }

    /// The lines, where they were kept.
    pub fn lines(&self) -> &[(Micros, String)] {
        self.kept.as_deref().unwrap_or_default()
    }
}
