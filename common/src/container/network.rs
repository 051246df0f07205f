//! How a container is reached: the networks it joins and the ports it publishes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names;
use crate::unit::{UnitName, UnitType};

/// The kind of a container's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The engine's default bridge.
    #[default]
    Bridge,
    /// The machine's own.
    Host,
    /// None but a loopback.
    None,
    /// Another container's.
    Container(NamedResource),
    /// Networks of a user's, at least one; the first is the one the container is made on.
    Networks(Vec<Attachment>),
}

/// Something that a unit may stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedResource {
    /// The thing that this unit makes, under the name it gives it.
    Unit(UnitName),
    /// Something on the machine that goes by this name.
    Engine(String),
}

/// A network that a container joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub network: NamedResource,
    /// The container's address in it.
    pub ipv4: Option<Ipv4Addr>,
    /// The container's address in it.
    pub ipv6: Option<Ipv6Addr>,
    /// Names under which others in it find the container, besides its own.
    pub aliases: Vec<String>,
    /// The container's MAC address in it, six bytes in hexadecimal with colons between.
    pub mac: Option<String>,
    /// The name of the container's end of it inside.
    pub interface: Option<String>,
}

/// A port of a container that is open on the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port inside.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The address on the machine; all of them without.
    pub address: Option<IpAddr>,
    /// The port on the machine; any free one without.
    pub host: Option<u16>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the protocol of its own name")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Its name in a port's, `80/tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl Attachment {
    /// A network, joined with nothing said about how.
    fn new(network: NamedResource) -> Self {
        let (ipv4, ipv6, mac, interface) = Default::default();
        Self { network, ipv4, ipv6, aliases: Vec::new(), mac, interface }
    }
}

/// The address of a network card, in Docker's notation.
fn parse_mac_address(text: &str) -> Result<String, String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit());
    if bytes.len() != 6 || !bytes.iter().all(is_byte) {
        return Err(format!("{text:?} is not a MAC address such as 92:d0:c6:0a:29:33"));
    }
    Ok(bytes.join(":").to_ascii_lowercase())
}

/// A name as Linux has it for a network card: at most 15 bytes, no slash, no blank.
fn parse_interface_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (1..=15).contains(&name.len()) && name.chars().all(allowed) && ![".", ".."].contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not the name of an interface: at most 15 letters, digits, _ . and -"))
}

/// One `Network=`.
pub(super) enum Network {
    Mode(NetworkMode),
    Attachment(Attachment),
}

pub(super) fn parse_networks(value: &str) -> Result<Vec<Network>, String> {
    // As in Podman, several that have no options may stand in one.
    if !value.contains(':') && value.contains(',') {
        return value.split(',').map(parse_network).collect();
    }
    parse_network(value).map(|network| vec![network])
}

fn parse_network(value: &str) -> Result<Network, String> {
    let (name, options) = match value.split_once(':') {
        Some((name, options)) => (name, Some(options)),
        None => (value, None),
    };
    let mode = match name {
        "host" => Some(NetworkMode::Host),
        "none" => Some(NetworkMode::None),
        // `podman` is the network that Podman puts a container into of which nothing else is said.
        "bridge" | "default" | "podman" | "private" => Some(NetworkMode::Bridge),
        "container" => {
            let name = names::parse_resource_name(options.unwrap_or_default())?;
            return Ok(Network::Mode(NetworkMode::Container(NamedResource::Engine(name))));
        }
        "slirp4netns" | "pasta" => {
            return Err(format!("{name} is for containers without root; Docker's have a bridge"));
        }
        "ns" => return Err("Docker joins no network namespace by its path".to_owned()),
        _ if name.ends_with(".container") => Some(NetworkMode::Container(NamedResource::Unit(
            parse_unit_reference(name, UnitType::Container)?,
        ))),
        _ => None,
    };
    if let Some(mode) = mode {
        if options.is_some() {
            return Err(format!(
                "{name} takes no options; addresses and aliases are for networks of your own"
            ));
        }
        return Ok(Network::Mode(mode));
    }
    let network = if name.ends_with(".network") {
        NamedResource::Unit(parse_unit_reference(name, UnitType::Network)?)
    } else {
        NamedResource::Engine(names::parse_resource_name(name)?)
    };
    let mut attachment = Attachment::new(network);
    let options = options.filter(|options| !options.is_empty());
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        match option.split_once('=') {
            Some(("ip", address)) => match address.parse().map_err(|_| no_address(address))? {
                IpAddr::V4(address) => attachment.ipv4 = Some(address),
                IpAddr::V6(address) => attachment.ipv6 = Some(address),
            },
            Some(("ip6", address)) => {
                attachment.ipv6 = Some(address.parse().map_err(|_| no_address(address))?);
            }
            Some(("alias", alias)) => attachment.aliases.push(names::parse_host_name(alias)?),
            Some(("mac", address)) => attachment.mac = Some(parse_mac_address(address)?),
            Some(("interface_name", name)) => {
                attachment.interface = Some(parse_interface_name(name)?);
            }
            _ => {
                return Err(format!(
                    "{option:?} is none of ip=, ip6=, alias=, mac= and interface_name=, which Docker has too"
                ));
            }
        }
    }
    Ok(Network::Attachment(attachment))
}

