//! The identity of hosts, as it is remembered.
//!
//! Owns the words and shapes: what a cluster writes down of its authority, of the hosts that belong to it and of the tokens by which
//! others join. A host is a public key in a record; a certificate is no more than a dated statement about it. Whoever may join, and how
//! certificates are made and looked at, is decided in `muster-identity`; how records are written, in the store.

mod digest;
mod records;
mod token_id;

pub use digest::{Digest, InvalidDigest, KeyHash, SecretHash};
pub use records::{
    AuthorityNumber, AuthorityRecord, AuthorityState, HostRecord, HostRole, InvalidRole,
    JoinRecord, PkiChange, PkiKey, PkiRecord, RotationPhase, StoredPki,
};
pub use token_id::{InvalidTokenId, TokenId};
