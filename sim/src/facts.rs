//! What is true in a run, whoever believes what.
//!
//! Owns the memory that invariants are checked against: the store's records and how they changed, what users were promised,
//! when each machine was well, and when the store was. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muster_common::reboot::Semaphore;
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitName};
use muster_store::{KeyChange, KeyValue};
use serde::Deserialize;

use crate::fact_entries::{ByHand, Condition, CountedStart};
use crate::machine::PREFIX;
use crate::moment::Micros;

/// A placement, or what a user wants of a unit, as the record says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct WantedUnit {
    /// The file.
    pub(crate) file: FileHash,
    /// The state.
    pub(crate) desired: DesiredState,
    /// The generation.
    pub(crate) generation: u64,
}

/// A placement over time; `None`: there was none.
pub(crate) type PlaceHistory = Vec<(Micros, Option<WantedUnit>)>;

/// The facts.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The moment.
    pub(crate) now: Micros,
    /// The store's records.
    pub(crate) records: BTreeMap<String, KeyValue>,
    /// Placements, by machine and unit.
    places: BTreeMap<(String, UnitName), PlaceHistory>,
    /// Promises, by unit.
    pub(crate) promises: BTreeMap<UnitName, Promise>,
    /// Conditions, by machine.
    pub(crate) machines: BTreeMap<String, Condition>,
    /// Since when the store answers and takes writes; `None` while it does not.
    pub(crate) store_sound_since: Option<Micros>,
    /// Since when every member is well and every line to one is sound; `None` while that is not so.
    pub(crate) ways_sound_since: Option<Micros>,
    /// The last time at which the store had no room: from when, and until when if it has some again.
    pub(crate) last_full: Option<(Micros, Option<Micros>)>,
    /// The last outage of the store that is over.
    pub(crate) last_outage: Option<(Micros, Micros)>,
    /// Machines that were cut off together, from when to when.
    pub(crate) cut_together: Vec<(BTreeSet<String>, Micros, Micros)>,
    /// Starts, by unit, the revision that made its record, and generation.
    pub(crate) starts: BTreeMap<(UnitName, u64, u64), Vec<CountedStart>>,
    /// By unit: the highest generation at which it was ever started, in whatever history.
    pub(crate) ever_started: BTreeMap<UnitName, u64>,
    /// The moment at which a backup was put back last.
    pub(crate) last_restore: Option<Micros>,
    /// The last moment at which a machine was cordoned.
    cordoned_at: BTreeMap<String, Micros>,
    /// The changes of records about a unit, in order.
    unit_changes: BTreeMap<UnitName, Vec<RecordChange>>,
    /// The changes of other records, by key below the prefix: their moments.
    changed_at: BTreeMap<String, Micros>,
    /// Records that somebody wrote by hand, by key below the prefix: the unit each is about, and the value.
    pub(crate) by_hand: BTreeMap<String, ByHand>,
    /// True if records have changed since the whole of them was looked at.
    pub(crate) is_unlooked: bool,
    /// Units that conflict with their kind and went down with their machines for a reboot: the machine, and when.
    pub(crate) away_for_reboot: BTreeMap<UnitName, (String, Micros)>,
    /// Slots that came back with a backup, by group and holder: nobody but a person knows whether anything is still done for them.
    pub(crate) restored_slots: BTreeSet<(String, String)>,
    /// The slots of reboots by group, as they were last.
    pub(crate) slots: BTreeMap<String, Semaphore>,
}

/// A change of a record.
#[derive(Debug, Clone)]
pub(crate) struct RecordChange {
    /// The revision.
    pub(crate) revision: u64,
    /// When it came about.
    pub(crate) at: Micros,
    /// The key below the prefix.
    pub(crate) key: String,
    /// Its value from then on; `None`: gone.
    pub(crate) value: Option<Bytes>,
}

/// The promise that a user was given about a unit.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    /// Requests that were not answered yet, by number.
    open: BTreeSet<usize>,
    /// The last moment at which one was given up in doubt.
    doubtful_until: Option<Micros>,
    /// The word that counts, and when it was given.
    word: Option<(Micros, Option<PromisedUnit>)>,
    /// The latest revision that a user was told of.
    latest: u64,
}

/// A unit as its user was told that it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromisedUnit {
    /// The file, where the user named one.
    pub(crate) file: Option<FileHash>,
    /// The state.
    pub(crate) desired: DesiredState,
    /// The generation.
    pub(crate) generation: u64,
}

