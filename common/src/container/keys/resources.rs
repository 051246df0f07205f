//! The options of `[Volume]`, `[Network]` and `[Quadlet]`.

use super::support::{Key, emulated, honoured, refused};

const NO_PODMAN: &str = "no podman command is run; use the option that says what is wanted";
const NO_SERVICE: &str = "there is no service behind it; the unit goes by its own name";

pub(super) const VOLUME: &[Key] = &[
    refused("ContainersConfModule", NO_PODMAN),
    emulated(
        "Copy",
        "`true` is what Docker does; say `nocopy` in the container's Volume= for the other",
    ),
    honoured("Device"),
    emulated("Driver", "Docker's drivers; `image` is Podman's own"),
    refused("GlobalArgs", NO_PODMAN),
    emulated("Group", "as a mount option, so beside Device= only"),
    refused("Image", "Docker makes no volumes of images"),
    honoured("Label"),
    honoured("Options"),
    refused("PodmanArgs", NO_PODMAN),
    refused("ServiceName", NO_SERVICE),
    emulated("Type", "what the kernel mounts by itself; `nfs` needs `addr=` in Options="),
    emulated("User", "as a mount option, so beside Device= only"),
    honoured("VolumeName"),
];

pub(super) const NETWORK: &[Key] = &[
    refused("ContainersConfModule", NO_PODMAN),
    refused("DNS", "Docker's networks have no servers of their own; use DNS= in [Container]"),
    emulated("DisableDNS", "`false`; Docker always answers for names on its networks"),
    honoured("Driver"),
    honoured("Gateway"),
    refused("GlobalArgs", NO_PODMAN),
    emulated(
        "IPAMDriver",
        "`host-local` is Docker's default; `none` is its `null`; `dhcp` is refused",
    ),
    honoured("IPRange"),
    honoured("IPv6"),
    emulated("InterfaceName", "the name of the bridge"),
    honoured("Internal"),
    honoured("Label"),
    emulated(
        "NetworkDeleteOnStop",
        "removed by the daemon on the machine after the last container that names it",
    ),
    honoured("NetworkName"),
    emulated(
        "Options",
        "`mtu`, `parent`, `mode`, `isolate`, which every bridge of Docker's is, and Docker's own, which have a dot in their name",
    ),
    refused("PodmanArgs", NO_PODMAN),
    refused("ServiceName", NO_SERVICE),
    honoured("Subnet"),
];

pub(super) const QUADLET: &[Key] = &[emulated(
    "DefaultDependencies",
    "a unit is started once its machine is in the cluster, and that is after the network",
)];
