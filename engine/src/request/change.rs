//! What a user's request makes of units.
//!
//! Owns the rules by which a [`ChangeRequest`] becomes records to write and results to answer: which file counts, when a
//! generation rises, when nothing is to be done, and what is refused at the door. Pure: it looks at the cluster and
//! writes nothing; who carries the writes out comes back with those that met a conflict.
//!
//! | asked for | the unit is | becomes |
//! | --- | --- | --- |
//! | launched | not launched | launched, generation raised |
//! | launched | launched; running, starting, or waiting for a machine | unchanged |
//! | launched | launched; failed or ended | generation raised |
//! | launched, with another file that replaces | any | launched, generation raised |
//! | restart | any | launched, generation raised |
//! | loaded, inactive | any | that, generation kept |
//! | nothing | any | as it is; a new unit: inactive |
//!
//! A new unit's generation is above whatever machines still report of an earlier unit of that name, so that an old
//! report never passes for a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::left_behind::left_behind;
use crate::schedule::Candidate;
use muster_common::api::v1::{ChangeOutcome, ChangeRequest, UnitChange, UnitChanged};
use muster_common::decision::UnitWrite;
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::{Snapshot, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{
    FileHash, InvalidUnit, ParseError, RequirementsError, RequirementsTemplate, UnitFile, UnitName,
    UnitType, check_container, reserved_warnings, warnings,
};

use crate::cluster::Cluster;

/// A request whose files have been read.
pub struct Request {
    files: BTreeMap<FileHash, Result<Arc<UnitFile>, ParseError>>,
    units: Vec<UnitChange>,
    replace: bool,
    queue: bool,
}

/// What is to be written and answered.
#[derive(Debug, Default)]
pub struct Decided {
    /// Results by their place in the request.
    pub answers: BTreeMap<usize, UnitChanged>,
    /// One write for each unit that changes.
    pub writes: Vec<UnitWrite>,
}

impl Request {
    /// Reads the files of a request; a text under a hash that is not its own is an error.
    pub fn read(change: ChangeRequest) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (hash, text) in change.files {
            if FileHash::of(&text) != hash {
                return Err(format!("files: the text under {hash} has another hash"));
            }
            files.insert(hash, UnitFile::parse(text.as_bytes()).map(Arc::new));
        }
        Ok(Self { files, units: change.units, replace: change.replace, queue: change.queue })
    }

    /// A request made of a file that has been read already: no conflict of files, and queued if need be.
    pub fn of_file(file: Option<Arc<UnitFile>>, mut unit: UnitChange) -> Self {
        let file = file.map(|file| (file.hash(), Ok(file)));
        unit.file = file.as_ref().map(|(hash, _)| *hash);
        Self { files: file.into_iter().collect(), units: vec![unit], replace: true, queue: true }
    }

    /// The places of all units of the request.
    pub fn all(&self) -> BTreeSet<usize> {
        (0..self.units.len()).collect()
    }

    /// The places of some units.
    pub fn places_of(&self, names: &BTreeSet<UnitName>) -> BTreeSet<usize> {
        let named = self.units.iter().enumerate().filter(|(_, unit)| names.contains(&unit.name));
        named.map(|(place, _)| place).collect()
    }

    /// Decides about the units at these places, in order, each seeing what became of those before it.
    pub fn decide(&self, cluster: &mut Cluster, places: &BTreeSet<usize>) -> Decided {
        let (decided, candidates) = self.walk(cluster.snapshot(), places, &BTreeMap::new());
        let mut refused = cluster.admit(&candidates);
        // One that is being stopped still starts when it has ended: there is nothing to choose otherwise, only to wait for.
        refused.retain(|_, refusal| !matches!(refusal.unit, Some(UnitReason::StillRunning { .. })));
        if refused.is_empty() {
            return decided;
        }
        self.walk(cluster.snapshot(), places, &refused).0
    }

    fn walk(
        &self,
        snapshot: &Snapshot,
        places: &BTreeSet<usize>,
        refused: &BTreeMap<UnitName, Refusal>,
    ) -> (Decided, Vec<Candidate>) {
        let mut walk = Walk {
            request: self,
            snapshot,
            refused,
            pending: BTreeMap::new(),
            sections: BTreeMap::new(),
            warned: BTreeSet::new(),
            told_of_data: BTreeSet::new(),
            candidates: Vec::new(),
        };
        let mut decided = Decided::default();
        for (place, unit) in self.units.iter().enumerate().filter(|(p, _)| places.contains(p)) {
            let answer = walk.unit(unit).unwrap_or_else(|message| UnitChanged {
                name: unit.name.clone(),
                outcome: ChangeOutcome::Failed { message },
                global: false,
                generation: walk.generation_of(&unit.name),
                was: walk.desired_of(&unit.name),
                warnings: Vec::new(),
            });
            decided.answers.insert(place, answer);
        }
        decided.writes = walk.pending.into_values().map(|(_, write)| write).collect();
        (decided, walk.candidates)
    }
}

