//! Who is a host of the cluster, and who gets the next certificate.
//!
//! Owns both answers, which rest on one thing: the host's record has the key that was proven. So removing the record removes the host,
//! whatever its certificate says, and a host whose certificate ended while it was off gets the next one by its key. Whoever comes
//! with an ended certificate may ask for that and for nothing else, which is the business of whoever serves it.

use muster_common::machine::MachineId;
use muster_common::pki::{
    AuthorityNumber, AuthorityState, HostRecord, HostRole, KeyHash, PkiChange, PkiKey, PkiRecord,
    StoredPki,
};

use crate::certificate::HostCertificate;
use crate::validity::Validity;

/// The records that a renewal rests on.
#[derive(Debug, Clone)]
pub struct RenewalBasis {
    /// The cluster's authorities.
    pub state: StoredPki<AuthorityState>,
    /// The host's record.
    pub host: Option<StoredPki<HostRecord>>,
}

/// The answer to a request for the next certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalDecision {
    /// It gets one of this life, once the change is carried out.
    Renew {
        /// The part that it has by now.
        role: HostRole,
        /// The life of the certificate.
        validity: Validity,
        /// The change of records.
        change: PkiChange,
    },
    /// It gets none.
    Refuse(AccessRefusal),
}

/// Why a host that was proven to have its certificate's key is not one of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefusal {
    /// It has no record.
    #[error(
        "machine {0} is not in this cluster, or was removed from it; join again with a token: musterctl cluster token"
    )]
    Unknown(MachineId),
    /// Its record has another key.
    #[error(
        "machine {0} is known by another key; if it was installed anew, join with a token made by musterctl cluster token --replace {0}"
    )]
    OtherKey(MachineId),
}

/// The part of the host that has proven to have a certificate's key.
pub fn authorize_host(
    certificate: &HostCertificate,
    host: Option<&HostRecord>,
) -> Result<HostRole, AccessRefusal> {
    check_key(certificate.name.machine(), certificate.key, host).map(|host| host.role)
}

/// Decides about a request for the next certificate for the same key, of a host that says which authority is the newest it believes.
pub fn decide_renewal(
    certificate: &HostCertificate,
    believes: AuthorityNumber,
    basis: &RenewalBasis,
    now: u64,
) -> RenewalDecision {
    let machine = certificate.name.machine();
    let found = basis.host.as_ref().map(|host| &host.record);
    let host = match check_key(machine, certificate.key, found) {
        Ok(host) => host.clone(),
        Err(refusal) => return RenewalDecision::Refuse(refusal),
    };
    let validity = Validity::of_host(now);
    let mut change = PkiChange::default();
    change.guard_record(PkiKey::State, Some(&basis.state));
    change.guard_record(PkiKey::Host(machine.clone()), basis.host.as_ref());
    let AuthorityState { current, next, .. } = basis.state.record;
    // What it says of one that is not there yet says nothing of that one when it is.
    let bundle = believes.min(next.unwrap_or(current).max(current));
    let role = host.role;
    let host = HostRecord { bundle, not_after: validity.not_after, ..host };
    change.writes.push(PkiRecord::Host(machine.clone(), host));
    RenewalDecision::Renew { role, validity, change }
}

fn check_key<'a>(
    machine: &MachineId,
    key: KeyHash,
    host: Option<&'a HostRecord>,
) -> Result<&'a HostRecord, AccessRefusal> {
    let host = host.ok_or_else(|| AccessRefusal::Unknown(machine.clone()))?;
    if host.key == key { Ok(host) } else { Err(AccessRefusal::OtherKey(machine.clone())) }
}
