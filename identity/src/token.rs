//! Join tokens as people carry them: `muster1.<id>.<secret>.<pin>`.
//!
//! Owns their written form, errors for a text that is none, and the comparison of secrets, which takes as long for a wrong one as for the
//! right one. A secret is shown by nothing but [`JoinToken::to_text`]; no error repeats a part of a token.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use muster_common::pki::{Digest, KeyHash, SecretHash, TokenId};
use subtle::ConstantTimeEq as _;

/// The first part, which says what follows and in which form.
const VERSION: &str = "muster1";

/// The parts after it, with their lengths in characters.
const ID: (&str, usize) = ("id", TokenId::LENGTH);
const SECRET: (&str, usize) = ("secret", 32);
const PIN: (&str, usize) = ("pin", 52);

/// Parts in all.
const PARTS: usize = 4;

/// The secret of a token: 160 bits, which nobody guesses, and 32 characters without a remainder.
#[derive(Clone, Copy)]
pub struct TokenSecret([u8; Self::LENGTH]);

/// A token.
#[derive(Clone, Copy)]
pub struct JoinToken {
    /// Its name, which is no secret.
    pub id: TokenId,
    /// Its secret.
    pub secret: TokenSecret,
    /// The hash of the authority's key: whoever shows another is not the cluster.
    pub pin: KeyHash,
}

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error(
        "this is no join token: one begins with \"{VERSION}.\"; \"musterctl cluster token\" on a server of the cluster prints one"
    )]
    Foreign,
    /// It is of a later version.
    #[error("this join token is of a later version of Muster than this one ({}); install that here first", env!("CARGO_PKG_VERSION"))]
    Later,
    /// Parts are missing, or there are too many.
    #[error(
        "this join token has {found} parts with dots between them, and a whole one has {PARTS}; copy it from its beginning to its end"
    )]
    Parts {
        /// The number of them.
        found: usize,
    },
    /// A part is too short or too long.
    #[error(
        "the {part} of this join token has {found} characters, and {expected} are expected; copy it from its beginning to its end"
    )]
    Length {
        /// The part.
        part: &'static str,
        /// Its characters.
        found: usize,
        /// Those of a whole one.
        expected: usize,
    },
    /// A part has a character that no token has.
    #[error(
        "the {part} of this join token is mistyped at its character {at}: tokens are made of a-z and 2-7; copy it, rather than type it"
    )]
    Character {
        /// The part.
        part: &'static str,
        /// The place, from 1.
        at: usize,
    },
}

impl TokenSecret {
    /// Bytes of one.
    pub const LENGTH: usize = 20;

