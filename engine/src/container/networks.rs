//! A container's networks and ports in Docker's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use muster_common::container::{Attachment, ContainerSpec, NetworkMode, Port, Protocol};

use super::body::{Endpoint, EndpointIpam, NetworkingConfig, PortBinding};
use super::lookup::{Lookup, MissingUnit};

/// The networks of a container, its first apart.
pub(super) struct Networks {
    /// Docker's `NetworkMode`.
    pub(super) mode: String,
    /// The first network of a user's.
    pub(super) first: Option<NetworkingConfig>,
    /// The others. Before version 1.44 the API can make a container on one network only; the rest it joins before it starts.
    pub(super) more: Vec<(String, Endpoint)>,
}

pub(super) fn translate_networks(
    mode: &NetworkMode,
    lookup: Lookup<'_>,
) -> Result<Networks, MissingUnit> {
    let simple = |mode: String| Networks { mode, first: None, more: Vec::new() };
    Ok(match mode {
        NetworkMode::Bridge => simple("default".to_owned()),
        NetworkMode::Host => simple("host".to_owned()),
        NetworkMode::None => simple("none".to_owned()),
        NetworkMode::Container(container) => {
            simple(format!("container:{}", lookup.name(container)?))
        }
        NetworkMode::Networks(attachments) => {
            let mut ends = attachments
                .iter()
                .map(|attachment| {
                    Ok((lookup.name(&attachment.network)?, translate_endpoint(attachment)))
                })
                .collect::<Result<Vec<_>, _>>()?
                .into_iter();
            match ends.next() {
                None => simple("default".to_owned()),
                Some((name, end)) => Networks {
                    mode: name.clone(),
                    first: Some(NetworkingConfig {
                        endpoints_config: BTreeMap::from([(name, end)]),
                    }),
                    more: ends.collect(),
                },
            }
        }
    })
}

/// The label by which Docker's drivers are told what to call an interface.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

fn translate_endpoint(attachment: &Attachment) -> Endpoint {
    let ipam = EndpointIpam {
        ipv4_address: attachment.ipv4.map(|address| address.to_string()),
        ipv6_address: attachment.ipv6.map(|address| address.to_string()),
    };
    Endpoint {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        aliases: attachment.aliases.clone(),
        mac_address: attachment.mac.clone(),
        driver_opts: attachment
            .interface
            .iter()
            .map(|name| (INTERFACE_NAME.to_owned(), name.clone()))
            .collect(),
    }
}

/// Ports that are open on the machine.
pub(super) fn port_bindings(ports: &[Port]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        bindings.entry(port_name(port.container, port.protocol)).or_default().push(PortBinding {
            host_ip: port.address.as_ref().map(IpAddr::to_string).unwrap_or_default(),
            host_port: port.host.as_ref().map(u16::to_string).unwrap_or_default(),
        });
    }
    bindings
}

/// Every port that is written down, the open ones too.
pub(super) fn exposed_ports(spec: &ContainerSpec) -> BTreeSet<String> {
    let open = spec.ports.iter().map(|port| (port.container, port.protocol));
    open.chain(spec.exposed.iter().copied())
        .map(|(port, protocol)| port_name(port, protocol))
        .collect()
}

fn port_name(port: u16, protocol: Protocol) -> String {
    format!("{port}/{}", protocol.as_str())
}
