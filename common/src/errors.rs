//! Errors as text.
//!
//! Owns how an error is told together with its causes. It classifies none.

use std::error::Error;

/// Returns the error and its causes on one line, outermost first, with `: ` between them.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {0}")]
    struct Unreadable(&'static str, #[source] std::num::ParseIntError);

    #[test]
    fn causes_follow_on_the_same_line() {
        let error = Unreadable("the port", "x".parse::<u16>().unwrap_err());
        assert_eq!(error_chain(&error), "cannot read the port: invalid digit found in string");
    }
}
