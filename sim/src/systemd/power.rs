//! Boots and their ends.
//!
//! Owns what survives which of them. A power cut leaves what was synced, and nothing in `/run`; a shutdown stops everything before it;
//! a soft-reboot (systemd-soft-reboot.service(8)) stops everything and leaves `/run` with its unit files and links, the kernel's boot
//! id and control groups as they are. Executing itself anew changes nothing for units.

use std::path::Path;

use muster_common::unit::UnitName;
use musterd::runner::systemd::manager::{JobKind, ManagerSignal};

use super::state::{LoadedUnit, Phase, SystemdModel};

/// Targets that a machine that is up has reached.
const REACHED: [&str; 5] =
    ["sysinit.target", "basic.target", "timers.target", "sockets.target", "multi-user.target"];

impl SystemdModel {
    /// The machine is switched on: its targets are reached, and what is hooked into them is started.
    pub fn begin_boot(&mut self) {
        self.boots += 1;
        self.reach_targets();
    }

    fn reach_targets(&mut self) {
        self.stopping = false;
        for target in REACHED {
            let Ok(target) = target.parse::<UnitName>() else { continue };
            self.load_unit(&target);
            self.runs += 1;
            let run = self.runs;
            let hooked = self.hooks.get(&target).cloned().unwrap_or_default();
            let entry = self.units.entry(target).or_insert_with(LoadedUnit::new);
            (entry.phase, entry.run) = (Phase::Up, run);
            for unit in hooked {
                let _ = self.request_by_systemd(JobKind::Start, &unit);
            }
        }
        self.collect_garbage();
    }

    /// The machine is off: nothing runs, and what was in `/run` is gone. The disk has lost by then what it loses.
    pub fn lose_power(&mut self, forget_run: impl FnOnce(&Path)) {
        self.forget_everything();
        self.hooks.clear();
        forget_run(Path::new("/run"));
    }

    /// Power fails, and comes back.
    pub fn restart_after_power_cut(&mut self, forget_run: impl FnOnce(&Path)) {
        self.lose_power(forget_run);
        self.begin_boot();
    }

    /// The machine begins to go down: everything is stopped, and what waits to be started is not started any more.
    pub fn begin_shutdown(&mut self) {
        self.stopping = true;
        let units: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(unit, found)| found.is_there() || self.jobs.contains_key(*unit))
            .filter(|(unit, _)| !REACHED.contains(&unit.as_str()))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in units {
            let _ = self.request_by_systemd(JobKind::Stop, &unit);
        }
    }

    /// Everything has ended, and the machine may go.
    pub fn is_down(&self) -> bool {
        let mut there = self.units.iter().filter(|(_, found)| found.is_there());
        self.stopping && there.all(|(unit, _)| REACHED.contains(&unit.as_str()))
    }

    /// It has gone down, and comes back with a new boot.
    pub fn restart_after_shutdown(&mut self, forget_run: impl FnOnce(&Path)) {
        self.restart_after_power_cut(forget_run);
    }

    /// It has gone down as far as its first process, and comes back from there: `/run`, and what is hooked in there, are as they were.
    pub fn restart_softly(&mut self) {
        self.forget_everything();
        self.soft_reboots += 1;
        self.reach_targets();
    }

    /// Everything that was in memory, and every process.
    fn forget_everything(&mut self) {
        self.units.clear();
        self.jobs.clear();
        self.leftovers.clear();
        self.signals.clear();
        self.ends.clear();
        self.signals.push(ManagerSignal::OwnerChanged);
    }

    /// systemd executes itself anew: it reads its files, and speaks over another connection.
    pub fn reexecute_systemd(&mut self) {
        self.signals.push(ManagerSignal::OwnerChanged);
        self.reload_units();
        self.signals.push(ManagerSignal::Connected);
    }

    /// This boot of the machine; a soft-reboot leaves it as it was.
    pub fn boot_number(&self) -> u64 {
        self.boots
    }

    /// The number of the run of `sysinit.target`: another one after every boot, soft or not.
    pub fn userspace_number(&self) -> u64 {
        let sysinit = self.units.iter().find(|(unit, _)| unit.as_str() == "sysinit.target");
        sysinit.map_or(0, |(_, found)| found.run)
    }
}
