//! Who belongs to a cluster, and how that is proven.
//!
//! A cluster has an authority, a key that signs certificates and never leaves the servers it lies on. A host is a public key in a record
//! of the store; its certificate, `<machine>.<cluster>.muster`, is a dated statement about that key. So a host is removed by removing its
//! record, and one that was off for a year is known by its key when it comes back. A host joins by a token, which holds the hash of the
//! authority's key (the pin): it speaks with nobody else.
//!
//! Owns the rules (who may begin a cluster, make a token, join, renew), the certificates and what is looked at in them, tokens as they are
//! typed, and what is believed of files that hold a host's identity. Rules are functions: the request, the records and the time go in, a
//! decision comes out with the guarded change of records that it means, or a refusal that says what to do.
//!
//! Never here: the clock, the disk, the network, the store. Keys and secrets are drawn in `chance.rs` and nowhere else; no rule draws
//! any.

mod authority;
mod beginning;
mod certificate;
mod chain;
mod chance;
mod credentials;
mod joining;
mod keys;
mod names;
mod order;
mod pem;
mod refusal;
mod renewal;
mod request;
mod token;
mod validity;

pub use authority::{Authority, AuthorityCertificate, AuthorityError};
pub use beginning::{
    BeginBasis, BeginDecision, BeginRefusal, BeginRequest, FIRST_AUTHORITY, decide_beginning,
};
pub use certificate::{CertificateError, HostCertificate, renewal_due};
pub use chain::{
    ChainError, PeerSide, TrustBundle, verify_host_chain, verify_pinned_chain,
    verify_returning_host,
};
pub use chance::{ChanceError, SerialNumber, draw_serial, draw_token};
pub use credentials::{CredentialProblem, HostCredentials, PkiFile};
pub use joining::{JoinBasis, JoinDecision, JoinGrant, JoinRequest, decide_join};
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use names::{CertifiedName, NameError};
pub use order::{MintedToken, OrderBasis, OrderRefusal, TokenOrder, mint_token};
pub use refusal::JoinRefusal;
pub use renewal::{AccessRefusal, RenewalBasis, RenewalDecision, authorize_host, decide_renewal};
pub use request::{RequestError, make_signing_request, read_signing_request};
pub use token::{JoinToken, TokenError, TokenSecret};
pub use validity::{CertificateAge, Validity};
