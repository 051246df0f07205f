//! The making of a join token.
//!
//! Owns what may be ordered, and the records that a new token means. The name and the secret are drawn before and come in, and the secret
//! goes to whoever ordered the token and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::pki::{
    AuthorityState, HostRecord, HostRole, JoinRecord, KeyHash, PkiChange, PkiKey, PkiRecord,
    StoredPki, TokenId,
};
use muster_common::text::FreeText;

use crate::token::{JoinToken, TokenSecret};

/// Shortest life of a token: it has to be carried to another machine.
const SHORTEST: Duration = Duration::from_secs(60);

/// Longest life of a token: what lies in a script for longer is found by others.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most uses of a token: more machines than anybody installs within its life.
const MOST_USES: u32 = 1000;

/// A token that is over is kept for this long, so that whoever comes with it is told what became of it.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Most tokens that are cleared away with one order: half of what one commit may hold.
const MOST_REMOVALS: usize = 60;

/// An order for a token.
#[derive(Debug, Clone)]
pub struct TokenOrder {
    /// The part of the hosts that join by it.
    pub role: HostRole,
    /// Its life.
    pub ttl: Duration,
    /// The number of hosts that may join by it.
    pub uses: u32,
    /// The host that may come with another key than it had.
    pub replaces: Option<MachineId>,
    /// Who orders it, in words.
    pub by: FreeText,
}

/// The records that it rests on.
#[derive(Debug, Clone)]
pub struct OrderBasis {
    /// The cluster's authorities; absent: it has none.
    pub state: Option<StoredPki<AuthorityState>>,
    /// The hash of the key of the one that issues certificates.
    pub pin: KeyHash,
    /// The record of the host that is to be replaced.
    pub replaced: Option<StoredPki<HostRecord>>,
    /// The tokens there are.
    pub tokens: BTreeMap<TokenId, StoredPki<JoinRecord>>,
}

/// A token, and the change of records without which it is none.
#[derive(Debug)]
pub struct MintedToken {
    /// The token.
    pub token: JoinToken,
    /// The change.
    pub change: PkiChange,
}

/// Why no token is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// The cluster has no authority.
    #[error(
        "this cluster has no authority yet, so that nobody can join it; begin it first: musterctl cluster init"
    )]
    NoAuthority,
    /// The life is out of bounds.
    #[error("a join token lives for at least 1m and at most 7d, and {}s were asked for", .0.as_secs())]
    Life(Duration),
    /// The number of uses is out of bounds.
    #[error("a join token is for 1 to {MOST_USES} machines, and {0} were asked for")]
    Uses(u32),
    /// A token that replaces a host is for that one.
    #[error(
        "a join token that replaces a machine is for that one: --uses {0} cannot go with --replace"
    )]
    ReplacesSeveral(u32),
    /// There is no such host.
    #[error(
        "there is no machine {0} in the cluster to be replaced; musterctl list-machines has the ids"
    )]
    NothingToReplace(MachineId),
    /// The drawn name is taken.
    #[error("the name {0} is another token's; try again")]
    NameTaken(TokenId),
}

/// Makes the token of an order, from a name and a secret that were drawn for it.
pub fn mint_token(
    order: &TokenOrder,
    (id, secret): (TokenId, TokenSecret),
    basis: &OrderBasis,
    now: u64,
) -> Result<MintedToken, OrderRefusal> {
    let Some(state) = &basis.state else { return Err(OrderRefusal::NoAuthority) };
    if order.ttl < SHORTEST || order.ttl > LONGEST {
        return Err(OrderRefusal::Life(order.ttl));
    }
    if order.uses == 0 || order.uses > MOST_USES {
        return Err(OrderRefusal::Uses(order.uses));
    }
    if basis.tokens.contains_key(&id) {
        return Err(OrderRefusal::NameTaken(id));
    }
    let mut change = PkiChange::default();
    change.guard_record(PkiKey::State, Some(state));
    change.guard_record::<JoinRecord>(PkiKey::Join(id), None);
    if let Some(machine) = &order.replaces {
        if order.uses != 1 {
            return Err(OrderRefusal::ReplacesSeveral(order.uses));
        }
        if basis.replaced.is_none() {
            return Err(OrderRefusal::NothingToReplace(machine.clone()));
        }
    }
    let record = JoinRecord {
        secret: secret.hash(),
        role: order.role,
        expires: now.saturating_add(order.ttl.as_secs()),
        uses: order.uses,
        replaces: order.replaces.clone(),
        by: order.by.clone(),
    };
    change.writes.push(PkiRecord::Join(id, record));
    for (old, found) in &basis.tokens {
        if now > found.record.expires.saturating_add(KEPT.as_secs()) {
            change.guard_record(PkiKey::Join(*old), Some(found));
            change.removals.push(PkiKey::Join(*old));
        }
        // The rest goes with the next order, so that a change stays below what a store takes at once.
        if change.removals.len() == MOST_REMOVALS {
            break;
        }
    }
    Ok(MintedToken { token: JoinToken { id, secret, pin: basis.pin }, change })
}
