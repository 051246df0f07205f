//! Muster's decisions: pure functions over what is known of the cluster.
//!
//! Owns every choice: where a unit goes ([`schedule`]), what it leaves behind then ([`left_behind`]), what one machine does next ([`machine::converge`]), when a loss is
//! too large to act on ([`leader::freeze`]), what its own contact with the store says about others ([`contact`]), what a container engine is asked and how a container lives ([`container`]). It
//! never reads a clock, a file, the network or the environment, and never fails: a problem is data
//! ([`muster_common::refusal::Refusal`], [`machine::converge::Problem`]), not an error. The daemon carries decisions out and makes
//! none of its own.
//!
//! ```text
//!   store ── Snapshot, Change ──▶ Scheduler ── Plan ──▶ guarded commit ──▶ place/<machine>/<unit>
//!                                    ▲   └── Refusal ──▶ user                        │
//!                          Freeze ───┘ hold                                          ▼
//!   runner ── Observed ────────────────────────────────────────────────────────▶ converge
//!   disk ──── Owned ───────────────────────────────────────────────────────────▶    │
//!                                                                    Steps ◀────────┘ ──▶ runner
//! ```
//!
//! | word | meaning |
//! | --- | --- |
//! | move | decisions that are written together or not at all |
//! | group | units tied together by `MachineOf=`, placed as one |
//! | held | placed on a machine that vanished in a mass loss: stays where it is |
//! | step | one thing the runner of one machine does to one unit |
//! | chain | the steps of one unit, in order |
//! | settled | a generation that a machine has carried out, or given up on |

pub mod cluster;
pub mod contact;
pub mod container;
pub mod leader;
pub mod left_behind;
pub mod machine;
pub mod reboot;
pub mod request;
pub mod run_origin;
pub mod schedule;
pub mod single;
pub mod wait;
