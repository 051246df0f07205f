//! The beginning of a cluster's authority.
//!
//! Owns the decision that follows when root on a machine asks for it, once or again. The key of the authority and that of the host lie on
//! the machine's disk before anything is asked here, so that a machine which lost power in the midst of it asks again with the same
//! keys, and has the same answer.

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::{
    AuthorityNumber, AuthorityRecord, AuthorityState, HostRecord, HostRole, KeyHash, PkiChange,
    PkiKey, PkiRecord, RotationPhase, StoredPki,
};
use muster_common::text::FreeText;

use crate::authority::AuthorityCertificate;
use crate::names::{CertifiedName, NameError};
use crate::validity::Validity;

/// The number of a cluster's first authority.
pub const FIRST_AUTHORITY: AuthorityNumber = 1;

/// A request to begin.
#[derive(Debug, Clone)]
pub struct BeginRequest {
    /// The machine that the request is made on.
    pub machine: MachineId,
    /// The hash of its key.
    pub host_key: KeyHash,
    /// The certificate of the authority whose key lies on this machine; absent: none does, for the cluster has one elsewhere.
    pub authority: Option<AuthorityCertificate>,
    /// Who asks, in words.
    pub by: FreeText,
}

/// The records that the decision rests on.
#[derive(Debug, Clone)]
pub struct BeginBasis {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its authorities; absent: it has none yet.
    pub state: Option<StoredPki<AuthorityState>>,
    /// The certificate of the one that issues certificates, as the records have it.
    pub current: Option<AuthorityCertificate>,
    /// The machine's record.
    pub host: Option<StoredPki<HostRecord>>,
}

/// The answer to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginDecision {
    /// The cluster has this authority once the change is carried out, and the machine is its server.
    Begin {
        /// The machine's name.
        name: CertifiedName,
        /// The authority: the one that was asked with, or the one that is there already and has the same key.
        authority: AuthorityCertificate,
        /// The life of the host's certificate.
        validity: Validity,
        /// The change of records.
        change: PkiChange,
    },
    /// It stays as it is.
    Refuse(BeginRefusal),
}

/// Why nothing begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginRefusal {
    /// The cluster has an authority, and its key is not here.
    #[error(
        "cluster {cluster} has an authority since {since} (Unix seconds), and its key is not on this machine; join it instead: musterctl \
         cluster token on one of its servers prints the command"
    )]
    AuthorityElsewhere {
        /// The cluster.
        cluster: ClusterId,
        /// Since when.
        since: u64,
    },
    /// The authority on this machine's disk is of another cluster.
    #[error(
        "the authority whose key lies on this machine is of cluster {found}, and this is cluster {cluster}; remove this machine's pki directory if nothing uses it any more"
    )]
    OtherCluster {
        /// The cluster of the key's certificate.
        found: ClusterId,
        /// This one.
        cluster: ClusterId,
    },
    /// Neither the cluster nor this machine has one.
    #[error("no key was made for the authority; try again")]
    NoKey,
    /// The machine's id cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Decides about a request.
pub fn decide_beginning(request: &BeginRequest, basis: &BeginBasis, now: u64) -> BeginDecision {
    match begin(request, basis, now) {
        Ok(decision) => decision,
        Err(refusal) => BeginDecision::Refuse(refusal),
    }
}

fn begin(
    request: &BeginRequest,
    basis: &BeginBasis,
    now: u64,
) -> Result<BeginDecision, BeginRefusal> {
    let cluster = basis.cluster;
    let ours = request.authority.as_ref();
    if let Some(foreign) = ours.filter(|ours| ours.cluster != cluster) {
        return Err(BeginRefusal::OtherCluster { found: foreign.cluster, cluster });
    }
    let name = CertifiedName::of_machine(&request.machine, cluster)?;
    let mut change = PkiChange::default();
    change.guard_record(PkiKey::State, basis.state.as_ref());
    let authority = match (&basis.state, &basis.current, ours) {
        // Whoever has the key of the authority that is there has begun it.
        (Some(_), Some(current), Some(ours)) if current.pin == ours.pin => current.clone(),
        (Some(state), _, _) => {
            let since = state.record.since;
            return Err(BeginRefusal::AuthorityElsewhere { cluster, since });
        }
        (None, _, None) => return Err(BeginRefusal::NoKey),
        (None, _, Some(ours)) => {
            let state = AuthorityState {
                current: FIRST_AUTHORITY,
                next: None,
                phase: RotationPhase::Settled,
                since: now,
            };
            change.guard_record::<AuthorityRecord>(PkiKey::Authority(FIRST_AUTHORITY), None);
            change.writes.push(PkiRecord::State(state));
            let record = AuthorityRecord { certificate: ours.to_pem(), cross: None };
            change.writes.push(PkiRecord::Authority(FIRST_AUTHORITY, record));
            ours.clone()
        }
    };
    let validity = Validity::of_host(now).limited_to(authority.validity);
    // Root who has the authority's key may say anything about this machine; another key is a machine that lost the one it had.
    let known = basis.host.as_ref().filter(|host| host.record.key == request.host_key);
    let host = HostRecord {
        key: request.host_key,
        role: HostRole::Server,
        joined: known.map_or(now, |host| host.record.joined),
        by: known.map_or_else(|| request.by.clone(), |host| host.record.by.clone()),
        bundle: authority.number,
        not_after: validity.not_after,
    };
    change.guard_record(PkiKey::Host(request.machine.clone()), basis.host.as_ref());
    change.writes.push(PkiRecord::Host(request.machine.clone(), host));
    Ok(BeginDecision::Begin { name, authority, validity, change })
}
