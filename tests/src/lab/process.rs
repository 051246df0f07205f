//! Processes of this machine as `/proc` shows them. Nothing in here matches processes by name.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number on this machine.
    pub pid: i32,
    /// When it was started, in ticks since boot.
    pub start: u64,
}

impl Process {
    /// The process with this number now; a zombie counts as none.
    pub fn from_pid(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses and may hold anything, so fields are counted from its end:
        // state is the first after it, starttime the 20th.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, start })
    }

    /// This very process.
    pub fn own_process() -> Option<Self> {
        Self::from_pid(i32::try_from(std::process::id()).ok()?)
    }

    /// True when it still runs.
    pub fn is_alive(self) -> bool {
        Self::from_pid(self.pid) == Some(self)
    }

    /// True when a signal has stopped it, as a terminal stops a job.
    pub fn is_stopped(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().next());
        self.is_alive() && state == Some("T")
    }

    /// Sends a signal, if it still runs.
    pub fn send_signal(self, signal: Signal) {
        if self.is_alive() {
            signal_pid(self.pid, signal);
        }
    }

    /// Its children that run.
    pub fn list_children(self) -> Vec<Self> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let list = fs::read_to_string(path).unwrap_or_default();
        list.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(Self::from_pid)
            .collect()
    }

    /// The link that names its pid namespace.
    pub fn pid_namespace(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok()
    }

    /// Processor time used so far by all its threads, in ticks of 10 ms: user and system.
    pub fn processor_ticks(self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    }

    /// Processor time used so far, in nanoseconds, of threads that still run; finer than ticks.
    pub fn processor_nanoseconds(self) -> Option<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        Some(
            tasks
                .flatten()
                .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
                .filter_map(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
                .sum(),
        )
    }

    /// Resident memory in KiB.
    pub fn resident_kib(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }
}

/// Sends a signal to a process that was found a moment ago.
pub(super) fn signal_pid(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended meanwhile: that is what signals here are for.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
