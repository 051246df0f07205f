//! `[reboot]`: how this machine goes about its reboots.
//!
//! Owns its keys, their defaults and limits, and what they mean to the engine. It reads the machine's time zone and the
//! system's zones, and nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use muster_common::reboot::{Group, InvalidMethod, InvalidStrategy, RebootMethod, Strategy};
use muster_engine::reboot::phase::{Hooks, RebootPolicy, WhenStuck};
use muster_engine::reboot::window::Window;
use serde::Deserialize;

use super::ConfigError;
use super::texts::{parse_list, parse_text};
use super::values::{CommandLine, InvalidValue, invalid_value};

/// Logged-in users get this long to save their work (locksmith's warning).
const DEFAULT_WARN: Duration = Duration::from_secs(5 * 60);

/// Units may take this long to move away: a stop of 90 s and a start of 90 s, a few times in a row.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10 * 60);

/// A service that crashes soon after its start has done so within this time.
const DEFAULT_SETTLE: Duration = Duration::from_secs(60);

/// An attempt that was given up is made again after this time: often, within a window of an hour.
const DEFAULT_RETRY: Duration = Duration::from_secs(10 * 60);

/// The pause between two askings of the command.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The time that a command may take.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Longest of any of these times: what is longer is a slip of the hand.
const LONGEST_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The sources that may make a reboot due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DueSource {
    /// Somebody asked for it.
    Request,
    /// The package manager's mark.
    RebootRequired,
    /// `update_engine` on D-Bus.
    UpdateEngine,
    /// The configured command.
    Command,
}

/// A length of time: `90s`, `5m`, `1h30m`; `0s` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

/// The reboot role's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootConfig {
    /// The strategy: with a slot, without one, or not at all.
    pub strategy: Strategy,
    /// The way to reboot, where nobody asks for another.
    pub method: RebootMethod,
    /// Whose slots.
    pub group: Group,
    /// Further groups that exist without a record, for FleetLock's clients.
    pub groups: Vec<Group>,
    /// When a reboot may begin; none: always.
    pub windows: Vec<Window>,
    /// The zone of the windows.
    pub zone: TimeZone,
    /// The sources that may make a reboot due.
    pub sources: BTreeSet<DueSource>,
    /// The package manager's mark.
    pub mark: PathBuf,
    /// Ends with 0 when a reboot is due.
    pub command: Option<CommandLine>,
    /// The pause between two askings.
    pub command_interval: Duration,
    /// Ends with 0 when a reboot may begin.
    pub check: Option<CommandLine>,
    /// Run before units move away.
    pub before_drain: Option<CommandLine>,
    /// Run after they have.
    pub before_reboot: Option<CommandLine>,
    /// Run after the boot, before units return.
    pub after_boot: Option<CommandLine>,
    /// The time that any of the commands may take.
    pub timeout: Duration,
    /// The time that logged-in users get between the warning and the reboot.
    pub warn: Duration,
    /// The time that units may take to move away.
    pub drain: Duration,
    /// The fate of units that do not.
    pub stuck: WhenStuck,
    /// The time for which all has to be well before the slot is given back.
    pub settle: Duration,
    /// The pause between the last reboot of the group and the next.
    pub pause: Duration,
    /// The pause after an attempt that was given up.
    pub retry: Duration,
    /// True if failed units hold a reboot back.
    pub block_on_failed: bool,
}

/// The table of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RebootTable {
    #[serde(deserialize_with = "parse_text")]
    strategy: Option<Strategy>,
    #[serde(deserialize_with = "parse_text")]
    method: Option<RebootMethod>,
    #[serde(deserialize_with = "parse_text")]
    group: Option<Group>,
    #[serde(deserialize_with = "parse_list")]
    groups: Option<Vec<Group>>,
    #[serde(deserialize_with = "parse_list")]
    windows: Option<Vec<Window>>,
    #[serde(deserialize_with = "parse_text")]
    time_zone: Option<WindowZone>,
    #[serde(deserialize_with = "parse_list")]
    sources: Option<Vec<DueSource>>,
    reboot_required_path: Option<PathBuf>,
    command: Option<CommandLine>,
    #[serde(deserialize_with = "parse_text")]
    command_interval: Option<TimeSpan>,
    check: Option<CommandLine>,
    before_drain: Option<CommandLine>,
    before_reboot: Option<CommandLine>,
    after_boot: Option<CommandLine>,
    #[serde(deserialize_with = "parse_text")]
    command_timeout: Option<TimeSpan>,
    #[serde(deserialize_with = "parse_text")]
    warn: Option<TimeSpan>,
    #[serde(deserialize_with = "parse_text")]
    drain_timeout: Option<TimeSpan>,
    #[serde(deserialize_with = "parse_text")]
    at_deadline: Option<AtDeadline>,
    #[serde(deserialize_with = "parse_text")]
    settle: Option<TimeSpan>,
    #[serde(deserialize_with = "parse_text")]
    pause: Option<TimeSpan>,
    #[serde(deserialize_with = "parse_text")]
    retry: Option<TimeSpan>,
    block_on_failed_units: Option<bool>,
}

