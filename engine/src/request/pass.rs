//! One pass over the units of a change.
//!
//! Owns the rules for one unit: the file that counts, the state it is to have, whether it starts anew, and what is refused or worth a
//! warning. Each unit sees what became of those before it. See the table in [`super::change`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use muster_common::api::v1::{ChangeOutcome, UnitChange, UnitChanged};
use muster_common::decision::UnitWrite;
use muster_common::machine::{MachineId, RunnerDemand, RunnerKind};
use muster_common::probe::is_planted;
use muster_common::refusal::Refusal;
use muster_common::snapshot::{Snapshot, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{
    FileHash, InvalidUnit, RequirementsError, RequirementsTemplate, UnitFile, UnitName, UnitType,
    Warning, check_container, choice_warnings, file_warnings, is_startable, reserved_warnings,
    runner_demand_of,
};

use super::parsed_change::ParsedChange;
use crate::left_behind::left_behind;
use crate::schedule::Candidate;

/// One pass over a change.
pub(super) struct ChangePass<'a> {
    change: &'a ParsedChange,
    snapshot: &'a Snapshot,
    /// Units of this change that no machine takes.
    refused: &'a BTreeMap<UnitName, Refusal>,
    /// The records that the units before this one are to have.
    pending: BTreeMap<UnitName, (FileHash, UnitWrite)>,
    /// The `[X-Fleet]` section of each file, read once.
    sections: BTreeMap<FileHash, Result<RequirementsTemplate, RequirementsError>>,
    /// Files whose warnings have been given: once is enough for all instances.
    warned: BTreeSet<(FileHash, UnitType)>,
    /// Files, and whose they are, of which it has been said that their units leave data behind.
    warned_of_data: BTreeSet<(FileHash, String)>,
    /// Units that are to be placed, for the scheduler to admit or refuse.
    candidates: Vec<Candidate>,
}

/// A unit as it stands before the change under decision.
struct PriorUnit {
    file: FileHash,
    desired: DesiredState,
    generation: u64,
    /// Revision of its stored record; 0: there is none.
    expected: u64,
}

/// The file a unit is to have.
struct ResolvedFile {
    hash: FileHash,
    file: Arc<UnitFile>,
    /// Another one came with the change, and the stored one is kept.
    kept: bool,
    /// It takes the place of another one.
    replaced: bool,
}

impl<'a> ChangePass<'a> {
    /// A pass that has seen no unit yet.
    pub(super) fn new(
        change: &'a ParsedChange,
        snapshot: &'a Snapshot,
        refused: &'a BTreeMap<UnitName, Refusal>,
    ) -> Self {
        Self {
            change,
            snapshot,
            refused,
            pending: BTreeMap::new(),
            sections: BTreeMap::new(),
            warned: BTreeSet::new(),
            warned_of_data: BTreeSet::new(),
            candidates: Vec::new(),
        }
    }

    /// The writes of the whole pass, and the units that the scheduler has to be asked about.
    pub(super) fn into_writes(self) -> (Vec<UnitWrite>, Vec<Candidate>) {
        (self.pending.into_values().map(|(_, write)| write).collect(), self.candidates)
    }

    /// Decides about one unit.
    ///
    /// # Errors
    ///
    /// It cannot be done; the message says why and names the way out.
    pub(super) fn decide_unit(&mut self, change: &UnitChange) -> Result<UnitChanged, String> {
        let name = &change.name;
        if let Some(record) = self.snapshot.unreadable.get(&format!("unit/{name}")) {
            return Err(format!(
                "the record of {name} cannot be read ({}); destroy the unit and submit it again",
                record.problem
            ));
        }
        let before = self.prior_unit(name);
        let ResolvedFile { hash, file, kept, replaced } =
            self.resolve_file(change, before.as_ref())?;
        let (global, job) = self.check_requirements(name, hash, &file)?;

        let was = before.as_ref().map(|b| b.desired);
        let current = was.unwrap_or(DesiredState::Inactive);
        let unsaid = if change.restart { DesiredState::Launched } else { current };
        let wanted = change.desired.unwrap_or(unsaid);
        if wanted > DesiredState::Inactive {
            check_startable(name, &file)?;
        }
        // A global unit is never refused, as it waits for machines to come; others may belong beside it.
        let refusal = self.refused.get(name).filter(|_| wanted > current && !global);
        let desired = if refusal.is_some() { current } else { wanted };
        if refusal.is_none()
            && wanted > current
            && !self.change.queue
            && !self.snapshot.places.contains_key(name)
        {
            self.candidates.push(Candidate { name: name.clone(), file: file.clone() });
        }

        let starts = refusal.is_none()
            && desired == DesiredState::Launched
            && (change.restart
                || (change.desired.is_some()
                    && (current != DesiredState::Launched
                        || replaced
                        || self.has_ended(name, global))));
        let generation = match &before {
            Some(before) if starts && job => {
                next_job_generation(before.generation, self.snapshot.revision)
            }
            Some(before) => before.generation + u64::from(starts),
            None => first_generation(self.snapshot, name, job),
        };
        let changed = before
            .as_ref()
            .is_none_or(|b| (b.file, b.desired, b.generation) != (hash, desired, generation));
        let outcome = match refusal {
            Some(refusal) => ChangeOutcome::Refused { refusal: refusal.clone() },
            None if kept => ChangeOutcome::Differs,
            None if before.is_none() => ChangeOutcome::Created,
            None if changed => ChangeOutcome::Changed,
            None => ChangeOutcome::Unchanged,
        };
        let mut warnings = match change.file {
            Some(given) if given == hash => self.file_warnings(name, hash, &file),
            _ => Vec::new(),
        };
        if change.file.is_some() && (before.is_none() || replaced) {
            warnings.extend(self.data_warning(name, hash, &file));
        }
        if changed {
            // Whatever machines still say of a generation must never be taken for the word on a later request.
            debug_assert!(before.as_ref().is_none_or(|before| generation >= before.generation));
            let expected = before.as_ref().map_or(0, |b| b.expected);
            let write = UnitWrite { name: name.clone(), file, desired, generation, expected };
            self.pending.insert(name.clone(), (hash, write));
        }
        Ok(UnitChanged { name: name.clone(), outcome, global, generation, was, warnings })
    }

