//! What is wrong with an `[X-Fleet]` section.
//!
//! Owns where in the file it is, and the words for it.

/// An `[X-Fleet]` section that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[X-Fleet] {option}: {problem}")]
pub struct RequirementsError {
    /// Line of the unit file's text, from 1; 0 when it came without text.
    pub line: usize,
    /// The option at fault, as written.
    pub option: String,
    /// The problem with it.
    pub problem: String,
}
