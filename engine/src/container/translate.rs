//! From a unit's file to Docker's create call.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::container::{
    CdiDevice, Check, ContainerSpec, Environment, Health, Image, Masks, NetworkSpec, Seccomp,
    Secret, Security, VolumeSpec,
};
use muster_common::unit::{FileHash, UnitName};

use super::body;
use super::lookup::{Lookup, MissingUnit};
use super::mounts::{Mounts, copied_paths, tmpfs_of, translate_mounts};
use super::networks::{exposed_ports, port_bindings, translate_networks};

/// The label that says which unit a container is. One without it is never touched.
pub const LABEL_UNIT: &str = "muster.unit";
/// The label that says from which file it was made.
pub const LABEL_FILE: &str = "muster.file";
/// The label that says at which generation of its placement it was made.
pub const LABEL_GENERATION: &str = "muster.generation";
/// The label that says whose it is, where one engine serves several clusters.
pub const LABEL_CLUSTER: &str = "muster.cluster";

/// The time that a share of processors is counted in, in microseconds: systemd's and Podman's own.
const CPU_PERIOD: i64 = 100_000;

/// Whose a container, a volume or a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The unit.
    pub unit: UnitName,
    /// Its file.
    pub file: FileHash,
    /// The generation of its placement.
    pub generation: u64,
    /// The cluster, by the prefix of its store.
    pub cluster: String,
}

/// The calls that make one container in Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The container's name.
    pub name: String,
    /// The create call.
    pub body: body::Create,
    /// Networks it joins once it is made and before it starts.
    pub networks: Vec<(String, body::Endpoint)>,
    /// The inputs that only the machine can add.
    pub late: MachineInputs,
}

/// The inputs that only the machine knows, and puts into the create call itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineInputs {
    /// The source of the environment; see [`super::assemble_environment`].
    pub environment: Environment,
    /// Secrets to mount or to put into the environment.
    pub secrets: Vec<Secret>,
    /// The file that holds the filter of system calls; its text goes into `SecurityOpt` behind `seccomp=`.
    pub seccomp: Option<String>,
    /// Devices to add if the machine has them.
    pub devices: Vec<body::DeviceMapping>,
    /// The same by CDI's names, to add if the engine knows them.
    pub cdi_devices: Vec<String>,
    /// Each tmpfs that begins with what the image has in its place, which is more than an engine can do: one in whose place there
    /// are files keeps the container from starting.
    pub copies: Vec<String>,
    /// The archive the image is loaded from first. Without an image's name beside it, the create call names whatever it holds.
    pub archive: Option<String>,
}

impl Creation {
    /// Puts every network into the create call, for an engine that takes several there (API 1.44). One that is joined afterwards
    /// loses its MAC address before version 1.54.
    pub fn join_at_once(&mut self) {
        if let Some(config) = &mut self.body.networking_config {
            config.endpoints_config.extend(std::mem::take(&mut self.networks));
        }
    }

    /// True when a network is joined afterwards that should not be.
    pub fn loses_addresses(&self) -> bool {
        self.networks.iter().any(|(_, endpoint)| endpoint.mac_address.is_some())
    }
}

impl Identity {
    /// The labels that tell it, over those a file gives.
    fn labels_over(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = given.clone();
        labels.insert(LABEL_UNIT.to_owned(), self.unit.to_string());
        labels.insert(LABEL_FILE.to_owned(), self.file.to_string());
        labels.insert(LABEL_GENERATION.to_owned(), self.generation.to_string());
        labels.insert(LABEL_CLUSTER.to_owned(), self.cluster.clone());
        labels
    }
}