    /// The file a unit is to have: the one that came with the change, the stored one, or that of its template.
    fn resolve_file(
        &self,
        change: &UnitChange,
        before: Option<&PriorUnit>,
    ) -> Result<ResolvedFile, String> {
        let name = &change.name;
        let supplied = change.file.map(|hash| self.supplied_file(name, hash)).transpose()?;
        let differs = matches!((before, &supplied), (Some(b), Some((hash, _))) if b.file != *hash);
        let kept = differs && !self.change.replace;
        let (hash, file) = match (before, supplied) {
            (_, Some(supplied)) if !kept => supplied,
            (Some(before), _) => (before.file, self.stored_file(name, before.file)?),
            (None, Some(supplied)) => supplied,
            (None, None) => self.template_file(name)?,
        };
        Ok(ResolvedFile { hash, file, kept, replaced: differs && !kept })
    }

    /// The unit as it stands before the change under decision: as this pass leaves it so far, else as it is stored.
    fn prior_unit(&self, name: &UnitName) -> Option<PriorUnit> {
        let stored = self.snapshot.units.get(name);
        let pending = self.pending.get(name).map(|(hash, write)| PriorUnit {
            file: *hash,
            desired: write.desired,
            generation: write.generation,
            expected: write.expected,
        });
        pending.or_else(|| {
            stored.map(|unit| PriorUnit {
                file: unit.file,
                desired: unit.desired,
                generation: unit.generation,
                expected: unit.revision,
            })
        })
    }

    /// The file the request gives for a unit.
    fn supplied_file(
        &self,
        name: &UnitName,
        hash: FileHash,
    ) -> Result<(FileHash, Arc<UnitFile>), String> {
        match self.change.files.get(&hash) {
            Some(Ok(file)) => Ok((hash, file.clone())),
            Some(Err(error)) => Err(InvalidUnit::from_parse(name, error.clone()).to_string()),
            None => match self.snapshot.files.get(&hash) {
                Some(file) => Ok((hash, file.clone())),
                None => Err(format!("{name}: the request does not carry its file {hash}")),
            },
        }
    }

    /// The file a known unit has.
    fn stored_file(&self, name: &UnitName, hash: FileHash) -> Result<Arc<UnitFile>, String> {
        let given = self.change.files.get(&hash).and_then(|file| file.as_ref().ok());
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
    fn template_file(&self, name: &UnitName) -> Result<(FileHash, Arc<UnitFile>), String> {
        let Some(template) = name.template_name() else {
            return Err(format!("{name} is not known; submit its file first"));
        };
        if let Some((hash, write)) = self.pending.get(&template) {
            return Ok((*hash, write.file.clone()));
        }
        match self.snapshot.units.get(&template) {
            Some(unit) => Ok((unit.file, self.stored_file(&template, unit.file)?)),
            None => Err(format!(
                "{name} is not known and neither is its template {template}; submit the template first"
            )),
        }
    }

    /// Checks the requirements of the file; returns whether the unit is global, and whether it is a job.
    fn check_requirements(
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
        check_container(name, file)
            .map_err(|error| format!("{error}{}", self.way_to_podman(name, file)))?;
        Ok((requirements.global, requirements.job))
    }

    /// Warnings about a file that came with the change, and about the name.
    fn file_warnings(&mut self, name: &UnitName, hash: FileHash, file: &UnitFile) -> Vec<String> {
        // These are about the name as well, so each unit has its own.
        let mut found = reserved_warnings(name, file);
        if self.warned.insert((hash, name.unit_type())) {
            found.extend(file_warnings(name, file));
            found.extend(self.container_warnings(name, file));
        }
        found.iter().map(|warning| format!("{name}: {warning}")).collect()
    }

    /// Warnings about the part that a container engine runs, of those that may run it in this cluster.
    fn container_warnings(&self, name: &UnitName, file: &UnitFile) -> Vec<Warning> {
        match runner_demand_of(name, file) {
            RunnerDemand::Kind(_) => check_container(name, file).unwrap_or_default(),
            RunnerDemand::MachineChoice => {
                choice_warnings(name, file, &self.snapshot.container_runners())
            }
        }
    }

    /// The way out of a refusal for Docker's sake, where a machine would have Podman run the file: it may be all right for that.
    fn way_to_podman(&self, name: &UnitName, file: &UnitFile) -> &'static str {
        let is_open = runner_demand_of(name, file) == RunnerDemand::MachineChoice;
        if is_open && self.snapshot.container_runners().contains(&RunnerKind::Podman) {
            "; a file that names no runner has to be sound for Docker, too: with Runner=podman in [X-Fleet] only Podman's word counts"
        } else {
            ""
        }
    }

