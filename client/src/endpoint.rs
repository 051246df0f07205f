//! The address of a daemon.
//!
//! Owns the forms an endpoint may be written in, and lists of them. It never connects.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The socket of the daemon on this machine, which is asked when nothing else is said.
pub const DEFAULT_ENDPOINT: &str = "unix:///run/muster/muster.sock";

/// An address of a daemon. Shown, it reads as an endpoint again: `unix:///path` or `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `host:port` over plain TCP.
    Tcp {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Daemons in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(pub Vec<Endpoint>);

/// A string that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; expected unix:///path or http://host:port")]
pub struct InvalidEndpoint {
    problem: &'static str,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// Takes `unix:///path`, `unix:/path`, `/path`, like fleetctl `file:///path` for a socket, `http://host:port`, `http://host` (port 80) and, like fleetctl, `host:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidEndpoint { problem };
        let schemes = ["unix://", "file://", "unix:", "file:"];
        if let Some(path) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(invalid("the path of a socket is absolute"))
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let parts =
            text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let authority = match parts.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)) {
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(("https", _)) => return Err(invalid("https is not supported by this version")),
            Some(_) => return Err(invalid("its scheme is unknown")),
            None if text.contains(':') => text,
            None => return Err(invalid("it has neither scheme nor port")),
        };
        let uri: http::uri::Authority =
            authority.parse().map_err(|_| invalid("its host and port cannot be read"))?;
        if uri.as_str().contains('@') {
            return Err(invalid("it cannot carry a user"));
        }
        let port = match uri.port_u16() {
            Some(port) => port,
            None if uri.as_str() == uri.host() => 80,
            None => return Err(invalid("its port is not a number to 65535")),
        };
        let host = uri.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("it names no host"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl FromStr for Endpoints {
    type Err = InvalidEndpoint;

    /// Takes endpoints separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl Endpoint {
    /// Returns the path of the socket, if it is one.
    pub fn socket_path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }

    /// Returns what goes into the `Host` header: `host:port`, or `localhost` for a socket.
    pub fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { .. } => write!(f, "http://{}", self.host_header()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back_in_full() {
        let cases = [
            (DEFAULT_ENDPOINT, DEFAULT_ENDPOINT),
            ("/tmp/m.sock", "unix:///tmp/m.sock"),
            ("file:///tmp/m.sock", "unix:///tmp/m.sock"),
            ("unix:/tmp/m.sock", "unix:///tmp/m.sock"),
            ("http://10.0.0.1:4001", "http://10.0.0.1:4001"),
            ("http://10.0.0.1:4001/", "http://10.0.0.1:4001"),
            ("http://node-1", "http://node-1:80"),
            ("HTTP://node-1:1", "http://node-1:1"),
            ("node-1:4001", "http://node-1:4001"),
            ("http://[::1]:4001", "http://[::1]:4001"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn several_are_separated_by_commas() {
        let Endpoints(several) = "/a.sock, http://n1:1,n2:2".parse().unwrap();
        let shown: Vec<String> = several.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["unix:///a.sock", "http://n1:1", "http://n2:2"]);
        assert!("/a.sock,".parse::<Endpoints>().is_err());
    }

    #[test]
    fn what_is_not_an_endpoint_says_why() {
        let problem = |text: &str| text.parse::<Endpoint>().unwrap_err().problem;
        assert_eq!(problem("unix://run/m.sock"), "the path of a socket is absolute");
        assert_eq!(problem("file://run/m.sock"), "the path of a socket is absolute");
        assert_eq!(problem("https://node-1:4001"), "https is not supported by this version");
        assert_eq!(problem("ftp://node-1"), "its scheme is unknown");
        assert_eq!(problem("node-1"), "it has neither scheme nor port");
        assert_eq!(problem("http://node-1:99999"), "its port is not a number to 65535");
        assert_eq!(problem("http://me@node-1:1"), "it cannot carry a user");
        assert_eq!(problem("http://"), "its host and port cannot be read");
    }
}
