//! The options of `[Volume]`, `[Network]` and `[Quadlet]`.

use super::support::{Key, emulated_key, honoured_key, refused_key};

const NO_PODMAN: &str = "no podman command is run; use the option that says what is wanted";
const NO_SERVICE: &str = "there is no service behind it; the unit goes by its own name";

pub(super) const VOLUME: &[Key] = &[
    refused_key("ContainersConfModule", NO_PODMAN),
    emulated_key(
        "Copy",
        "`true` is what Docker does; say `nocopy` in the container's Volume= for the other",
    ),
    honoured_key("Device"),
    emulated_key("Driver", "Docker's drivers; `image` is Podman's own"),
    refused_key("GlobalArgs", NO_PODMAN),
    emulated_key("Group", "as a mount option, so beside Device= only"),
    refused_key("Image", "Docker makes no volumes of images"),
    honoured_key("Label"),
    honoured_key("Options"),
    refused_key("PodmanArgs", NO_PODMAN),
    refused_key("ServiceName", NO_SERVICE),
    emulated_key("Type", "what the kernel mounts by itself; `nfs` needs `addr=` in Options="),
    emulated_key("User", "as a mount option, so beside Device= only"),
    honoured_key("VolumeName"),
];

pub(super) const NETWORK: &[Key] = &[
    refused_key("ContainersConfModule", NO_PODMAN),
    refused_key("DNS", "Docker's networks have no servers of their own; use DNS= in [Container]"),
    emulated_key("DisableDNS", "`false`; Docker always answers for names on its networks"),
    honoured_key("Driver"),
    honoured_key("Gateway"),
    refused_key("GlobalArgs", NO_PODMAN),
    emulated_key(
        "IPAMDriver",
        "`host-local` is Docker's default; `none` is its `null`; `dhcp` is refused",
    ),
    honoured_key("IPRange"),
    honoured_key("IPv6"),
    emulated_key("InterfaceName", "the name of the bridge"),
    honoured_key("Internal"),
    honoured_key("Label"),
    emulated_key(
        "NetworkDeleteOnStop",
        "removed by the daemon on the machine after the last container that names it",
    ),
    honoured_key("NetworkName"),
    emulated_key(
        "Options",
        "`mtu`, `parent`, `mode`, `isolate`, which every bridge of Docker's is, and Docker's own, which have a dot in their name",
    ),
    refused_key("PodmanArgs", NO_PODMAN),
    refused_key("ServiceName", NO_SERVICE),
    honoured_key("Subnet"),
];

pub(super) const QUADLET: &[Key] = &[emulated_key(
    "DefaultDependencies",
    "a unit is started once its machine is in the cluster, and that is after the network",
)];
