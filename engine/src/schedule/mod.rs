//! Which unit belongs on which machine.
//!
//! Owns the placement of units: filters, score, groups, replacements, stability, and the reasons for refusing. It never
//! writes anything: a [`Plan`] names what it rests on (revisions), and whoever commits it checks that they still hold.
//!
//! ```text
//!  Change ─▶ index/ ◀─ filter/, score/              what is known, by number; who may be where, and who is best
//!              │ units to look at
//!              ▼
//!            pass ◀─ group, moves/                  what becomes of them: why a unit leaves, and how it moves
//!              │ │              └─▶ explain ─▶ Refusal     asked for, one unit at a time
//!              │ └─ drain_status ─▶ DrainStatus            asked for, one drained machine at a time
//!              ▼
//!            Plan
//! ```
//!
//! The cost of a plan follows the units that changes have touched, not the size of the cluster. A unit that was refused
//! is looked at again when something may have made room for it.

mod drain_status;
mod explain;
mod filter;
mod group;
mod index;
mod moves;
mod pass;
mod scheduler;
mod score;
mod table;

pub use scheduler::{Candidate, Plan, Scheduler, schedule};
