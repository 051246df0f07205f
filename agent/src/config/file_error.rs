//! A configuration file that cannot be used.
//!
//! Owns the words for it. It reads nothing.

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something that cannot be used.
    #[error("{path}: line {line}: {problem}")]
    Content {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// The problem, naming the key.
        problem: String,
    },
}
