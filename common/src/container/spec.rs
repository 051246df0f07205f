//! A container, as its unit's file describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::conditions::Condition;
use super::environment::{self, Environment, Secret, SecretTarget};
use super::health::{self, Check, Health, OnFailure};
use super::image::{self, Image, ImageName, PullPolicy};
use super::keys::Section;
use super::limits::Limits;
use super::mount::{self, Mount, Source, Tmpfs};
use super::network::{
    self, Attachment, NamedResource, Network, NetworkMode, Port, Protocol, no_address,
};
use super::options::{self, AddedDevice, CdiDevice, Device, Masks, Seccomp, Timezone};
use super::podman_options::PodmanOptions;
use super::reader::{ContainerError, Reader};
use super::service::ServiceSection;
use super::{names, quantity, resources};
use crate::unit::UnitName;
use crate::unit::words::Backslash;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its name in the engine.
    pub name: String,
    /// Its image.
    pub image: Image,
    /// When to fetch that.
    pub pull: PullPolicy,
    /// The number of times that a fetch that failed is tried again.
    pub pull_retries: u32,
    /// The pause before that; growing from a second on where it is not said.
    pub pull_delay: Option<Duration>,
    /// `Entrypoint=`; an empty one takes back the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `Exec=`.
    pub command: Option<Vec<String>>,
    /// Where its environment comes from.
    pub environment: Environment,
    /// The machine's secrets it sees.
    pub secrets: Vec<Secret>,
    /// `User=` and `Group=`, as `user[:group]`.
    pub user: Option<String>,
    /// Further groups of that user's.
    pub groups: Vec<String>,
    /// `WorkingDir=`.
    pub working_dir: Option<String>,
    /// True when a small init reaps what the container leaves behind.
    pub init: bool,
    /// Names it has on networks.
    pub names: NameResolution,
    /// Its network.
    pub network: NetworkMode,
    /// Ports that are open on the machine.
    pub ports: Vec<Port>,
    /// Ports that are written down and not opened.
    pub exposed: BTreeSet<(u16, Protocol)>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Memory mounted into it, by its path.
    pub tmpfs: BTreeMap<String, Tmpfs>,
    /// The machine's devices it sees.
    pub devices: Vec<Device>,
    /// Devices by the names of the Container Device Interface.
    pub cdi_devices: Vec<CdiDevice>,
    /// True when its own file system cannot be written to.
    pub read_only: bool,
    /// Its privileges.
    pub security: Security,
    /// Its limits.
    pub limits: Limits,
    /// The options that only podman's command line can say.
    pub podman: PodmanOptions,
    /// Kernel settings of its own.
    pub sysctls: BTreeMap<String, String>,
    /// Its time zone.
    pub timezone: Option<Timezone>,
    /// Labels the file gives it.
    pub labels: BTreeMap<String, String>,
    /// Annotations for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Who keeps its output.
    pub log_driver: Option<String>,
    /// That driver's options.
    pub log_options: BTreeMap<String, String>,
    /// The signal that asks it to stop; the image's, or SIGTERM, without.
    pub stop_signal: Option<String>,
    /// The time it has after that.
    pub stop_timeout: Option<Duration>,
    /// The check whether it is well.
    pub health: Health,
    /// The action when it is not.
    pub on_failure: OnFailure,
    /// When it counts as started.
    pub notify: Notify,
    /// The rules by which its life is looked after.
    pub service: ServiceSection,
    /// The conditions that have to hold on the machine before each start.
    pub conditions: Vec<Condition>,
}

/// Names and name servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameResolution {
    /// The container's host name.
    pub host: Option<String>,
    /// Name servers.
    pub servers: Vec<String>,
    /// Options of the resolver.
    pub options: Vec<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Lines of /etc/hosts, as `name:address`.
    pub hosts: Vec<String>,
}

/// When a container counts as started, `Notify=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Notify {
    /// When it runs.
    #[default]
    Running,
    /// When its health check succeeds.
    Healthy,
}

/// The privileges of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Capabilities besides the engine's default ones.
    pub add_capabilities: Vec<String>,
    /// Capabilities it does not get.
    pub drop_capabilities: Vec<String>,
    /// True when no program can gain any.
    pub no_new_privileges: bool,
    /// The filter of its system calls.
    pub seccomp: Option<Seccomp>,
    /// Its `AppArmor` profile.
    pub apparmor: Option<String>,
    /// True when `SELinux` leaves it alone.
    pub label_disable: bool,
    /// Its `SELinux` level.
    pub label_level: Option<String>,
    /// Its `SELinux` type.
    pub label_type: Option<String>,
    /// The `SELinux` type of its files.
    pub label_file_type: Option<String>,
    /// Paths it cannot read.
    pub masks: Masks,
    /// True when it has the machine's users even where the engine maps them.
    pub host_users: bool,
}

