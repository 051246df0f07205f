//! Machines that are copies of another.
//!
//! Owns how one comes to be, with the disk and so with the identity of a machine that is there as well, and how it is taken back; and what
//! must not come of it: the copy stays outside for as long as the other is registered.

use muster_common::unit::UnitName;
use serde::Deserialize;

use crate::invariants::Findings;
use crate::machine::Machine;
use crate::moment::Micros;
use crate::plan::shape::Shape;
use crate::world::World;

/// The time for which a machine whose disk is exchanged is off.
const OFF: Micros = Micros::from_secs(2);
/// The time that the store has to have been sound, and a copy's way to it, for a copy to know that it is none of ours: without a word
/// from the store it is the machine that it was copied from, as far as anybody on it can tell.
const SOUND: Micros = Micros::from_secs(30);

impl World {
    /// A machine becomes a copy of another. True if nothing comes of it: one at a time is confusing enough.
    pub(crate) fn begin_copy(&mut self, number: usize, of: usize) -> bool {
        if number == of || self.machines.iter().any(Machine::is_copy) {
            return true;
        }
        let Some(image) = self.machines.get(of).map(|of| of.disk.take_image()) else { return true };
        self.cut_power(number, OFF);
        if let Some(machine) = self.machines.get_mut(number) {
            machine.become_copy(of, image);
        }
        false
    }

    /// It gets its own disk back.
    pub(crate) fn end_copy(&mut self, number: usize) {
        self.cut_power(number, OFF);
        if let Some(machine) = self.machines.get_mut(number) {
            machine.take_own_disk();
        }
    }

    /// The machine that is registered under the name of one: itself, unless a copy of it came first, even one that is none any more.
    pub(crate) fn find_bearer(&self, number: usize) -> usize {
        if !self.has_copies {
            return number;
        }
        let bears = |machine: &Machine| self.is_registered(machine, number);
        self.machines.iter().position(bears).unwrap_or(number)
    }

    /// True if a machine is the one that is registered under a name.
    fn is_registered(&self, machine: &Machine, under: usize) -> bool {
        #[derive(Deserialize)]
        struct Registration {
            address: String,
        }
        let record = self.facts.find_record(&format!("machine/{}", Shape::machine_name(under)));
        let said =
            record.and_then(|record| serde_json::from_slice::<Registration>(&record.value).ok());
        said.is_some_and(|said| said.address == machine.own_address())
    }

    /// Checks a start on a copy: it carries out nothing while another is registered under its name.
    pub(crate) fn check_copy(&self, number: usize, unit: &UnitName) -> Findings {
        let Some(machine) = self.machines.get(number) else { return Findings::new() };
        let of = machine.own_belief();
        let knows = self.network.is_sound(number) && self.facts.store_sound_for(SOUND);
        if !knows || self.is_registered(machine, of) {
            return Findings::new();
        }
        let (name, of) = (machine.machine_name(), Shape::machine_name(of));
        vec![(
            "copy-acts",
            format!("{name}, a copy of {of} which is not registered, starts {unit}"),
        )]
    }
}
