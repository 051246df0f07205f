//! Who has how much.
//!
//! Owns the counting: what a request holds while it goes on, for each kind of client and for each address. It knows no
//! sockets; the numbers are [`super::limits`]'s.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use muster_engine::request::limits::StoreLimits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{LimitShares, Limits};
use crate::http::error::ApiError;
use crate::stdx::sync::lock;

/// The side that a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The unix socket, or this process itself.
    Local,
    /// TCP, from this address or network.
    Network(IpAddr),
}

/// The user of this machine at the other end of the unix socket. Handlers find it among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalUser {
    /// The number; 0: root.
    pub uid: u32,
}

/// The shares of a daemon that clients may hold beyond a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// Journals that are followed here.
    pub followers: Quota,
    /// Streams of events, and journals that are followed elsewhere.
    pub streams: Quota,
    /// Programs that run.
    pub processes: Quota,
    /// The limits of what is in the store.
    pub store: StoreLimits,
}

/// One kind of thing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quota {
    /// The word for it in metrics.
    pub(crate) reason: &'static str,
    what: &'static str,
    share: LimitShares,
    local: Arc<Semaphore>,
    network: Arc<Semaphore>,
    peers: PeerCounts,
}

/// The number of something that each address has. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PeerCounts(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of an address's; given back when it is dropped.
#[derive(Debug)]
pub struct PeerPlace {
    peers: PeerCounts,
    peer: IpAddr,
}

/// Something that a client holds; given back when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    _place: OwnedSemaphorePermit,
    _peer: Option<PeerPlace>,
}

/// There is no more to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Nobody can have more.
    #[error(
        "there are {count} {what} already, which is as many as this daemon has at once; try again"
    )]
    All {
        /// The kind of thing there is none of.
        what: &'static str,
        /// The number there is.
        count: usize,
    },
    /// This address cannot.
    #[error(
        "{peer} has {count} {what} already, which is as many as one address may have at once; end some, or try again"
    )]
    Peer {
        /// The kind of thing it has.
        what: &'static str,
        /// The address or network.
        peer: IpAddr,
        /// The number it has.
        count: usize,
    },
}

impl Caller {
    /// A client at an address. Of IPv6 a network of 64 bits is one client.
    pub fn from_address(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    /// As the connection has it; without one, it is this process that asks.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self::Local))
    }
}

impl Quotas {
    /// With these numbers.
    pub fn new(limits: &Limits) -> Self {
        Self {
            followers: Quota::new("followers", "followers of a journal", limits.followers),
            streams: Quota::new("streams", "streams of events", limits.streams),
            processes: Quota::new("processes", "looks at units under way", limits.processes),
            store: limits.store,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Quota {
    fn new(reason: &'static str, what: &'static str, share: LimitShares) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let (local, network) = (places(share.local), places(share.network));
        Self { reason, what, share, local, network, peers: PeerCounts::default() }
    }

    /// Takes one, or says that there is none.
    pub fn take_ticket(&self, caller: Caller) -> Result<Ticket, LimitReached> {
        let (places, peer, full) = self.share_for(caller)?;
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| full)?;
        Ok(Ticket { _place: place, _peer: peer })
    }

    /// Takes one as soon as there is one, if there is one within the limit.
    pub async fn wait_for_ticket(
        &self,
        caller: Caller,
        limit: Duration,
    ) -> Result<Ticket, LimitReached> {
        let (places, peer, full) = self.share_for(caller)?;
        let waited = muster_runtime::timeout(limit, Arc::clone(places).acquire_owned()).await;
        let place = waited.ok().and_then(Result::ok).ok_or(full)?;
        Ok(Ticket { _place: place, _peer: peer })
    }

    fn share_for(
        &self,
        caller: Caller,
    ) -> Result<(&Arc<Semaphore>, Option<PeerPlace>, LimitReached), LimitReached> {
        let full = |count| LimitReached::All { what: self.what, count };
        match caller {
            Caller::Local => Ok((&self.local, None, full(self.share.local))),
            Caller::Network(peer) => {
                let place = self.peers.take_place(peer, self.share.peer);
                let (what, count) = (self.what, self.share.peer);
                let place = place.ok_or(LimitReached::Peer { what, peer, count })?;
                Ok((&self.network, Some(place), full(self.share.network)))
            }
        }
    }
}

impl PeerCounts {
    /// One more for an address, unless it has as many as it may.
    pub fn take_place(&self, peer: IpAddr, most: usize) -> Option<PeerPlace> {
        let mut peers = lock(&self.0);
        let count = peers.entry(peer).or_default();
        if *count >= most {
            if *count == 0 {
                peers.remove(&peer);
            }
            return None;
        }
        *count += 1;
        Some(PeerPlace { peers: self.clone(), peer })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut peers = lock(&self.peers.0);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

impl From<LimitReached> for ApiError {
    fn from(full: LimitReached) -> Self {
        Self::over_limit(full.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Caller {
        Caller::from_address(address.parse().unwrap())
    }

    #[test]
    fn the_network_leaves_the_unix_socket_its_part_and_one_address_the_others_theirs() {
        let quota = Quota::new("things", "things", LimitShares { local: 1, network: 3, peer: 2 });
        let first = quota.take_ticket(at("192.0.2.1")).unwrap();
        let _second = quota.take_ticket(at("192.0.2.1")).unwrap();
        let error = quota.take_ticket(at("192.0.2.1")).unwrap_err().to_string();
        assert!(error.starts_with("192.0.2.1 has 2 things already"), "{error}");
        let _third = quota.take_ticket(at("192.0.2.2")).unwrap();
        let error = quota.take_ticket(at("192.0.2.3")).unwrap_err().to_string();
        assert!(error.starts_with("there are 3 things already"), "{error}");
        let _own = quota.take_ticket(Caller::Local).unwrap();
        assert!(quota.take_ticket(Caller::Local).is_err());
        drop(first);
        let _again = quota.take_ticket(at("192.0.2.1")).unwrap();
        assert_eq!(quota.peers.0.lock().unwrap().len(), 2, "whoever has nothing is forgotten");
    }

    #[test]
    fn a_host_cannot_be_many_by_having_many_addresses() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