/// Its flags and variables.
#[expect(clippy::struct_field_names, reason = "fields are named as the flags are")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reboots")]
pub struct RebootFlags {
    /// lock: take a slot of the group first; now: ask nobody; off: never reboot by itself [default: lock]
    #[arg(long, env = "MUSTER_REBOOT_STRATEGY", value_name = "STRATEGY", value_parser = parse_strategy)]
    reboot_strategy: Option<Strategy>,

    /// How it reboots where nobody asks for another way: reboot, soft-reboot (userspace alone) or kexec [default: reboot]
    #[arg(long, env = "MUSTER_REBOOT_METHOD", value_name = "METHOD", value_parser = parse_method)]
    reboot_method: Option<RebootMethod>,

    /// Group whose slots this machine takes [default: default]
    #[arg(long, env = "MUSTER_REBOOT_GROUP", value_name = "GROUP")]
    reboot_group: Option<Group>,

    /// Further groups that exist without `set-max`, for FleetLock's clients, comma separated
    #[arg(long, env = "MUSTER_REBOOT_GROUPS", value_name = "GROUP,...", value_delimiter = ',')]
    reboot_groups: Option<Vec<Group>>,

    /// When a reboot may begin: `Thu 23:00 1h30m`, comma separated [default: always]
    #[arg(long, env = "MUSTER_REBOOT_WINDOWS", value_name = "WINDOW,...", value_delimiter = ',')]
    reboot_windows: Option<Vec<Window>>,

    /// Time zone of the windows, such as Europe/Paris [default: the machine's]
    #[arg(long, env = "MUSTER_REBOOT_TIME_ZONE", value_name = "ZONE")]
    reboot_time_zone: Option<WindowZone>,

    /// What makes a reboot due: request, reboot-required, update-engine, command [default: all; without etcd: request]
    #[arg(long, env = "MUSTER_REBOOT_SOURCES", value_name = "SOURCE,...", value_delimiter = ',')]
    reboot_sources: Option<Vec<DueSource>>,

    /// The package manager's mark [default: /run/reboot-required]
    #[arg(long, env = "MUSTER_REBOOT_REBOOT_REQUIRED_PATH", value_name = "PATH")]
    reboot_reboot_required_path: Option<PathBuf>,

    /// Command that ends with 0 when a reboot is due: words, or a JSON list
    #[arg(long, env = "MUSTER_REBOOT_COMMAND", value_name = "WORDS")]
    reboot_command: Option<CommandLine>,

    /// How often that command is run [default: 10m]
    #[arg(long, env = "MUSTER_REBOOT_COMMAND_INTERVAL", value_name = "TIME")]
    reboot_command_interval: Option<TimeSpan>,

    /// Command that ends with 0 when a reboot may begin
    #[arg(long, env = "MUSTER_REBOOT_CHECK", value_name = "WORDS")]
    reboot_check: Option<CommandLine>,

    /// Command run before units move away; if it fails the reboot is given up
    #[arg(long, env = "MUSTER_REBOOT_BEFORE_DRAIN", value_name = "WORDS")]
    reboot_before_drain: Option<CommandLine>,

    /// Command run after units have moved away, before the reboot; if it fails the reboot is given up
    #[arg(long, env = "MUSTER_REBOOT_BEFORE_REBOOT", value_name = "WORDS")]
    reboot_before_reboot: Option<CommandLine>,

    /// Command run after the boot, before units return; until it ends well the slot is kept
    #[arg(long, env = "MUSTER_REBOOT_AFTER_BOOT", value_name = "WORDS")]
    reboot_after_boot: Option<CommandLine>,

