//! The place in the configuration file of an error that shows only once everything is put together.
//!
//! Owns the search for it. An option that a flag sets is not at fault in the file.

use std::path::Path;

use super::error::ConfigError;
use super::file::line_of;
use super::flags::Flags;

impl ConfigError {
    /// The same with its place in the file, if it is there that it comes from.
    pub(super) fn with_line(self, path: &Path, text: &str, flags: &Flags) -> Self {
        let value = match &self {
            Self::Insecure { address, .. } | Self::DuplicateAddress { address, .. } => {
                address.to_string()
            }
            Self::PlainPassword(endpoint) => endpoint.clone(),
            _ => String::new(),
        };
        let mut written = self.option_keys().iter().filter(|key| !flags.sets_option(key));
        let Some(line) = written.find_map(|key| line_of(text, key, &value)) else { return self };
        Self::Line { path: path.display().to_string(), line, problem: Box::new(self) }
    }
}
