//! What passes between users and daemons, and from one daemon to another.
//!
//! Owns whether a request arrives and how long it is on its way, and what becomes of a daemon's wish that its machine reboots.

use crate::api_call::ApiCall;
use crate::events::Event;
use crate::invariants::reboots;
use crate::machine::{AfterEnd, Machine};
use crate::moment::Micros;
use crate::world::World;

/// The longest that a request from one daemon to another is on its way.
const BETWEEN_DAEMONS: Micros = Micros::from_millis(20);
/// The longest that a daemon is away while it is replaced by one of another version.
const UPGRADE: Micros = Micros::from_secs(2);
/// The time after which a daemon notices that another has not got its request.
const NOT_REACHED: Micros = Micros::from_secs(3);

impl World {
    /// Sends a request to a daemon on its way. Users are on the machine that they ask; between daemons lies the network.
    pub(crate) fn send_api_call(&mut self, node: usize, call: ApiCall) {
        if node >= self.machines.len() {
            return self.api_call_arrives(call);
        }
        let there = call.machine;
        let reaches = self.network.is_open(node, there) && self.network.is_open(there, node);
        if reaches {
            let takes = self.network.draw_delay(node, Micros(200), BETWEEN_DAEMONS);
            self.queue.push(self.now + takes, Event::ApiCallArrives(call));
        } else {
            self.coverage.count_world("daemon not reached by another");
            self.queue.push(self.now + NOT_REACHED, Event::ApiCallLost(call));
        }
    }

    /// A request has arrived at a machine's daemon, if there is one.
    pub(crate) fn api_call_arrives(&mut self, call: ApiCall) {
        if let Some(machine) = self.machines.get(call.machine) {
            machine.serve_api(call);
        }
    }

    /// A machine's daemon is stopped, as an upgrade does, and one of the other version started in its place.
    pub(crate) fn upgrade_daemon(&mut self, machine: usize) {
        let Some(found) = self.machines.get_mut(machine) else { return };
        found.is_of_next_version = !found.is_of_next_version;
        let away = self.network.draw_delay(machine, Micros::from_millis(100), UPGRADE);
        self.stop_daemon(machine, AfterEnd::StartAgain(away));
        self.note_conditions();
    }

    /// A machine's daemon has asked for a reboot, and the machine goes down.
    pub(crate) fn reboot_host(&mut self, machine: usize) {
        // A copy that bears another's name since that left does so in that name.
        let name = self.machines.get(machine).map_or(machine, Machine::own_belief);
        let found = reboots::check_reboot(&mut self.facts, &self.plan.shape, name);
        self.report_violations(found);
        self.coverage.count_world("host rebooted by its daemon");
        let off = self.network.draw_delay(machine, Micros::from_secs(1), Micros::from_secs(20));
        self.begin_going_down(machine, Some(off));
        self.note_conditions();
    }
}
