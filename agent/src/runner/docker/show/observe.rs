//! The observations of units that the converge loop asks for.
//!
//! Owns the joining of three things: the files at our place, what each unit's task says, and the engine's list of
//! containers, which is the truth behind both. An engine that does not answer in time has said nothing: what was known
//! last stands, and nobody who asks about other units has to wait for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use muster_common::state::{ActiveState, load};
use muster_common::unit::UnitName;
use muster_engine::container::Owner;
use muster_engine::container::unit::{UnitStatus, run_name};
use muster_engine::machine::converge::Observed;
use muster_runtime::Instant;

use crate::runner::UnitObservation;
use crate::runner::docker::api::list::{ListedContainer, list_containers};
use crate::runner::docker::clean::orphans;
use crate::runner::docker::make::create;
use crate::runner::docker::runner::Docker;
use crate::runner::docker::unit::task::{UnitHandle, UnitMessage};
use crate::stdx::sync::lock;

/// The time that whoever asks waits for the engine, all units together.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(3);

impl Docker {
    /// The observation of each of these units.
    pub(crate) async fn look_at(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> BTreeMap<UnitName, UnitObservation> {
        let deadline = Instant::now() + ENGINE_TIMEOUT;
        let handles: BTreeMap<&UnitName, UnitHandle> =
            units.iter().filter_map(|unit| Some((unit, self.find_or_take_up(unit)?))).collect();
        let listed = self.list_containers(deadline).await;
        let by_name = listed.as_deref().map(by_name);
        let mut seen = BTreeMap::new();
        for unit in units {
            let mut one =
                UnitObservation { observed: self.of_file(unit), ..UnitObservation::default() };
            let name = if let Some(handle) = handles.get(unit) {
                let status = status_of(handle, listed.is_some(), deadline).await;
                if let Some(listed) = &listed {
                    check(handle, &status, listed);
                    one.observed.outdated = runs_earlier_file(&one.observed, &status, listed);
                }
                one.observed.origin = status.origin;
                one.observed.between_runs = status.is_between_runs;
                one.observed.active.clone_from(&status.active);
                one.observed.sub.clone_from(&status.sub);
                one.invocation.clone_from(&status.invocation);
                one.since = status.since;
                one.remark = self.context.engine.remark_on(&status.remark);
                Some(handle.name.clone())
            } else {
                if let Some(stray) = listed.iter().flatten().find(|c| c.unit() == Some(unit)) {
                    of_stray(stray, &mut one);
                }
                lock(&self.proposed).get(unit).cloned()
            };
            if let Some(by_name) = &by_name
                && let Some(name) = name
                && let Some(container) = by_name.get(name.as_str())
                && let Some(obstacle) = create::foreign_name_problem(&container.owner, &name)
            {
                one.observed.foreign = true;
                one.observed.obstacle = obstacle;
            }
            seen.insert(unit.clone(), one);
        }
        if let (Some(by_name), Some(listed)) = (by_name, &listed) {
            let taken = by_name.into_iter().filter_map(|(name, container)| {
                Some((name.to_owned(), create::foreign_name_problem(&container.owner, name)?))
            });
            *lock(&self.taken) = taken.collect();
            let ours = lock(&self.units).keys().chain(units).cloned().collect();
            orphans::remove_leftovers(Arc::clone(&self.context), listed, &ours);
        }
        seen
    }

    /// The observation that a unit's file at our place gives of it.
    fn of_file(&self, unit: &UnitName) -> Observed {
        let mut observed = Observed {
            load: "not-found".to_owned(),
            active: ActiveState::Inactive,
            sub: "dead".to_owned(),
            ..Observed::default()
        };
        observed.file = lock(&self.files).hash(unit);
        if observed.file.is_some() {
            "loaded".clone_into(&mut observed.load);
        }
        if lock(&self.refused).contains_key(unit) {
            "bad-setting".clone_into(&mut observed.load);
        }
        observed
    }

    async fn list_containers(&self, deadline: Instant) -> Option<Vec<ListedContainer>> {
        if !self.context.engine.is_up() {
            return None;
        }
        match muster_runtime::timeout_at(deadline, list_containers(&self.context, None)).await {
            Ok(Ok(listed)) => Some(listed),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot list containers");
                None
            }
            Err(_) => {
                tracing::warn!("the container engine takes long to list its containers");
                None
            }
        }
    }
}

/// A container whose unit has no file here, or none that can be read: it runs all the same, or does not.
fn of_stray(stray: &ListedContainer, seen: &mut UnitObservation) {
    if stray.runs {
        seen.observed.active = ActiveState::Active;
        "running".clone_into(&mut seen.observed.sub);
        seen.invocation = run_name(&stray.id);
        seen.since = stray.created;
    }
}

/// Where a unit stands, once the engine has been asked about it if it answers.
async fn status_of(handle: &UnitHandle, up: bool, deadline: Instant) -> UnitStatus {
    let mut status = handle.status.clone();
    if up {
        let _ = muster_runtime::timeout_at(deadline, status.wait_for(|s| s.adopted)).await;
    }
    status.borrow().clone()
}

/// Has a unit look at its container if that is not as it believes: an event was missed.
fn check(handle: &UnitHandle, status: &UnitStatus, listed: &[ListedContainer]) {
    let Some(id) = &status.container else { return };
    let runs = listed.iter().any(|container| container.id == *id && container.runs);
    if runs != status.runs {
        let _ = handle.messages.send(UnitMessage::Hint);
    }
}

/// True if the container that runs was made from another file than the one in its unit's place, which can be carried out.
fn runs_earlier_file(of: &Observed, status: &UnitStatus, listed: &[ListedContainer]) -> bool {
    let (Some(id), true) = (&status.container, status.runs && of.load == load::LOADED) else {
        return false;
    };
    listed.iter().filter(|container| container.id == *id && container.runs).any(
        |container| matches!(&container.owner, Owner::Ours(made) if Some(made.file) != of.file),
    )
}

/// Containers by each of their names.
fn by_name(listed: &[ListedContainer]) -> HashMap<&str, &ListedContainer> {
    let mut found = HashMap::new();
    for container in listed {
        found.extend(container.names.iter().map(|name| (name.as_str(), container)));
    }
    found
}
