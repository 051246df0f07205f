//! The options of `[Container]`.

use super::support::{Key, emulated_key, honoured_key, noted_key, refused_key};

const NO_PODMAN: &str = "no podman command is run; use the option that says what is wanted";
const NO_POD: &str = "Docker has no pods; use Network=NAME.container to share a network";
const NO_MAP: &str = "Docker maps users for the whole engine, not for one container";
const NO_STARTUP: &str =
    "Docker has one health check and no second one for the start; use HealthStartPeriod=";
const NO_HEALTH_LOG: &str = "Docker keeps the last five results by itself";
const NO_RELOAD: &str = "nothing reloads a unit of the cluster; restart it";
const OLD: &str = "Podman gave it up";

pub(super) const KEYS: &[Key] = &[
    emulated_key(
        "AddCapability",
        "to Podman's default ones; for a container that runs as root, or `CAP_NET_BIND_SERVICE`",
    ),
    emulated_key(
        "AddDevice",
        "a leading `-` leaves out a device the machine does not have; CDI names where the engine has CDI",
    ),
    honoured_key("AddHost"),
    honoured_key("Annotation"),
    honoured_key("AppArmor"),
    noted_key(
        "AutoUpdate",
        "nothing updates a container of Docker's while it runs, and the label is all that is set; use Pull=newer and restart the unit",
    ),
    emulated_key("CgroupsMode", "`enabled` is what Docker does; the other modes are Podman's own"),
    honoured_key("ContainerName"),
    refused_key("ContainersConfModule", NO_PODMAN),
    honoured_key("DNS"),
    honoured_key("DNSOption"),
    honoured_key("DNSSearch"),
    emulated_key(
        "DropCapability",
        "from Podman's default ones: `CAP_AUDIT_WRITE`, `CAP_MKNOD` and `CAP_NET_RAW` are dropped unless they are added",
    ),
    honoured_key("Entrypoint"),
    emulated_key(
        "Environment",
        "a name without a value takes the one the daemon has, but for what is the daemon's own",
    ),
    emulated_key(
        "EnvironmentFile",
        "read on the machine whenever the container is made; one with a leading `-` may be missing",
    ),
    emulated_key(
        "EnvironmentHost",
        "the environment of the daemon on the machine, but for what is the daemon's own, and all that [Service] sets",
    ),
    honoured_key("Exec"),
    honoured_key("ExposeHostPort"),
    refused_key("GIDMap", NO_MAP),
    refused_key("GlobalArgs", NO_PODMAN),
    honoured_key("Group"),
    emulated_key("GroupAdd", "all but `keep-groups`, for which Docker has nothing"),
    emulated_key("HealthCmd", "Podman's keywords before a line or in a JSON array"),
    emulated_key("HealthInterval", "`disable` and 0 leave the check out, which nobody would make"),
    refused_key("HealthLogDestination", NO_HEALTH_LOG),
    refused_key("HealthMaxLogCount", NO_HEALTH_LOG),
    refused_key("HealthMaxLogSize", NO_HEALTH_LOG),
    emulated_key(
        "HealthOnFailure",
        "`none`, `kill`, `restart` and `stop` are done by the daemon on the machine",
    ),
    honoured_key("HealthRetries"),
    honoured_key("HealthStartPeriod"),
    refused_key("HealthStartupCmd", NO_STARTUP),
    refused_key("HealthStartupInterval", NO_STARTUP),
    refused_key("HealthStartupRetries", NO_STARTUP),
    refused_key("HealthStartupSuccess", NO_STARTUP),
    refused_key("HealthStartupTimeout", NO_STARTUP),
    honoured_key("HealthTimeout"),
    honoured_key("HostName"),
    emulated_key(
        "HttpProxy",
        "the proxy variables that [Service] sets, unless `false`; `true` passes on those of the daemon on the machine too",
    ),
    honoured_key("IP"),
    honoured_key("IP6"),
    emulated_key(
        "Image",
        "an image's name, or `docker-archive:/path` on the machine; not a short name that Podman has for an image elsewhere",
    ),
    honoured_key("Label"),
    emulated_key(
        "LogDriver",
        "Docker's drivers, and `k8s-file`, which is `json-file`; `passthrough` is Podman's own",
    ),
    emulated_key("LogOpt", "what the driver takes; Docker has no `path`"),
    emulated_key("Mask", "added to the paths Docker masks anyway"),
    honoured_key("Memory"),
    emulated_key("Mount", "the types bind, volume, tmpfs and image"),
    emulated_key(
        "Network",
        "`NAME.network` makes the network first; the modes of containers without root are refused",
    ),
    honoured_key("NetworkAlias"),
    honoured_key("NoNewPrivileges"),
    emulated_key(
        "Notify",
        "`healthy` waits for the health check; Docker hands no notification socket in, so `true` is refused",
    ),
    honoured_key("PidsLimit"),
    refused_key("Pod", NO_POD),
    emulated_key(
        "PodmanArgs",
        "what Docker has too, option by option; `--privileged`, `--ipc`, `--pid`, `--cpus` and what has a key of its own",
    ),
    emulated_key(
        "PublishPort",
        "no effect, with a warning, where the network is not the container's own",
    ),
    emulated_key("Pull", "decided and done by the daemon on the machine"),
    honoured_key("ReadOnly"),
    emulated_key(
        "ReadOnlyTmpfs",
        "`/run`, `/tmp` and `/var/tmp` as tmpfs, unless something is mounted there; as with Tmpfs=",
    ),
    noted_key("ReloadCmd", NO_RELOAD),
    noted_key("ReloadSignal", NO_RELOAD),
    refused_key("RemapGid", OLD),
    refused_key("RemapUid", OLD),
    refused_key("RemapUidSize", OLD),
    refused_key("RemapUsers", OLD),
    emulated_key("Retry", "pulls are tried again by the daemon on the machine"),
    emulated_key("RetryDelay", "pulls are tried again by the daemon on the machine"),
    refused_key("Rootfs", "Docker runs images only; make one of it with `docker import`"),
    honoured_key("RunInit"),
    emulated_key("SeccompProfile", "a file is read on the machine; `unconfined` needs none"),
    emulated_key("Secret", "a file on the machine, mounted or put into the environment"),
    honoured_key("SecurityLabelDisable"),
    honoured_key("SecurityLabelFileType"),
    honoured_key("SecurityLabelLevel"),
    refused_key("SecurityLabelNested", "Docker has no nested labels"),
    honoured_key("SecurityLabelType"),
    refused_key(
        "ServiceName",
        "there is no service behind the container; the unit goes by its own name",
    ),
    emulated_key("ShmSize", "all but 0"),
    refused_key("StartWithPod", NO_POD),
    honoured_key("StopSignal"),
    emulated_key("StopTimeout", "the daemon on the machine kills what has not stopped by then"),
    refused_key("SubGIDMap", NO_MAP),
    refused_key("SubUIDMap", NO_MAP),
    honoured_key("Sysctl"),
    emulated_key(
        "Timezone",
        "the machine's zone file, mounted over the container's /etc/localtime",
    ),
    emulated_key(
        "Tmpfs",
        "with the directories the image has in its place; files there, unless `notmpcopyup` is said, keep the container from starting",
    ),
    refused_key("UIDMap", NO_MAP),
    emulated_key("Ulimit", "all but `host`"),
    emulated_key("Unmask", "`ALL`, or paths taken from those Docker masks"),
    honoured_key("User"),
    emulated_key("UserNS", "`host`; the other modes are Podman's own"),
    emulated_key("VolatileTmp", "a tmpfs on /tmp, unless ReadOnly= is set"),
    emulated_key(
        "Volume",
        "`NAME.volume` makes the volume first; of the options all that Docker has",
    ),
    honoured_key("WorkingDir"),
];