    /// How long any of these commands may take [default: 5m]
    #[arg(long, env = "MUSTER_REBOOT_COMMAND_TIMEOUT", value_name = "TIME")]
    reboot_command_timeout: Option<TimeSpan>,

    /// How long logged-in users are warned before the reboot [default: 5m]
    #[arg(long, env = "MUSTER_REBOOT_WARN", value_name = "TIME")]
    reboot_warn: Option<TimeSpan>,

    /// How long units may take to move away [default: 10m]
    #[arg(long, env = "MUSTER_REBOOT_DRAIN_TIMEOUT", value_name = "TIME")]
    reboot_drain_timeout: Option<TimeSpan>,

    /// What becomes of units that do not move away: force or give-up [default: force]
    #[arg(long, env = "MUSTER_REBOOT_AT_DEADLINE", value_name = "WORD")]
    reboot_at_deadline: Option<AtDeadline>,

    /// How long all has to be well after the boot before the slot is given back [default: 1m]
    #[arg(long, env = "MUSTER_REBOOT_SETTLE", value_name = "TIME")]
    reboot_settle: Option<TimeSpan>,

    /// How long after a reboot in the group the next one waits [default: 0s]
    #[arg(long, env = "MUSTER_REBOOT_PAUSE", value_name = "TIME")]
    reboot_pause: Option<TimeSpan>,

    /// How long after a reboot was given up it is tried again [default: 10m]
    #[arg(long, env = "MUSTER_REBOOT_RETRY", value_name = "TIME")]
    reboot_retry: Option<TimeSpan>,

    /// Begin no reboot while a unit of the cluster has failed [default: false]
    #[arg(long, env = "MUSTER_REBOOT_BLOCK_ON_FAILED_UNITS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    reboot_block_on_failed_units: Option<bool>,
}

/// Text forms of values that belong to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WindowZone(TimeZone);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AtDeadline(WhenStuck);

impl RebootConfig {
    /// The commands that are run, each with its key.
    pub(super) fn command_lines(&self) -> impl Iterator<Item = (&'static str, &CommandLine)> {
        let commands = [
            ("reboot.command", &self.command),
            ("reboot.check", &self.check),
            ("reboot.before_drain", &self.before_drain),
            ("reboot.before_reboot", &self.before_reboot),
            ("reboot.after_boot", &self.after_boot),
        ];
        commands.into_iter().filter_map(|(key, words)| Some((key, words.as_ref()?)))
    }

    /// Puts table and flags together. `cluster`: etcd is configured.
    pub(super) fn merge_sources(
        table: RebootTable,
        flags: RebootFlags,
        cluster: bool,
    ) -> Result<Self, ConfigError> {
        let span = |flag: Option<TimeSpan>, key: Option<TimeSpan>, default| {
            flag.or(key).map_or(default, |span: TimeSpan| span.0)
        };
        let command = flags.reboot_command.or(table.command);
        let given = flags.reboot_sources.or(table.sources);
        if let Some(given) = &given
            && given.contains(&DueSource::Command) != command.is_some()
        {
            return Err(ConfigError::Contradiction {
                keys: &["reboot.sources", "reboot.command"],
                problem: "reboot.command and the source \"command\" in reboot.sources: one is of no use without the other",
            });
        }
        let sources = given.map_or_else(
            || default_sources(cluster, command.is_some()),
            |given| given.into_iter().collect(),
        );
        let command_interval =
            span(flags.reboot_command_interval, table.command_interval, DEFAULT_INTERVAL);
        let timeout = span(flags.reboot_command_timeout, table.command_timeout, DEFAULT_TIMEOUT);
        if command_interval.is_zero() || timeout.is_zero() {
            return Err(ConfigError::Contradiction {
                keys: &["reboot.command_interval", "reboot.command_timeout"],
                problem: "reboot.command_interval and reboot.command_timeout must be more than nothing",
            });
        }
        Ok(Self {
            strategy: flags.reboot_strategy.or(table.strategy).unwrap_or_default(),
            method: flags.reboot_method.or(table.method).unwrap_or_default(),
            group: flags.reboot_group.or(table.group).unwrap_or_default(),
            groups: flags.reboot_groups.or(table.groups).unwrap_or_default(),
            windows: flags.reboot_windows.or(table.windows).unwrap_or_default(),
            zone: flags
                .reboot_time_zone
                .or(table.time_zone)
                .map_or_else(TimeZone::system, |zone| zone.0),
            sources,
            mark: flags
                .reboot_reboot_required_path
                .or(table.reboot_required_path)
                .unwrap_or("/run/reboot-required".into()),
            command,
            command_interval,
            check: flags.reboot_check.or(table.check),
            before_drain: flags.reboot_before_drain.or(table.before_drain),
            before_reboot: flags.reboot_before_reboot.or(table.before_reboot),
            after_boot: flags.reboot_after_boot.or(table.after_boot),
            timeout,
            warn: span(flags.reboot_warn, table.warn, DEFAULT_WARN),
            drain: span(flags.reboot_drain_timeout, table.drain_timeout, DEFAULT_DRAIN),
            stuck: flags
                .reboot_at_deadline
                .or(table.at_deadline)
                .map_or_else(WhenStuck::default, |word| word.0),
            settle: span(flags.reboot_settle, table.settle, DEFAULT_SETTLE),
            pause: span(flags.reboot_pause, table.pause, Duration::ZERO),
            retry: span(flags.reboot_retry, table.retry, DEFAULT_RETRY),
            block_on_failed: flags
                .reboot_block_on_failed_units
                .or(table.block_on_failed_units)
                .unwrap_or(false),
        })
    }

