//! The side of a host that has its certificate renewed.
//!
//! Owns what it says, what it believes of the answer, and the one exchange: with any server that is reached, which has to show that it is
//! one. What was got is on disk before it is shown to anybody. When that is due is `muster_identity::renewal_due`'s to say; a server
//! that has the authority's key asks nobody.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_client::{Client, ClientError, Limits, Route};
use muster_common::api::join::{JoinAnswer, RenewMessage};
use muster_identity::{HostCredentials, PrivateKey, make_signing_request};

use super::authority::ClusterAuthority;
use super::directory::PkiDirectory;
use super::error::MembershipError;
use crate::net::tls::{TlsError, TlsIdentity};

/// Where a server is asked.
const PATH: &str = "/v1/cluster/renew";

/// A host with a certificate.
#[derive(Debug)]
pub struct RenewingHost {
    /// Its identity on its disk.
    pub pki: PkiDirectory,
    /// The identity that it shows.
    pub identity: TlsIdentity,
}

/// Why a certificate was not renewed. The one that is there goes on, and it is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// No server answered, or one refused.
    #[error("no server renewed this host's certificate")]
    Server(#[from] ClientError),
    /// The answer is not used, or this machine's disk could not take it.
    #[error("this host's next certificate cannot be used")]
    Membership(#[from] MembershipError),
    /// TLS could not.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl RenewingHost {
    /// Has the certificate renewed by the first of these servers that is reached, and shows it from then on.
    pub async fn renew_at(
        &self,
        credentials: &HostCredentials,
        servers: impl IntoIterator<Item = Route>,
    ) -> Result<HostCredentials, RenewalError> {
        let connector = self.identity.connector_to_server()?;
        let client = Client::new(servers, Limits::default()).with_connector(Arc::new(connector));
        let answer: JoinAnswer = client.post_json(PATH, &renewal_message(credentials)?).await?;
        self.accept_answer(credentials, &answer)
    }

    /// The same on a server, by the key of the authority that lies there.
    pub async fn renew_by(
        &self,
        credentials: &HostCredentials,
        authority: &ClusterAuthority,
    ) -> Result<HostCredentials, RenewalError> {
        let message = renewal_message(credentials)?;
        let answer = authority.renew_host(credentials.own_certificate(), &message).await?;
        self.accept_answer(credentials, &answer)
    }

    fn accept_answer(
        &self,
        credentials: &HostCredentials,
        answer: &JoinAnswer,
    ) -> Result<HostCredentials, RenewalError> {
        let made = check_answer(credentials, answer)?;
        self.pki.save_credentials(&made).map_err(MembershipError::from)?;
        self.identity.replace_credentials(&made)?;
        Ok(made)
    }
}

fn renewal_message(credentials: &HostCredentials) -> Result<RenewMessage, MembershipError> {
    let believed = credentials.trust_bundle().trusted_authorities();
    Ok(RenewMessage {
        request: STANDARD.encode(make_signing_request(credentials.key())?),
        believes: believed.iter().map(|authority| authority.number).max().unwrap_or_default(),
    })
}

/// The identity that follows from an answer: of the same key, of the same cluster, and not without all of the authorities that are believed.
fn check_answer(
    before: &HostCredentials,
    answer: &JoinAnswer,
) -> Result<HostCredentials, MembershipError> {
    let name = &before.own_certificate().name;
    let key = PrivateKey::to_pem(before.key());
    let (machine, cluster) = (name.machine(), Some(name.cluster_id()));
    let made = HostCredentials::from_texts(&key, &answer.chain, &answer.bundle, machine, cluster)
        .map_err(MembershipError::Answer)?;
    let known = before.trust_bundle().trusted_authorities();
    let next = made.trust_bundle().trusted_authorities();
    if !next.iter().any(|authority| known.iter().any(|known| known.pin == authority.pin)) {
        return Err(MembershipError::OtherAuthority);
    }
    Ok(made)
}
