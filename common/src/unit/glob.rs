//! Go's `path.Match` patterns, which `Conflicts=` uses.

use std::fmt;

/// A pattern that has been checked and can be matched.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The name the pattern matches, if it is a plain name without any special character.
    pub fn literal(&self) -> Option<&str> {
        (!self.pattern.contains(['*', '?', '[', '\\'])).then_some(self.pattern.as_str())
    }

    /// The text every match begins with: what stands before the first special character.
    pub fn literal_prefix(&self) -> &str {
        self.pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default()
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}
