//! The identity of a cluster.
//!
//! Owns the shape of the name that a cluster is known by in its store and on its machines. Who gives it, and what is done about
//! a store with another one, is decided elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::quote_text;

/// The identity of a cluster: 32 lower-case hexadecimal digits, drawn at random once and never changed. Two stores with the
/// same identity hold the same cluster, as it is or as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(u128);

/// A string that is no identity of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no identity of a cluster: expected 32 of the characters 0-9 a-f", quote_text(.0))]
pub struct InvalidClusterId(pub String);

impl ClusterId {
    /// Digits of an identity.
    const DIGITS: usize = 32;

    /// The identity that is this number.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self(number)
    }
}

impl FromStr for ClusterId {
    type Err = InvalidClusterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != Self::DIGITS || !text.bytes().all(is_digit) {
            return Err(InvalidClusterId(text.to_owned()));
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidClusterId(text.to_owned()))
    }
}

impl TryFrom<String> for ClusterId {
    type Error = InvalidClusterId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written_and_nothing_else_is() {
        for number in [0, 1, u128::MAX, 0xab << 100] {
            let id = ClusterId::from_number(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let long = "0".repeat(33);
        for text in ["", "0", &long, &"A".repeat(32), &"+".repeat(32), &"é".repeat(16)] {
            assert!(text.parse::<ClusterId>().is_err(), "{text}");
        }
    }
}
