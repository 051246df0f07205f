//! How a machine goes down and comes back.
//!
//! Owns the order: whoever wants to know hears that it is about to go, then systemd stops all units and the daemon at the same time, as
//! nothing orders the one after the other; when all have ended, or their time is over, it goes. Only its userspace goes with a
//! soft-reboot.

use crate::containers::EngineModel;
use crate::events::Event;
use crate::machine::{AfterEnd, GoingDown};
use crate::member_faults::MemberFault;
use crate::moment::Micros;
use crate::systemd::SystemdModel;
use crate::world::World;

/// The longest time from the word that a machine goes down to the first stop.
const WORD: Micros = Micros::from_secs(1);
/// The pause between two looks at whether all has ended.
const LOOK: Micros = Micros::from_millis(250);
/// The time after which whatever is left is killed: a daemon has ten minutes, a unit less.
const PATIENCE: Micros = Micros::from_secs(620);
/// The time from a machine's boot to its daemon's start.
const BOOT: Micros = Micros::from_secs(2);

impl World {
    /// A machine begins to go down, and boots after a time; without one only its userspace goes.
    pub(crate) fn begin_going_down(&mut self, machine: usize, off: Option<Micros>) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine).filter(|found| found.is_on) else {
            return;
        };
        if found.going_down.is_some() {
            return;
        }
        found.going_down = Some(GoingDown { since: now, off });
        found.power.begin_stopping();
        if !found.is_copy() {
            self.facts.note_farewell(&found.machine_name());
        }
        let word = self.network.draw_delay(machine, Micros(100), WORD);
        self.queue.push(now + word, Event::HostStops(machine, now));
    }

    /// Units and daemon are stopped.
    pub(crate) fn host_stops(&mut self, machine: usize, since: Micros) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine) else { return };
        let Some(way) = found.going_down.filter(|way| way.since == since) else { return };
        if found.clock.is_asleep() {
            return self.queue.push(now + LOOK, Event::HostStops(machine, since));
        }
        found.advance_host(now);
        found.systemd.with_model(SystemdModel::begin_shutdown);
        found.with_engine(EngineModel::begin_shutdown);
        if let Some(daemon) = &mut found.daemon {
            daemon.begin_shutdown(AfterEnd::GoDown(way.off));
        }
        self.take_host_news(machine);
        self.queue.push(now + LOOK, Event::HostMayGo(machine, since));
    }

    /// The machine goes, if nothing is left.
    pub(crate) fn host_may_go(&mut self, machine: usize, since: Micros) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine) else { return };
        let Some(way) = found.going_down.filter(|way| way.since == since) else { return };
        if found.daemon.is_none() && !found.clock.is_asleep() {
            // What the daemon has started again meanwhile nobody else would stop.
            found.advance_host(now);
            found.with_engine(EngineModel::begin_shutdown);
        }
        let has_ended = found.daemon.is_none() && found.is_down();
        if found.clock.is_asleep() || (!has_ended && since + PATIENCE > now) {
            return self.queue.push(now + LOOK, Event::HostMayGo(machine, since));
        }
        let name = found.machine_name();
        if !found.is_copy() {
            self.facts.note_end_of_boot(&name);
        }
        self.end_lines(machine);
        self.stop_member_of(machine);
        let Some(found) = self.machines.get_mut(machine) else { return };
        if let Some(off) = way.off {
            found.go_down();
            self.queue.push(now + off, Event::MachineBoots(machine));
            return;
        }
        found.advance_host(now);
        found.restart_userspace();
        self.trace.note_event(now, format_args!("{name} has another userspace"));
        self.note_boot(machine);
        self.take_host_news(machine);
        self.start_processes(machine);
    }

    /// Power fails.
    pub(crate) fn cut_power(&mut self, machine: usize, off: Micros) {
        let Some(found) = self.machines.get_mut(machine).filter(|found| found.is_on) else {
            return;
        };
        found.cut_power();
        if !found.is_copy() {
            self.facts.note_end_of_boot(&found.machine_name());
        }
        self.end_lines(machine);
        self.stop_member_of(machine);
        self.queue.push(self.now + off, Event::MachineBoots(machine));
    }

    /// The member on a machine goes with its machine's power. It has had none while its machine has not booted yet.
    fn stop_member_of(&mut self, machine: usize) {
        if let Some(member) = self.member_on(machine) {
            self.begin_member_fault(member, MemberFault::Down);
        }
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
        self.note_boot(machine);
        self.take_host_news(machine);
        self.start_processes(machine);
    }

    fn note_boot(&mut self, machine: usize) {
        let Some(found) = self.machines.get(machine).filter(|found| !found.is_copy()) else {
            return;
        };
        let condition = self.facts.machines.entry(found.machine_name()).or_default();
        (condition.booted, condition.booted_in_outage) = (self.now, found.has_outage_note());
        condition.parting_since = None;
    }

    /// The member on a machine, if it has one, and its daemon are started a moment after it is up.
    fn start_processes(&mut self, machine: usize) {
        if let Some(member) = self.member_on(machine) {
            let until_member = self.network.draw_delay(machine, Micros::from_millis(100), BOOT);
            self.queue.push(self.now + until_member, Event::MemberStarts(member));
        }
        let until_daemon = self.network.draw_delay(machine, Micros::from_millis(100), BOOT);
        self.queue.push(self.now + until_daemon, Event::DaemonStarts(machine));
    }
}
