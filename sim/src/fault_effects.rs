//! Faults, carried out on the world.
//!
//! Owns what each kind of fault does to the parts of the world when it begins and when it is over. Which come when is the plan's.

use muster_engine::machine::observation::RunnerEvent;

use crate::events::Event;
use crate::machine::AfterEnd;
use crate::moment::Micros;
use crate::network::{LinkFault, Way};
use crate::plan::faults::Fault;
use crate::plan::shape::Shape;
use crate::world::World;

/// The time from a machine's boot to its daemon's start.
const BOOT: Micros = Micros::from_secs(2);

impl World {
    /// A fault of the plan begins.
    pub(crate) fn begin_fault(&mut self, index: usize) {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return };
        let (fault, lasts) = (planned.fault, planned.lasts);
        self.trace.note_event(self.now, format_args!("fault {fault:?} for {lasts}"));
        *self.coverage.faults.entry(fault.kind()).or_default() += 1;
        let over_at_once = match &fault {
            Fault::Cut(machine) => {
                self.cut_link(*machine, &[LinkFault::CutToStore, LinkFault::CutFromStore]);
                false
            }
            Fault::CutToStore(machine) => {
                self.cut_link(*machine, &[LinkFault::CutToStore]);
                false
            }
            Fault::CutFromStore(machine) => {
                self.cut_link(*machine, &[LinkFault::CutFromStore]);
                false
            }
            Fault::CutMany(machines) => {
                for machine in machines {
                    self.cut_link(*machine, &[LinkFault::CutToStore, LinkFault::CutFromStore]);
                }
                let names: Vec<String> =
                    machines.iter().map(|machine| Shape::machine_name(*machine)).collect();
                self.facts.note_mass(&names, self.now + lasts);
                false
            }
            Fault::Lag(machine) => {
                self.network.begin_fault(*machine, LinkFault::Lag);
                false
            }
            Fault::Loss(machine) => {
                self.network.begin_fault(*machine, LinkFault::Loss);
                false
            }
            Fault::StorePaused => {
                self.store.set_paused(true);
                self.break_watches(None);
                false
            }
            Fault::StoreAway => {
                self.store.set_away(self.now, true);
                self.break_watches(None);
                false
            }
            Fault::StoreFull => {
                self.store.set_full(true);
                false
            }
            Fault::LeaseEnds(machine) => {
                self.end_lease(*machine);
                true
            }
            Fault::DaemonKilled(machine) => {
                self.kill_daemon(*machine, lasts);
                true
            }
            Fault::DaemonRestarted(machine) => {
                self.stop_daemon(*machine, AfterEnd::StartAgain(lasts));
                true
            }
            Fault::DaemonPaused(machine) => {
                if let Some(found) = self.machines.get_mut(*machine) {
                    found.pauses += 1;
                }
                false
            }
            Fault::PowerCut(machine) => {
                self.cut_power(*machine, lasts);
                true
            }
            Fault::Shutdown(machine) => {
                self.stop_daemon(*machine, AfterEnd::GoDown(lasts));
                true
            }
            Fault::RunnerLost(machine) => {
                self.break_runner_line(*machine);
                false
            }
            Fault::UnitFails(machine, number) => {
                self.fail_unit(*machine, *number);
                true
            }
            Fault::WallJump(machine, seconds) => {
                if let Some(found) = self.machines.get_mut(*machine) {
                    found.clock.jump_wall(*seconds);
                }
                true
            }
        };
        if !over_at_once {
            self.queue.push(self.now + lasts, Event::FaultEnds(index));
        }
    }

    /// A fault of the plan is over.
    pub(crate) fn end_fault(&mut self, index: usize) {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return };
        let fault = planned.fault;
        self.trace.note_event(self.now, format_args!("over: {fault:?}"));
        match fault {
            Fault::Cut(machine) => {
                self.mend_link(machine, &[LinkFault::CutToStore, LinkFault::CutFromStore]);
            }
            Fault::CutToStore(machine) => self.mend_link(machine, &[LinkFault::CutToStore]),
            Fault::CutFromStore(machine) => self.mend_link(machine, &[LinkFault::CutFromStore]),
            Fault::CutMany(machines) => {
                for machine in machines {
                    self.mend_link(machine, &[LinkFault::CutToStore, LinkFault::CutFromStore]);
                }
            }
            Fault::Lag(machine) => self.mend_link(machine, &[LinkFault::Lag]),
            Fault::Loss(machine) => self.mend_link(machine, &[LinkFault::Loss]),
            Fault::StorePaused => {
                self.store.set_paused(false);
                self.resume_store();
            }
            Fault::StoreAway => self.store.set_away(self.now, false),
            Fault::StoreFull => self.store.set_full(false),
            Fault::DaemonPaused(machine) => {
                if let Some(found) = self.machines.get_mut(machine) {
                    found.pauses = found.pauses.saturating_sub(1);
                }
            }
            Fault::RunnerLost(machine) => {
                if let Some(found) = self.machines.get_mut(machine) {
                    found.broken_lines = found.broken_lines.saturating_sub(1);
                    if found.broken_lines == 0
                        && let Some(daemon) = &found.daemon
                    {
                        daemon.tell_report(RunnerEvent::Relist);
                    }
                }
            }
            _ => {}
        }
        if self.store.is_there() {
            self.end_leases();
        }
    }

    /// Takes note of who is well now.
    pub(crate) fn note_conditions(&mut self) {
        self.facts.now = self.now;
        for (number, machine) in self.machines.iter().enumerate() {
            let well = machine.daemon_runs()
                && !machine.power.goes_down()
                && self.network.is_sound(number);
            let name = machine.machine_name();
            self.facts.set_condition(&name, well);
            let to_store = self.network.is_cut(number, Way::ToStore);
            let cut = to_store && self.network.is_cut(number, Way::FromStore);
            let silent = !machine.daemon_runs() || to_store;
            self.facts.set_silence(&name, silent, cut && machine.daemon_runs());
        }
        self.facts.set_store_sound(self.store.takes_writes());
        self.facts.set_store_there(self.store.is_there(), &mut self.outage_began);
    }

    fn cut_link(&mut self, machine: usize, faults: &[LinkFault]) {
        for fault in faults {
            self.network.begin_fault(machine, *fault);
        }
        self.break_watches(Some(machine));
    }

    fn mend_link(&mut self, machine: usize, faults: &[LinkFault]) {
        for fault in faults {
            self.network.end_fault(machine, *fault);
        }
    }

    fn break_watches(&mut self, node: Option<usize>) {
        for watch in self.store.open_watches(node) {
            self.break_watch(watch);
        }
    }

    /// What waited in a store that stood still is carried out.
    fn resume_store(&mut self) {
        if !self.store.is_there() {
            return;
        }
        self.end_leases();
        for (node, call, reply) in std::mem::take(&mut self.waiting_calls) {
            self.carry_out(node, call, reply);
        }
    }

    fn end_lease(&mut self, machine: usize) {
        let name = Shape::machine_name(machine);
        self.facts.note_setback(&name);
        let key = format!("{}machine/{name}", crate::machine::PREFIX);
        self.store.end_lease_of(self.now, &key);
        self.take_store_news();
    }

    fn kill_daemon(&mut self, machine: usize, away: Micros) {
        let Some(found) = self.machines.get_mut(machine).filter(|found| found.daemon.is_some())
        else {
            return;
        };
        found.kill_daemon();
        self.queue.push(self.now + away, Event::DaemonStarts(machine));
    }

    fn stop_daemon(&mut self, machine: usize, then: AfterEnd) {
        let Some(found) = self.machines.get_mut(machine) else { return };
        let Some(daemon) = found.daemon.as_mut().filter(|daemon| daemon.then == AfterEnd::Nothing)
        else {
            return;
        };
        daemon.begin_shutdown(then);
        if matches!(then, AfterEnd::GoDown(_)) {
            found.power.begin_stopping();
            self.facts.note_farewell(&found.machine_name());
        }
    }

    fn cut_power(&mut self, machine: usize, off: Micros) {
        let Some(found) = self.machines.get_mut(machine).filter(|found| found.is_on) else {
            return;
        };
        found.cut_power();
        let name = found.machine_name();
        self.facts.note_end_of_boot(&name);
        self.queue.push(self.now + off, Event::MachineBoots(machine));
    }

    fn break_runner_line(&mut self, machine: usize) {
        let Some(found) = self.machines.get_mut(machine) else { return };
        found.broken_lines += 1;
        if let Some(daemon) = &found.daemon {
            daemon.tell_report(RunnerEvent::Lost { problem: "the bus is gone".to_owned() });
        }
    }

    fn fail_unit(&mut self, machine: usize, number: u64) {
        let now = self.now;
        if let Some(found) = self.machines.get_mut(machine) {
            let wall = found.clock.wall_at(now);
            found.units.fail_unit(wall, number);
        }
        self.take_host_output(machine);
    }

    /// A machine is switched on, unless it is.
    pub(crate) fn boot_machine(&mut self, machine: usize) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine).filter(|found| !found.is_on) else {
            return;
        };
        found.boot_machine(now);
        let (name, boot) = (found.machine_name(), found.boots);
        self.trace.note_event(now, format_args!("{name} boots: {boot}"));
        self.facts.machines.entry(name).or_default().booted = now;
        let until_daemon = self.network.draw_delay(machine, Micros::from_millis(100), BOOT);
        self.queue.push(now + until_daemon, Event::DaemonStarts(machine));
    }

    /// A machine's daemon is started, unless there is one.
    pub(crate) fn start_daemon(&mut self, machine: usize) {
        let now = self.now;
        if let Some(found) = self.machines.get_mut(machine) {
            found.start_daemon(now);
            let name = found.machine_name();
            self.trace.note_event(now, format_args!("{name} starts its daemon"));
        }
    }

    /// A machine's daemon has come to its end.
    pub(crate) fn daemon_ended(&mut self, machine: usize) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine) else { return };
        let Some(daemon) = found.daemon.take() else { return };
        let name = found.machine_name();
        self.trace.note_event(now, format_args!("{name} daemon has ended"));
        match daemon.then {
            AfterEnd::Nothing => {
                self.report_violations(vec![(
                    "daemon-ended",
                    format!("{name}'s daemon ended by itself"),
                )]);
            }
            AfterEnd::StartAgain(after) => {
                self.queue.push(now + after, Event::DaemonStarts(machine));
            }
            AfterEnd::GoDown(off) => {
                if let Some(found) = self.machines.get_mut(machine) {
                    found.go_down();
                }
                self.facts.note_end_of_boot(&name);
                self.queue.push(now + off, Event::MachineBoots(machine));
            }
        }
    }
}
