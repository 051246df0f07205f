//! What `[Service]`, `[Unit]` and `[Install]` may say about a container.
//!
//! The rest of systemd's directives is refused: it would act on a service, and there is none. Those that people write
//! into Quadlet files and that have a counterpart elsewhere are here with that counterpart.

use super::{Key, emulated, honoured, noted, refused};

const NO_COMMAND: &str = "nothing runs on the machine beside the container; put it into the image or into a unit of its own";
const NO_ORDER: &str = "containers are not ordered among units";
const NO_BINDING: &str =
    "containers are not bound to units; a .volume or .network is made because a container names it";
const NO_CONDITION: &str =
    "conditions are not looked at; MachineMetadata= in [X-Fleet] chooses machines";
const LATER: &str = "Debian 12's systemd does not know it";

pub(super) const SERVICE: &[Key] = &[
    noted("Delegate", "Docker sets up a container's control group"),
    emulated("Environment", "the values that `$NAME` and `${NAME}` stand for in [Container]"),
    refused("EnvironmentFile", "it belongs into [Container] here"),
    refused("ExecCondition", NO_COMMAND),
    refused("ExecReload", "use ReloadCmd= or ReloadSignal= in [Container]"),
    refused("ExecStart", "use Exec= in [Container]"),
    refused("ExecStartPost", NO_COMMAND),
    refused("ExecStartPre", NO_COMMAND),
    refused("ExecStop", "use StopSignal= in [Container]"),
    refused("ExecStopPost", NO_COMMAND),
    emulated("KillMode", "`mixed` and `control-group`, which is what happens"),
    refused("MemoryMax", "use Memory= in [Container]"),
    noted("NotifyAccess", "Notify= in [Container] says all there is to say"),
    honoured("RemainAfterExit"),
    honoured("Restart"),
    honoured("RestartForceExitStatus"),
    refused("RestartMaxDelaySec", LATER),
    honoured("RestartPreventExitStatus"),
    honoured("RestartSec"),
    refused("RestartSteps", LATER),
    honoured("StartLimitBurst"),
    honoured("StartLimitInterval"),
    honoured("SuccessExitStatus"),
    noted("SyslogIdentifier", "LogDriver= and LogOpt= in [Container] say where the output goes"),
    refused("TasksMax", "use PidsLimit= in [Container]"),
    honoured("TimeoutSec"),
    emulated(
        "TimeoutStartSec",
        "counts from the start of the container, or, where it is written, from before the pull",
    ),
    honoured("TimeoutStopSec"),
    emulated("Type", "`notify`, which every container is, or `oneshot`"),
    refused("User", "use User= in [Container]"),
    refused("WorkingDirectory", "use WorkingDir= in [Container]"),
];

pub(super) const UNIT: &[Key] = &[
    noted("After", NO_ORDER),
    noted("Before", NO_ORDER),
    refused("BindsTo", NO_BINDING),
    refused("ConditionHost", NO_CONDITION),
    refused("ConditionPathExists", NO_CONDITION),
    refused("Conflicts", "use Conflicts= in [X-Fleet]"),
    honoured("Description"),
    honoured("Documentation"),
    refused("OnFailure", "nothing is started when a container fails"),
    refused("PartOf", NO_BINDING),
    refused("Requires", NO_BINDING),
    noted("RequiresMountsFor", NO_ORDER),
    emulated("StartLimitAction", "`none`"),
    honoured("StartLimitBurst"),
    honoured("StartLimitInterval"),
    honoured("StartLimitIntervalSec"),
    noted("Wants", "the cluster starts what a user starts, and nothing with it"),
];

const CLUSTER: &str = "the cluster starts the unit, and again whenever its machine boots";

pub(super) const INSTALL: &[Key] = &[
    refused("Alias", "a container goes by one name"),
    refused("Also", "there is nothing to enable; start each unit"),
    refused("DefaultInstance", "start an instance by its name"),
    emulated("RequiredBy", CLUSTER),
    emulated("UpheldBy", CLUSTER),
    emulated("WantedBy", CLUSTER),
];