/// Podman's default for a pull.
const PULL_RETRIES: u32 = 3;

impl ContainerSpec {
    /// The units that make what this container needs before it.
    pub fn referenced_units(&self) -> BTreeSet<&UnitName> {
        let volumes = self.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Volume(NamedResource::Unit(unit)) => Some(unit),
            _ => None,
        });
        let networks = match &self.network {
            NetworkMode::Container(NamedResource::Unit(unit)) => vec![unit],
            NetworkMode::Networks(networks) => networks
                .iter()
                .filter_map(|attachment| match &attachment.network {
                    NamedResource::Unit(unit) => Some(unit),
                    NamedResource::Engine(_) => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        volumes.chain(networks).collect()
    }

    pub(super) fn read(
        reader: &Reader<'_>,
        section_service: &Reader<'_>,
        service: ServiceSection,
        default_name: Result<String, String>,
        variables: &BTreeMap<String, String>,
        conditions: Vec<Condition>,
    ) -> Result<Self, ContainerError> {
        let flag = |name| Ok(reader.last_value(name, quantity::parse_flag)?.unwrap_or_default());
        let image = match reader.last_value("Image", image::parse_image)? {
            Some(image) => image,
            // The machine will know; see `read_with`.
            None if reader.has_value("Image") => Image::Named(ImageName::default()),
            None => return Err(reader.error("Image", "it is missing; a container needs an image")),
        };
        reader.last_value("CgroupsMode", options::cgroups_mode)?;
        reader.last_value("AutoUpdate", |_| Ok(()))?;
        let health = Health::read(reader)?;
        let notify = read_notify(reader, &health)?;
        let on_failure =
            reader.last_value("HealthOnFailure", health::parse_on_failure)?.unwrap_or_default();
        if on_failure != OnFailure::None && health.check == Some(Check::Disabled) {
            return Err(
                reader.error("HealthOnFailure", "without a health check there is nothing to fail")
            );
        }
        let read_only = flag("ReadOnly")?;
        let mut network = network_mode(reader)?;
        check_network(reader, &network)?;
        let ports = read_ports(reader, &network)?;
        let log_driver = reader.last_value("LogDriver", options::log_driver)?;
        let names = names_of(reader, &network)?;
        join_by_host_name(&mut network, names.host.as_deref());
        let mounts = read_mounts(reader)?;
        let (devices, cdi_devices) = read_devices(reader)?;
        let spec = Self {
            name: resources::name(reader, Section::Container, "ContainerName", default_name)?,
            image,
            pull: reader.last_value("Pull", image::parse_pull)?.unwrap_or_default(),
            pull_retries: reader
                .last_value("Retry", quantity::parse_number)?
                .unwrap_or(PULL_RETRIES),
            pull_delay: reader.last_value("RetryDelay", quantity::parse_duration)?,
            entrypoint: read_entrypoint(reader)?,
            command: reader.last_command("Exec")?,
            environment: Environment::read(reader, variables)?,
            secrets: read_secrets(reader)?,
            user: read_user(reader)?,
            groups: reader.list_values("GroupAdd", options::parse_group)?,
            working_dir: reader.last_value("WorkingDir", names::path)?,
            init: flag("RunInit")?,
            names,
            network,
            ports,
            exposed: reader
                .list_values("ExposeHostPort", network::parse_exposed_ports)?
                .into_iter()
                .flatten()
                .collect(),
            tmpfs: read_tmpfs(reader, read_only, &mounts)?,
            mounts,
            devices,
            cdi_devices,
            read_only,
            security: read_security(reader)?,
            limits: Limits::read(reader, section_service)?,
            podman: PodmanOptions::read(reader)?,
            sysctls: reader
                .word_lists("Sysctl", Backslash::Literal, options::parse_sysctl)?
                .into_iter()
                .collect(),
            timezone: reader.last_value("Timezone", options::parse_timezone)?,
            labels: read_labels(reader)?,
            annotations: reader.read_labels("Annotation")?,
            log_options: log_options(reader, log_driver.as_deref())?,
            log_driver,
            stop_signal: reader.last_value("StopSignal", names::stop_signal)?,
            stop_timeout: reader
                .last_value("StopTimeout", quantity::parse_number)?
                .map(Duration::from_secs),
            health,
            on_failure,
            notify,
            service,
            conditions,
        };
        check_added_capabilities(reader, &spec)?;
        Ok(spec)
    }

    /// Capabilities that are added and that a user other than root would not have: Podman hands what is added to whoever the
    /// container runs as, and Docker to root. To open a port below 1024 Docker lets everybody who is not in the machine's own
    /// network.
    pub fn capabilities_of_root(&self) -> Vec<&str> {
        if self.podman.privileged {
            return Vec::new();
        }
        let ports_are_free = self.network != NetworkMode::Host;
        let is_lost = |name: &&str| !(ports_are_free && *name == "CAP_NET_BIND_SERVICE");
        self.security.add_capabilities.iter().map(String::as_str).filter(is_lost).collect()
    }
}

/// True when a user, `name[:group]` or `number[:group]`, is root.
pub fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), Some("" | "0" | "root"))
}