impl PromisedUnit {
    /// True if a record is what was promised.
    pub(crate) fn is_kept_by(&self, wanted: &WantedUnit) -> bool {
        self.file.is_none_or(|file| file == wanted.file)
            && (self.desired, self.generation) == (wanted.desired, wanted.generation)
    }
}

/// The answer that a user got to a request about a unit.
#[derive(Debug, Clone)]
pub(crate) enum UserAnswer {
    /// It is so, from a revision on.
    Promised {
        /// The revision.
        revision: u64,
        /// The unit as it is then; `None`: gone.
        word: Option<PromisedUnit>,
        /// True if it was written at that revision, and not merely so already.
        is_written: bool,
    },
    /// Nothing was to be done.
    Nothing,
    /// Nobody knows.
    Doubt,
}

impl Promise {
    /// A request is made.
    pub(crate) fn begin(&mut self, number: usize) {
        self.open.insert(number);
    }

    /// Nothing more comes of a request.
    pub(crate) fn conclude_request(&mut self, number: usize) {
        self.open.remove(&number);
    }

    /// A request that was made at a moment is answered at another.
    pub(crate) fn take_answer(&mut self, asked: Micros, now: Micros, answer: UserAnswer) {
        match answer {
            UserAnswer::Doubt => {
                self.doubtful_until = Some(now);
                self.word = None;
            }
            // What was so already may change by a write that is late.
            UserAnswer::Promised { is_written: false, .. } | UserAnswer::Nothing => {}
            UserAnswer::Promised { revision, word, .. } => {
                let clear = self.doubtful_until.is_none_or(|until| until < asked);
                if self.latest < revision {
                    self.latest = revision;
                    self.word = clear.then_some((now, word));
                }
            }
        }
    }

    /// What was said after a revision counts no more, and nobody knows what becomes of what is under way.
    fn forget_after(&mut self, revision: u64, made: Micros, now: Micros) {
        self.word = self.word.take().filter(|(given, _)| *given <= made);
        self.latest = self.latest.min(revision);
        if !self.open.is_empty() {
            self.doubtful_until = Some(now);
            self.word = None;
        }
    }

    /// The word that counts now; `None` while something is under way or in doubt.
    pub(crate) fn settled_word(&self) -> Option<&Option<PromisedUnit>> {
        self.word.as_ref().filter(|_| self.open.is_empty()).map(|(_, word)| word)
    }
}

impl Facts {
    /// The facts before anything has happened.
    pub(crate) fn new() -> Self {
        let since = Some(Micros::ZERO);
        Self { store_sound_since: since, ways_sound_since: since, ..Self::default() }
    }

    /// Takes over what has changed in the store at a revision.
    pub(crate) fn apply_changes(&mut self, revision: u64, changes: &[KeyChange]) {
        self.is_unlooked = true;
        for change in changes {
            let value = match change {
                KeyChange::Put(record) => {
                    let before = self.records.insert(record.key.clone(), record.clone());
                    if record.key.strip_prefix(PREFIX) == Some("members") {
                        let before = before.as_ref().map(|record| record.value.as_ref());
                        self.note_members(before, &record.value);
                    }
                    Some(record)
                }
                KeyChange::Delete { key } => {
                    self.records.remove(key);
                    None
                }
            };
            let Some(key) = change.key().strip_prefix(PREFIX) else { continue };
            if let Some(unit) = unit_of_key(key) {
                let value = value.map(|record| record.value.clone());
                let (at, key) = (self.now, key.to_owned());
                let change = RecordChange { revision, at, key, value };
                self.unit_changes.entry(unit).or_default().push(change);
            } else {
                self.changed_at.insert(key.to_owned(), self.now);
            }
            let machine = key.strip_prefix("machine/");
            let condition = machine.and_then(|machine| self.machines.get_mut(machine));
            if let (Some(condition), Some(record)) = (condition, value) {
                // What it wrote before it heard that it goes says nothing.
                let is_back = condition.is_well || condition.parting_since.is_none();
                condition.has_left = says_goodbye(record) || condition.has_left && !is_back;
                condition.parting_since = condition.parting_since.filter(|_| condition.has_left);
            }
            if let Some((machine, unit)) = parse_place(key) {
                let place = value.and_then(|record| decode_wanted(&record.value));
                self.places.entry((machine.to_owned(), unit)).or_default().push((self.now, place));
            } else if let Some(machine) = key.strip_prefix("cordon/") {
                self.cordoned_at.insert(machine.to_owned(), self.now);
            }
        }
    }

