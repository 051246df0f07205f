//! The authority of the cluster, on a machine that has its key.
//!
//! Owns the carrying out of what `muster-identity` decides: records are read, a decision is made, its change is written, and only then a
//! certificate leaves. A change that meets a conflict is decided anew. It decides nothing, and who may ask is looked at before.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_common::api::join::{JoinAnswer, JoinMessage, RenewMessage};
use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::{AuthorityNumber, AuthorityState, HostRole, PkiChange, StoredPki};
use muster_common::text::FreeText;
use muster_identity::{
    Authority, AuthorityCertificate, BeginBasis, BeginDecision, BeginRefusal, BeginRequest,
    CertifiedName, FIRST_AUTHORITY, HostCertificate, HostCredentials, JoinBasis, JoinDecision,
    JoinRequest, JoinToken, OrderBasis, PublicKey, RenewalBasis, RenewalDecision, RequestError,
    TokenOrder, TrustBundle, Validity, decide_beginning, decide_join, decide_renewal, draw_serial,
    draw_token, make_signing_request, mint_token, read_signing_request,
};
use muster_store::{CommitOutcome, Registry};
use rustls::pki_types::CertificateDer;

use super::directory::PkiDirectory;
use super::error::MembershipError;
use crate::stdx::clock::Wall;

/// The attempts at records that others change.
const ATTEMPTS: usize = 10;

/// The authority, on this machine.
#[derive(Debug, Clone)]
pub struct ClusterAuthority {
    /// The store.
    pub registry: Registry,
    /// This machine's identity, and the authority's key.
    pub pki: PkiDirectory,
    /// This machine.
    pub machine: MachineId,
    /// The clock by which tokens and certificates end.
    pub wall: Wall,
}

impl ClusterAuthority {
    /// Begins the cluster's authority on this machine and makes it a server, or goes on with that where it was cut off.
    pub async fn begin_cluster(&self, by: &FreeText) -> Result<HostCredentials, MembershipError> {
        let cluster = self.cluster().await?;
        let host_key = self.pki.make_host_key()?;
        for _ in 0..ATTEMPTS {
            let now = self.wall.unix_seconds();
            let state = self.registry.authority_state().await?;
            let current = match &state {
                Some(state) => Some(self.authority(state.record.current).await?),
                None => None,
            };
            let number = state.as_ref().map_or(FIRST_AUTHORITY, |state| state.record.current);
            let known = self.pki.load_authority_key(number)?;
            let is_new = known.is_none() && state.is_none();
            let key = if is_new { Some(self.pki.make_authority_key(number)?) } else { known };
            let authority = match (key, &current) {
                (Some(key), Some(current)) if key.hash() == current.pin => {
                    Some(Authority::from_parts(current.clone(), key)?)
                }
                (Some(key), _) => {
                    Some(Authority::create(cluster, number, key, now, draw_serial()?)?)
                }
                (None, _) => None,
            };
            let request = BeginRequest {
                machine: self.machine.clone(),
                host_key: host_key.hash(),
                authority: authority.as_ref().map(|ours| ours.own_certificate().clone()),
                by: by.clone(),
            };
            let host = self.registry.host_record(&self.machine).await?;
            let basis = BeginBasis { cluster, state, current, host };
            let (name, validity, change) = match decide_beginning(&request, &basis, now) {
                BeginDecision::Begin { name, validity, change, .. } => (name, validity, change),
                BeginDecision::Refuse(refusal) => return Err(refusal.into()),
            };
            let Some(authority) = authority else { return Err(BeginRefusal::NoKey.into()) };
            if !self.is_written(&change).await? {
                if is_new {
                    // Somebody else has begun. A key of no authority must not lie here when this machine comes to have a real one.
                    self.pki.remove_authority_key(number)?;
                }
                continue;
            }
            let key = read_signing_request(&make_signing_request(&host_key)?)?;
            let chain = issue_chain(&authority, &name, HostRole::Server, &key, validity)?;
            let bundle = TrustBundle::new(vec![authority.own_certificate().clone()]);
            let made =
                HostCredentials::from_parts(host_key, chain, bundle, &self.machine, Some(cluster));
            let made = made.map_err(MembershipError::Answer)?;
            self.pki.save_credentials(&made)?;
            return Ok(made);
        }
        Err(MembershipError::Contended)
    }

    /// Has a join token made.
    pub async fn order_token(&self, order: &TokenOrder) -> Result<JoinToken, MembershipError> {
        for _ in 0..ATTEMPTS {
            let state = self.registry.authority_state().await?;
            let Some(found) = &state else { return Err(MembershipError::NoAuthority) };
            let pin = self.authority(found.record.current).await?.pin;
            let replaced = match &order.replaces {
                Some(machine) => self.registry.host_record(machine).await?,
                None => None,
            };
            let tokens = self.registry.join_records().await?;
            let basis = OrderBasis { state, pin, replaced, tokens };
            let minted = mint_token(order, draw_token()?, &basis, self.wall.unix_seconds())?;
            if self.is_written(&minted.change).await? {
                return Ok(minted.token);
            }
        }
        Err(MembershipError::Contended)
    }

