//! Asking another machine's daemon.
//!
//! Owns the one way from daemon to daemon: one `GET` on one connection to the machine's own address, and no other. Where
//! that is, a record says which anybody who may write to the store can forge, so this daemon asks no name, no address that
//! is not the machine's as `list-machines` shows it, and none that means something on this machine: a record must not
//! make it a way into what only it can reach. No answer leads further: there are no redirects. The connection is
//! `muster_client`'s, and is over TLS where this host has an identity: then the machine that is meant has to answer, whatever its record says.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Response, header};
use muster_client::{ApiRequest, Client, ClientError, HeaderName, HeaderValue, Limits};
use muster_common::machine::Machine;

use super::tls::TlsIdentity;
use crate::host::identity;

/// Marks a request that comes from a daemon, which must not be passed on again.
pub const FORWARDED: &str = "muster-forwarded";

/// This daemon's name in its requests.
const USER_AGENT_NAME: &str = concat!("musterd/", env!("CARGO_PKG_VERSION"));

/// A host on the same network answers a connection within milliseconds, or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// systemctl status on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why another daemon did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The machine registered no address.
    #[error(
        "machine {machine} can be asked by no other: its daemon listens on no network address (http.listen); ask it \
         on that machine"
    )]
    NoAddress {
        /// The machine.
        machine: String,
    },
    /// An address that no machine of this cluster can have.
    #[error(
        "machine {machine} registered that its daemon is asked at {api:?}, and it is not asked there: {problem}"
    )]
    Address {
        /// The machine.
        machine: String,
        /// The address it registered.
        api: String,
        /// The problem with it.
        problem: String,
    },
    /// No connection.
    #[error("cannot reach the daemon of machine {machine} at {api}")]
    Connect {
        /// The machine.
        machine: String,
        /// Its address.
        api: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No answer.
    #[error("the daemon of machine {machine} at {api} did not answer")]
    Answer {
        /// The machine.
        machine: String,
        /// Its address.
        api: String,
        /// Why; absent when the time was over.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// The way from this daemon to those of other machines: over the network on a host, by a call in a simulator.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Asks a machine's daemon with one `GET` that carries [`FORWARDED`]. The answer's body streams; dropping it ends the exchange.
    async fn ask_daemon(
        &self,
        machine: &Machine,
        path_and_query: &str,
    ) -> Result<Response<Body>, PeerError>;
}

/// The daemons of other machines, over the network.
#[derive(Debug, Clone)]
pub struct HostPeers {
    own: String,
    identity: Option<TlsIdentity>,
}

impl HostPeers {
    /// The way from a machine with this address, as it registers itself.
    pub fn new(own: impl Into<String>) -> Self {
        Self { own: own.into(), identity: None }
    }

    /// The same over TLS: this host shows who it is, and the other has to.
    #[must_use]
    pub fn with_identity(self, identity: TlsIdentity) -> Self {
        Self { identity: Some(identity), ..self }
    }
}

#[async_trait]
impl Peers for HostPeers {
    async fn ask_daemon(
        &self,
        machine: &Machine,
        path_and_query: &str,
    ) -> Result<Response<Body>, PeerError> {
        send_get(machine, self, path_and_query).await
    }
}

async fn send_get(
    machine: &Machine,
    HostPeers { own, identity }: &HostPeers,
    path_and_query: &str,
) -> Result<Response<Body>, PeerError> {
    let name = machine.id.to_string();
    let Some(api) = machine.api.clone() else {
        return Err(PeerError::NoAddress { machine: name });
    };
    let address =
        address_of(machine, &api, own, &identity::own_addresses()).map_err(|problem| {
            PeerError::Address { machine: name.clone(), api: api.clone(), problem }
        })?;
    // Making the connection has a limit of its own within that of the whole.
    let limits = Limits::default()
        .with_connect(Some(CONNECT_TIMEOUT))
        .with_request(CONNECT_TIMEOUT + ANSWER_TIMEOUT);
    let client = Client::new([address.into()], limits)
        .with_header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME))
        .with_header(HeaderName::from_static(FORWARDED), HeaderValue::from_static("1"));
    let client = match identity {
        Some(identity) => {
            let connector = identity.connector_to(machine.id.clone()).map_err(|error| {
                let source = std::io::Error::other(error);
                PeerError::Connect { machine: name.clone(), api: api.clone(), source }
            })?;
            client.with_connector(Arc::new(connector))
        }
        None => client,
    };
    let answer = client.send(&ApiRequest::get(path_and_query)).await.map_err(|error| {
        let machine = name.clone();
        match error {
            ClientError::NoDaemon { source, .. }
            | ClientError::Permission { source, .. }
            | ClientError::Connect { source, .. } => PeerError::Connect { machine, api, source },
            ClientError::Timeout { .. } => PeerError::Answer { machine, api, source: None },
            ClientError::Exchange { source, .. } => {
                PeerError::Answer { machine, api, source: Some(source.into()) }
            }
            error => PeerError::Answer { machine, api, source: Some(error.into()) },
        }
    })?;
    let status = answer.status();
    let mut response = Response::new(Body::from_stream(answer.into_body()));
    *response.status_mut() = status;
    Ok(response)
}

