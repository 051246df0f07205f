//! What `[Service]` and `[Unit]` say about a container's life: restarts, limits, time.
//!
//! Names, defaults and contradictions are those of systemd.service(5) and systemd.unit(5) in Debian 12. Owns reading
//! them; what follows from them is the engine's.

use std::collections::BTreeSet;
use std::time::Duration;

use super::names;
use super::quantity;
use super::reader::{ContainerError, Reader};
use crate::unit::words::Backslash;
use crate::unit::{UnitName, UnitType};

/// The rules by which a container's life is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSection {
    /// When it counts as started, and what its end means.
    pub kind: ServiceKind,
    /// When it is started again.
    pub restart: Restart,
    /// The delay before that.
    pub restart_delay: Duration,
    /// The limit of its starts.
    pub start_limit: Option<StartLimit>,
    /// The time that a start may take; for ever without.
    pub start_timeout: Option<Duration>,
    /// True when the start's time includes fetching the image: the file says how much there is. systemd's default was never
    /// meant for a download.
    pub start_timeout_is_given: bool,
    /// The time that a stop may take before the container is killed; for ever without.
    pub stop_timeout: Option<Duration>,
    /// True when the file says so; engines have a shorter one of their own.
    pub stop_timeout_is_given: bool,
    /// Exit codes that are a success besides 0.
    pub success: ExitCodes,
    /// Exit codes after which it is not started again, whatever `restart` says.
    pub prevent: ExitCodes,
    /// Exit codes after which it is started again, whatever `restart` says.
    pub force: ExitCodes,
    /// The slice of systemd's that the container is put into, `Slice=`.
    pub slice: Option<String>,
}

/// `Type=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// It runs until it is stopped. It counts as started when it runs, or when it is well if `Notify=healthy` says so.
    Notify,
    /// It ends by itself, and counts as started when it has.
    Oneshot {
        /// True when it counts as active from then on, `RemainAfterExit=`.
        remain: bool,
    },
}

/// `Restart=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the value of its own name")]
pub enum Restart {
    #[default]
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnWatchdog,
    OnAbort,
    Always,
}

/// At most so many starts in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLimit {
    /// The time.
    pub interval: Duration,
    /// The number, at least 1.
    pub burst: u32,
}

/// Exit codes as an engine reports them: one that a signal ended has 128 and the signal's number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitCodes(BTreeSet<u8>);

impl ExitCodes {
    /// True when a code is one of them.
    pub fn contains(&self, code: i64) -> bool {
        u8::try_from(code).is_ok_and(|code| self.0.contains(&code))
    }

    /// Codes of one's own.
    pub fn from_codes(codes: impl IntoIterator<Item = u8>) -> Self {
        Self(codes.into_iter().collect())
    }
}

/// systemd's `DefaultTimeoutStartSec=` and its sibling.
const TIMEOUT: Duration = Duration::from_secs(90);

/// systemd's `RestartSec=` without one.
const RESTART_DELAY: Duration = Duration::from_millis(100);

impl Default for ServiceSection {
    fn default() -> Self {
        Self {
            kind: ServiceKind::Notify,
            restart: Restart::No,
            restart_delay: RESTART_DELAY,
            start_limit: Some(StartLimit { interval: Duration::from_secs(10), burst: 5 }),
            start_timeout: Some(TIMEOUT),
            start_timeout_is_given: false,
            stop_timeout: Some(TIMEOUT),
            stop_timeout_is_given: false,
            success: ExitCodes::default(),
            prevent: ExitCodes::default(),
            force: ExitCodes::default(),
            slice: None,
        }
    }
}

