//! The outcome of a command.

/// The outcome of whatever was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All is well.
    Nothing,
    /// Something is not, and was printed.
    Something,
}

impl From<bool> for Found {
    fn from(something: bool) -> Self {
        if something { Self::Something } else { Self::Nothing }
    }
}