/// An empty `Entrypoint=` is meant: it takes back the image's.
fn read_entrypoint(reader: &Reader<'_>) -> Result<Option<Vec<String>>, ContainerError> {
    if reader.is_emptied("Entrypoint") {
        return Ok(Some(Vec::new()));
    }
    reader.last_value("Entrypoint", |value| Ok(options::parse_entrypoint(value)))
}

fn read_notify(reader: &Reader<'_>, health: &Health) -> Result<Notify, ContainerError> {
    let notify =
        reader.last_value("Notify", |value| match value {
            "healthy" => Ok(Notify::Healthy),
            _ if !quantity::parse_flag(value)? => Ok(Notify::Running),
            _ => Err("Docker hands no notification socket in; use Notify=healthy and HealthCmd="
                .to_owned()),
        })?;
    let notify = notify.unwrap_or_default();
    if notify == Notify::Healthy && health.check == Some(Check::Disabled) {
        return Err(reader.error("Notify", "without a health check there is nothing to wait for"));
    }
    Ok(notify)
}

fn read_user(reader: &Reader<'_>) -> Result<Option<String>, ContainerError> {
    let user = reader.last_value("User", options::parse_user)?;
    let group = reader.last_value("Group", options::parse_account)?;
    match (user, group) {
        (None, Some(_)) => Err(reader.error("Group", "it needs a User= beside it")),
        (Some((_, Some(_))), Some(_)) => {
            Err(reader.error("Group", "User= has a group already; leave one of them out"))
        }
        (Some((user, given)), group) => match given.or(group) {
            Some(group) => Ok(Some(format!("{user}:{group}"))),
            None => Ok(Some(user)),
        },
        (None, None) => Ok(None),
    }
}

fn read_devices(reader: &Reader<'_>) -> Result<(Vec<Device>, Vec<CdiDevice>), ContainerError> {
    let (mut devices, mut cdi_devices) = (Vec::new(), Vec::new());
    for device in reader.list_words("AddDevice", Backslash::Literal, options::parse_device)? {
        match device {
            AddedDevice::Path(device) => devices.push(device),
            AddedDevice::Cdi(device) => cdi_devices.push(device),
        }
    }
    Ok((devices, cdi_devices))
}

/// Refuses capabilities that are added and that whoever the container runs as would not have.
fn check_added_capabilities(
    reader: &Reader<'_>,
    spec: &ContainerSpec,
) -> Result<(), ContainerError> {
    let user = spec.user.as_deref().filter(|user| !is_root(user));
    let lost = spec.capabilities_of_root();
    let (Some(user), Some(lost)) = (user, lost.first()) else { return Ok(()) };
    let user = user.split(':').next().unwrap_or_default();
    let problem = format!(
        "Docker gives what is added to root alone, and User={user} would not have {lost}; leave it or User= out"
    );
    Err(reader.error("AddCapability", problem))
}

/// Lets the container's networks know it by its host's name, as Podman does.
fn join_by_host_name(network: &mut NetworkMode, host: Option<&str>) {
    if let (NetworkMode::Networks(attachments), Some(host)) = (network, host) {
        for attachment in attachments {
            if !attachment.aliases.iter().any(|alias| alias == host) {
                attachment.aliases.push(host.to_owned());
            }
        }
    }
}

/// Podman's name for the machine in every container's /etc/hosts.
const THE_MACHINE: [&str; 2] = ["host.containers.internal", "host.docker.internal"];