impl ServiceSection {
    /// Reads both sections.
    pub(super) fn read(service: &Reader<'_>, unit: &Reader<'_>) -> Result<Self, ContainerError> {
        let default = Self::default();
        service.last_value("KillMode", |value| match value {
            "mixed" | "control-group" => Ok(()),
            _ => Err(format!(
                "a container's processes end together; {value:?} is neither mixed nor control-group"
            )),
        })?;
        let remain =
            service.last_value("RemainAfterExit", quantity::parse_boolean)?.unwrap_or_default();
        let kind = service
            .last_value("Type", |value| match value {
                "notify" => Ok(ServiceKind::Notify),
                "oneshot" => Ok(ServiceKind::Oneshot { remain }),
                _ => Err(format!(
                    "{value:?} is neither notify nor oneshot, which are what a container can be"
                )),
            })?
            .unwrap_or(ServiceKind::Notify);
        if kind == ServiceKind::Notify && remain {
            return Err(service.error(
                "RemainAfterExit",
                "it is for Type=oneshot; a container that has ended is not active",
            ));
        }
        // What systemd does not know it skips, so that what stood before holds.
        let known = service.lines("Restart", |value| parse_restart(service, value))?;
        let restart = known.into_iter().flatten().last().unwrap_or_default();
        if kind != ServiceKind::Notify && matches!(restart, Restart::Always | Restart::OnSuccess) {
            return Err(service
                .error("Restart", "systemd refuses always and on-success beside Type=oneshot"));
        }
        let both = service.last_value("TimeoutSec", parse_timeout)?;
        let start = service.last_value("TimeoutStartSec", parse_timeout)?.or(both);
        let stop = service.last_value("TimeoutStopSec", parse_timeout)?.or(both);
        let endless = matches!(kind, ServiceKind::Oneshot { .. });
        Ok(Self {
            kind,
            restart,
            restart_delay: service
                .last_value("RestartSec", |value| {
                    quantity::parse_span(value)?
                        .ok_or_else(|| "use Restart=no instead of waiting for ever".to_owned())
                })?
                .unwrap_or(default.restart_delay),
            start_limit: start_limit(service, unit)?,
            start_timeout: start.unwrap_or(if endless { None } else { default.start_timeout }),
            start_timeout_is_given: start.is_some(),
            stop_timeout: stop.unwrap_or(default.stop_timeout),
            stop_timeout_is_given: stop.is_some(),
            success: exit_codes(service, "SuccessExitStatus")?,
            prevent: exit_codes(service, "RestartPreventExitStatus")?,
            force: exit_codes(service, "RestartForceExitStatus")?,
            slice: service.last_value("Slice", parse_slice)?,
        })
    }
}

/// A timeout, in which nothing and `infinity` are for ever.
fn parse_timeout(value: &str) -> Result<Option<Duration>, String> {
    Ok(quantity::parse_span(value)?.filter(|span| !span.is_zero()))
}

/// The limit in `[Unit]`, or, as systemd once had it, in `[Service]`.
fn start_limit(
    service: &Reader<'_>,
    unit: &Reader<'_>,
) -> Result<Option<StartLimit>, ContainerError> {
    unit.last_value("StartLimitAction", |value| match value {
        "none" => Ok(()),
        _ => Err(format!("{value:?}: a container that fails does not take its machine along; only none is possible")),
    })?;
    let default = StartLimit { interval: Duration::from_secs(10), burst: 5 };
    let interval = [
        unit.last_value("StartLimitIntervalSec", quantity::parse_span)?,
        unit.last_value("StartLimitInterval", quantity::parse_span)?,
        service.last_value("StartLimitInterval", quantity::parse_span)?,
    ];
    let burst = [
        unit.last_value("StartLimitBurst", quantity::parse_number)?,
        service.last_value("StartLimitBurst", quantity::parse_number)?,
    ];
    let interval = interval.into_iter().flatten().next().unwrap_or(Some(default.interval));
    let burst = burst.into_iter().flatten().next().unwrap_or(default.burst);
    // For ever is longer than any machine runs.
    let interval = interval.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
    Ok((burst > 0 && !interval.is_zero()).then_some(StartLimit { interval, burst }))
}

fn parse_slice(value: &str) -> Result<String, String> {
    let unit: UnitName =
        value.parse().map_err(|error: crate::unit::InvalidUnitName| error.to_string())?;
    if unit.unit_type() == UnitType::Slice {
        Ok(value.to_owned())
    } else {
        Err(format!("{value:?} is not a slice"))
    }
}

fn parse_restart(service: &Reader<'_>, value: &str) -> Result<Option<Restart>, String> {
    Ok(Some(match value {
        "no" => Restart::No,
        "on-success" => Restart::OnSuccess,
        "on-failure" => Restart::OnFailure,
        "on-abnormal" => Restart::OnAbnormal,
        "on-watchdog" => Restart::OnWatchdog,
        "on-abort" => Restart::OnAbort,
        "always" => Restart::Always,
        "unless-stopped" => {
            service.add_note("no effect: unless-stopped is a word of Docker's, which systemd does not know and skips; for a container that is started again say always".to_owned());
            return Ok(None);
        }
        _ => {
            return Err(format!(
                "{value:?} is none of no, on-success, on-failure, on-abnormal, on-watchdog, on-abort and always"
            ));
        }
    }))
}

/// Exit codes that have a name in systemd.exec(5), without those only systemd itself gives.
const STATUS: [(&str, u8); 22] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("CONFIG", 78),
];

fn exit_codes(service: &Reader<'_>, name: &str) -> Result<ExitCodes, ContainerError> {
    let codes = service.list_words(name, Backslash::Literal, |word| {
        let status = STATUS.iter().find(|(status, _)| *status == word).map(|(_, code)| *code);
        let number = word.parse::<u8>().ok();
        let signal = || names::signal_number(word).and_then(|signal| signal.checked_add(128));
        number
            .or(status)
            .or_else(signal)
            .ok_or_else(|| format!("{word:?} is neither an exit code from 0 to 255 nor a signal"))
    })?;
    Ok(ExitCodes(codes.into_iter().collect()))
}
