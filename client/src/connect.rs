//! The way to a daemon, and how a connection over it is made.
//!
//! Owns sockets: unix and TCP. It sends nothing but the probe of a tunnel. TLS belongs here as well, as another [`Connect`]:
//! it wraps the stream of a [`SocketConnector`] and has certificates of its own, and nothing above it changes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{DEFAULT_ENDPOINT, Endpoint};

/// A way to a daemon. Shown, it is the endpoint, and the host at a tunnel's far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Address at which the daemon listens; behind a tunnel: as seen from the far end.
    pub endpoint: Endpoint,
    /// The tunnel that leads there.
    pub tunnel: Option<TunnelSocket>,
}

/// A tunnel's near end: a unix socket at which whoever made the tunnel takes connections to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSocket {
    /// The host at its far end, as it was named.
    pub host: String,
    /// The socket at this end.
    pub socket: PathBuf,
}

/// A connection: bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection that is being made.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Makes connections. Each call makes a new one; there is no limit of time in it, as the client has its own
/// ([`crate::Limits`]) and drops what takes too long.
pub trait Connect: fmt::Debug + Send + Sync {
    /// Connects to the daemon at the end of a route, or to the near end of its tunnel.
    fn connect<'a>(&'a self, route: &'a Route) -> Connecting<'a>;
}

/// Connects through the sockets of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketConnector;

impl Connect for SocketConnector {
    fn connect<'a>(&'a self, route: &'a Route) -> Connecting<'a> {
        Box::pin(async move {
            let stream: Box<dyn ByteStream> = match (&route.tunnel, &route.endpoint) {
                (Some(tunnel), _) => Box::new(UnixStream::connect(&tunnel.socket).await?),
                (None, Endpoint::Unix(socket)) => Box::new(UnixStream::connect(socket).await?),
                (None, Endpoint::Tcp { host, port }) => {
                    Box::new(TcpStream::connect((host.as_str(), *port)).await?)
                }
            };
            Ok(stream)
        })
    }
}

/// Asks at a tunnel's near end for as little as can be asked. Any answer will do: whoever made the tunnel takes every
/// connection, and whether there is a daemon behind it only an answer tells.
pub(crate) async fn probe_tunnel(mut stream: Box<dyn ByteStream>) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answered = async {
        stream.write_all(REQUEST).await?;
        stream.read(&mut [0]).await
    };
    match answered.await {
        // ssh closes what leads to nobody, as a rule before it has read anything.
        Ok(0) | Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(()),
    }
}

impl Default for Route {
    /// The way to the daemon on this machine.
    fn default() -> Self {
        Endpoint::Unix(DEFAULT_ENDPOINT.trim_start_matches("unix://").into()).into()
    }
}

impl From<Endpoint> for Route {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, tunnel: None }
    }
}

impl From<SocketAddr> for Route {
    fn from(address: SocketAddr) -> Self {
        Endpoint::from(address).into()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        match &self.tunnel {
            Some(tunnel) => write!(f, " on {}", tunnel.host),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_route_that_reads_as_an_endpoint() {
        for address in ["10.0.0.1:7117", "[2001:db8::1]:7117"] {
            let route = Route::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(route.to_string(), format!("http://{address}"));
            assert_eq!(route.endpoint.host_header(), address);
        }
    }

    #[test]
    fn without_a_word_the_daemon_of_this_machine_is_meant() {
        assert_eq!(Route::default().endpoint, DEFAULT_ENDPOINT.parse().unwrap());
    }
}