fn names_of(reader: &Reader<'_>, network: &NetworkMode) -> Result<NameResolution, ContainerError> {
    let mut hosts: Vec<String> =
        reader.list_values("AddHost", network::parse_host_entries)?.into_iter().flatten().collect();
    if !matches!(network, NetworkMode::None | NetworkMode::Container(_)) {
        // Only where the file speaks of it: not every engine can tell the address.
        for name in THE_MACHINE.into_iter().filter(|name| reader.speaks_of(name)) {
            if !hosts.iter().any(|host| host.starts_with(&format!("{name}:"))) {
                hosts.push(format!("{name}:host-gateway"));
            }
        }
    }
    Ok(NameResolution {
        host: reader.last_value("HostName", names::parse_host_name)?,
        servers: reader.list_values("DNS", |value| match value.parse::<std::net::IpAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(no_address(value)),
        })?,
        options: reader.list_values("DNSOption", |value| Ok(value.to_owned()))?,
        search: reader.list_values("DNSSearch", |value| match value {
            "." => Ok(value.to_owned()),
            _ => names::parse_host_name(value),
        })?,
        hosts,
    })
}

fn network_mode(reader: &Reader<'_>) -> Result<NetworkMode, ContainerError> {
    let mut modes = Vec::new();
    let mut attachments: Vec<Attachment> = Vec::new();
    for network in reader.lines("Network", network::parse_networks)?.into_iter().flatten() {
        match network {
            Network::Mode(mode) => modes.push(mode),
            Network::Attachment(attachment) => attachments.push(attachment),
        }
    }
    if modes.len() > 1 || !modes.is_empty() && !attachments.is_empty() {
        return Err(reader.error("Network", "only networks of your own can be more than one"));
    }
    let ipv4: Option<Ipv4Addr> =
        reader.last_value("IP", |value| value.parse().map_err(|_| no_address(value)))?;
    let ipv6: Option<Ipv6Addr> =
        reader.last_value("IP6", |value| value.parse().map_err(|_| no_address(value)))?;
    let aliases = reader.list_values("NetworkAlias", names::parse_host_name)?;
    for (key, given) in [("IP", ipv4.is_some()), ("IP6", ipv6.is_some())] {
        if given && attachments.len() != 1 {
            return Err(reader.error(key, "it needs one Network= of your own, and no more; with several, say Network=NAME:ip=ADDRESS"));
        }
    }
    if !aliases.is_empty() && attachments.is_empty() {
        return Err(reader.error("NetworkAlias", "it needs a Network= of your own"));
    }
    for attachment in &mut attachments {
        attachment.ipv4 = ipv4.or(attachment.ipv4);
        attachment.ipv6 = ipv6.or(attachment.ipv6);
        attachment.aliases.extend(aliases.iter().cloned());
    }
    for (at, attachment) in attachments.iter().enumerate() {
        if attachments.iter().skip(at + 1).any(|other| other.network == attachment.network) {
            return Err(reader.error("Network", "one is given twice"));
        }
    }
    let mode = modes.pop().unwrap_or_default();
    Ok(if attachments.is_empty() { mode } else { NetworkMode::Networks(attachments) })
}

/// Refuses what Docker would drop, or refuse itself, in a network that is not the container's own.
fn check_network(reader: &Reader<'_>, network: &NetworkMode) -> Result<(), ContainerError> {
    let (whose, options): (_, &[&str]) = match network {
        NetworkMode::Bridge | NetworkMode::Networks(_) | NetworkMode::Host | NetworkMode::None => {
            return Ok(());
        }
        NetworkMode::Container(_) => (
            "the container whose network it shares has a say in it, and this one has not",
            &["AddHost", "DNS", "DNSOption", "DNSSearch", "ExposeHostPort", "HostName"],
        ),
    };
    match options.iter().find(|option| reader.has_value(option)) {
        Some(option) => Err(reader.error(option, whose)),
        None => Ok(()),
    }
}

fn read_ports(reader: &Reader<'_>, network: &NetworkMode) -> Result<Vec<Port>, ContainerError> {
    // Podman drops it there with a word in its log.
    let dropped = match network {
        NetworkMode::Bridge | NetworkMode::Networks(_) => None,
        NetworkMode::Host => Some("Network=host opens every port as it is"),
        NetworkMode::None => Some("Network=none has nobody to open it to"),
        NetworkMode::Container(_) => {
            Some("the container whose network it shares has a say in it, and this one has not")
        }
    };
    let mut ports = Vec::new();
    // Each range is counted at once, so that no file makes a list longer than one range beyond the limit.
    for range in reader.list_values("PublishPort", |value| {
        let range = network::parse_published_ports(value)?;
        if let Some(why) = dropped {
            reader.add_note(format!("no effect: {why}"));
            return Ok(Vec::new());
        }
        network::check_count(range.len()).map(|()| range)
    })? {
        ports.extend(range);
        network::check_count(ports.len())
            .map_err(|problem| reader.error("PublishPort", problem))?;
    }
    Ok(ports)
}

