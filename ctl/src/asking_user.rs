//! The user who runs the command, as records and histories name one.
//!
//! Owns the reading of the environment for that, and nothing else.

use muster_common::text::FreeText;

/// Returns the user who asks, as far as the environment says. Nobody typed it, so it is made to fit rather than refused.
pub(crate) fn asking_user() -> FreeText {
    let named = ["SUDO_USER", "USER"].into_iter().filter_map(|name| std::env::var(name).ok());
    FreeText::fit_text(&named.into_iter().find(|name| !name.is_empty()).unwrap_or_default())
}
