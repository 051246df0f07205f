//! The host that a request names.
//!
//! Owns the reading of `Host` (RFC 9110, 7.2): names without regard to case and a last dot, addresses as addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host with its port, if that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHost {
    /// The name or address.
    pub name: HostKind,
    /// Any but 0. It may be another than the listener's: ports are forwarded.
    pub port: Option<u16>,
}

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKind {
    /// In lower case, without a last dot.
    Name(String),
    /// An IPv4 address in its IPv6 form is that IPv4 address.
    Address(IpAddr),
}

impl FromStr for RequestHost {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(())?;
            let address: Ipv6Addr = address.parse().map_err(|_| ())?;
            let port = match port {
                "" => None,
                port => read_port(port.strip_prefix(':').ok_or(())?)?,
            };
            let name = HostKind::Address(IpAddr::V6(address).to_canonical());
            return Ok(Self { name, port });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, read_port(port)?),
            None => (text, None),
        };
        if let Ok(address) = name.parse::<std::net::Ipv4Addr>() {
            return Ok(Self { name: HostKind::Address(address.into()), port });
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        if name.is_empty() || !name.bytes().all(letter) {
            return Err(());
        }
        Ok(Self { name: HostKind::Name(name.to_ascii_lowercase()), port })
    }
}

/// A port; none where nothing stands behind the colon, which is allowed.
fn read_port(text: &str) -> Result<Option<u16>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(()),
        Ok(port) => Ok(Some(port)),
    }
}

impl fmt::Display for RequestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostKind::Name(name) => f.write_str(name)?,
            HostKind::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            HostKind::Address(address) => address.fmt(f)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_written_in_many_ways() {
        for (text, shown) in [
            ("LocalHost.:80", "localhost:80"),
            ("n1.example.com", "n1.example.com"),
            ("n1:", "n1"),
            ("10.0.0.1:7117", "10.0.0.1:7117"),
            ("[0::1]:7117", "[::1]:7117"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ] {
            assert_eq!(text.parse::<RequestHost>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "", ".", ":80", "me@n1", "n1:0", "n1:65536", "n1:+80", "n1:a", "::1", "[::1",
            "[::1]80", "[n1]", "a b", "a/b",
        ] {
            assert!(text.parse::<RequestHost>().is_err(), "{text}");
        }
    }
}
