//! This host's identity: what `muster-identity` decides, carried out on this machine's disk.

mod directory;

pub use directory::{PkiDirectory, PkiError};
