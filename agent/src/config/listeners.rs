//! The TCP listeners: where they are, what each of them serves, and the names by which they may be called.
//!
//! Owns the words of `http.listener`, `http.listen` and `http.names`, and the rule that plain TCP carries the whole API
//! only where somebody has said that this is meant. It opens nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

use super::ConfigError;
use super::texts::{parse_list, parse_text};
use super::values::{InvalidValue, invalid_value};

/// One part of what there is over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiPart {
    /// `/fleetlock/`: slots for hosts that are none of Muster's.
    FleetLock,
    /// `/metrics` and `/healthz`.
    Metrics,
    /// `/v1/` and `/fleet/v1/`: whoever reaches it starts units as root.
    Api,
}

/// The parts that a listener serves; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedParts {
    /// See [`ApiPart::FleetLock`].
    pub fleetlock: bool,
    /// See [`ApiPart::Metrics`].
    pub metrics: bool,
    /// See [`ApiPart::Api`].
    pub api: bool,
}

/// A TCP address and what is served there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address and port that are listened at.
    pub address: SocketAddr,
    /// The parts that are served there.
    pub serves: ServedParts,
}

/// A listener as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenerTable {
    #[serde(deserialize_with = "parse_text")]
    address: Option<Address>,
    #[serde(deserialize_with = "parse_list")]
    serves: Option<Vec<ApiPart>>,
}

/// An address with its port, in the words of the configuration.
#[derive(Debug, Clone, Copy)]
struct Address(SocketAddr);

/// A name or an address by which clients may call this daemon, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(pub String);

impl ServedParts {
    /// Everything there is.
    pub fn all_parts() -> Self {
        Self { fleetlock: true, metrics: true, api: true }
    }

    /// These parts; `None` where there are none.
    pub fn of_parts(parts: &[ApiPart]) -> Option<Self> {
        let has = |part| parts.contains(&part);
        let serves = Self {
            fleetlock: has(ApiPart::FleetLock),
            metrics: has(ApiPart::Metrics),
            api: has(ApiPart::Api),
        };
        (serves.fleetlock || serves.metrics || serves.api).then_some(serves)
    }
}

impl fmt::Display for ServedParts {
    /// As it is configured: `fleetlock, metrics`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.fleetlock, "fleetlock"), (self.metrics, "metrics"), (self.api, "api")];
        let words: Vec<&str> = all.into_iter().filter(|(has, _)| *has).map(|(_, w)| w).collect();
        f.write_str(&words.join(", "))
    }
}

impl ListenerTable {
    /// The listener that it describes; the problem where it describes none.
    pub(super) fn to_listener(&self) -> Result<Listener, &'static str> {
        let address = self.address.ok_or("listener: address is missing")?;
        let serves = self.serves.as_deref().and_then(ServedParts::of_parts).ok_or(
            "serves: a listener serves at least one of \"fleetlock\", \"metrics\" and \"api\"",
        )?;
        Ok(Listener { address: address.0, serves })
    }
}

impl FromStr for Address {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || invalid_value(text, "an address with its port, such as \"127.0.0.1:7118\"");
        text.parse().map(Self).map_err(|_| wrong())
    }
}

impl FromStr for ApiPart {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fleetlock" => Ok(Self::FleetLock),
            "metrics" => Ok(Self::Metrics),
            "api" => Ok(Self::Api),
            _ => {
                Err(invalid_value(text, "a part of the API: \"fleetlock\", \"metrics\" or \"api\""))
            }
        }
    }
}

impl FromStr for Listener {
    type Err = InvalidValue;

    /// As flags and the environment have it: `127.0.0.1:7118=fleetlock+metrics`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || invalid_value(text, "a listener such as 127.0.0.1:7118=fleetlock+metrics");
        let (address, words) = text.split_once('=').ok_or_else(wrong)?;
        let Address(address) = address.trim().parse()?;
        let parts: Vec<ApiPart> =
            words.split('+').map(|word| word.trim().parse()).collect::<Result<_, _>>()?;
        let serves = ServedParts::of_parts(&parts).ok_or_else(wrong)?;
        Ok(Self { address, serves })
    }
}

impl FromStr for HostName {
    type Err = InvalidValue;

    /// A name of DNS, an IPv4 address, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            invalid_value(
                text,
                "a host name or an address, without scheme and port, such as \"muster.example.com\"",
            )
        };
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<std::net::IpAddr>() {
            return Ok(Self(address.to_canonical().to_string()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(letter);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(wrong());
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// The first two listeners that the same connection could come to: the address of the earlier, and the place of the later.
pub(super) fn find_duplicate(listeners: &[Listener]) -> Option<(SocketAddr, usize)> {
    listeners.iter().enumerate().find_map(|(second, listener)| {
        let mut earlier = listeners.iter().take(second).map(|earlier| earlier.address);
        let first = earlier.find(|earlier| addresses_overlap(*earlier, listener.address))?;
        Some((first, second))
    })
}

/// Tells whether one connection could come to both. Port 0 is another one each time; `0.0.0.0` is every IPv4 address, and `[::]` is
/// every address there is (see [`crate::net::listen`]).
fn addresses_overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (first, second) = (a.ip().to_canonical(), b.ip().to_canonical());
    let takes = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() != 0
        && a.port() == b.port()
        && (first == second || takes(first, second) || takes(second, first))
}

/// An address with its port.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, InvalidValue> {
    text.parse().map(|Address(address)| address)
}

/// Puts together the listeners of the whole API and those of parts of it.
pub(super) fn merge_listeners(
    whole: &[SocketAddr],
    parts: Vec<Listener>,
    insecure: bool,
) -> Result<Vec<Listener>, ConfigError> {
    let open =
        |key| move |listener: &Listener| ConfigError::Insecure { key, address: listener.address };
    let mut listeners: Vec<Listener> = whole
        .iter()
        .map(|address| Listener { address: *address, serves: ServedParts::all_parts() })
        .collect();
    let guarded = |listener: &&Listener| listener.serves.api && !insecure;
    let refused = listeners.iter().find(guarded).map(open("http.listen"));
    if let Some(error) = refused.or_else(|| parts.iter().find(guarded).map(open("http.listener"))) {
        return Err(error);
    }
    listeners.extend(parts);
    if let Some((taken, second)) = find_duplicate(&listeners)
        && let Some(listener) = listeners.get(second)
    {
        let key = if second < whole.len() { "http.listen" } else { "http.listener" };
        return Err(ConfigError::DuplicateAddress { key, address: listener.address, taken });
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_written_on_a_line_with_what_it_serves() {
        let listener: Listener = "127.0.0.1:7118=fleetlock+metrics".parse().unwrap();
        assert_eq!(listener.address.to_string(), "127.0.0.1:7118");
        assert_eq!(listener.serves.to_string(), "fleetlock, metrics");
        for (text, said) in [
            ("127.0.0.1:7118", "is not a listener such as"),
            ("127.0.0.1=fleetlock", "\"127.0.0.1\" is not an address with its port"),
            ("127.0.0.1:7118=", "\"\" is not a part of the API"),
            ("127.0.0.1:7118=fleetlock,metrics", "\"fleetlock,metrics\" is not a part"),
        ] {
            let error = text.parse::<Listener>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_is_one_however_it_is_written() {
        for (text, name) in [
            ("Muster.Example.com.", "muster.example.com"),
            ("n1", "n1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap().0, name, "{text}");
        }
        for text in ["", "http://n1", "n1:7117", "a..b", "a b", "*.example.com", &"x".repeat(64)] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }
}