/// One pass over a request.
struct Walk<'a> {
    request: &'a Request,
    snapshot: &'a Snapshot,
    refused: &'a BTreeMap<UnitName, Refusal>,
    /// What the units before this one have become.
    pending: BTreeMap<UnitName, (FileHash, UnitWrite)>,
    /// The `[X-Fleet]` section of each file, read once.
    sections: BTreeMap<FileHash, Result<RequirementsTemplate, RequirementsError>>,
    /// Files whose warnings have been given: once is enough for all instances.
    warned: BTreeSet<(FileHash, UnitType)>,
    /// Files, and whose they are, of which it has been said that their units leave data behind.
    told_of_data: BTreeSet<(FileHash, String)>,
    candidates: Vec<Candidate>,
}

/// The unit as it is before the change under decision.
struct Before {
    file: FileHash,
    desired: DesiredState,
    generation: u64,
    expected: u64,
}

impl Walk<'_> {
    fn unit(&mut self, change: &UnitChange) -> Result<UnitChanged, String> {
        let name = &change.name;
        if let Some(record) = self.snapshot.unreadable.get(&format!("unit/{name}")) {
            return Err(format!(
                "the record of {name} cannot be read ({}); destroy the unit and submit it again",
                record.problem
            ));
        }
        let before = self.before(name);
        let supplied = change.file.map(|hash| self.supplied(name, hash)).transpose()?;
        let differs = matches!((&before, &supplied), (Some(b), Some((hash, _))) if b.file != *hash);
        let kept = differs && !self.request.replace;
        let (hash, file) = match (&before, supplied) {
            (_, Some(supplied)) if !kept => supplied,
            (Some(before), _) => (before.file, self.stored(name, before.file)?),
            (None, supplied) => match supplied {
                Some(supplied) => supplied,
                None => self.of_template(name)?,
            },
        };
        let replaced = differs && !kept;
        let (global, job) = self.requires(name, hash, &file)?;

        let was = before.as_ref().map(|b| b.desired);
        let current = was.unwrap_or(DesiredState::Inactive);
        let wanted = if change.restart {
            change.desired.unwrap_or(DesiredState::Launched)
        } else {
            change.desired.unwrap_or(current)
        };
        if name.is_template() && wanted > DesiredState::Inactive {
            let stem = name.prefix();
            let kind = name.unit_type().as_str();
            return Err(format!(
                "cannot activate template {:?}; start an instance of it, such as {stem}@1.{kind}",
                name.as_str()
            ));
        }

        if !name.unit_type().starts_by_itself() && wanted > DesiredState::Inactive {
            let kind = name.unit_type().as_str();
            return Err(format!(
                "cannot start {name}: a {kind} is made on each machine where a container names it; submit it, and start that container"
            ));
        }

        // A global unit is never refused, as it waits for machines to come; others may belong beside it.
        let refusal = self.refused.get(name).filter(|_| wanted > current && !global);
        let desired = if refusal.is_some() { current } else { wanted };
        if refusal.is_none()
            && wanted > current
            && !self.request.queue
            && !self.snapshot.places.contains_key(name)
        {
            self.candidates.push(Candidate { name: name.clone(), file: file.clone() });
        }

        let starts = refusal.is_none()
            && desired == DesiredState::Launched
            && (change.restart
                || (change.desired.is_some()
                    && (current != DesiredState::Launched || replaced || self.ended(name))));
        let generation = match &before {
            Some(before) => before.generation + u64::from(starts),
            None => first_generation(self.snapshot, name, job),
        };
        let changed = before
            .as_ref()
            .is_none_or(|b| (b.file, b.desired, b.generation) != (hash, desired, generation));
        let expected = before.as_ref().map_or(0, |b| b.expected);
        let outcome = match refusal {
            Some(refusal) => ChangeOutcome::Refused { refusal: refusal.clone() },
            None if kept => ChangeOutcome::Differs,
            None if before.is_none() => ChangeOutcome::Created,
            None if changed => ChangeOutcome::Changed,
            None => ChangeOutcome::Unchanged,
        };
        let mut warnings = match change.file {
            Some(given) if given == hash => self.warnings(name, hash, &file),
            _ => Vec::new(),
        };
        if change.file.is_some() && (before.is_none() || replaced) {
            warnings.extend(self.left_behind(name, hash, &file));
        }
        if changed {
            let name = name.clone();
            let write = UnitWrite { name: name.clone(), file, desired, generation, expected };
            self.pending.insert(name, (hash, write));
        }
        Ok(UnitChanged { name: name.clone(), outcome, global, generation, was, warnings })
    }

    fn before(&self, name: &UnitName) -> Option<Before> {
        let stored = self.snapshot.units.get(name);
        let pending = self.pending.get(name).map(|(hash, write)| Before {
            file: *hash,
            desired: write.desired,
            generation: write.generation,
            expected: write.expected,
        });
        pending.or_else(|| {
            stored.map(|unit| Before {
                file: unit.file,
                desired: unit.desired,
                generation: unit.generation,
                expected: unit.revision,
            })
        })
    }

    /// The file the request gives for a unit.
    fn supplied(
        &self,
        name: &UnitName,
        hash: FileHash,
    ) -> Result<(FileHash, Arc<UnitFile>), String> {
        match self.request.files.get(&hash) {
            Some(Ok(file)) => Ok((hash, file.clone())),
            Some(Err(error)) => Err(InvalidUnit::from_parse(name, error.clone()).to_string()),
            None => match self.snapshot.files.get(&hash) {
                Some(file) => Ok((hash, file.clone())),
                None => Err(format!("{name}: the request does not carry its file {hash}")),
            },
        }
    }

    /// The file a known unit has.
    fn stored(&self, name: &UnitName, hash: FileHash) -> Result<Arc<UnitFile>, String> {
        let given = self.request.files.get(&hash).and_then(|file| file.as_ref().ok());
        given.or_else(|| self.snapshot.files.get(&hash)).cloned().ok_or_else(|| {
            let why = self.snapshot.unreadable.get(&format!("file/{hash}"));
            format!(
                "{name}: its file {}; submit it again with --replace",
                why.map_or("is missing from the store".to_owned(), |u| format!(
                    "cannot be read ({})",
                    u.problem
                ))
            )
        })
    }

    /// The file of a new unit that came without one: its template's.
    fn of_template(&self, name: &UnitName) -> Result<(FileHash, Arc<UnitFile>), String> {
        let Some(template) = name.template() else {
            return Err(format!("{name} is not known; submit its file first"));
        };
        if let Some((hash, write)) = self.pending.get(&template) {
            return Ok((*hash, write.file.clone()));
        }
        match self.snapshot.units.get(&template) {
            Some(unit) => Ok((unit.file, self.stored(&template, unit.file)?)),
            None => Err(format!(
                "{name} is not known and neither is its template {template}; submit the template first"
            )),
        }
    }

    /// Checks what the file asks of the scheduler; says whether the unit is global, and whether it is a job.
    fn requires(
        &mut self,
        name: &UnitName,
        hash: FileHash,
        file: &UnitFile,
    ) -> Result<(bool, bool), String> {
        let section =
            self.sections.entry(hash).or_insert_with(|| RequirementsTemplate::parse(file));
        let requirements = match section {
            Ok(section) => section.for_unit(name),
            Err(error) => Err(error.clone()),
        };
        let requirements = requirements
            .map_err(|error| InvalidUnit::from_requirements(name, error).to_string())?;
        check_container(name, file).map_err(|error| error.to_string())?;
        Ok((requirements.global, requirements.job))
    }

    fn warnings(&mut self, name: &UnitName, hash: FileHash, file: &UnitFile) -> Vec<String> {
        // These are about the name as well, so each unit has its own.
        let mut found = reserved_warnings(name, file);
        if self.warned.insert((hash, name.unit_type())) {
            found.extend(warnings(name, file));
            found.extend(check_container(name, file).unwrap_or_default());
        }
        found.iter().map(|warning| format!("{name}: {warning}")).collect()
    }

    /// A word on the data that a unit leaves behind should it move. Said once, when its file comes into the cluster: not again
    /// at each start, and once for all that are made from one template.
    fn left_behind(&mut self, name: &UnitName, hash: FileHash, file: &UnitFile) -> Option<String> {
        let family = name.instance().map(|_| format!("{}@", name.prefix()));
        let known = family.is_some_and(|family| {
            let from = Bound::Included(family.as_str());
            let named = self.snapshot.units.range::<str, _>((from, Bound::Unbounded));
            let mut family = named.take_while(|(other, _)| other.as_str().starts_with(&*family));
            family.any(|(other, unit)| unit.file == hash && other.unit_type() == name.unit_type())
        });
        if known || !self.told_of_data.insert((hash, name.prefix().to_owned())) {
            return None;
        }
        let kept = left_behind(self.snapshot, name, file)?;
        let line = if kept.line > 0 { format!("line {}: ", kept.line) } else { String::new() };
        Some(format!(
            "{name}: {line}{}: what is kept there stays behind when the unit moves to another machine; MachineID= or \
             MachineMetadata= in [X-Fleet] ties it to where its data is",
            kept.what
        ))
    }

    /// Whether a launched unit has been carried out everywhere it is placed, and runs nowhere.
    fn ended(&self, name: &UnitName) -> bool {
        let Some(unit) = self.snapshot.units.get(name) else { return false };
        let Some(places) = self.snapshot.places.get(name) else { return false };
        let states = self.snapshot.states.get(name);
        places.keys().all(|machine| {
            states.and_then(|s| s.get(machine)).is_some_and(|state| is_over(unit, state))
        })
    }

    fn generation_of(&self, name: &UnitName) -> u64 {
        self.before(name).map_or(0, |before| before.generation)
    }

    fn desired_of(&self, name: &UnitName) -> Option<DesiredState> {
        self.before(name).map(|before| before.desired)
    }
}

/// Whether a machine has carried out this generation of a unit and the unit does not run.
fn is_over(unit: &Unit, state: &ObservedState) -> bool {
    let carried_out = state.generation >= unit.generation && state.desired == unit.desired;
    carried_out && (!state.active.is_up_or_starting() || state.problem.is_some())
}

/// Above everything that placements and machines still say of an earlier unit of this name.
fn first_generation(snapshot: &Snapshot, name: &UnitName, job: bool) -> u64 {
    let placed = snapshot.places.get(name).into_iter().flatten().map(|(_, p)| p.generation);
    let reported = snapshot.states.get(name).into_iter().flatten().map(|(_, s)| s.generation);
    let known = placed.chain(reported).max().unwrap_or(0);
    // A machine that is away may remember which starts of an earlier job of this name it has begun. Each of those cost a revision
    // at least, so that none was above the present one.
    if job { known.max(snapshot.revision) + 1 } else { known + 1 }
}
