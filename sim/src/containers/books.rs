//! What the world notes of containers on a machine beside the engine itself.
//!
//! Owns what checks want to know and nobody on the machine says: who started a container, at which generation, and whether its unit
//! has ended by itself. No daemon sees any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::unit::{FileHash, UnitName};

/// The time in which a start that was prepared from the file of before is over: its create and start calls, all of them slow.
const REREAD: Duration = Duration::from_secs(60);

/// A start of a container's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStart {
    /// The unit.
    pub unit: UnitName,
    /// The file that it was made from, as its label says.
    pub file: FileHash,
    /// The generation at which it was made.
    pub generation: u64,
    /// The moment, by the machine's clock.
    pub at: Duration,
    /// The moment at which it was asked for.
    pub asked: Duration,
    /// True if a person started it.
    pub is_by_hand: bool,
    /// The containers of the unit that were up by then.
    pub others_up: usize,
    /// True if the file in its place has been there for so long that no start was prepared from another.
    pub is_file_settled: bool,
}

/// The notes on one unit.
#[derive(Debug, Clone, Default)]
pub(super) struct ContainerNotes {
    /// The generation of the last start that a daemon wanted.
    pub(super) wanted: u64,
    /// That of the last one that has come about.
    pub(super) generation: u64,
    /// It has ended by itself, or could not begin.
    pub(super) ended: bool,
    /// True while a container of its is up.
    pub(super) is_up: bool,
    /// True if what runs was started by a person.
    pub(super) by_others: bool,
    /// The file that a daemon has put in its place, and when.
    pub(super) written: Option<(FileHash, Duration)>,
}

/// The notes on all units of a machine.
#[derive(Debug, Default)]
pub(super) struct ContainerBooks {
    units: BTreeMap<UnitName, ContainerNotes>,
    /// Those that had ended by themselves, and run since a person has started them, of which nobody has heard.
    unheard: BTreeSet<UnitName>,
    /// Starts since they were taken last.
    pub(super) starts: Vec<ContainerStart>,
    /// The fates of units since they were taken last, in a word.
    pub(super) changes: Vec<(UnitName, &'static str)>,
}

impl ContainerBooks {
    /// A boot: nothing runs.
    pub(super) fn begin_boot(&mut self) {
        self.units.clear();
        self.unheard.clear();
    }

    /// The notes on a unit.
    pub(super) fn find(&self, unit: &UnitName) -> ContainerNotes {
        self.units.get(unit).cloned().unwrap_or_default()
    }

    /// The notes on a unit, to be changed.
    pub(super) fn note_mut(&mut self, unit: &UnitName) -> &mut ContainerNotes {
        self.units.entry(unit.clone()).or_default()
    }

    /// A container's program has started.
    pub(super) fn on_start(&mut self, mut start: ContainerStart) {
        let notes = self.units.entry(start.unit.clone()).or_default();
        // What its file has it do after a person's start is that person's, as with a service.
        let goes_on = notes.by_others && start.generation <= notes.generation;
        notes.by_others = start.is_by_hand || goes_on;
        if start.is_by_hand && notes.ended {
            self.unheard.insert(start.unit.clone());
        } else {
            self.unheard.remove(&start.unit);
        }
        notes.ended = false;
        notes.is_up = true;
        if !start.is_by_hand {
            notes.generation = start.generation;
        }
        start.is_file_settled =
            notes.written.is_some_and(|(_, written)| written + REREAD < start.at);
        self.changes.push((start.unit.clone(), "starts"));
        self.starts.push(start);
    }

    /// A daemon has heard of what the unit does, or can.
    pub(super) fn note_heard(&mut self, unit: &UnitName) {
        self.unheard.remove(unit);
    }

    /// A start of a unit's has failed: it stays down, unless its file says otherwise, and that is told of it.
    pub(super) fn on_failed_start(&mut self, unit: &UnitName) {
        self.note_mut(unit).ended = true;
    }

    /// The image could not be fetched, and nobody says for which unit: all that are down may have been meant.
    pub(super) fn on_failed_pull(&mut self) {
        for notes in self.units.values_mut().filter(|notes| !notes.is_up) {
            notes.ended = true;
        }
    }

    /// A container of a unit's is up no more; `by_itself`: its daemon has not asked for that.
    pub(super) fn on_end(&mut self, unit: &UnitName, by_itself: bool) {
        let is_unheard = self.unheard.remove(unit);
        let notes = self.note_mut(unit);
        // A run of which nobody has heard, and that was no end of its own, leaves it as it was.
        notes.ended = by_itself || is_unheard;
        notes.is_up = false;
        self.changes.push((unit.clone(), if by_itself { "ends by itself" } else { "ends" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_nobody_has_heard_of_leaves_what_had_ended_as_it_was() {
        let unit: UnitName = "a.container".parse().unwrap();
        let start = |is_by_hand| ContainerStart {
            unit: unit.clone(),
            file: FileHash::of_text(""),
            at: Duration::ZERO,
            asked: Duration::ZERO,
            generation: 1,
            is_by_hand,
            others_up: 0,
            is_file_settled: false,
        };
        let has_ended = |had_ended: bool, is_heard: bool| {
            let mut books = ContainerBooks::default();
            books.on_start(start(false));
            books.on_end(&unit, had_ended);
            books.on_start(start(true));
            if is_heard {
                books.note_heard(&unit);
            }
            books.on_end(&unit, false);
            books.find(&unit).ended
        };
        assert!(has_ended(true, false));
        assert!(!has_ended(true, true), "who has heard of it starts it again");
        assert!(!has_ended(false, false), "it was to run before");
    }

    #[test]
    fn a_restart_of_what_a_person_started_is_not_the_daemons() {
        let unit: UnitName = "a.container".parse().unwrap();
        let file = FileHash::of_text("");
        let mut books = ContainerBooks::default();
        let mut start = |generation, is_by_hand| {
            let unit = unit.clone();
            let at = Duration::ZERO;
            books.on_start(ContainerStart {
                unit: unit.clone(),
                file,
                at,
                asked: at,
                generation,
                is_by_hand,
                others_up: 0,
                is_file_settled: false,
            });
            books.find(&unit).by_others
        };
        let told =
            [(1, false), (1, true), (1, false), (2, false), (2, false)].map(|(g, by)| start(g, by));
        assert_eq!(told, [false, true, true, false, false]);
    }
}