pub(super) fn read_mounts(reader: &Reader<'_>) -> Result<Vec<Mount>, ContainerError> {
    let mut mounts = reader.lines("Volume", |value| mount::parse_volume(reader, value))?;
    let from = mounts.len();
    mounts.extend(
        reader
            .list_words("Mount", Backslash::Escapes, |value| mount::parse_mount(reader, value))?,
    );
    let mut targets = BTreeSet::new();
    for (at, mount) in mounts.iter().enumerate() {
        if !targets.insert(mount.target.trim_end_matches('/')) {
            let key = if at < from { "Volume" } else { "Mount" };
            return Err(reader.error(key, format!("two mounts want {}", mount.target)));
        }
    }
    Ok(mounts)
}

/// Paths that stay writable in a container whose own file system is not, as Podman has them.
const WRITABLE: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

fn read_tmpfs(
    reader: &Reader<'_>,
    read_only: bool,
    mounts: &[Mount],
) -> Result<BTreeMap<String, Tmpfs>, ContainerError> {
    let mut tmpfs: BTreeMap<_, _> =
        reader.lines("Tmpfs", mount::parse_tmpfs)?.into_iter().collect();
    let mut more = |path: &str, options: &str| {
        if !mounts.iter().any(|mount| mount.target == path) && !tmpfs.contains_key(path) {
            tmpfs.insert(path.to_owned(), Tmpfs { options: options.to_owned(), copy: true });
        }
    };
    let writable = reader.last_value("ReadOnlyTmpfs", quantity::parse_flag)?.unwrap_or(true);
    if read_only && writable {
        for path in WRITABLE {
            more(path, "rw");
        }
    }
    if reader.last_value("VolatileTmp", quantity::parse_flag)?.unwrap_or_default() && !read_only {
        more("/tmp", "rw,size=512m,mode=1777");
    }
    Ok(tmpfs)
}

/// Options that limit a file, which the journal is not: Podman's driver for it takes no notice, and Docker's will not have it.
const OF_FILES: [&str; 3] = ["max-file", "max-size", "path"];

fn log_options(
    reader: &Reader<'_>,
    driver: Option<&str>,
) -> Result<BTreeMap<String, String>, ContainerError> {
    let options = reader.list_words("LogOpt", Backslash::Literal, |value| {
        let name = value.split('=').next().unwrap_or_default();
        if driver == Some("journald") && OF_FILES.contains(&name) {
            reader.add_note(format!(
                "no effect: {name} is about a file, and the journal has limits of its own"
            ));
            return Ok(None);
        }
        options::log_option(value).map(Some)
    })?;
    Ok(options.into_iter().flatten().collect())
}

fn read_secrets(reader: &Reader<'_>) -> Result<Vec<Secret>, ContainerError> {
    let secrets = reader.list_words("Secret", Backslash::Escapes, environment::parse_secret)?;
    let mut targets = BTreeSet::new();
    for secret in &secrets {
        let (SecretTarget::Variable(target) | SecretTarget::File { path: target, .. }) =
            &secret.target;
        if !targets.insert(target) {
            return Err(reader.error("Secret", format!("two secrets want {target}")));
        }
    }
    Ok(secrets)
}

fn read_security(reader: &Reader<'_>) -> Result<Security, ContainerError> {
    let flag = |name| Ok(reader.last_value(name, quantity::parse_flag)?.unwrap_or_default());
    let capabilities =
        |name| reader.word_lists(name, Backslash::Literal, options::parse_capability);
    Ok(Security {
        add_capabilities: capabilities("AddCapability")?,
        drop_capabilities: capabilities("DropCapability")?,
        no_new_privileges: flag("NoNewPrivileges")?,
        seccomp: reader.last_value("SeccompProfile", options::parse_seccomp)?,
        apparmor: reader.text("AppArmor")?,
        label_disable: flag("SecurityLabelDisable")?,
        label_level: reader.text("SecurityLabelLevel")?,
        label_type: reader.text("SecurityLabelType")?,
        label_file_type: reader.text("SecurityLabelFileType")?,
        masks: Masks::read(reader)?,
        host_users: reader.last_value("UserNS", options::check_user_namespace)?.is_some(),
    })
}

/// The label by which Podman's updater finds containers; Quadlet sets it, so it is here for whoever looks for it.
const AUTO_UPDATE: &str = "io.containers.autoupdate";

fn read_labels(reader: &Reader<'_>) -> Result<BTreeMap<String, String>, ContainerError> {
    let mut labels = reader.read_labels("Label")?;
    if let Some(update) = reader.text("AutoUpdate")? {
        labels.insert(AUTO_UPDATE.to_owned(), update);
    }
    Ok(labels)
}
