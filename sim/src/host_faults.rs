//! Faults of one machine between its daemon and its systemd, carried out.
//!
//! Owns what each kind does to systemd, to files and to the machine's time when it begins and when it is over. Which come when is the
//! plan's.

use std::path::{Path, PathBuf};

use muster_common::unit::{FileHash, UnitName};
use musterd::runner::systemd::manager::JobKind;
use musterd::stdx::disk::Disk as _;

use crate::host_unit::HostUnit;
use crate::machine::Machine;
use crate::member_faults::MemberFault;
use crate::moment::Micros;
use crate::plan::host_faults::HostFault;
use crate::systemd::{SystemdModel, UNIT_DIRECTORY};
use crate::world::World;

/// The directory of a machine's own units.
const OWN_UNITS: &str = "/etc/systemd/system";
/// The text of a unit of the machine's own.
const OWN_TEXT: &str = "[Service]\nExecStart=/sim/run --own\n";

impl World {
    /// Such a fault begins. True if it is over at once.
    pub(crate) fn begin_host_fault(
        &mut self,
        number: usize,
        fault: &HostFault,
        lasts: Micros,
    ) -> bool {
        let now = self.now;
        if matches!(fault, HostFault::SoftReboot) {
            self.begin_going_down(number, None);
            return true;
        }
        let Some(machine) = self.machines.get_mut(number) else { return true };
        // Nothing happens on a machine that sleeps, and nobody does anything there.
        if machine.clock.is_asleep() && !matches!(fault, HostFault::Suspended) {
            return true;
        }
        machine.advance_host(now);
        let mut is_over = true;
        match *fault {
            HostFault::RunnerLost => {
                is_over = false;
                machine.broken_lines += 1;
                machine.set_line();
            }
            HostFault::SystemdBusy => {
                is_over = false;
                machine.busies += 1;
                let until = machine.clock.awake_time(now) + lasts;
                machine.systemd.set_busy(until.to_duration());
            }
            HostFault::Suspended => {
                is_over = false;
                machine.fall_asleep(now);
                if let Some(member) = self.member_on(number) {
                    self.begin_member_fault(member, MemberFault::Paused);
                }
            }
            HostFault::NameTaken(pick) => {
                is_over = false;
                if let Some(unit) = self.plan.shape.pick_unit(pick) {
                    // The disk of the simulated machine takes everything.
                    let _ = machine.disk.write(&own_path(unit), OWN_TEXT.as_bytes(), 0o644);
                    machine.systemd.with_model(SystemdModel::reload_by_hand);
                }
            }
            HostFault::SystemdReloaded => {
                machine.systemd.with_model(SystemdModel::reload_by_hand);
            }
            HostFault::SystemdReexecuted => {
                machine.systemd.with_model(SystemdModel::reexecute_systemd);
            }
            HostFault::UnitFails(pick) => {
                machine.act_on_unit(Pick::Up(pick), |model, unit| {
                    model.kill_unit(unit);
                    false
                });
            }
            HostFault::StoppedByHand(pick) => {
                let stopped = machine.act_on_unit(Pick::Up(pick), |model, unit| {
                    model.ask_by_hand(JobKind::Stop, unit)
                });
                if let Some(unit) = stopped {
                    machine.systemd.note_end_by_hand(&unit);
                }
            }
            HostFault::StartedByHand(pick) => {
                let started = machine.act_on_unit(Pick::Down(pick), |model, unit| {
                    model.ask_by_hand(JobKind::Start, unit)
                });
                if let Some(unit) = started {
                    machine.systemd.note_start_by_hand(&unit);
                }
            }
            // What is left of a machine that goes down is killed, and holds nothing up.
            HostFault::JobCancelled(_) if machine.going_down.is_some() => {}
            HostFault::JobCancelled(pick) => {
                if let Some(unit) = machine.systemd.with_model(|model| model.cancel_job(pick)) {
                    machine.systemd.note_end_by_hand(&unit);
                }
            }
            HostFault::FileEdited(pick) => machine.edit_file(pick),
            // It is none of systemd's.
            HostFault::SoftReboot => {}
        }
        self.take_host_news(number);
        is_over
    }

    /// Such a fault is over.
    pub(crate) fn end_host_fault(&mut self, number: usize, fault: &HostFault) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(number) else { return };
        match *fault {
            HostFault::RunnerLost => {
                machine.broken_lines = machine.broken_lines.saturating_sub(1);
                machine.set_line();
            }
            HostFault::SystemdBusy => machine.busies = machine.busies.saturating_sub(1),
            HostFault::Suspended => {
                let slept = machine.wake_up(now).to_duration();
                if let Some(member) = self.member_on(number) {
                    self.etcd.delay_leases(member, slept);
                    self.end_member_fault(member, MemberFault::Paused);
                }
            }
            HostFault::NameTaken(pick) => {
                if let Some(unit) = self.plan.shape.pick_unit(pick) {
                    machine.remove_own_file(&own_path(unit));
                    machine.advance_host(now);
                    machine.systemd.with_model(SystemdModel::reload_by_hand);
                }
            }
            _ => {}
        }
        self.take_host_news(number);
    }
}

/// The unit that a person or a fault is about.
#[derive(Debug, Clone, Copy)]
enum Pick {
    /// One of the services that are up.
    Up(u64),
    /// One of the units that have a file and are down.
    Down(u64),
}

impl Machine {
    /// Breaks the line to systemd, or mends it.
    fn set_line(&self) {
        self.systemd.set_line(self.broken_lines == 0);
        self.power.set_askable(self.broken_lines == 0);
    }

    /// Does something to a unit. The unit, if that was taken.
    fn act_on_unit(
        &self,
        pick: Pick,
        act: impl FnOnce(&mut SystemdModel, &UnitName) -> bool,
    ) -> Option<UnitName> {
        if !self.is_on {
            return None;
        }
        let files = self.list_files();
        let (pick, units) = self.systemd.with_model(|model| match pick {
            Pick::Up(pick) => (pick, model.list_services_up()),
            Pick::Down(pick) => (pick, model.list_down(&files)),
        });
        let unit = pick_one(pick, &units)?;
        self.systemd.with_model(|model| act(model, unit)).then(|| unit.clone())
    }

    /// The units that have a file where daemons put them.
    fn list_files(&self) -> Vec<UnitName> {
        let names = self.disk.list(Path::new(UNIT_DIRECTORY)).unwrap_or_default();
        names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    fn edit_file(&self, pick: u64) {
        let files = self.list_files();
        let Some(unit) = pick_one(pick, &files) else { return };
        let path = Path::new(UNIT_DIRECTORY).join(unit.as_str());
        if let Ok(mut bytes) = self.disk.read(&path) {
            bytes.extend_from_slice(b"# edited by hand\n");
            // The disk of the simulated machine takes everything.
            let _ = self.disk.write(&path, &bytes, 0o644);
        }
    }
}

fn pick_one(pick: u64, units: &[UnitName]) -> Option<&UnitName> {
    units.get(usize::try_from(pick.checked_rem(units.len() as u64)?).ok()?)
}

/// True for what runs from a file of the host's own, under whatever name.
pub(crate) fn is_own_run(is: &HostUnit) -> bool {
    is.running == Some(FileHash::of_text(OWN_TEXT))
}

fn own_path(unit: &UnitName) -> PathBuf {
    Path::new(OWN_UNITS).join(unit.as_str())
}
