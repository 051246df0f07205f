//! Why nothing came of a request about who belongs to the cluster.
//!
//! Owns the one error of this room. A refusal carries its reason as data; the rest is what stood in the way.

use muster_common::pki::AuthorityNumber;
use muster_identity::{
    AccessRefusal, AuthorityError, BeginRefusal, ChanceError, CredentialProblem, JoinRefusal,
    OrderRefusal, RequestError, TokenError,
};
use muster_store::RegistryError;

use super::directory::PkiError;

/// Why nothing came of a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The store could not.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// This machine's disk could not.
    #[error(transparent)]
    Directory(#[from] PkiError),
    /// The cluster has no identity yet.
    #[error(
        "the store holds no cluster yet; musterd begins one when it has reached the store, so try again in a moment"
    )]
    NoCluster,
    /// The cluster has no authority.
    #[error(
        "this cluster has no authority yet; begin it on its first machine: musterctl cluster init"
    )]
    NoAuthority,
    /// The state names an authority that has no record.
    #[error(
        "the record pki/ca/{number} is missing, which pki/state names; restore the store from a backup"
    )]
    MissingAuthority {
        /// Its number.
        number: AuthorityNumber,
    },
    /// This machine cannot sign.
    #[error(
        "this machine has no key of authority {number}, so that it lets nobody join; ask one of the cluster's servers"
    )]
    NoKeyHere {
        /// The authority's number.
        number: AuthorityNumber,
    },
    /// The authority could not.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No randomness.
    #[error(transparent)]
    Chance(#[from] ChanceError),
    /// The cluster does not begin here.
    #[error(transparent)]
    Begin(#[from] BeginRefusal),
    /// No such token.
    #[error(transparent)]
    Order(#[from] OrderRefusal),
    /// The host does not join.
    #[error(transparent)]
    Join(#[from] JoinRefusal),
    /// The host is none of the cluster's any more.
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// The request for the next certificate is of another key.
    #[error(
        "the request for the next certificate is of another key than the certificate that was shown; to have another key, join anew with a token made by musterctl cluster token --replace"
    )]
    OtherRequest,
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The request for a certificate is none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Nobody can be asked.
    #[error(
        "none of the cluster's servers is known to be there; its certificate is renewed once one is"
    )]
    NoServer,
    /// Others kept changing the same records.
    #[error(
        "the records of who belongs to the cluster kept changing while they were written; try again"
    )]
    Contended,
    /// The answer of a server is not what a host needs.
    #[error("the server's answer cannot be used")]
    Answer(#[source] CredentialProblem),
    /// The answer names authorities, and the token's is not among them.
    #[error(
        "the server's answer names none of the authorities that this host believes; nothing was written, so try again, at another server"
    )]
    OtherAuthority,
}