/// The create call of a container. `names` has what the units it refers to are called in the engine.
///
/// # Errors
///
/// A unit it refers to that is not in `names`.
pub fn translate(
    spec: &ContainerSpec,
    identity: &Identity,
    names: &BTreeMap<UnitName, String>,
) -> Result<Creation, MissingUnit> {
    let lookup = Lookup(names);
    let networks = translate_networks(&spec.network, lookup)?;
    let Mounts { binds, typed, tmpfs } =
        translate_mounts(&spec.mounts, spec.timezone.as_ref(), lookup)?;
    let (image, archive) = match &spec.image {
        Image::Named(name) => (name.to_string(), None),
        Image::Archive { path, image } => {
            (image.as_ref().map(ToString::to_string).unwrap_or_default(), Some(path.clone()))
        }
    };
    let (optional, devices): (Vec<_>, Vec<_>) =
        spec.devices.iter().partition(|device| device.optional);
    let device = |device: &muster_common::container::Device| body::DeviceMapping {
        path_on_host: device.host.clone(),
        path_in_container: device.container.clone(),
        cgroup_permissions: device.permissions.clone(),
    };
    let (optional_names, needed) = cdi_names(&spec.cdi_devices);
    let security = &spec.security;
    let (masked_paths, readonly_paths) = masked_paths(&security.masks);
    let host_config = body::HostConfig {
        network_mode: networks.mode,
        restart_policy: body::RestartPolicy::default(),
        binds,
        mounts: typed,
        tmpfs: tmpfs_of(spec).chain(tmpfs).collect(),
        port_bindings: port_bindings(&spec.ports),
        devices: devices.into_iter().map(device).collect(),
        device_requests: cdi_request(needed),
        device_cgroup_rules: spec.podman.device_rules.clone(),
        privileged: spec.podman.privileged.then_some(true),
        ipc_mode: spec.podman.ipc.clone(),
        pid_mode: spec.podman.pid.clone(),
        uts_mode: spec.podman.uts.clone(),
        init: spec.init.then_some(true),
        readonly_rootfs: spec.read_only.then_some(true),
        cap_add: security.add_capabilities.clone(),
        cap_drop: dropped_capabilities(spec),
        security_opt: security_options(security),
        masked_paths,
        readonly_paths,
        userns_mode: security.host_users.then(|| "host".to_owned()),
        group_add: spec.groups.clone(),
        memory: spec.limits.memory,
        memory_swap: spec.limits.memory_swap,
        memory_reservation: spec.limits.memory_reservation,
        cpu_period: spec.limits.cpu_quota.map(|_| CPU_PERIOD),
        cpu_quota: spec.limits.cpu_quota,
        cpu_shares: spec.limits.cpu_shares,
        cpuset_cpus: spec.limits.cpus.clone(),
        cpuset_mems: spec.limits.memory_nodes.clone(),
        oom_score_adj: spec.limits.oom_score,
        cgroup_parent: spec.service.slice.clone(),
        pids_limit: spec.limits.pids,
        shm_size: spec.limits.shm,
        ulimits: spec
            .limits
            .ulimits
            .iter()
            .map(|limit| body::Ulimit {
                name: limit.name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        sysctls: spec.sysctls.clone(),
        dns: spec.names.servers.clone(),
        dns_options: spec.names.options.clone(),
        dns_search: spec.names.search.clone(),
        extra_hosts: spec.names.hosts.clone(),
        log_config: log_config(spec),
        annotations: spec.annotations.clone(),
    };
    let body = body::Create {
        image,
        hostname: spec.names.host.clone(),
        user: spec.user.clone(),
        env: Vec::new(),
        entrypoint: spec.entrypoint.clone().map(|words| {
            // This is how Docker is told to forget the image's.
            if words.is_empty() { vec![String::new()] } else { words }
        }),
        cmd: spec.command.clone(),
        working_dir: spec.working_dir.clone(),
        tty: spec.podman.tty.then_some(true),
        open_stdin: spec.podman.interactive.then_some(true),
        exposed_ports: exposed_ports(spec),
        healthcheck: (!spec.health.is_default()).then(|| translate_health(&spec.health)),
        labels: identity.labels_over(&spec.labels),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_timeout.map(|timeout| timeout.as_secs()),
        host_config,
        networking_config: networks.first,
    };
    let seccomp = match &security.seccomp {
        Some(Seccomp::File(path)) => Some(path.clone()),
        Some(Seccomp::Unconfined) | None => None,
    };
    let late = MachineInputs {
        environment: spec.environment.clone(),
        secrets: spec.secrets.clone(),
        seccomp,
        devices: optional.into_iter().map(device).collect(),
        cdi_devices: optional_names,
        copies: copied_paths(spec),
        archive,
    };
    Ok(Creation { name: spec.name.clone(), body, networks: networks.more, late })
}

/// Capabilities that a container of Docker's has by itself and one of Podman's has not.
const DOCKERS: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"];

/// The capabilities to take away: a file adds to and takes from Podman's.
fn dropped_capabilities(spec: &ContainerSpec) -> Vec<String> {
    let Security { add_capabilities: added, drop_capabilities: dropped, .. } = &spec.security;
    let has =
        |list: &[String], name: &str| list.iter().any(|given| given == name || given == "ALL");
    let more = DOCKERS
        .iter()
        .filter(|name| !spec.podman.privileged && !has(added, name) && !has(dropped, name));
    dropped.iter().cloned().chain(more.map(|name| (*name).to_owned())).collect()
}

/// The names of devices that may be missing, and of those that may not.
fn cdi_names(devices: &[CdiDevice]) -> (Vec<String>, Vec<String>) {
    let of = |optional| {
        devices.iter().filter(|d| d.optional == optional).map(|d| d.name.clone()).collect()
    };
    (of(true), of(false))
}

/// The request to an engine for devices by CDI's names.
pub fn cdi_request(device_ids: Vec<String>) -> Vec<body::DeviceRequest> {
    if device_ids.is_empty() {
        return Vec::new();
    }
    vec![body::DeviceRequest { driver: "cdi".to_owned(), device_ids }]
}

/// The create call of a volume.
pub fn translate_volume(spec: &VolumeSpec, identity: &Identity) -> body::VolumeCreate {
    body::VolumeCreate {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        driver_opts: spec.options.clone(),
        labels: identity.labels_over(&spec.labels),
    }
}

/// The create call of a network.
pub fn translate_network(spec: &NetworkSpec, identity: &Identity) -> body::NetworkCreate {
    let config: Vec<_> = spec
        .subnets
        .iter()
        .map(|subnet| body::IpamConfig {
            subnet: subnet.subnet.clone(),
            gateway: subnet.gateway.map(|gateway| gateway.to_string()),
            ip_range: subnet.range.clone(),
        })
        .collect();
    let ipam = body::Ipam { driver: spec.ipam_driver.clone(), config };
    body::NetworkCreate {
        name: spec.name.clone(),
        check_duplicate: true,
        driver: spec.driver.clone(),
        internal: spec.internal,
        enable_ipv6: spec.ipv6,
        ipam: (ipam != body::Ipam::default()).then_some(ipam),
        options: spec.options.clone(),
        labels: identity.labels_over(&spec.labels),
    }
}

fn translate_health(health: &Health) -> body::Healthcheck {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let test = health.check.as_ref().map(|check| match check {
        Check::Disabled => vec!["NONE".to_owned()],
        Check::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Check::Command(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
        }
    });
    body::Healthcheck {
        test,
        interval: health.interval.map(nanos),
        timeout: health.timeout.map(nanos),
        retries: health.retries,
        start_period: health.start_period.map(nanos),
    }
}

fn security_options(security: &Security) -> Vec<String> {
    let mut options = Vec::new();
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if security.seccomp == Some(Seccomp::Unconfined) {
        options.push("seccomp=unconfined".to_owned());
    }
    options.extend(security.apparmor.as_ref().map(|profile| format!("apparmor={profile}")));
    if security.label_disable {
        options.push("label=disable".to_owned());
    }
    options.extend(security.label_type.as_ref().map(|label| format!("label=type:{label}")));
    let file_type = security.label_file_type.as_ref();
    options.extend(file_type.map(|label| format!("label=filetype:{label}")));
    options.extend(security.label_level.as_ref().map(|label| format!("label=level:{label}")));
    options
}

fn log_config(spec: &ContainerSpec) -> Option<body::LogConfig> {
    let is_given = spec.log_driver.is_some() || !spec.log_options.is_empty();
    is_given.then(|| body::LogConfig {
        kind: spec.log_driver.clone().unwrap_or_default(),
        config: spec.log_options.clone(),
    })
}

/// The paths that Docker masks by itself, up to version 28. Whoever gives it a list gives it all of it.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
];

/// The paths that Docker makes read-only by itself.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's lists with a file's wishes, where it has any.
fn masked_paths(masks: &Masks) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if *masks == Masks::default() {
        return (None, None);
    }
    let keep = |defaults: &[&str]| {
        defaults
            .iter()
            .filter(|path| !masks.none && !masks.less.iter().any(|less| less == *path))
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let mut masked = keep(&MASKED);
    masked.extend(masks.more.iter().cloned());
    (Some(masked), Some(keep(&READ_ONLY)))
}
