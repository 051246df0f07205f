//! Chance that nobody can foresee.
//!
//! Owns the only place of this crate that draws from the system's source of randomness: keys, serial numbers, secrets. No rule is
//! decided by what is drawn here.

use data_encoding::BASE32_NOPAD;
use muster_common::pki::TokenId;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::token::TokenSecret;

/// Bytes of a token's name: a few thousand tokens of one cluster have different ones.
const TOKEN_ID_BYTES: usize = 5;

/// A number that no two certificates share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialNumber(pub [u8; Self::LENGTH]);

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct ChanceError;

impl SerialNumber {
    /// Bytes of one: two of 128 bits are never the same, and it is below the 20 bytes that RFC 5280 allows.
    pub const LENGTH: usize = 16;
}

/// A serial number.
pub fn draw_serial() -> Result<SerialNumber, ChanceError> {
    draw_bytes().map(SerialNumber)
}

/// The name and the secret of a token.
pub fn draw_token() -> Result<(TokenId, TokenSecret), ChanceError> {
    let id: [u8; TOKEN_ID_BYTES] = draw_bytes()?;
    let id = BASE32_NOPAD.encode(&id).to_ascii_lowercase().parse().map_err(|_| ChanceError)?;
    Ok((id, TokenSecret::from_bytes(draw_bytes()?)))
}

fn draw_bytes<const N: usize>() -> Result<[u8; N], ChanceError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ChanceError)?;
    Ok(bytes)
}
