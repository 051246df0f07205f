//! Whose word a unit runs on, as its runner has it.
//!
//! Owns a word that containers and the rules of a machine share. It decides nothing.

/// The word on which a unit runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunOrigin {
    /// The cluster's, or its runner looks after all runs alike.
    #[default]
    Cluster,
    /// Somebody else's: its runner knows of nobody who wants it, and starts it again for nobody.
    Others,
}
