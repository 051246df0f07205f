//! The status of a container, in the words of Docker's API.
//!
//! Owns those words. What follows from a status is for whoever decides.

/// The status that an engine reports of a container, `.State.Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerStatus {
    /// It was made and never ran.
    Created,
    /// It runs.
    Running,
    /// It runs and somebody holds it.
    Paused,
    /// Its engine starts it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited,
    /// It has ended, and could not be removed.
    Dead,
    /// A word that this version does not know; empty when the engine gave none.
    Other(String),
}

impl From<&str> for ContainerStatus {
    fn from(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            other => Self::Other(other.to_owned()),
        }
    }
}