    /// Lets a host join, or says why not.
    pub async fn admit_host(&self, message: &JoinMessage) -> Result<JoinAnswer, MembershipError> {
        let token: JoinToken = message.token.parse()?;
        let request = STANDARD.decode(&message.request).map_err(|_| RequestError::Unreadable)?;
        let key = read_signing_request(&request)?;
        let request = JoinRequest {
            token: token.id,
            secret: token.secret,
            pin: token.pin,
            machine: message.machine.clone(),
            key: key.hash(),
            cluster: message.cluster,
        };
        let cluster = self.cluster().await?;
        for _ in 0..ATTEMPTS {
            let state =
                self.registry.authority_state().await?.ok_or(MembershipError::NoAuthority)?;
            let trusted = self.trusted_authorities(&state.record).await?;
            let authority = self.signing_authority(&state, &trusted)?;
            let basis = JoinBasis {
                cluster,
                state,
                trusted: trusted.iter().map(|(number, found)| (*number, found.pin)).collect(),
                host: self.registry.host_record(&request.machine).await?,
                token: self.registry.join_record(request.token).await?,
            };
            let grant = match decide_join(&request, &basis, self.wall.unix_seconds()) {
                JoinDecision::Grant(grant) => grant,
                JoinDecision::Refuse(refusal) => {
                    tracing::info!(machine = %request.machine, token = %request.token, reason = refusal.as_str(), "a host may not join");
                    return Err(refusal.into());
                }
            };
            if !self.is_written(&grant.change).await? {
                continue;
            }
            tracing::info!(machine = %request.machine, token = %request.token, role = %grant.role, "a host has joined");
            let chain = issue_chain(&authority, &grant.name, grant.role, &key, grant.validity)?;
            return Ok(JoinAnswer {
                cluster,
                role: grant.role,
                chain: HostCredentials::chain_text(&chain),
                bundle: TrustBundle::new(trusted.into_values().collect()).to_pem(),
                authority_key: (grant.role == HostRole::Server).then(|| authority.key().to_pem()),
            });
        }
        Err(MembershipError::Contended)
    }

    /// Issues a host's next certificate, if the key that it has shown is the one in its record.
    pub async fn renew_host(
        &self,
        certificate: &HostCertificate,
        message: &RenewMessage,
    ) -> Result<JoinAnswer, MembershipError> {
        let request = STANDARD.decode(&message.request).map_err(|_| RequestError::Unreadable)?;
        let key = read_signing_request(&request)?;
        if key.hash() != certificate.key {
            return Err(MembershipError::OtherRequest);
        }
        let cluster = self.cluster().await?;
        for _ in 0..ATTEMPTS {
            let state = self.registry.authority_state().await?;
            let state = state.ok_or(MembershipError::NoAuthority)?;
            let trusted = self.trusted_authorities(&state.record).await?;
            let authority = self.signing_authority(&state, &trusted)?;
            let host = self.registry.host_record(certificate.name.machine()).await?;
            let basis = RenewalBasis { state, host };
            let now = self.wall.unix_seconds();
            let (role, validity, change) =
                match decide_renewal(certificate, message.believes, &basis, now) {
                    RenewalDecision::Renew { role, validity, change } => (role, validity, change),
                    RenewalDecision::Refuse(refusal) => return Err(refusal.into()),
                };
            if !self.is_written(&change).await? {
                continue;
            }
            let name = &certificate.name;
            let chain = issue_chain(&authority, name, role, &key, validity)?;
            return Ok(JoinAnswer {
                cluster,
                role,
                chain: HostCredentials::chain_text(&chain),
                bundle: TrustBundle::new(trusted.into_values().collect()).to_pem(),
                authority_key: None,
            });
        }
        Err(MembershipError::Contended)
    }

    async fn cluster(&self) -> Result<ClusterId, MembershipError> {
        self.registry.cluster_identity().await?.ok_or(MembershipError::NoCluster)
    }

    async fn authority(
        &self,
        number: AuthorityNumber,
    ) -> Result<AuthorityCertificate, MembershipError> {
        let found = self.registry.authority_record(number).await?;
        let found = found.ok_or(MembershipError::MissingAuthority { number })?;
        Ok(AuthorityCertificate::from_pem(&found.record.certificate)?)
    }

    /// The authorities that hosts believe.
    async fn trusted_authorities(
        &self,
        state: &AuthorityState,
    ) -> Result<BTreeMap<AuthorityNumber, AuthorityCertificate>, MembershipError> {
        let mut trusted = BTreeMap::new();
        for number in [Some(state.current), state.next].into_iter().flatten() {
            trusted.insert(number, self.authority(number).await?);
        }
        Ok(trusted)
    }

    /// The authority that issues certificates, with its key.
    fn signing_authority(
        &self,
        state: &StoredPki<AuthorityState>,
        trusted: &BTreeMap<AuthorityNumber, AuthorityCertificate>,
    ) -> Result<Authority, MembershipError> {
        let number = state.record.current;
        let certificate =
            trusted.get(&number).ok_or(MembershipError::MissingAuthority { number })?;
        let key =
            self.pki.load_authority_key(number)?.ok_or(MembershipError::NoKeyHere { number })?;
        Ok(Authority::from_parts(certificate.clone(), key)?)
    }

    async fn is_written(&self, change: &PkiChange) -> Result<bool, MembershipError> {
        let outcome = self.registry.commit_pki(change).await?;
        Ok(matches!(outcome, CommitOutcome::Done { .. }))
    }
}

/// A host's certificate with that of its authority, which a host that joins looks for.
fn issue_chain(
    authority: &Authority,
    name: &CertifiedName,
    role: HostRole,
    key: &PublicKey,
    validity: Validity,
) -> Result<Vec<CertificateDer<'static>>, MembershipError> {
    let issued = authority.issue_certificate(name, role, key, validity, draw_serial()?)?;
    Ok(vec![issued, authority.own_certificate().as_der().clone()])
}
