//! A machine's daemon as a state machine: what it knows, and what is to be done about it now.
//!
//! Owns the machine's placements as last read, the units as their runner last showed them, the chains of steps on their way,
//! and what of all this is to be reported and saved, and when. [`Node::step`] takes inputs and gives effects; who carries them
//! out answers with further inputs. It never acts on not knowing: without a lease, or before the placements have been read
//! under it, nothing is started or stopped, and what a store says is believed once it is known to be this machine's. The one
//! exception is a store that has been away since the daemon began: then those of the last known placements are started that
//! cannot run elsewhere, and nothing is stopped. It does no I/O and reads no clock; `now` is any monotonic time the caller keeps.
//!
//! ```text
//!  registration, placements, runner events, chain ends, answers, deadlines
//!                 │
//!                 ▼                      a pass is due
//!        Node::step ───────▶ observe ─▶ read files ─▶ settle jobs ─▶ find obstacles ─▶ begin chains
//!                 │             └── each of them asked for only when needed, and waited for
//!                 ▼
//!        report states, save placements, supersede chains, facts for health and log
//! ```

mod chains;
mod io;
mod last_known;
mod model;
mod pass;
mod placements;
mod reporting;
mod surviving;

pub use io::{
    ChainBatch, ChainEnd, ChainStart, NodeEffect, NodeFact, NodeInput, PlannedChain, PublishAnswer,
    SettledJob, StopPlan,
};
pub use model::{Basis, Node};