/// A unit that is named in the place of what it makes.
pub(super) fn parse_unit_reference(name: &str, kind: UnitType) -> Result<UnitName, String> {
    let unit: UnitName =
        name.parse().map_err(|error: crate::unit::InvalidUnitName| error.to_string())?;
    if unit.is_template() {
        return Err(format!("{unit} is a template; name an instance of it"));
    }
    if unit.unit_type() != kind {
        return Err(format!("{unit} is not a {} unit", kind.as_str()));
    }
    Ok(unit)
}

pub(super) fn no_address(text: &str) -> String {
    format!("{text:?} is not an IP address")
}

/// Most ports a container may have; each takes a rule in the machine's firewall.
const MAX_PORTS: usize = 4_096;

/// The ports of one `PublishPort=`: `[[address:]host:]container[/protocol]`, either port a range.
pub(super) fn parse_published_ports(value: &str) -> Result<Vec<Port>, String> {
    let bad = || format!("{value:?} is not [[address:]host:]container[/protocol]");
    let (rest, protocol) = split_protocol(value)?;
    let (rest, container) = match rest.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, rest),
    };
    let (address, host) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        None => (None, ""),
        Some(Err(host)) => (None, host),
        Some(Ok((address, host))) => {
            let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address = inner.unwrap_or(address);
            match address {
                "" => (None, host),
                _ => (Some(address.parse().map_err(|_| no_address(address))?), host),
            }
        }
    };
    let container = parse_port_range(container).ok_or_else(bad)?;
    let hosts: Vec<Option<u16>> = if host.is_empty() || host == "0" {
        container.iter().map(|_| None).collect()
    } else {
        parse_port_range(host).ok_or_else(bad)?.into_iter().map(Some).collect()
    };
    if hosts.len() != container.len() {
        return Err(format!("{value:?}: its ranges are not equally long"));
    }
    Ok(container
        .into_iter()
        .zip(hosts)
        .map(|(container, host)| Port { container, protocol, address, host })
        .collect())
}

/// The ports of one `ExposeHostPort=`.
pub(super) fn parse_exposed_ports(value: &str) -> Result<Vec<(u16, Protocol)>, String> {
    let (ports, protocol) = split_protocol(value.trim())?;
    let ports = parse_port_range(ports)
        .ok_or_else(|| format!("{value:?} is not a port or a range of ports"))?;
    Ok(ports.into_iter().map(|port| (port, protocol)).collect())
}

/// Refuses more ports than one container may have.
pub(super) fn check_count(ports: usize) -> Result<(), String> {
    if ports > MAX_PORTS {
        return Err(format!(
            "{ports} ports are more than the {MAX_PORTS} one container may have; use Network=host"
        ));
    }
    Ok(())
}

fn split_protocol(value: &str) -> Result<(&str, Protocol), String> {
    let Some((rest, name)) = value.split_once('/') else { return Ok((value, Protocol::Tcp)) };
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| protocol.as_str() == name.to_ascii_lowercase())
        .ok_or_else(|| format!("{name:?} is none of tcp, udp and sctp"))?;
    Ok((rest, protocol))
}

fn parse_port_range(text: &str) -> Option<Vec<u16>> {
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then(|| (first..=last).collect())
}