    /// A backup of a revision, made at a moment, was put back: what came after it was never promised to anybody.
    pub(crate) fn note_restore(&mut self, revision: u64, made: Micros) {
        let now = self.now;
        self.last_restore = Some(now);
        for promise in self.promises.values_mut() {
            promise.forget_after(revision, made, now);
        }
        for changes in self.unit_changes.values_mut() {
            // Revisions count anew from a backup: the moment tells the histories apart.
            changes.retain(|change| change.at <= made || change.at == now);
        }
        self.note_brought_back(revision);
        let all = self.records.iter();
        let slots = all.filter_map(|(key, record)| {
            let group = key.strip_prefix(PREFIX)?.strip_prefix("reboot/")?;
            let slots: Semaphore = serde_json::from_slice(&record.value).ok()?;
            Some(slots.holders.into_iter().map(|holder| (group.to_owned(), holder.id.to_string())))
        });
        self.restored_slots = slots.flatten().collect();
        // What was begun after the backup may be begun again under the same number.
        let records = &self.records;
        self.starts.retain(|(unit, created, generation), _| {
            let record = records.get(&format!("{PREFIX}unit/{unit}"));
            let wanted = record.and_then(|record| decode_wanted(&record.value));
            *created <= revision && wanted.is_some_and(|wanted| *generation <= wanted.generation)
        });
        self.forget_starts();
    }

    /// What an earlier restore had taken from the history of a record is there again with the record, if a later one brings it back; and
    /// so is the end of a record, if a later one has it no more.
    fn note_brought_back(&mut self, revision: u64) {
        for (key, record) in &self.records {
            let Some(key) = key.strip_prefix(PREFIX) else { continue };
            let Some(unit) = unit_of_key(key) else { continue };
            let changes = self.unit_changes.entry(unit).or_default();
            let last = changes.iter().rfind(|change| change.key == key);
            if last.is_none_or(|last| last.value.as_ref() != Some(&record.value)) {
                let (revision, value) =
                    (record.mod_revision.min(revision), Some(record.value.clone()));
                changes.push(RecordChange { revision, at: self.now, key: key.to_owned(), value });
            }
        }
        for changes in self.unit_changes.values_mut() {
            let last: BTreeMap<String, bool> =
                changes.iter().map(|it| (it.key.clone(), it.value.is_some())).collect();
            let is_gone = |key: &str| !self.records.contains_key(&format!("{PREFIX}{key}"));
            for (key, _) in last.into_iter().filter(|(key, is_there)| *is_there && is_gone(key)) {
                changes.push(RecordChange { revision, at: self.now, key, value: None });
            }
        }
    }

    /// True if a backup was put back a short time ago, so that machines and records have to find together.
    pub(crate) fn was_restored_within(&self, time: Micros) -> bool {
        self.last_restore.is_some_and(|at| at + time > self.now)
    }

    /// True if a backup was put back since a moment, so that what was asked before it may be answered from what is no more.
    pub(crate) fn was_restored_since(&self, moment: Micros) -> bool {
        self.last_restore.is_some_and(|at| at >= moment)
    }

    /// The record below the prefix.
    pub(crate) fn find_record(&self, key: &str) -> Option<&KeyValue> {
        self.records.get(&format!("{PREFIX}{key}"))
    }

    /// The record of a unit that is wanted.
    pub(crate) fn wanted_unit(&self, unit: &UnitName) -> Option<WantedUnit> {
        self.find_record(&format!("unit/{unit}")).and_then(|record| decode_wanted(&record.value))
    }

    /// The changes of records about a unit, in order.
    pub(crate) fn changes_of(&self, unit: &UnitName) -> &[RecordChange] {
        self.unit_changes.get(unit).map_or(&[], Vec::as_slice)
    }

    /// True if a machine reports a unit as active.
    pub(crate) fn is_reported_active(&self, machine: &str, unit: &UnitName) -> bool {
        self.find_record(&format!("state/{machine}/{unit}"))
            .is_some_and(|it| says_active(&it.value))
    }

    /// True if a unit was reported as active since a moment, wherever, or, since its host's boot after it, as started and ended well
    /// by itself, which no reboot has done; or if somebody has asked for something else.
    pub(crate) fn was_up_since(&self, unit: &UnitName, host: &str, moment: Micros) -> bool {
        let booted = self.machines.get(host).map(|host| host.booted).filter(|at| *at > moment);
        let mut since = self.changes_of(unit).iter().filter(|change| change.at > moment);
        let is_up = |change: &RecordChange| {
            let value = change.value.as_ref();
            let is_booted = booted.is_some_and(|at| at < change.at);
            let is_told = |it| says_active(it) || is_booted && says_ended_well(it);
            change.key.starts_with("unit/")
                || change.key.starts_with("state/") && value.is_some_and(|it| is_told(it))
        };
        since.any(is_up)
    }

