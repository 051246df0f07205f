//! `.volume` and `.network` units: what containers name and the machine makes for them first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::conditions::Condition;
use super::keys::Section;
use super::names;
use super::network::no_address;
use super::quantity;
use super::reader::{ContainerError, Reader};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name in the engine.
    pub name: String,
    /// The driver that keeps it.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// True when it goes with its unit.
    pub delete_on_destroy: bool,
    /// The conditions that have to hold on the machine before it is made.
    pub conditions: Vec<Condition>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of the file")]
pub struct NetworkSpec {
    /// Its name in the engine.
    pub name: String,
    /// The driver that makes it.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// True when it has no way out.
    pub internal: bool,
    /// True when it has IPv6 addresses.
    pub ipv6: bool,
    /// The driver that gives addresses out.
    pub ipam_driver: Option<String>,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// True when it goes with the last container that names it.
    pub delete_on_stop: bool,
    /// True when it goes with its unit.
    pub delete_on_destroy: bool,
    /// The conditions that have to hold on the machine before it is made.
    pub conditions: Vec<Condition>,
}

/// A part of a network's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet, `10.1.0.0/16`.
    pub subnet: String,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
    /// The part of it that containers have their addresses from.
    pub range: Option<String>,
}

impl VolumeSpec {
    pub(super) fn read(
        reader: &Reader<'_>,
        default_name: Result<String, String>,
        delete_on_destroy: bool,
        conditions: Vec<Condition>,
    ) -> Result<Self, ContainerError> {
        let device = reader.text("Device")?;
        let kind = reader.text("Type")?;
        let mut mount_options = Vec::new();
        for (key, option) in [("User", "uid"), ("Group", "gid")] {
            if let Some(id) = reader.last_value(key, quantity::parse_number::<u32>)? {
                mount_options.push(format!("{option}={id}"));
            }
        }
        mount_options.extend(reader.text("Options")?);
        let is_said = |name: &str| {
            mount_options.iter().flat_map(|o| o.split(',')).any(|o| o.starts_with(name))
        };
        if matches!(kind.as_deref(), Some("nfs" | "nfs4")) && !is_said("addr=") {
            return Err(reader.error(
                "Type",
                "Docker mounts it without mount.nfs(8), which would ask for the server's address; say Options=addr=SERVER too",
            ));
        }
        if device.is_none() {
            for key in ["Type", "Options", "User", "Group"] {
                if reader.has_value(key) {
                    return Err(
                        reader.error(key, "it says how Device= is mounted, and there is none")
                    );
                }
            }
        }
        let mut options = BTreeMap::new();
        if let Some(device) = device {
            options.insert("device".to_owned(), device);
            // Docker's driver mounts nothing it is not told the type of.
            let Some(kind) = kind else {
                return Err(reader.error(
                    "Type",
                    "Device= needs it: bind, tmpfs, nfs or what else mount(8) takes",
                ));
            };
            options.insert(
                "type".to_owned(),
                if kind == "bind" { "none".to_owned() } else { kind.clone() },
            );
            if kind == "bind"
                && !mount_options.iter().any(|o| o.split(',').any(|o| o == "bind" || o == "rbind"))
            {
                mount_options.insert(0, "bind".to_owned());
            }
            if !mount_options.is_empty() {
                options.insert("o".to_owned(), mount_options.join(","));
            }
        }
        reader.last_value("Copy", |value| {
            let copy = quantity::parse_flag(value)?;
            copy.then_some(()).ok_or_else(|| "say nocopy in the container's Volume=".to_owned())
        })?;
        Ok(Self {
            name: name(reader, Section::Volume, "VolumeName", default_name)?,
            driver: reader.last_value("Driver", |value| match value {
                "image" => Err("Docker makes no volumes of images".to_owned()),
                _ => names::parse_resource_name(value),
            })?,
            options,
            labels: reader.read_labels("Label")?,
            delete_on_destroy,
            conditions,
        })
    }
}

