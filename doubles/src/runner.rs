//! A runner in memory: does to the units of a host what it is asked, as systemd would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::Observed;
use musterd::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, StartOutcome, UnitObservation,
};
use tokio::sync::mpsc;

use crate::host::ScriptedHost;

/// A runner in memory. What it runs outlives the daemon that asked for it, as systemd's units do.
#[derive(Debug)]
pub struct ScriptedRunner {
    host: Arc<ScriptedHost>,
}

impl ScriptedRunner {
    /// The runner of a daemon that begins on the host now, and its events.
    pub fn on_host(host: &Arc<ScriptedHost>) -> (Self, RunnerEvents) {
        let (sender, events) = mpsc::channel(1024);
        host.with(|s| {
            s.events = Some(sender);
            s.report_event(RunnerEvent::Relist);
        });
        (Self { host: Arc::clone(host) }, events)
    }

    async fn launch(&self, verb: &str, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let fails = self.host.with(|s| {
            s.check_line()?;
            s.log.push(format!("{verb} {unit}"));
            // As with systemd, what runs is not started.
            if verb == "start" && s.units.get(unit).is_some_and(|u| u.active == ActiveState::Active)
            {
                return Ok(None);
            }
            if s.queued.contains(unit) {
                s.jobs.insert(unit.clone());
                return Ok(Some(false));
            }
            s.runs += 1;
            let run = s.runs;
            s.units.entry(unit.clone()).or_default().run = run;
            s.set_active(unit, "activating");
            Ok(Some(s.failing.contains(unit)))
        })?;
        let Some(fails) = fails else { return Ok(StartOutcome::Done) };
        self.host.wait_until(|s| !s.jobs.contains(unit)).await;
        self.host
            .wait_until(|s| {
                !s.slow.contains(unit)
                    || s.units.get(unit).is_none_or(|u| u.active == ActiveState::Inactive)
            })
            .await;
        Ok(self.host.with(|s| {
            if s.units.get(unit).is_none_or(|u| u.active == ActiveState::Inactive) {
                return StartOutcome::Failed {
                    problem: "start was cancelled by another job".to_owned(),
                };
            }
            let ends = s.oneshots.contains(unit);
            s.set_active(
                unit,
                if fails {
                    "failed"
                } else if ends {
                    "inactive"
                } else {
                    "active"
                },
            );
            if s.brittle.contains(unit) {
                s.set_active(unit, "failed");
            }
            if s.restarting.contains(unit) {
                s.set_active(unit, "activating");
            }
            if fails {
                StartOutcome::Failed { problem: "start failed: exit status 1".to_owned() }
            } else {
                StartOutcome::Done
            }
        }))
    }
}

#[async_trait]
impl Runner for ScriptedRunner {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        self.host.with(|s| {
            s.check_line()?;
            let seen = units.iter().map(|unit| {
                let found = s.units.get(unit).cloned().unwrap_or_default();
                let known = s.units.contains_key(unit);
                let active = found.active.as_str();
                let observed = Observed {
                    load: if known { "loaded" } else { "not-found" }.to_owned(),
                    active: active.into(),
                    sub: s.sub_state(unit, active).to_owned(),
                    foreign: s.foreign.contains(unit),
                    file: found.file,
                    ..Observed::default()
                };
                let invocation =
                    if active == "active" { format!("{:032x}", found.run) } else { String::new() };
                (
                    unit.clone(),
                    UnitObservation { observed, invocation, since: 1, remark: String::new() },
                )
            });
            Ok(seen.collect())
        })
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        self.host.with(|s| {
            s.log.push(format!("write {unit}"));
            // As systemd sees a service that would run nothing.
            if text.contains("ExecStart=") || !text.contains("[Service]") {
                s.unloadable.remove(unit);
            } else {
                s.unloadable.insert(unit.clone());
            }
            s.units.entry(unit.clone()).or_default().file = Some(hash);
        });
        Ok(())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.host.with(|s| {
            s.check_line()?;
            s.log.push(format!("remove {unit}"));
            s.units.remove(unit);
            Ok(())
        })
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.host.with(|s| s.log.extend(units.iter().map(|unit| format!("enable {unit}"))));
        Ok(())
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.host.with(|s| s.log.extend(units.iter().map(|unit| format!("disable {unit}"))));
        Ok(())
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.host.with(|s| {
            s.check_line()?;
            s.log.push(format!("load {unit}"));
            if !s.unloadable.contains(unit) {
                return Ok(StartOutcome::Done);
            }
            Ok(StartOutcome::Failed { problem: "systemd cannot load it (bad-setting)".to_owned() })
        })
    }

    async fn start(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.launch("start", unit).await
    }

    async fn restart(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.launch("restart", unit).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let stops = self.host.with(|s| {
            s.check_line()?;
            s.log.push(format!("stop {unit}"));
            if s.stubborn.contains(unit) {
                return Ok(false);
            }
            s.jobs.remove(unit);
            s.set_active(unit, "deactivating");
            Ok(true)
        })?;
        if !stops {
            return Ok(StartOutcome::Failed { problem: "systemd does not stop it".to_owned() });
        }
        self.host.wait_until(|s| !s.clinging.contains(unit)).await;
        self.host.with(|s| {
            if !s.lingering.contains(unit) {
                s.set_active(unit, "inactive");
            }
        });
        Ok(StartOutcome::Done)
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        self.host.wait_until(|s| !s.is_in_state(unit, "deactivating")).await;
        self.host.with(|s| {
            s.check_line()?;
            Ok(!s.is_in_state(unit, "active"))
        })
    }
}