    /// True if a record that is about no unit was written, or taken away, since a moment.
    pub(crate) fn has_changed_since(&self, key: &str, moment: Micros) -> bool {
        self.changed_at.get(key).is_some_and(|at| *at >= moment)
    }

    /// The placements that there are, by unit and machine.
    pub(crate) fn current_places(&self) -> BTreeMap<UnitName, BTreeMap<String, WantedUnit>> {
        let mut places: BTreeMap<UnitName, BTreeMap<String, WantedUnit>> = BTreeMap::new();
        let below = format!("{PREFIX}place/");
        let records = self.records.range(below.clone()..);
        for (key, record) in records.take_while(|(key, _)| key.starts_with(&below)) {
            let found = key.strip_prefix(PREFIX).and_then(parse_place);
            if let (Some((machine, unit)), Some(wanted)) = (found, decode_wanted(&record.value)) {
                places.entry(unit).or_default().insert(machine.to_owned(), wanted);
            }
        }
        places
    }

    /// A placement over time.
    pub(crate) fn place_history(
        &self,
        machine: &str,
        unit: &UnitName,
    ) -> &[(Micros, Option<WantedUnit>)] {
        self.places.get(&(machine.to_owned(), unit.clone())).map_or(&[], Vec::as_slice)
    }

    /// True if a unit was placed on a machine before its placement there was written last.
    pub(crate) fn was_placed_before(&self, machine: &str, unit: &UnitName) -> bool {
        let history = self.place_history(machine, unit);
        history.iter().rev().nth(1).is_some_and(|(_, place)| place.is_some())
    }

    /// The placement that has been as it is for longer than anybody on the machine may not have heard of it.
    pub(crate) fn stable_place(&self, machine: &str, unit: &UnitName) -> Option<&WantedUnit> {
        /// Longer than messages are late, and than daemons wait before they ask again.
        const SETTLED: Micros = Micros::from_secs(30);
        /// Longer than the longest fault, several of them together.
        const LONG: Micros = Micros::from_secs(100);
        let (since, place) = self.place_history(machine, unit).last()?;
        let condition = self.machines.get(machine)?;
        let well = condition.is_well
            && condition.since + SETTLED < self.now
            && self.store_sound_for(SETTLED);
        let window = if well { SETTLED } else { LONG };
        place.as_ref().filter(|_| *since + window < self.now)
    }

    /// True if nothing has been wrong with any machine or with the store for a time, and no machine is cordoned.
    pub(crate) fn is_calm_for(&self, time: Micros) -> bool {
        let well = |condition: &Condition| condition.is_well && condition.since + time <= self.now;
        self.store_sound_for(time) && self.machines.values().all(well) && !self.any_cordon()
    }

    /// True if the store has been sound for a time.
    pub(crate) fn store_sound_for(&self, time: Micros) -> bool {
        self.store_sound_since.is_some_and(|since| since + time <= self.now)
    }

    /// Machines whose units are held, because too many vanished together.
    pub(crate) fn held_machines(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct HeldByLeader {
            #[serde(default)]
            held: Vec<String>,
        }
        let leader = self.find_record("leader").map(|record| record.value.as_ref());
        let leader = leader.and_then(|value| serde_json::from_slice::<HeldByLeader>(value).ok());
        leader.map(|leader| leader.held).unwrap_or_default()
    }

    /// Machines are cut off together: half of those that are registered, and two at least, or it counts for nothing. One that has said
    /// goodbye belongs to nobody's half: it is missed by nobody.
    pub(crate) fn note_mass(&mut self, machines: &[String], until: Micros) {
        let registered = |machine: &&String| {
            let has_left = self.machines.get(*machine).is_some_and(|condition| condition.has_left);
            !has_left && self.find_record(&format!("machine/{machine}")).is_some()
        };
        let cut: BTreeSet<String> = machines.iter().filter(registered).cloned().collect();
        let all = self.machines.keys().filter(registered).count();
        if cut.len() >= 2 && cut.len() * 2 >= all {
            self.cut_together.push((cut, self.now, until));
        }
    }

    /// Sets whether the store is sound.
    pub(crate) fn set_store_sound(&mut self, sound: bool) {
        self.store_sound_since = self.store_sound_since.or(Some(self.now)).filter(|_| sound);
    }

    /// Sets whether every way to the store is sound.
    pub(crate) fn set_ways_sound(&mut self, sound: bool) {
        self.ways_sound_since = self.ways_sound_since.or(Some(self.now)).filter(|_| sound);
    }