    /// The secret that is these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its hash, for the record of its token.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Digest::of_bytes(&self.0))
    }

    /// True when it is the one that a record has the hash of.
    pub fn matches_hash(&self, hash: &SecretHash) -> bool {
        self.hash().0.as_bytes().ct_eq(hash.0.as_bytes()).into()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl JoinToken {
    /// The token with its secret, to be given to a person or a program and to nothing that keeps it.
    pub fn to_text(&self) -> String {
        let Self { id, secret, pin } = self;
        let code = |bytes: &[u8]| BASE32_NOPAD.encode(bytes).to_ascii_lowercase();
        format!("{VERSION}.{id}.{}.{}", code(&secret.0), code(pin.0.as_bytes()))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Blanks around it are no part of it, since a terminal copies them along.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('.').collect();
        match parts.first() {
            Some(&VERSION) => {}
            Some(first) if is_later_version(first) => return Err(TokenError::Later),
            _ => return Err(TokenError::Foreign),
        }
        let [_, id, secret, pin] = parts.as_slice() else {
            return Err(TokenError::Parts { found: parts.len() });
        };
        check_part(ID, id)?;
        let id = id.parse().map_err(|_| TokenError::Character { part: ID.0, at: 1 })?;
        let secret = TokenSecret(decode_part(SECRET, secret)?);
        let pin = KeyHash(Digest::from_bytes(decode_part(PIN, pin)?));
        Ok(Self { id, secret, pin })
    }
}

fn is_later_version(first: &str) -> bool {
    let number = first.strip_prefix("muster");
    number.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_part((part, expected): (&'static str, usize), text: &str) -> Result<(), TokenError> {
    let is_ours = |c: char| c.is_ascii_lowercase() || ('2'..='7').contains(&c);
    if let Some(at) = text.chars().position(|c| !is_ours(c)) {
        return Err(TokenError::Character { part, at: at + 1 });
    }
    if text.len() != expected {
        return Err(TokenError::Length { part, found: text.len(), expected });
    }
    Ok(())
}

fn decode_part<const N: usize>(
    part: (&'static str, usize),
    text: &str,
) -> Result<[u8; N], TokenError> {
    check_part(part, text)?;
    let decoded = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
    // What is left to be wrong are the last bits of the last character, which are always zero.
    let mistyped = TokenError::Character { part: part.0, at: part.1 };
    decoded.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(mistyped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "these texts are ASCII")]

    use super::*;
    use proptest::prelude::*;

    fn token(secret: [u8; 20], pin: [u8; 32]) -> JoinToken {
        JoinToken {
            id: "abcdez27".parse().unwrap(),
            secret: TokenSecret(secret),
            pin: KeyHash(Digest::from_bytes(pin)),
        }
    }

    proptest! {
        #[test]
        fn a_token_survives_the_round_trip(secret in any::<[u8; 20]>(), pin in any::<[u8; 32]>()) {
            let token = token(secret, pin);
            let text = token.to_text();
            let read: JoinToken = format!(" {text}\n").parse().unwrap();
            prop_assert_eq!(read.to_text(), text);
            prop_assert!(read.secret.matches_hash(&token.secret.hash()));
        }

        #[test]
        fn one_wrong_character_is_noticed_or_is_another_token(secret in any::<[u8; 20]>(), pin in any::<[u8; 32]>(), at in 0..102_usize, c in "[ -~]") {
            let text = token(secret, pin).to_text();
            let wrong = format!("{}{c}{}", &text[..at], &text[at + 1..]);
            if let Ok(read) = wrong.parse::<JoinToken>() {
                prop_assert_eq!(read.to_text(), wrong);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic_and_no_error_repeats_it(text in "(muster1\\.)?[a-z2-7.é]{0,110}") {
            if let Err(error) = text.parse::<JoinToken>() {
                let said = error.to_string();
                let long = text.split('.').filter(|part| part.len() > 12);
                for part in long {
                    prop_assert!(!said.contains(part), "{}", said);
                }
            }
        }

        #[test]
        fn only_the_secret_itself_matches(secret in any::<[u8; 20]>(), at in 0..20_usize, bit in 0..8_u8) {
            let mut other = secret;
            other[at] ^= 1 << bit;
            let hash = TokenSecret(secret).hash();
            prop_assert!(TokenSecret(secret).matches_hash(&hash));
            prop_assert!(!TokenSecret(other).matches_hash(&hash));
        }
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said_by_part() {
        let whole = token([7; 20], [9; 32]).to_text();
        assert_eq!(whole.len(), 102);
        let said = |text: &str| text.parse::<JoinToken>().unwrap_err();
        assert_eq!(said(""), TokenError::Foreign);
        assert_eq!(said("K10abc::server:x"), TokenError::Foreign);
        assert_eq!(said("musters.a.b.c"), TokenError::Foreign);
        assert_eq!(said(&whole.replacen("muster1", "muster2", 1)), TokenError::Later);
        assert_eq!(said("muster1.abcdez27"), TokenError::Parts { found: 2 });
        assert_eq!(said(&format!("{whole}.x")), TokenError::Parts { found: 5 });
        assert_eq!(
            said(&whole[..101]),
            TokenError::Length { part: "pin", found: 51, expected: 52 }
        );
        let upper = whole.replacen("abcdez27", "abcdeZ27", 1);
        assert_eq!(said(&upper), TokenError::Character { part: "id", at: 6 });
        // A pin is 256 bits in 52 characters of 5: the last four bits are zero.
        let odd = format!("{}b", &whole[..101]);
        assert_eq!(said(&odd), TokenError::Character { part: "pin", at: 52 });
    }

    #[test]
    fn a_secret_is_not_shown() {
        let token = token([7; 20], [9; 32]);
        let secret = token.to_text().split('.').nth(2).unwrap().to_owned();
        assert!(!format!("{token:?} {:?}", token.secret).contains(&secret));
    }
}