impl NetworkSpec {
    pub(super) fn read(
        reader: &Reader<'_>,
        default_name: Result<String, String>,
        delete_on_destroy: bool,
        conditions: Vec<Condition>,
    ) -> Result<Self, ContainerError> {
        reader.last_value("DisableDNS", |value| {
            let answers = !quantity::parse_flag(value)?;
            answers
                .then_some(())
                .ok_or_else(|| "Docker always answers for names on its networks".to_owned())
        })?;
        let mut options = BTreeMap::new();
        let driver = reader.last_value("Driver", names::parse_resource_name)?;
        for (option, value) in reader.read_labels("Options")? {
            if option == "isolate" && driver.as_deref().is_none_or(|driver| driver == "bridge") {
                // Docker keeps every bridge from every other.
                if !matches!(value.as_str(), "1" | "true" | "strict") {
                    let problem = format!(
                        "isolate={value}: Docker always keeps the networks of its bridges from one another; say true or strict"
                    );
                    return Err(reader.error("Options", problem));
                }
                continue;
            }
            let option = match option.as_str() {
                "mtu" => "com.docker.network.driver.mtu".to_owned(),
                "mode" => match driver.as_deref() {
                    Some("macvlan") => "macvlan_mode".to_owned(),
                    Some("ipvlan") => "ipvlan_mode".to_owned(),
                    _ => {
                        return Err(
                            reader.error("Options", "mode is for Driver=macvlan and Driver=ipvlan")
                        );
                    }
                },
                "parent" => option,
                _ if option.contains('.') => option,
                _ => {
                    let problem = format!(
                        "Docker has no option {option:?} for a network; its own have a dot in their name"
                    );
                    return Err(reader.error("Options", problem));
                }
            };
            options.insert(option, value);
        }
        if let Some(interface) = reader.last_value("InterfaceName", names::parse_resource_name)? {
            options.insert("com.docker.network.bridge.name".to_owned(), interface);
        }
        Ok(Self {
            name: name(reader, Section::Network, "NetworkName", default_name)?,
            driver,
            options,
            internal: reader.last_value("Internal", quantity::parse_flag)?.unwrap_or_default(),
            ipv6: reader.last_value("IPv6", quantity::parse_flag)?.unwrap_or_default(),
            ipam_driver: reader
                .last_value("IPAMDriver", |value| match value {
                    "host-local" => Ok(None),
                    "none" => Ok(Some("null".to_owned())),
                    "dhcp" => Err("Docker asks no DHCP server".to_owned()),
                    _ => names::parse_resource_name(value).map(Some),
                })?
                .flatten(),
            subnets: read_subnets(reader)?,
            labels: reader.read_labels("Label")?,
            delete_on_stop: reader
                .last_value("NetworkDeleteOnStop", quantity::parse_flag)?
                .unwrap_or_default(),
            delete_on_destroy,
            conditions,
        })
    }
}

/// Subnets with the gateway and the range that stand at the same place in their own lists.
fn read_subnets(reader: &Reader<'_>) -> Result<Vec<Subnet>, ContainerError> {
    let subnets = reader.lines("Subnet", parse_prefix)?;
    let gateways =
        reader.lines("Gateway", |value| value.parse::<IpAddr>().map_err(|_| no_address(value)))?;
    let ranges = reader.lines("IPRange", |value| {
        parse_prefix(value).map_err(|problem| {
            if value.contains('-') {
                format!("{problem}; Docker takes no range from one address to another")
            } else {
                problem
            }
        })
    })?;
    for (key, count) in [("Gateway", gateways.len()), ("IPRange", ranges.len())] {
        if count > subnets.len() {
            return Err(reader
                .error(key, "there are more of them than of Subnet=, each of which may have one"));
        }
    }
    let seen: BTreeSet<_> = subnets.iter().collect();
    if seen.len() < subnets.len() {
        return Err(reader.error("Subnet", "one is given twice"));
    }
    let mut gateways = gateways.into_iter();
    let mut ranges = ranges.into_iter();
    Ok(subnets
        .into_iter()
        .map(|subnet| Subnet { subnet, gateway: gateways.next(), range: ranges.next() })
        .collect())
}

/// An address and the length of its prefix.
fn parse_prefix(value: &str) -> Result<String, String> {
    let good = value.split_once('/').is_some_and(|(address, length)| {
        let length: Option<u8> = length.parse().ok();
        match address.parse() {
            Ok(IpAddr::V4(_)) => length.is_some_and(|length| length <= 32),
            Ok(IpAddr::V6(_)) => length.is_some_and(|length| length <= 128),
            Err(_) => false,
        }
    });
    if good {
        Ok(value.to_owned())
    } else {
        Err(format!("{value:?} is not a subnet such as 10.1.0.0/16"))
    }
}

/// The name a file gives what it makes, or the one its unit's name makes.
pub(super) fn name(
    reader: &Reader<'_>,
    section: Section,
    key: &str,
    default_name: Result<String, String>,
) -> Result<String, ContainerError> {
    match reader.last_value(key, names::parse_resource_name)? {
        Some(name) => Ok(name),
        None => default_name.map_err(|problem| ContainerError {
            line: 0,
            section: section.to_string(),
            option: key.to_owned(),
            problem,
        }),
    }
}
