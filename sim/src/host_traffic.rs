//! What passes between a daemon and its host.
//!
//! Owns the way of requests to systemd, of its answers and reports, and the checks on them. The host itself is [`crate::units_host`]'s.

use std::collections::BTreeMap;

use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

use crate::events::Event;
use crate::invariants::{Findings, steps, twice};
use crate::moment::Micros;
use crate::units_host::{RunnerReply, broken_line};
use crate::wire::RunnerCall;
use crate::world::World;

/// The longest that a call to systemd is on its way.
const BUS_LATENCY: Micros = Micros::from_millis(3);

impl World {
    pub(crate) fn send_unit_call(&mut self, node: usize, call: RunnerCall, reply: RunnerReply) {
        let Some(machine) = self.machines.get(node) else { return };
        let boot = machine.boots;
        // What is asked first over one connection arrives first.
        let takes = self.network.draw_delay(node, Micros(100), BUS_LATENCY);
        let Some(free) = self.bus_free_at.get_mut(node) else { return };
        *free = (*free).max(self.now + takes);
        let at = *free;
        self.queue.push(at, Event::UnitCall { machine: node, boot, call, reply });
    }

    /// A request has arrived at a machine's systemd.
    pub(crate) fn unit_call(
        &mut self,
        number: usize,
        boot: u64,
        call: RunnerCall,
        reply: RunnerReply,
    ) {
        let Some(machine) = self.machines.get_mut(number).filter(|m| m.is_on && m.boots == boot)
        else {
            return;
        };
        if machine.broken_lines > 0 && !matches!(call, RunnerCall::Write { .. }) {
            let _ = reply.send(Err(broken_line()));
            return;
        }
        let name = machine.machine_name();
        let goes_down = machine.power.goes_down();
        let found = match &call {
            RunnerCall::Start { unit, generation } | RunnerCall::Restart { unit, generation } => {
                let is = machine.units.units().get(unit);
                let mut found = steps::check_start(&self.facts, &name, unit, *generation, is);
                found.extend(steps::check_job(&mut self.facts, unit, *generation));
                found
            }
            RunnerCall::Stop(unit) if !goes_down => {
                let is = machine.units.units().get(unit);
                steps::check_stop(&self.facts, &name, unit, is)
            }
            _ => Findings::new(),
        };
        if !matches!(call, RunnerCall::Observe(_) | RunnerCall::Nothing) {
            self.trace.note_event(self.now, format_args!("{name} {}", call.describe()));
        }
        let wall = machine.clock.wall_at(self.now);
        machine.units.carry_out(wall, call, reply);
        self.report_violations(found);
        self.take_host_output(number);
    }

    /// Takes what has come of a call, of a job or of a fault on a machine.
    pub(crate) fn take_host_output(&mut self, number: usize) {
        let Some(machine) = self.machines.get_mut(number) else { return };
        let output = machine.units.take_output();
        let boot = machine.boots;
        for (after, job) in output.due {
            self.queue.push(self.now + after, Event::JobDue { machine: number, boot, job });
        }
        let name = machine.machine_name();
        let mut started = Vec::new();
        for unit in output.changed {
            if let Some(is) = machine.units.units().get(&unit) {
                self.trace.note_event(self.now, format_args!("{name} {unit} is {}", is.active));
                if is.active == ActiveState::Activating {
                    started.push(unit);
                }
            }
        }
        let connected = machine.daemon.as_ref().filter(|_| machine.broken_lines == 0);
        if let Some(daemon) = connected {
            for event in output.events {
                daemon.tell_report(event);
            }
        }
        for (reply, result) in output.answers {
            let result = if machine.broken_lines > 0 { Err(broken_line()) } else { result };
            // Nobody may wait for it any more.
            let _ = reply.send(result);
        }
        for unit in started {
            self.check_twice(&name, &unit);
        }
    }

    fn check_twice(&mut self, machine: &str, unit: &UnitName) {
        let mut up = BTreeMap::new();
        for other in self.machines.iter().filter(|other| other.machine_name() != machine) {
            let is = other.units.units().get(unit).filter(|is| !is.active.is_down());
            up.extend(is.map(|is| (other.machine_name(), is.active.to_string())));
        }
        let found = twice::check_single(&self.facts, machine, unit, &up);
        self.report_violations(found);
    }
}
