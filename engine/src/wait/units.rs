//! What a waiting client is told.
//!
//! Owns the meaning of [`Until`]: when a unit has come as far as was asked, and when it never will. Pure: it looks at
//! snapshots and remembers what it has said; the stream around it brings the snapshots and carries the events away.

use std::collections::BTreeMap;

use crate::machine::arrival::{Arrival, Report};
use muster_common::api::v1::{Until, WaitEvent, WaitFor, WaitRequest};
use muster_common::machine::{Machine, MachineId};
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::{Placement, Snapshot, homes};
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::{Requirements, UnitName};

use crate::cluster::Cluster;
use crate::cluster::lists;

/// One client's wait.
pub struct Waiting {
    open: BTreeMap<UnitName, Watched>,
    /// Whether the client has asked for what it waits for, in a change that every snapshot from now on has.
    asked: bool,
}

/// One unit of a wait, and what was last said about it.
struct Watched {
    wait: WaitFor,
    told: Option<(MachineId, Option<ObservedState>)>,
    refusal: Option<Refusal>,
    unplaced: bool,
}

/// Where a unit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// It has come far enough, on these machines.
    Done(Vec<MachineId>),
    /// It was tried here and did not work.
    Failed(MachineId, ObservedState),
    /// Something else is wanted by now.
    Overtaken(DesiredState),
    /// On its way, here.
    Moving(MachineId, Option<ObservedState>),
    /// It should be placed and is not.
    Unplaced,
    /// Nothing to be said yet.
    Unknown,
}

/// A unit that was tried and did not work; its last log lines are the caller's to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The unit.
    pub name: UnitName,
    /// Where.
    pub machine: Machine,
    /// What that machine reports.
    pub state: ObservedState,
}

/// What is new.
#[derive(Debug, Default)]
pub struct News {
    /// To be told as they are.
    pub events: Vec<WaitEvent>,
    /// To be told with their logs.
    pub failures: Vec<Failure>,
}

impl Waiting {
    /// Begins to wait. A unit that is named twice is waited for as it was named last.
    pub fn new(wait: WaitRequest) -> Self {
        let watched = |wait| Watched { wait, told: None, refusal: None, unplaced: false };
        let open = wait.units.into_iter().map(|w| (w.name.clone(), watched(w))).collect();
        Self { open, asked: wait.revision > 0 }
    }

    /// Whether every unit has had its last event.
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether some unit should be placed and is not, so that [`Self::refusals`] may have something to say.
    pub fn has_unplaced(&self) -> bool {
        self.open.values().any(|watched| watched.unplaced)
    }

    /// What a snapshot adds to what was said before.
    pub fn look(&mut self, snapshot: &Snapshot) -> News {
        let mut news = News::default();
        let asked = self.asked;
        self.open.retain(|name, watched| {
            watched.unplaced = false;
            let overtaken = if asked { overtaken(snapshot, &watched.wait) } else { None };
            match overtaken.unwrap_or_else(|| stand(snapshot, &watched.wait)) {
                Stand::Overtaken(desired) => {
                    news.events.push(WaitEvent::Overtaken { name: name.clone(), desired });
                    return false;
                }
                Stand::Done(ids) => {
                    let machines =
                        ids.iter().map(|id| lists::machine_with_metadata(snapshot, id)).collect();
                    let remarks = remarks(snapshot, name, &ids);
                    news.events.push(WaitEvent::Done { name: name.clone(), machines, remarks });
                    return false;
                }
                Stand::Failed(id, state) => {
                    let machine = lists::machine_with_metadata(snapshot, &id);
                    news.failures.push(Failure { name: name.clone(), machine, state });
                    return false;
                }
                Stand::Moving(id, state) => {
                    let now = Some((id, state));
                    if watched.told != now {
                        watched.told.clone_from(&now);
                        watched.refusal = None;
                        let (machine, state) = now.map_or((None, None), |(id, state)| {
                            (Some(lists::machine_with_metadata(snapshot, &id)), state)
                        });
                        news.events.push(WaitEvent::Progress {
                            name: name.clone(),
                            machine,
                            state,
                        });
                    }
                }
                Stand::Unplaced => watched.unplaced = true,
                Stand::Unknown => {}
            }
            true
        });
        news
    }

    /// Refusals that have not been told, or have changed since.
    pub fn refusals(&mut self, cluster: &mut Cluster) -> Vec<WaitEvent> {
        let mut events = Vec::new();
        for (name, watched) in self.open.iter_mut().filter(|(_, watched)| watched.unplaced) {
            let refusal = cluster.explain_refusal(name);
            if watched.refusal != refusal {
                watched.refusal.clone_from(&refusal);
                events.extend(refusal.map(|refusal| unplaced(cluster.snapshot(), name, refusal)));
            }
        }
        events
    }
}

