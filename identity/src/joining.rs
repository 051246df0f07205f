//! Whether a host may join.
//!
//! Owns that decision: the request, the records it rests on and the time go in; what comes out is a grant with the guarded change of the
//! records that it means, or a refusal. It neither reads nor writes records, and signs nothing: a certificate leaves the server once
//! the change is carried out, so of two that race for the last use of a token one finds the records changed, and is decided about anew.
//!
//! Whoever has proven to have a host's key is answered whatever became of its token, for the answer to its first request may have been
//! lost: the same request has the same answer.

use std::collections::BTreeMap;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::{
    AuthorityNumber, AuthorityState, HostRecord, HostRole, JoinRecord, KeyHash, PkiChange, PkiKey,
    PkiRecord, StoredPki, TokenId,
};
use muster_common::text::FreeText;

use crate::names::CertifiedName;
use crate::refusal::JoinRefusal;
use crate::token::TokenSecret;
use crate::validity::Validity;

/// A request to join. That whoever sent it has the private half of the key was looked at before.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The token's name.
    pub token: TokenId,
    /// Its secret.
    pub secret: TokenSecret,
    /// The authority by which the host knows this cluster.
    pub pin: KeyHash,
    /// The machine.
    pub machine: MachineId,
    /// The hash of its public key.
    pub key: KeyHash,
    /// The cluster that it belongs to by what it remembers.
    pub cluster: Option<ClusterId>,
}

/// The records that the decision rests on.
#[derive(Debug, Clone)]
pub struct JoinBasis {
    /// This cluster.
    pub cluster: ClusterId,
    /// Its authorities.
    pub state: StoredPki<AuthorityState>,
    /// The hashes of the keys of those that hosts believe.
    pub trusted: BTreeMap<AuthorityNumber, KeyHash>,
    /// The machine's record.
    pub host: Option<StoredPki<HostRecord>>,
    /// The token's record.
    pub token: Option<StoredPki<JoinRecord>>,
}

/// The answer to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinDecision {
    /// It joins, once the change is carried out.
    Grant(JoinGrant),
    /// It does not.
    Refuse(JoinRefusal),
}

/// The things that a host gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGrant {
    /// Its name.
    pub name: CertifiedName,
    /// Its part.
    pub role: HostRole,
    /// The life of its certificate.
    pub validity: Validity,
    /// The change of records.
    pub change: PkiChange,
}

/// Decides about a request.
pub fn decide_join(request: &JoinRequest, basis: &JoinBasis, now: u64) -> JoinDecision {
    match grant_join(request, basis, now) {
        Ok(grant) => JoinDecision::Grant(grant),
        Err(refusal) => JoinDecision::Refuse(refusal),
    }
}

fn grant_join(
    request: &JoinRequest,
    basis: &JoinBasis,
    now: u64,
) -> Result<JoinGrant, JoinRefusal> {
    if let Some(theirs) = request.cluster.filter(|theirs| *theirs != basis.cluster) {
        return Err(JoinRefusal::OtherCluster { theirs, ours: basis.cluster });
    }
    let pinned = basis.trusted.iter().find(|(_, pin)| **pin == request.pin);
    let Some((&bundle, _)) = pinned else {
        return Err(JoinRefusal::WrongPin { pin: request.pin });
    };
    let name = CertifiedName::of_machine(&request.machine, basis.cluster)?;
    let validity = Validity::of_host(now);
    let known = basis.host.as_ref().filter(|host| host.record.key == request.key);
    let (record, used) = if let Some(host) = known {
        (repeat_record(request, basis, host, validity, bundle)?, None)
    } else {
        let token = usable_token(request, basis, now)?;
        let record = HostRecord {
            key: request.key,
            role: token.role,
            joined: now,
            by: FreeText::fit_text(&format!("token {}, made by {}", request.token, token.by)),
            bundle,
            not_after: validity.not_after,
        };
        (record, Some(JoinRecord { uses: token.uses.saturating_sub(1), ..token.clone() }))
    };
    let role = record.role;
    let mut change = PkiChange::default();
    change.guard_record(PkiKey::State, Some(&basis.state));
    change.guard_record(PkiKey::Host(request.machine.clone()), basis.host.as_ref());
    change.writes.push(PkiRecord::Host(request.machine.clone(), record));
    if let Some(used) = used {
        change.guard_record(PkiKey::Join(request.token), basis.token.as_ref());
        change.writes.push(PkiRecord::Join(request.token, used));
    }
    Ok(JoinGrant { name, role, validity, change })
}

/// The record of a host that is known with the key that it asks with.
fn repeat_record(
    request: &JoinRequest,
    basis: &JoinBasis,
    host: &StoredPki<HostRecord>,
    validity: Validity,
    bundle: AuthorityNumber,
) -> Result<HostRecord, JoinRefusal> {
    let known = host.record.role;
    // Whoever holds the token of another part wants something else than what it has.
    let asked = basis.token.as_ref().map(|token| &token.record);
    let asked = asked.filter(|token| request.secret.matches_hash(&token.secret));
    if let Some(asked) = asked.map(|token| token.role).filter(|asked| *asked != known) {
        return Err(JoinRefusal::OtherRole { machine: request.machine.clone(), known, asked });
    }
    let bundle = bundle.max(host.record.bundle);
    Ok(HostRecord { bundle, not_after: validity.not_after, ..host.record.clone() })
}

/// The token of a request, if that host may join by it.
fn usable_token<'a>(
    request: &JoinRequest,
    basis: &'a JoinBasis,
    now: u64,
) -> Result<&'a JoinRecord, JoinRefusal> {
    let id = request.token;
    let Some(StoredPki { record: token, .. }) = &basis.token else {
        return Err(JoinRefusal::UnknownToken { id });
    };
    if !request.secret.matches_hash(&token.secret) {
        return Err(JoinRefusal::WrongSecret { id });
    }
    if now >= token.expires {
        return Err(JoinRefusal::Expired { id, at: token.expires, now });
    }
    if let Some(replaces) = token.replaces.clone().filter(|it| *it != request.machine) {
        return Err(JoinRefusal::MeantForAnother { id, replaces });
    }
    if let Some(host) = &basis.host
        && token.replaces.is_none()
    {
        let machine = request.machine.clone();
        return Err(JoinRefusal::KnownWithAnotherKey { machine, joined: host.record.joined });
    }
    if token.uses == 0 {
        return Err(JoinRefusal::UsedUp { id });
    }
    Ok(token)
}
