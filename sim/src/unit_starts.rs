//! Starts of units, as the facts count them.
//!
//! Owns what is remembered of a start, by whom, and what a backup that is put back makes of it. It judges nothing.

use muster_common::unit::UnitName;

use crate::fact_entries::CountedStart;
use crate::facts::{Facts, decode_wanted};
use crate::machine::PREFIX;

impl Facts {
    /// A unit is started on a machine. Returns how often it was at this generation, since its record was made, as far as that machine, or
    /// whoever placed it there, can know.
    pub(crate) fn count_start(&mut self, machine: &str, unit: &UnitName, generation: u64) -> usize {
        let created =
            self.find_record(&format!("unit/{unit}")).map_or(0, |record| record.create_revision);
        let ever = self.ever_started.entry(unit.clone()).or_default();
        *ever = generation.max(*ever);
        let starts = self.starts.entry((unit.clone(), created, generation)).or_default();
        starts.push(CountedStart { machine: machine.to_owned(), is_forgotten: false });
        starts.iter().filter(|start| start.machine == machine || !start.is_forgotten).count()
    }

    /// True if a unit was started at a generation, since its record was made.
    pub(crate) fn was_started(&self, unit: &UnitName, generation: u64) -> bool {
        let created =
            self.find_record(&format!("unit/{unit}")).map_or(0, |record| record.create_revision);
        // A machine remembers what it has begun, whatever is put back: what a backup has of an earlier start is not begun once more.
        let ever = self.ever_started.get(unit).is_some_and(|ever| *ever >= generation);
        self.starts.contains_key(&(unit.clone(), created, generation))
            || ever && self.last_restore.is_some()
    }

    /// A backup was put back: what it does not have placed is forgotten by everybody but the machine that began it.
    pub(crate) fn forget_starts(&mut self) {
        let records = &self.records;
        for ((unit, _, generation), starts) in &mut self.starts {
            for start in starts {
                let place = records.get(&format!("{PREFIX}place/{}/{unit}", start.machine));
                let place = place.and_then(|record| decode_wanted(&record.value));
                start.is_forgotten |= place.is_none_or(|place| place.generation != *generation);
            }
        }
    }

    /// Somebody has written by hand what is known of a unit: its starts are forgotten by everybody but the machine that made them.
    pub(crate) fn forget_starts_of(&mut self, unit: &UnitName) {
        let starts = self.starts.iter_mut().filter(|((of, ..), _)| of == unit);
        for start in starts.flat_map(|(_, starts)| starts) {
            start.is_forgotten = true;
        }
    }
}