/// What is told of a unit that is on no machine: why none takes it, or where it has to end before one does.
fn unplaced(snapshot: &Snapshot, name: &UnitName, refusal: Refusal) -> WaitEvent {
    let Some(UnitReason::StillRunning { machine }) = &refusal.unit else {
        return WaitEvent::Refused { name: name.clone(), refusal };
    };
    let state = snapshot.states.get(name).and_then(|states| states.get(machine)).cloned();
    let machine = Some(lists::machine_with_metadata(snapshot, machine));
    WaitEvent::Progress { name: name.clone(), machine, state }
}

/// What these machines say of a unit that was started and does not run, though nothing is wrong.
fn remarks(snapshot: &Snapshot, name: &UnitName, ids: &[MachineId]) -> BTreeMap<MachineId, String> {
    let states = snapshot.states.get(name);
    let idle = |id: &MachineId| {
        let state = states?.get(id)?;
        let said = state.active == ActiveState::Inactive && !state.remark.is_empty();
        said.then(|| (id.clone(), state.remark.clone()))
    };
    ids.iter().filter_map(idle).collect()
}

/// Whether a unit, in a snapshot that has what was asked of it, is to be something else.
fn overtaken(snapshot: &Snapshot, wait: &WaitFor) -> Option<Stand> {
    let unit = snapshot.units.get(&wait.name).filter(|unit| unit.generation >= wait.generation)?;
    let asked = match wait.until {
        Until::Launched => Some(DesiredState::Launched),
        Until::Loaded => Some(DesiredState::Loaded),
        Until::Inactive => Some(DesiredState::Inactive),
        // It was to be no more, and is there again.
        Until::Gone => None,
    };
    (asked != Some(unit.desired)).then_some(Stand::Overtaken(unit.desired))
}

fn stand(snapshot: &Snapshot, wait: &WaitFor) -> Stand {
    let name = &wait.name;
    let places = snapshot.places.get(name);
    let states = snapshot.states.get(name);
    let unit = snapshot.units.get(name);
    // The first machine that still has the unit, for progress.
    let holder = || {
        let placed = places.into_iter().flatten().map(|(id, _)| id);
        placed.chain(states.into_iter().flatten().map(|(id, _)| id)).next().cloned()
    };
    let leaving = |gone: bool| match (gone, holder()) {
        (true, None) => Stand::Done(Vec::new()),
        (_, Some(id)) => {
            let state = states.and_then(|s| s.get(&id)).cloned();
            Stand::Moving(id, state)
        }
        (false, None) => Stand::Unknown,
    };
    let Some(unit) = unit else { return leaving(true) };
    let generation = wait.generation;
    match wait.until {
        Until::Gone => leaving(false),
        Until::Inactive => leaving(true),
        Until::Loaded | Until::Launched if unit.generation < generation => Stand::Unknown,
        Until::Loaded | Until::Launched => {
            let Some(places) = places else {
                let global = snapshot
                    .files
                    .get(&unit.file)
                    .is_some_and(|f| Requirements::of(name, f).is_ok_and(|r| r.global));
                return match (unit.desired, global) {
                    (DesiredState::Inactive, _) => Stand::Unknown,
                    // On every eligible machine, of which there are none.
                    (_, true) => Stand::Done(Vec::new()),
                    (_, false) => Stand::Unplaced,
                };
            };
            // Where it is only about to take over it does not have to be up yet; stopped it is to be everywhere.
            let up = wait.until == Until::Launched;
            let counted = |id: &MachineId| !up || homes(places).any(|(home, _)| home == id);
            all(places, counted, |id, placement| {
                let state = states.and_then(|s| s.get(id));
                if placement.generation < generation || placement.desired != unit.desired {
                    return Stand::Moving(id.clone(), state.cloned());
                }
                one(wait.until, id, placement, state)
            })
        }
    }
}

/// The stand of a unit on all its machines: the first failure, else the first that is on its way, else done.
fn all(
    places: &BTreeMap<MachineId, Placement>,
    counted: impl Fn(&MachineId) -> bool,
    stand: impl Fn(&MachineId, &Placement) -> Stand,
) -> Stand {
    let mut moving = None;
    let counted: Vec<_> = places.iter().filter(|(id, _)| counted(id)).collect();
    for (id, placement) in &counted {
        match stand(id, placement) {
            failed @ Stand::Failed(..) => return failed,
            Stand::Done(_) => {}
            other => moving = moving.or(Some(other)),
        }
    }
    moving.unwrap_or_else(|| Stand::Done(counted.into_iter().map(|(id, _)| id.clone()).collect()))
}

/// The stand of a unit on one machine that knows of the request.
fn one(
    until: Until,
    id: &MachineId,
    placement: &Placement,
    state: Option<&ObservedState>,
) -> Stand {
    let Some(state) = state else { return Stand::Moving(id.clone(), None) };
    let until = match until {
        Until::Loaded => DesiredState::Loaded,
        _ => DesiredState::Launched,
    };
    match Report::of(state).arrival(placement, until) {
        Arrival::Here => Stand::Done(Vec::new()),
        Arrival::Failed(_) => Stand::Failed(id.clone(), state.clone()),
        Arrival::Pending => Stand::Moving(id.clone(), Some(state.clone())),
    }
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
