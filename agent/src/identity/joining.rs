//! The side of a host that joins.
//!
//! Owns what it says, and what it believes of the answer before any of it is on its disk. How the two get to a server and back is the
//! connection's business, which has shown the authority that the token names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_common::api::join::{JoinAnswer, JoinMessage};
use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_identity::{
    AuthorityError, HostCredentials, JoinToken, PrivateKey, make_signing_request,
};

use super::directory::PkiDirectory;
use super::error::MembershipError;

/// A host that is about to join. Its key is on its disk, so that it may begin again with the same one.
#[derive(Debug)]
pub struct JoiningHost {
    pki: PkiDirectory,
    machine: MachineId,
    key: PrivateKey,
    token: JoinToken,
}

impl JoiningHost {
    /// Prepares a machine: it gets a key if it has none.
    pub fn prepare_host(
        pki: PkiDirectory,
        machine: MachineId,
        token: &str,
    ) -> Result<Self, MembershipError> {
        let token = token.parse()?;
        let key = pki.make_host_key()?;
        Ok(Self { pki, machine, key, token })
    }

    /// The token, whose pin the server has to show.
    pub fn join_token(&self) -> &JoinToken {
        &self.token
    }

    /// The message to a server. `cluster` is the one that the machine remembers to belong to.
    pub fn join_message(&self, cluster: Option<ClusterId>) -> Result<JoinMessage, MembershipError> {
        Ok(JoinMessage {
            token: self.token.to_text(),
            machine: self.machine.clone(),
            request: STANDARD.encode(make_signing_request(&self.key)?),
            cluster,
        })
    }

    /// Takes the answer: what does not belong together, or to the token, is not written.
    pub fn accept_answer(self, answer: &JoinAnswer) -> Result<HostCredentials, MembershipError> {
        let (pki, machine) = (&self.pki, &self.machine);
        let texts = [self.key.to_pem(), answer.chain.clone(), answer.bundle.clone()];
        let [key, chain, bundle] = &texts;
        let made = HostCredentials::from_texts(key, chain, bundle, machine, Some(answer.cluster))
            .map_err(MembershipError::Answer)?;
        let authorities = made.trust_bundle().trusted_authorities();
        if !authorities.iter().any(|authority| authority.pin == self.token.pin) {
            return Err(MembershipError::OtherAuthority);
        }
        if let Some(text) = &answer.authority_key {
            let key = PrivateKey::from_pem(text).map_err(|_| MembershipError::OtherAuthority)?;
            let own = authorities.iter().find(|authority| authority.pin == key.hash());
            let own = own
                .ok_or(AuthorityError::OtherKey { key: key.hash(), certificate: self.token.pin })?;
            pki.save_authority_key(own.number, &key)?;
        }
        pki.save_credentials(&made)?;
        Ok(made)
    }
}
