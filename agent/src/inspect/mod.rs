//! A look at a unit on this machine, through systemd's own tools or, for a container, its engine.
//!
//! Owns the asking ([`Inspector`]), the words of the question ([`JournalQuery`]) and the form of the answer. It changes nothing.

mod follow;
mod inspector;
mod lines;
mod query;
mod shown;
mod start_lines;

pub(crate) use follow::is_place;
pub use follow::{JournalPiece, JournalStart};
pub use inspector::{InspectError, Inspector};
pub use query::{Invocation, JournalQuery, LineCount, OutputMode};
