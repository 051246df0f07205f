//! The options of `[Container]`.

use super::support::{Key, emulated, honoured, noted, refused};

const NO_PODMAN: &str = "no podman command is run; use the option that says what is wanted";
const NO_POD: &str = "Docker has no pods; use Network=NAME.container to share a network";
const NO_MAP: &str = "Docker maps users for the whole engine, not for one container";
const NO_STARTUP: &str =
    "Docker has one health check and no second one for the start; use HealthStartPeriod=";
const NO_HEALTH_LOG: &str = "Docker keeps the last five results by itself";
const NO_RELOAD: &str = "nothing reloads a unit of the cluster; restart it";
const OLD: &str = "Podman gave it up";

pub(super) const KEYS: &[Key] = &[
    emulated(
        "AddCapability",
        "to Podman's default ones; for a container that runs as root, or `CAP_NET_BIND_SERVICE`",
    ),
    emulated(
        "AddDevice",
        "a leading `-` leaves out a device the machine does not have; CDI names where the engine has CDI",
    ),
    honoured("AddHost"),
    honoured("Annotation"),
    honoured("AppArmor"),
    noted(
        "AutoUpdate",
        "nothing updates a container of Docker's while it runs, and the label is all that is set; use Pull=newer and restart the unit",
    ),
    emulated("CgroupsMode", "`enabled` is what Docker does; the other modes are Podman's own"),
    honoured("ContainerName"),
    refused("ContainersConfModule", NO_PODMAN),
    honoured("DNS"),
    honoured("DNSOption"),
    honoured("DNSSearch"),
    emulated(
        "DropCapability",
        "from Podman's default ones: `CAP_AUDIT_WRITE`, `CAP_MKNOD` and `CAP_NET_RAW` are dropped unless they are added",
    ),
    honoured("Entrypoint"),
    emulated(
        "Environment",
        "a name without a value takes the one the daemon has, but for what is the daemon's own",
    ),
    emulated(
        "EnvironmentFile",
        "read on the machine whenever the container is made; one with a leading `-` may be missing",
    ),
    emulated(
        "EnvironmentHost",
        "the environment of the daemon on the machine, but for what is the daemon's own, and all that [Service] sets",
    ),
    honoured("Exec"),
    honoured("ExposeHostPort"),
    refused("GIDMap", NO_MAP),
    refused("GlobalArgs", NO_PODMAN),
    honoured("Group"),
    emulated("GroupAdd", "all but `keep-groups`, for which Docker has nothing"),
    emulated("HealthCmd", "Podman's keywords before a line or in a JSON array"),
    emulated("HealthInterval", "`disable` and 0 leave the check out, which nobody would make"),
    refused("HealthLogDestination", NO_HEALTH_LOG),
    refused("HealthMaxLogCount", NO_HEALTH_LOG),
    refused("HealthMaxLogSize", NO_HEALTH_LOG),
    emulated(
        "HealthOnFailure",
        "`none`, `kill`, `restart` and `stop` are done by the daemon on the machine",
    ),
    honoured("HealthRetries"),
    honoured("HealthStartPeriod"),
    refused("HealthStartupCmd", NO_STARTUP),
    refused("HealthStartupInterval", NO_STARTUP),
    refused("HealthStartupRetries", NO_STARTUP),
    refused("HealthStartupSuccess", NO_STARTUP),
    refused("HealthStartupTimeout", NO_STARTUP),
    honoured("HealthTimeout"),
    honoured("HostName"),
    emulated(
        "HttpProxy",
        "the proxy variables that [Service] sets, unless `false`; `true` passes on those of the daemon on the machine too",
    ),
    honoured("IP"),
    honoured("IP6"),
    emulated(
        "Image",
        "an image's name, or `docker-archive:/path` on the machine; not a short name that Podman has for an image elsewhere",
    ),
    honoured("Label"),
    emulated(
        "LogDriver",
        "Docker's drivers, and `k8s-file`, which is `json-file`; `passthrough` is Podman's own",
    ),
    emulated("LogOpt", "what the driver takes; Docker has no `path`"),
    emulated("Mask", "added to the paths Docker masks anyway"),
    honoured("Memory"),
    emulated("Mount", "the types bind, volume, tmpfs and image"),
    emulated(
        "Network",
        "`NAME.network` makes the network first; the modes of containers without root are refused",
    ),
    honoured("NetworkAlias"),
    honoured("NoNewPrivileges"),
    emulated(
        "Notify",
        "`healthy` waits for the health check; Docker hands no notification socket in, so `true` is refused",
    ),
    honoured("PidsLimit"),
    refused("Pod", NO_POD),
    emulated(
        "PodmanArgs",
        "what Docker has too, option by option; `--privileged`, `--ipc`, `--pid`, `--cpus` and what has a key of its own",
    ),
    emulated(
        "PublishPort",
        "no effect, with a warning, where the network is not the container's own",
    ),
    emulated("Pull", "decided and done by the daemon on the machine"),
    honoured("ReadOnly"),
    emulated(
        "ReadOnlyTmpfs",
        "`/run`, `/tmp` and `/var/tmp` as tmpfs, unless something is mounted there; as with Tmpfs=",
    ),
    noted("ReloadCmd", NO_RELOAD),
    noted("ReloadSignal", NO_RELOAD),
    refused("RemapGid", OLD),
    refused("RemapUid", OLD),
    refused("RemapUidSize", OLD),
    refused("RemapUsers", OLD),
    emulated("Retry", "pulls are tried again by the daemon on the machine"),
    emulated("RetryDelay", "pulls are tried again by the daemon on the machine"),
    refused("Rootfs", "Docker runs images only; make one of it with `docker import`"),
    honoured("RunInit"),
    emulated("SeccompProfile", "a file is read on the machine; `unconfined` needs none"),
    emulated("Secret", "a file on the machine, mounted or put into the environment"),
    honoured("SecurityLabelDisable"),
    honoured("SecurityLabelFileType"),
    honoured("SecurityLabelLevel"),
    refused("SecurityLabelNested", "Docker has no nested labels"),
    honoured("SecurityLabelType"),
    refused(
        "ServiceName",
        "there is no service behind the container; the unit goes by its own name",
    ),
    emulated("ShmSize", "all but 0"),
    refused("StartWithPod", NO_POD),
    honoured("StopSignal"),
    emulated("StopTimeout", "the daemon on the machine kills what has not stopped by then"),
    refused("SubGIDMap", NO_MAP),
    refused("SubUIDMap", NO_MAP),
    honoured("Sysctl"),
    emulated("Timezone", "the machine's zone file, mounted over the container's /etc/localtime"),
    emulated(
        "Tmpfs",
        "with the directories the image has in its place; files there, unless `notmpcopyup` is said, keep the container from starting",
    ),
    refused("UIDMap", NO_MAP),
    emulated("Ulimit", "all but `host`"),
    emulated("Unmask", "`ALL`, or paths taken from those Docker masks"),
    honoured("User"),
    emulated("UserNS", "`host`; the other modes are Podman's own"),
    emulated("VolatileTmp", "a tmpfs on /tmp, unless ReadOnly= is set"),
    emulated("Volume", "`NAME.volume` makes the volume first; of the options all that Docker has"),
    honoured("WorkingDir"),
];