    /// A warning about the data that a unit leaves behind should it move. Given once, when its file comes into the cluster: not again
    /// at each start, and once for all that are made from one template.
    fn data_warning(&mut self, name: &UnitName, hash: FileHash, file: &UnitFile) -> Option<String> {
        let family = name.instance_name().map(|_| format!("{}@", name.name_prefix()));
        let known = family.is_some_and(|family| {
            let from = Bound::Included(family.as_str());
            let named = self.snapshot.units.range::<str, _>((from, Bound::Unbounded));
            let mut family = named.take_while(|(other, _)| other.as_str().starts_with(&*family));
            family.any(|(other, unit)| unit.file == hash && other.unit_type() == name.unit_type())
        });
        if known || !self.warned_of_data.insert((hash, name.name_prefix().to_owned())) {
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

    /// A launched unit has been carried out everywhere it is placed, and runs nowhere.
    fn has_ended(&self, name: &UnitName, global: bool) -> bool {
        let Some(unit) = self.snapshot.units.get(name) else { return false };
        let Some(places) = self.snapshot.places.get(name) else { return false };
        let states = self.snapshot.states.get(name);
        // A global unit has ended where it is; nobody knows how it is on a machine that is away, or gone for good.
        let counts = |machine: &MachineId| !global || self.snapshot.machines.contains_key(machine);
        let mut counted = places.keys().filter(|machine| counts(machine)).peekable();
        counted.peek().is_some()
            && counted.all(|machine| {
                states.and_then(|s| s.get(machine)).is_some_and(|state| is_over(unit, state))
            })
    }

    /// The unit's generation, the writes of this pass included; 0 when it does not exist.
    pub(super) fn generation_of(&self, name: &UnitName) -> u64 {
        self.prior_unit(name).map_or(0, |before| before.generation)
    }

    /// The state that is wanted of the unit, the writes of this pass included.
    pub(super) fn desired_of(&self, name: &UnitName) -> Option<DesiredState> {
        self.prior_unit(name).map(|before| before.desired)
    }
}

/// An error for a unit that is never placed: it cannot be loaded or started.
fn check_startable(name: &UnitName, file: &UnitFile) -> Result<(), String> {
    let kind = name.unit_type().as_str();
    if name.is_template() {
        let stem = name.name_prefix();
        return Err(format!(
            "cannot activate template {:?}; start an instance of it, such as {stem}@1.{kind}",
            name.as_str()
        ));
    }
    if !is_startable(name, file) {
        return Err(format!(
            "cannot start {name}: a {kind} is made on each machine where a container names it; submit it, and start that container, or write Runner=podman into its [X-Fleet]"
        ));
    }
    Ok(())
}

/// A machine has carried out this generation of a unit, and the unit does not run there.
fn is_over(unit: &Unit, state: &ObservedState) -> bool {
    let carried_out = state.generation >= unit.generation && state.desired == unit.desired;
    carried_out && (!state.active.is_up_or_starting() || state.problem.is_some())
}

/// A new unit's generation: above everything that placements and machines still say of an earlier unit of this name.
fn first_generation(snapshot: &Snapshot, name: &UnitName, job: bool) -> u64 {
    let placed = snapshot.places.get(name).into_iter().flatten().map(|(_, p)| p.generation);
    let reported = snapshot.states.get(name).into_iter().flatten().map(|(_, s)| s.generation);
    let known = placed.chain(reported).max().unwrap_or(0);
    if job { next_job_generation(known, snapshot.revision) } else { known + 1 }
}

/// The generation of a job's next start. A machine that is away may remember which starts of an earlier job of this name it has begun,
/// and any machine may remember starts of this one that a store put back from a backup has forgotten. Each of those cost a revision at
/// least, so that none was above the present one.
fn next_job_generation(known: u64, revision: u64) -> u64 {
    let revision = if is_planted("job-restart-numbered-low") { 0 } else { revision };
    known.max(revision) + 1
}
