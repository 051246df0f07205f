//! Errors as text.
//!
//! Owns how an error is told together with its causes. It classifies none.

use std::error::Error;

/// The error and its causes on one line, outermost first, with `: ` between them.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