    /// Sets whether the store has no room.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        match self.last_full {
            Some((_, None)) if is_full => {}
            _ if is_full => self.last_full = Some((self.now, None)),
            Some((began, None)) => self.last_full = Some((began, Some(self.now))),
            _ => {}
        }
    }

    /// Sets whether the store is there.
    pub(crate) fn set_store_there(&mut self, is_there: bool, outage_began: &mut Option<Micros>) {
        if !is_there {
            outage_began.get_or_insert(self.now);
        } else if let Some(began) = outage_began.take() {
            self.last_outage = Some((began, self.now));
        }
    }

    /// True if any machine is cordoned, or was a short time ago.
    pub(crate) fn any_cordon(&self) -> bool {
        self.machines.keys().any(|machine| self.was_cordoned(machine))
    }

    /// True if a machine was cordoned a short time ago, or is.
    pub(crate) fn was_cordoned(&self, machine: &str) -> bool {
        /// A drain's moves may end this long after it was called off: slow starts and stops.
        const AFTERMATH: Micros = Micros::from_secs(60);
        self.find_record(&format!("cordon/{machine}")).is_some()
            || self.cordoned_at.get(machine).is_some_and(|at| *at + AFTERMATH > self.now)
    }
}

/// The machine and the unit of a placement's key below the prefix.
pub(crate) fn parse_place(key: &str) -> Option<(&str, UnitName)> {
    let (machine, unit) = key.strip_prefix("place/")?.split_once('/')?;
    Some((machine, unit.parse().ok()?))
}

fn says_active(value: &[u8]) -> bool {
    let state = serde_json::from_slice::<ObservedState>(value);
    state.is_ok_and(|state| state.active == ActiveState::Active)
}

/// True if a state says that its unit was launched here, has ended, and not badly.
fn says_ended_well(value: &[u8]) -> bool {
    serde_json::from_slice::<ObservedState>(value).is_ok_and(|state| {
        let is_carried_out = state.desired == DesiredState::Launched && state.problem.is_none();
        is_carried_out && state.active == ActiveState::Inactive
    })
}

/// True if a registration says that its machine goes down.
fn says_goodbye(record: &KeyValue) -> bool {
    #[derive(Deserialize)]
    struct FarewellWord {
        #[serde(default)]
        leaving: bool,
    }
    serde_json::from_slice(&record.value).is_ok_and(|said: FarewellWord| said.leaving)
}

/// The unit that a record below the prefix is about.
fn unit_of_key(key: &str) -> Option<UnitName> {
    let (kind, rest) = key.split_once('/')?;
    match kind {
        "unit" => rest.parse().ok(),
        "place" | "state" => rest.split_once('/')?.1.parse().ok(),
        _ => None,
    }
}

/// A placement, or what a user wants of a unit, if the record can be read.
pub(crate) fn decode_wanted(value: &[u8]) -> Option<WantedUnit> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "state/m0/a.service";

    fn put() -> KeyChange {
        let (key, value) = (format!("{PREFIX}{KEY}"), Bytes::from_static(b"{}"));
        KeyChange::Put(KeyValue { key, value, create_revision: 1, mod_revision: 1, lease: None })
    }

    fn delete() -> KeyChange {
        KeyChange::Delete { key: format!("{PREFIX}{KEY}") }
    }

    /// What the history says of the record at last.
    fn is_there(facts: &Facts) -> bool {
        let changes = facts.changes_of(&"a.service".parse().unwrap());
        changes.last().is_some_and(|change| change.value.is_some())
    }

    #[test]
    fn history_ends_as_the_records_of_the_last_backup_are() {
        let mut facts = Facts::new();
        let mut change_at = |second, revision, change, backup: Option<u64>| {
            facts.now = Micros::from_secs(second);
            facts.apply_changes(revision, &[change]);
            if let Some(made) = backup {
                facts.note_restore(revision, Micros::from_secs(made));
            }
        };
        change_at(1, 1, put(), None);
        change_at(3, 2, delete(), None);
        change_at(5, 1, put(), Some(2));
        change_at(6, 3, delete(), None);
        // A backup of after the first deletion: nothing changes, and neither deletion is of its history's remembered part.
        facts.now = Micros::from_secs(7);
        facts.note_restore(2, Micros::from_secs(4));
        assert!(!is_there(&facts));

        facts.now = Micros::from_secs(9);
        facts.apply_changes(1, &[put()]);
        facts.note_restore(1, Micros::from_secs(2));
        assert!(is_there(&facts));
    }
}
