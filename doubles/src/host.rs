//! A host in memory: its units, and what a script makes them do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitName};
use musterd::runner::{RunnerError, RunnerEvent};
use tokio::sync::{mpsc, watch};

/// A host in memory, as scripts want it: what runs on it outlives the daemon that asked for it, as systemd's units do.
#[derive(Default)]
pub struct ScriptedHost {
    state: Mutex<HostState>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct HostState {
    pub(crate) units: BTreeMap<UnitName, ScriptedUnit>,
    pub(crate) events: Option<mpsc::Sender<RunnerEvent>>,
    pub(crate) log: Vec<String>,
    pub(crate) failing: BTreeSet<UnitName>,
    pub(crate) unloadable: BTreeSet<UnitName>,
    pub(crate) slow: BTreeSet<UnitName>,
    pub(crate) queued: BTreeSet<UnitName>,
    pub(crate) brittle: BTreeSet<UnitName>,
    pub(crate) restarting: BTreeSet<UnitName>,
    pub(crate) oneshots: BTreeSet<UnitName>,
    pub(crate) jobs: BTreeSet<UnitName>,
    pub(crate) foreign: BTreeSet<UnitName>,
    pub(crate) lingering: BTreeSet<UnitName>,
    pub(crate) stubborn: BTreeSet<UnitName>,
    pub(crate) clinging: BTreeSet<UnitName>,
    pub(crate) runs: u64,
    pub(crate) boots: u64,
    pub(crate) stopping: bool,
    pub(crate) softly: bool,
    pub(crate) surviving: BTreeSet<UnitName>,
    /// Boots, soft ones too.
    pub(crate) userspaces: u64,
    pub(crate) lost: bool,
}

#[derive(Default, Clone)]
pub(crate) struct ScriptedUnit {
    pub(crate) file: Option<FileHash>,
    pub(crate) active: ActiveState,
    pub(crate) run: u64,
}

impl ScriptedHost {
    /// A host on which nothing runs.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut HostState) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Everything asked of the runner that changes a unit, in order.
    pub fn requests_made(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    /// `active`, and the number of its run.
    pub fn unit_state(&self, unit: &str) -> Option<(String, u64)> {
        let state = self.state.lock().unwrap();
        state.units.get(&unit_name(unit)).map(|u| (u.active.to_string(), u.run))
    }

    /// Its starts fail.
    pub fn fail_starts(&self, unit: &str) {
        self.with(|s| s.failing.insert(unit_name(unit)));
    }

    /// Its start does not end before it is told to, or is stopped.
    pub fn hold_starts(&self, unit: &str, slow: bool) {
        self.with(|s| {
            if slow { s.slow.insert(unit_name(unit)) } else { s.slow.remove(&unit_name(unit)) }
        });
    }

    /// It fails as soon as it runs.
    pub fn break_at_once(&self, unit: &str) {
        self.with(|s| s.brittle.insert(unit_name(unit)));
    }

    /// It fails as soon as it runs, and its runner is about to start it again.
    pub fn restart_at_once(&self, unit: &str) {
        self.with(|s| s.restarting.insert(unit_name(unit)));
    }

    /// It ends well, and its start is over when it has.
    pub fn end_when_started(&self, unit: &str) {
        self.with(|s| s.oneshots.insert(unit_name(unit)));
    }

    /// Starts of it wait in the queue of jobs, and nobody sees them, until [`ScriptedHost::work_off`].
    pub fn queue_starts(&self, unit: &str) {
        self.with(|s| s.queued.insert(unit_name(unit)));
    }

    /// Waits until a start of the unit is in the queue.
    pub async fn until_queued(&self, unit: &str) {
        let unit = unit_name(unit);
        let wait = self.wait_until(|s| s.jobs.contains(&unit));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{unit}");
    }

    /// Waits until the runner has been asked for something, as [`ScriptedHost::requests_made`] has it.
    pub async fn until_asked(&self, what: &str) {
        let wait = self.wait_until(|s| s.log.iter().any(|line| line == what));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{what}");
    }

    /// The starts in the queue are done, whether anybody waits for it or not.
    pub fn work_off(&self) {
        self.with(|s| {
            s.queued.clear();
            for unit in std::mem::take(&mut s.jobs) {
                s.set_active(&unit, "active");
            }
        });
    }

    /// Its stop does not end before it is told to.
    pub fn stop_slowly(&self, unit: &str, slowly: bool) {
        let unit = unit_name(unit);
        self.with(|s| if slowly { s.clinging.insert(unit) } else { s.clinging.remove(&unit) });
    }

    /// Processes of the unit go on after its stop, until they are told to end.
    pub fn leave_processes(&self, unit: &str, lingers: bool) {
        let unit = unit_name(unit);
        self.with(|s| {
            if lingers {
                s.lingering.insert(unit);
            } else if s.lingering.remove(&unit) && s.is_in_state(&unit, "deactivating") {
                s.set_active(&unit, "inactive");
            }
        });
    }

    /// It does not stop, whoever asks.
    pub fn refuse_to_stop(&self, unit: &str, refuses: bool) {
        let unit = unit_name(unit);
        self.with(|s| if refuses { s.stubborn.insert(unit) } else { s.stubborn.remove(&unit) });
    }

    /// A unit of the host's own, running.
    pub fn add_foreign_unit(&self, unit: &str) {
        self.with(|s| {
            s.foreign.insert(unit_name(unit));
            let unit = s.units.entry(unit_name(unit)).or_default();
            unit.active = ActiveState::Active;
        });
    }

    /// The host goes down from now on.
    pub fn begin_shutdown(&self) {
        self.with(|s| s.stopping = true);
    }

    /// The same, and it goes softly.
    pub fn begin_soft_shutdown(&self) {
        self.with(|s| (s.stopping, s.softly) = (true, true));
    }

    /// A soft-reboot leaves the unit running.
    pub fn let_survive(&self, unit: &str) {
        self.with(|s| s.surviving.insert(unit_name(unit)));
    }

    /// The host has come up again.
    pub fn end_shutdown(&self) {
        self.with(|s| (s.stopping, s.softly) = (false, false));
    }

    /// The unit ends by itself.
    pub fn crash_unit(&self, unit: &str) {
        self.with(|s| s.set_active(&unit_name(unit), "failed"));
    }

    /// Power fails: nothing runs, what was in `/run` is gone, and another boot begins, which nobody has asked to end.
    pub fn power_cut(&self) {
        self.with(|s| {
            s.units.clear();
            s.stopping = false;
            s.boots += 1;
        });
    }

    /// The machine is rebooted softly: nothing runs, and what was in `/run` is still there.
    pub fn reboot_softly(&self) {
        self.with(|s| {
            s.userspaces += 1;
            for (name, unit) in &mut s.units {
                if !s.surviving.contains(name) {
                    unit.active = ActiveState::Inactive;
                }
            }
        });
    }

    /// The line to the runner breaks, or is mended.
    pub fn cut_line(&self, lost: bool) {
        self.with(|s| {
            s.lost = lost;
            let event = if lost {
                RunnerEvent::Lost { problem: "cut".to_owned() }
            } else {
                RunnerEvent::Relist
            };
            s.report_event(event);
        });
    }

    /// Waits until the unit's state is as it should be.
    pub async fn until_state(&self, holds: impl Fn(Option<&str>) -> bool, unit: &str) {
        let unit = unit_name(unit);
        let wait = self.wait_until(|s| holds(s.units.get(&unit).map(|u| u.active.as_str())));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{unit}");
    }

    pub(crate) async fn wait_until(&self, until: impl Fn(&HostState) -> bool) {
        let mut changed = self.changed.subscribe();
        while !until(&self.state.lock().unwrap()) {
            changed.changed().await.unwrap();
        }
    }
}

impl HostState {
    pub(crate) fn set_active(&mut self, unit: &UnitName, active: &str) {
        let entry = self.units.entry(unit.clone()).or_default();
        entry.active = active.into();
        let run = entry.run;
        self.report_event(RunnerEvent::Changed {
            unit: unit.clone(),
            active: active.into(),
            sub: self.sub_state(unit, active).to_owned(),
            invocation: if active == "active" { format!("{run:032x}") } else { String::new() },
            since: 1,
            remark: String::new(),
        });
    }

    pub(crate) fn sub_state(&self, unit: &UnitName, active: &str) -> &'static str {
        match active {
            "active" => "running",
            "activating" if self.restarting.contains(unit) => "auto-restart",
            _ => "dead",
        }
    }

    pub(crate) fn is_in_state(&self, unit: &UnitName, active: &str) -> bool {
        self.units.get(unit).is_some_and(|u| u.active.as_str() == active)
    }

    pub(crate) fn report_event(&mut self, event: RunnerEvent) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }

    pub(crate) fn check_line(&self) -> Result<(), RunnerError> {
        if self.lost {
            return Err(RunnerError::Lost {
                during: "a call".to_owned(),
                problem: "cut".to_owned(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for ScriptedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedHost").finish_non_exhaustive()
    }
}

fn unit_name(text: &str) -> UnitName {
    text.parse().unwrap()
}