    /// The policy that it is to the engine.
    pub fn to_policy(&self) -> RebootPolicy {
        RebootPolicy {
            strategy: self.strategy,
            method: self.method,
            group: self.group.clone(),
            windows: self.windows.clone(),
            zone: self.zone.clone(),
            warn: self.warn,
            drain: self.drain,
            stuck: self.stuck,
            settle: self.settle,
            pause: self.pause,
            retry: self.retry,
            block_on_failed: self.block_on_failed,
            check: self.check.is_some(),
            hooks: Hooks {
                before_drain: self.before_drain.is_some(),
                before_reboot: self.before_reboot.is_some(),
                after_boot: self.after_boot.is_some(),
            },
        }
    }

    /// The groups that exist without a record: its own and the further ones.
    pub fn known_groups(&self) -> impl Iterator<Item = Group> {
        std::iter::once(&self.group).chain(&self.groups).cloned()
    }
}

/// A machine that is tried out alone does not go down by itself: docs/decisions/0006-a-lone-machine-reboots-when-asked.md.
fn default_sources(cluster: bool, command: bool) -> BTreeSet<DueSource> {
    let mut sources = BTreeSet::from([DueSource::Request]);
    if cluster {
        sources.extend([DueSource::RebootRequired, DueSource::UpdateEngine]);
    }
    // Whoever names a command wants it asked.
    if command {
        sources.insert(DueSource::Command);
    }
    sources
}

fn parse_strategy(text: &str) -> Result<Strategy, InvalidStrategy> {
    text.parse()
}

fn parse_method(text: &str) -> Result<RebootMethod, InvalidMethod> {
    text.parse()
}

impl FromStr for DueSource {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "request" => Ok(Self::Request),
            "reboot-required" => Ok(Self::RebootRequired),
            "update-engine" => Ok(Self::UpdateEngine),
            "command" => Ok(Self::Command),
            _ => Err(invalid_value(
                text,
                "a source of reboots: request, reboot-required, update-engine or command",
            )),
        }
    }
}

impl fmt::Display for DueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::RebootRequired => "reboot-required",
            Self::UpdateEngine => "update-engine",
            Self::Command => "command",
        })
    }
}

impl FromStr for TimeSpan {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text)
            .ok()
            .filter(|length| *length <= LONGEST_TIME)
            .map(Self)
            .ok_or_else(|| {
                invalid_value(text, "a time of at most a week, such as \"90s\" or \"1h30m\"")
            })
    }
}

impl FromStr for WindowZone {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TimeZone::get(text).map(Self).map_err(|_| {
            invalid_value(text, "a time zone this machine knows, such as \"Europe/Paris\"")
        })
    }
}

impl FromStr for AtDeadline {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "force" => Ok(Self(WhenStuck::Force)),
            "give-up" => Ok(Self(WhenStuck::GiveUp)),
            _ => Err(invalid_value(text, "what a drain does at its deadline: force or give-up")),
        }
    }
}
