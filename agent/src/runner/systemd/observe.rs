//! Looking at units.
//!
//! Owns putting together what systemd, its unit directories and control groups say of units of ours, and telling them from the host's
//! own. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::state::{ActiveState, load, sub};
use muster_common::unit::{UnitName, UnitType, is_reserved};
use muster_engine::machine::converge::{OVERRIDDEN, Observed};

use super::Systemd;
use super::host::UnitGroups;
use super::host_units::{instance_of, link_in_place, slice_of};
use super::invocation::LONGEST_LINKED;
use super::manager::{PropertyValue, UnitProperty};
use super::signals::{EndedState, LINGERS};
use super::wire::to_hexadecimal;
use crate::runner::{RunnerError, UnitObservation};
use crate::stdx::sync::lock;

impl Systemd {
    /// The observation of each of these units.
    pub(super) async fn observe_all(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        let groups = self.control_groups().await?;
        let at = {
            let mut signals = lock(&self.signals);
            // A daemon before this one may have written a file that it could not have read any more.
            let unknown: Vec<&UnitName> =
                units.iter().filter(|unit| !signals.is_watched(unit)).collect();
            self.definitions.mark_units(unknown);
            for unit in units {
                signals.watch_unit(unit);
            }
            signals.change_count()
        };
        let listed = self.manager.list_units(units).await?;
        let mut seen = BTreeMap::new();
        let (mut doubtful, mut overridden) = (Vec::new(), Vec::new());
        {
            let mut host = lock(&self.host);
            host.refresh_names();
            let mut files = lock(&self.files);
            for unit in units {
                let name = unit.as_str();
                let file = files.hash(unit);
                let (load, active, sub) = match listed.get(unit) {
                    Some(unit) => (unit.load.as_str(), unit.active.clone(), unit.sub.as_str()),
                    None => (load::NOT_FOUND, ActiveState::Inactive, sub::DEAD),
                };
                let in_place = file.is_some();
                // What systemd has not loaded is loaded when it is needed, from our file.
                let load = if in_place && load == load::NOT_FOUND { load::LOADED } else { load };
                let obstacle = if in_place {
                    None
                } else {
                    let link = || Some(link_in_place(unit, &files.linked_to(unit)?));
                    let template = || Some(instance_of(&host.template_of(unit)?));
                    let slice = || Some(slice_of(&host.instances_of(unit)?));
                    link().or_else(template).or_else(slice)
                };
                let overrides = host.overrides_ours(name);
                let foreign = overrides
                    || (!in_place && (host.has_file(name) || is_reserved(unit)))
                    || obstacle.is_some();
                if !foreign && !in_place && load != load::NOT_FOUND {
                    doubtful.push(unit.clone());
                }
                if in_place && overrides {
                    overridden.push(unit.clone());
                }
                let (invocation, since) = self.machine.current_run(unit, &active);
                let observed = Observed {
                    load: load.to_owned(),
                    active,
                    sub: sub.to_owned(),
                    foreign,
                    obstacle: obstacle.unwrap_or_default(),
                    file,
                    ..Observed::default()
                };
                seen.insert(
                    unit.clone(),
                    UnitObservation { observed, invocation, since, remark: String::new() },
                );
            }
        }
        for unit in overridden {
            if let Some(seen) = seen.get_mut(&unit)
                && self.is_still_ours(&unit, seen).await
            {
                seen.observed.foreign = false;
                OVERRIDDEN.clone_into(&mut seen.observed.obstacle);
            }
        }
        self.note_lingering(&**groups, at, &mut seen);
        for (unit, seen) in seen.iter_mut().filter(|(unit, _)| unit.as_str().len() > LONGEST_LINKED)
        {
            if !seen.observed.active.is_down() && seen.observed.active != LINGERS {
                let property = UnitProperty::InvocationId;
                let id = self.read_value(unit, property, PropertyValue::into_bytes).await?;
                seen.invocation = to_hexadecimal(&id);
            }
        }
        for unit in doubtful {
            let foreign = !self.is_from_our_file(&unit).await;
            if let Some(seen) = seen.get_mut(&unit) {
                seen.observed.foreign = foreign;
            }
        }
        self.note_runs(&seen);
        Ok(seen)
    }

    /// Which of the units that have ended for systemd are not empty: they are not down yet.
    fn note_lingering(
        &self,
        groups: &dyn UnitGroups,
        at: u64,
        seen: &mut BTreeMap<UnitName, UnitObservation>,
    ) {
        let ended = |seen: &UnitObservation| EndedState::from_active_state(&seen.observed.active);
        let over: Vec<&UnitName> =
            seen.iter().filter(|(_, s)| ended(s).is_some()).map(|(unit, _)| unit).collect();
        let found = groups.find_leftovers(&over);
        let mut signals = lock(&self.signals);
        for (unit, seen) in seen {
            let left = ended(seen).filter(|_| !seen.observed.foreign);
            let left = left.and_then(|ended| Some((ended, found.get(unit)?.clone())));
            if let Some((_, left)) = &left {
                seen.observed.active = LINGERS;
                seen.remark = left.remark_text();
            }
            signals.on_observed(unit, at, left);
        }
    }

    /// Where systemd has read a unit from. Asked only in doubt.
    async fn is_from_our_file(&self, unit: &UnitName) -> bool {
        let ours = lock(&self.files).path(unit);
        let path = self.read_text(unit, UnitProperty::FragmentPath).await;
        path.is_ok_and(|path| ours.as_os_str() == path.as_str())
    }

    /// Something of a unit of ours is there whose file has been removed and forgotten.
    pub(super) async fn runs_after_removal(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        if lock(&self.files).is_taken(unit) {
            // A link, which was never ours.
            return Ok(false);
        }
        let listed = self.manager.list_units(&BTreeSet::from([unit.clone()])).await?;
        if listed.get(unit).is_none_or(|listed| listed.active.is_down()) {
            let left = self.control_groups().await?.leftovers_of(unit).is_some();
            return Ok(left && !lock(&self.host).has_file(unit.as_str()));
        }
        // A file of the host's may have come to be read under that name. One that runs from no file at all ran from ours; but
        // a mount may be the machine's, which needs none.
        let path = self.read_text(unit, UnitProperty::FragmentPath).await?;
        let needs_file = matches!(
            unit.unit_type(),
            UnitType::Service | UnitType::Timer | UnitType::Socket | UnitType::Path
        );
        let ours = lock(&self.files).path(unit);
        Ok(ours.as_os_str() == path.as_str() || (path.is_empty() && needs_file))
    }

    /// A unit of ours that a file of the host's has come to win over: whether what there is of it is still ours. It is as
    /// long as systemd has not read the other file, and after that for as long as this run lasts.
    async fn is_still_ours(&self, unit: &UnitName, seen: &UnitObservation) -> bool {
        let same = self
            .runs
            .find_run(unit)
            .is_some_and(|run| seen.invocation.is_empty() || run == seen.invocation);
        same || self.is_from_our_file(unit).await
    }

    /// Remembers the run that each of our units is in.
    fn note_runs(&self, seen: &BTreeMap<UnitName, UnitObservation>) {
        for (unit, seen) in seen.iter().filter(|(_, seen)| seen.observed.file.is_some()) {
            if seen.observed.foreign {
                self.runs.forget_unit(unit);
            } else {
                self.runs.note_run(unit, &seen.invocation);
            }
        }
    }
}