/// The place at which a machine's daemon is asked; or why there is none, if what it registered cannot be so.
fn address_of(
    machine: &Machine,
    api: &str,
    own: &str,
    ours: &BTreeSet<IpAddr>,
) -> Result<SocketAddr, String> {
    let ip = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical());
    let api: SocketAddr =
        api.parse().map_err(|_| "expected an IP address with its port, and no name".to_owned())?;
    let address = ip(&machine.address).map_err(|_| {
        format!("the machine's own address is {:?}, which is no IP address", machine.address)
    })?;
    let there = api.ip().to_canonical();
    if there != address {
        return Err(format!("the machine's own address is {address}"));
    }
    let own = ip(own).ok();
    if there.is_loopback() {
        // Daemons that share one machine find each other there, and those alone.
        return match own {
            Some(own) if own.is_loopback() => Ok(SocketAddr::new(there, api.port())),
            _ => Err("it is on loopback, which is this machine".to_owned()),
        };
    }
    if Some(there) == own || ours.contains(&there) {
        return Err("it is this machine's own address".to_owned());
    }
    if api.port() == 0 || !is_a_hosts(there) {
        return Err("no machine can be reached at such an address".to_owned());
    }
    Ok(SocketAddr::new(there, api.port()))
}

/// True if an address can be one host's beyond its own link. Link-local ones are where clouds tell a machine its secrets.
fn is_a_hosts(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_multicast();
    let special = special
        || match ip {
            IpAddr::V4(ip) => {
                ip.is_link_local() || ip.is_broadcast() || ip.octets().first() == Some(&0)
            }
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: &str, api: &str, own: &str) -> Result<String, String> {
        let machine = Machine {
            id: "m2".parse().unwrap(),
            host: String::new(),
            address: address.to_owned(),
            api: Some(api.to_owned()),
            metadata: std::collections::BTreeMap::new(),
            version: String::new(),
            runners: BTreeSet::new(),
            container_runner: None,
            containers_lost: None,
            leaving: false,
            boot: String::new(),
            created: 0,
            revision: 0,
        };
        let ours = BTreeSet::from(["10.0.0.1".parse().unwrap(), "172.17.0.1".parse().unwrap()]);
        address_of(&machine, api, own, &ours).map(|address| address.to_string())
    }

    #[test]
    fn a_machine_is_asked_at_its_own_address() {
        assert_eq!(asked("10.0.0.2", "10.0.0.2:7117", "10.0.0.1"), Ok("10.0.0.2:7117".to_owned()));
        let v6 = asked("2001:db8::2", "[2001:db8:0::2]:7117", "10.0.0.1");
        assert_eq!(v6, Ok("[2001:db8::2]:7117".to_owned()));
        let mapped = asked("10.0.0.2", "[::ffff:10.0.0.2]:7117", "");
        assert_eq!(mapped, Ok("10.0.0.2:7117".to_owned()));
        // Daemons on one machine.
        assert_eq!(asked("127.0.0.1", "127.0.0.1:1", "127.0.0.1"), Ok("127.0.0.1:1".to_owned()));
    }

    #[test]
    fn a_record_that_lies_leads_nowhere() {
        for (address, api, problem) in [
            ("10.0.0.2", "10.0.0.3:2379", "the machine's own address is 10.0.0.2"),
            ("10.0.0.2", "evil.example:80", "expected an IP address with its port, and no name"),
            ("10.0.0.2", "http://10.0.0.2:7117/", "expected an IP address with its port"),
            ("10.0.0.2", "10.0.0.2", "expected an IP address with its port"),
            ("n2.example", "10.0.0.2:7117", "the machine's own address is \"n2.example\""),
            ("", "10.0.0.2:7117", "the machine's own address is \"\""),
            ("127.0.0.1", "127.0.0.1:2379", "it is on loopback"),
            ("::1", "[::1]:2379", "it is on loopback"),
            ("127.0.0.1", "[::ffff:127.0.0.1]:2379", "it is on loopback"),
            ("10.0.0.1", "10.0.0.1:2379", "it is this machine's own address"),
            ("172.17.0.1", "172.17.0.1:80", "it is this machine's own address"),
            ("169.254.169.254", "169.254.169.254:80", "no machine can be reached"),
            ("fe80::1", "[fe80::1]:80", "no machine can be reached"),
            ("0.0.0.0", "0.0.0.0:7117", "no machine can be reached"),
            ("0.1.2.3", "0.1.2.3:7117", "no machine can be reached"),
            ("224.0.0.1", "224.0.0.1:7117", "no machine can be reached"),
            ("255.255.255.255", "255.255.255.255:1", "no machine can be reached"),
            ("10.0.0.2", "10.0.0.2:0", "no machine can be reached"),
        ] {
            let found = asked(address, api, "10.0.0.1").unwrap_err();
            assert!(found.starts_with(problem), "{address} {api}: {found}");
        }
        assert!(asked("127.0.0.1", "127.0.0.1:2379", "").is_err(), "nobody knows where this is");
    }
}