/// The entries of one `AddHost=`, `name[;name]:address`, as Docker wants them, one a name.
pub(super) fn parse_host_entries(value: &str) -> Result<Vec<String>, String> {
    let Some((hosts, address)) = value.split_once(':') else {
        return Err(format!("{value:?} is not name:address"));
    };
    let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = inner.unwrap_or(address);
    if address != "host-gateway" {
        address.parse::<IpAddr>().map_err(|_| no_address(address))?;
    }
    hosts
        .split(';')
        .map(|host| Ok(format!("{}:{address}", names::parse_host_name(host)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(value: &str) -> String {
        let ports = parse_published_ports(value).unwrap_or_else(|problem| panic!("{problem}"));
        let ports: Vec<_> = ports
            .iter()
            .map(|port| {
                let address = port.address.map_or("*".to_owned(), |address| address.to_string());
                let host = port.host.map_or("any".to_owned(), |port| port.to_string());
                format!("{address} {host} -> {}/{}", port.container, port.protocol.as_str())
            })
            .collect();
        ports.join(", ")
    }

    #[test]
    fn ports_are_written_as_for_docker_run() {
        let cases = [
            ("80", "* any -> 80/tcp"),
            ("8080:80", "* 8080 -> 80/tcp"),
            (":80/udp", "* any -> 80/udp"),
            ("0:80", "* any -> 80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 -> 80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 any -> 80/tcp"),
            ("[::1]:8080:80/SCTP", "::1 8080 -> 80/sctp"),
            ("8000-8001:80-81", "* 8000 -> 80/tcp, * 8001 -> 81/tcp"),
        ];
        for (value, expected) in cases {
            assert_eq!(published(value), expected, "{value}");
        }
        for value in ["", "0", "a", "80:", "80-79", "1-2:3", "1.2.3:1:2", "80/icmp", "65536", "::"]
        {
            assert!(parse_published_ports(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_an_address() {
        assert_eq!(parse_host_entries("a:10.0.0.1"), Ok(vec!["a:10.0.0.1".to_owned()]));
        assert_eq!(
            parse_host_entries("a;b:[::1]"),
            Ok(vec!["a:::1".to_owned(), "b:::1".to_owned()])
        );
        assert_eq!(parse_host_entries("h:host-gateway"), Ok(vec!["h:host-gateway".to_owned()]));
        for value in ["a", ":1.2.3.4", "a:b", "a b:1.2.3.4"] {
            assert!(parse_host_entries(value).is_err(), "{value}");
        }
    }

    #[test]
    fn networks_without_root_are_refused() {
        assert!(parse_networks("pasta").is_err());
        assert!(parse_networks("host:ip=1.2.3.4").is_err());
        assert!(parse_networks("ns:/run/x").is_err());
        assert!(parse_networks("front.network:mac=aa").is_err());
        assert!(parse_networks("front@.network").is_err());
        assert!(parse_networks("a b").is_err());
        assert!(parse_networks("a,").is_err());
    }

    #[test]
    fn a_network_is_joined_with_options_in_any_order() {
        let joined = |value| match parse_networks(value).unwrap().remove(0) {
            Network::Attachment(attachment) => attachment,
            Network::Mode(mode) => panic!("{mode:?}"),
        };
        let front = joined(
            "front.network:alias=a,mac=92-D0-c6-0a-29-33,ip6=::2,alias=b,ip=10.0.0.2,interface_name=lan0",
        );
        assert_eq!(front.aliases, ["a", "b"]);
        assert_eq!(front.mac.as_deref(), Some("92:d0:c6:0a:29:33"));
        assert_eq!(front.interface.as_deref(), Some("lan0"));
        assert_eq!((front.ipv4, front.ipv6), ("10.0.0.2".parse().ok(), "::2".parse().ok()));
        assert_eq!(joined("front:").network, NamedResource::Engine("front".to_owned()));
        assert_eq!(parse_networks("a,b").unwrap().len(), 2);
        for value in ["a:mac=1:2:3:4:5:6", "a:mac=", "a:interface_name=a/b", "a:alias=", "a:mtu=9"]
        {
            assert!(parse_networks(value).is_err(), "{value}");
        }
    }
}
