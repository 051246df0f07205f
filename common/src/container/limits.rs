//! What a container may use: its own limits, and those that `[Service]` sets for the control group it would be in.
//!
//! With Podman the container lives in its service's control group, so that a limit of the service's is one of the
//! container's. Docker puts it elsewhere, and is given the limits that it has too; the rest is refused in [`super::keys`].

use super::options::{self, Ulimit};
use super::quantity;
use super::reader::{ContainerError, Reader};
use crate::unit::words::Backslash;

/// The limits of a container's resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Memory and swap together in bytes; -1 is no limit. Engines allow twice the memory without.
    pub memory_swap: Option<i64>,
    /// Memory in bytes that it keeps when others want more.
    pub memory_reservation: Option<i64>,
    /// Processes; none without, or with 0.
    pub pids: Option<i64>,
    /// Shared memory in bytes.
    pub shm: Option<i64>,
    /// Limits of setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// Processor time in hundred-thousandths of one processor.
    pub cpu_quota: Option<i64>,
    /// Weight among others that want processor time; 1024 is common.
    pub cpu_shares: Option<i64>,
    /// Processors it may run on.
    pub cpus: Option<String>,
    /// Memory nodes it may use.
    pub memory_nodes: Option<String>,
    /// Its bias where memory runs out, from -1000 to 1000: one with a higher bias is ended sooner.
    pub oom_score: Option<i64>,
}

impl Limits {
    pub(super) fn read(reader: &Reader<'_>, service: &Reader<'_>) -> Result<Self, ContainerError> {
        let mut limits = Self {
            memory: reader.last_value("Memory", quantity::parse_size)?,
            memory_swap: reader.last_value("--memory-swap", |value| match value {
                "-1" => Ok(-1),
                _ => quantity::parse_size(value),
            })?,
            memory_reservation: reader.last_value("--memory-reservation", quantity::parse_size)?,
            pids: reader.last_value("PidsLimit", |value| {
                match quantity::parse_number::<i64>(value)? {
                    limit @ -1.. => Ok(limit),
                    limit => Err(format!("{limit} is less than -1, which is no limit")),
                }
            })?,
            shm: reader.last_value("ShmSize", |value| match quantity::parse_size(value)? {
                0 => Err("for Podman that is no limit, and for Docker its default; say how much"
                    .to_owned()),
                size => Ok(size),
            })?,
            ulimits: reader.list_values("Ulimit", options::parse_ulimit)?,
            cpu_quota: reader.last_value("--cpus", |value| {
                parse_scaled(value, 5)
                    .ok_or_else(|| format!("{value:?} is not a number of processors"))
            })?,
            cpu_shares: reader.last_value("--cpu-shares", quantity::parse_number)?,
            cpus: reader.last_value("--cpuset-cpus", parse_number_set)?,
            memory_nodes: reader.last_value("--cpuset-mems", parse_number_set)?,
            oom_score: reader.last_value("--oom-score-adj", oom_score)?,
        };
        limits.add_service_limits(service)?;
        Ok(limits)
    }

    /// Adds the limits of the service. One that the container has already is refused: with Podman both would hold, and
    /// Docker takes one.
    fn add_service_limits(&mut self, service: &Reader<'_>) -> Result<(), ContainerError> {
        let memory = service
            .as_written("MemoryMax", |value| unless_infinite(value, quantity::parse_size))?;
        if let Some(memory) = memory.flatten() {
            refuse_second(service, "MemoryMax", self.memory.is_some())?;
            self.memory = Some(memory);
            // Of swap it says nothing.
            self.memory_swap = Some(-1);
        }
        let tasks = service
            .as_written("TasksMax", |value| unless_infinite(value, quantity::parse_number))?;
        if let Some(tasks) = tasks.flatten() {
            refuse_second(service, "TasksMax", self.pids.is_some())?;
            self.pids = Some(tasks);
        }
        let quota = service.as_written("CPUQuota", |value| {
            let percent = value.strip_suffix('%').and_then(|percent| parse_scaled(percent, 3));
            percent.ok_or_else(|| format!("{value:?} is not a percentage such as 150%"))
        })?;
        if quota.is_some() {
            refuse_second(service, "CPUQuota", self.cpu_quota.is_some())?;
            self.cpu_quota = quota;
        }
        let cpus: Vec<String> =
            service.word_lists("AllowedCPUs", Backslash::Literal, parse_number_set)?;
        if !cpus.is_empty() {
            refuse_second(service, "AllowedCPUs", self.cpus.is_some())?;
            self.cpus = Some(cpus.join(","));
        }
        let score = service.last_value("OOMScoreAdjust", oom_score)?;
        if score.is_some() {
            refuse_second(service, "OOMScoreAdjust", self.oom_score.is_some())?;
            self.oom_score = score;
        }
        Ok(())
    }
}

fn refuse_second(service: &Reader<'_>, name: &str, twice: bool) -> Result<(), ContainerError> {
    if twice {
        return Err(service.error(name, "[Container] sets that limit too; leave one of them out"));
    }
    Ok(())
}

fn unless_infinite<T>(
    value: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value == "infinity" {
        return Ok(None);
    }
    if value.ends_with('%') {
        return Err(format!(
            "{value:?}: a share of the machine is systemd's to reckon; give a number"
        ));
    }
    parse(value).map(Some)
}

/// A set of numbers such as `0-3,5`.
fn parse_number_set(value: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<u16>().is_ok();
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(part),
    };
    let value = value.trim_matches(',');
    if !value.is_empty() && value.split(',').all(range) {
        return Ok(value.to_owned());
    }
    Err(format!("{value:?} is not a set of numbers such as 0-3,5"))
}

fn oom_score(value: &str) -> Result<i64, String> {
    match quantity::parse_number(value)? {
        score @ -1000..=1000 => Ok(score),
        score => Err(format!("{score} is not from -1000 to 1000")),
    }
}

/// A positive decimal number in units of so many places behind its point.
fn parse_scaled(value: &str, places: usize) -> Option<i64> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("00000".chars()).take(places).collect();
    format!("{whole}{fraction}").parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_without_rounding() {
        assert_eq!(parse_scaled("2", 5), Some(200_000));
        assert_eq!(parse_scaled("0.5", 5), Some(50_000));
        assert_eq!(parse_scaled("150", 3), Some(150_000));
        assert_eq!(parse_scaled("12.5", 3), Some(12_500));
        for value in ["", ".5", "-1", "0", "1e3", "1.5.2", "99999999999999999999"] {
            assert_eq!(parse_scaled(value, 5), None, "{value}");
        }
    }

    #[test]
    fn sets_are_numbers_and_ranges() {
        assert_eq!(parse_number_set("0-3,5").as_deref(), Ok("0-3,5"));
        for value in ["", "a", "1-", "1,,2", "0-3;"] {
            assert!(parse_number_set(value).is_err(), "{value}");
        }
    }
}
