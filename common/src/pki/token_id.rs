//! The names of join tokens.
//!
//! Owns their shape. The secret that goes with a name is not here, and in no record.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::quote_text;

/// The name of a join token, which is no secret: eight of the characters `a-z` and `2-7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; TokenId::LENGTH]);

/// A string that names no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} names no join token: expected 8 of the characters a-z 2-7", quote_text(.0))]
pub struct InvalidTokenId(pub String);

impl TokenId {
    /// Characters of one.
    pub const LENGTH: usize = 8;

    /// The name.
    pub fn as_str(&self) -> &str {
        // It was made of ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_ours = |byte: &u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(byte);
        match <[u8; Self::LENGTH]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(is_ours) => Ok(Self(bytes)),
            _ => Err(InvalidTokenId(text.to_owned())),
        }
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_eight_characters_of_base32() {
        assert_eq!("abcdez27".parse::<TokenId>().unwrap().to_string(), "abcdez27");
        for wrong in ["", "abcdez2", "abcdez277", "ABCDEZ27", "abcdez21", "abcdez/7", "abcdeé27"] {
            assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
        }
    }
}
