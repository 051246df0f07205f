//! A wait for units.
//!
//! Owns the meaning of [`Until`]: when a unit has come as far as was asked, and when it never will; and when a client is told why a
//! unit is placed nowhere. It looks at the cluster and remembers what it has told.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::api::v1::{Until, WaitEvent, WaitFor, WaitRequest};
use muster_common::machine::{Machine, MachineId};
use muster_common::probe::is_planted;
use muster_common::refusal::{Refusal, UnitReason};
use muster_common::snapshot::{Placement, Snapshot, home_placements};
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::{Requirements, UnitName};

use super::cluster_wait::{ClusterWait, StoreLoss, is_blind};
use crate::cluster::{Cluster, lists};
use crate::machine::arrival::{Arrival, PlacementReport};

/// The time a unit is without a place before its client is told why. The leader places a unit in a few milliseconds;
/// asking at once would plan beside it for nothing.
const EXPLAIN_AFTER: Duration = Duration::from_millis(100);

/// The pause after which the reasons are looked at again while a unit stays without a place.
const EXPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Time for which a unit that is to go is up, with one and the same problem, before that is taken for the end. Its machine asks it to
/// stop every five seconds; one that has refused twice is not going to be persuaded by waiting.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Log lines of a unit that failed: as many as `systemctl status` shows.
const LOG_LINES: u32 = 10;

/// Most failures of one look that come with their log: a thousand units that fail alike need not be explained a thousand times.
const MAX_LOGS: usize = 32;

/// One client's wait for some units.
pub struct UnitsWait {
    open: BTreeMap<UnitName, WatchedUnit>,
    /// The client has asked for what it waits for, in a change that every snapshot from now on has.
    has_asked: bool,
    store_loss: StoreLoss,
    /// When the reasons of units without a place are looked at next; absent while all have one.
    explain_at: Option<Duration>,
}

/// One unit of a wait, and what was last told about it.
struct WatchedUnit {
    wait: WaitFor,
    events_of_refusal: Option<(MachineId, Option<ObservedState>)>,
    refusal: Option<Refusal>,
    is_unplaced: bool,
    /// It is to go, and is up, for this reason and since then.
    stuck: Option<(String, Duration)>,
}

/// A unit's way to what is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UnitProgress {
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

/// A unit that was tried and did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFailure {
    /// The unit.
    pub name: UnitName,
    /// The machine that it is placed on.
    pub machine: Machine,
    /// The report of that machine.
    pub state: ObservedState,
    /// The number of its last log lines that are told with it; 0: none.
    pub log_lines: u32,
}

/// One thing that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitUpdate {
    /// To be told as it is.
    Event(WaitEvent),
    /// To be told with its log, which is the caller's to fetch.
    Failure(UnitFailure),
}

impl UnitsWait {
    /// Begins to wait. A unit that is named twice is waited for as it was named last.
    pub fn new(request: WaitRequest) -> Self {
        let watched = |wait| WatchedUnit {
            wait,
            events_of_refusal: None,
            refusal: None,
            is_unplaced: false,
            stuck: None,
        };
        let open = request.units.into_iter().map(|w| (w.name.clone(), watched(w))).collect();
        Self {
            open,
            has_asked: request.revision > 0,
            store_loss: StoreLoss::default(),
            explain_at: None,
        }
    }

    /// The events that a snapshot adds to those of before.
    fn update_units(&mut self, now: Duration, snapshot: &Snapshot) -> Vec<WaitUpdate> {
        let before = self.open.len();
        let (mut events, mut failures) = (Vec::new(), Vec::new());
        let has_asked = self.has_asked;
        self.open.retain(|name, watched| {
            match watched.update(now, snapshot, has_asked) {
                UnitProgress::Overtaken(desired) => {
                    events.push(WaitEvent::Overtaken { name: name.clone(), desired });
                    return false;
                }
                UnitProgress::Done(ids) => {
                    let known = |id| lists::machine_with_metadata(snapshot, id);
                    let machines = ids.iter().map(known).collect();
                    let remarks = idle_remarks(snapshot, name, &ids);
                    events.push(WaitEvent::Done { name: name.clone(), machines, remarks });
                    return false;
                }
                UnitProgress::Failed(id, state) => {
                    let machine = lists::machine_with_metadata(snapshot, &id);
                    let log_lines = if failures.len() < MAX_LOGS { LOG_LINES } else { 0 };
                    failures.push(UnitFailure { name: name.clone(), machine, state, log_lines });
                    return false;
                }
                UnitProgress::Moving(id, state) => {
                    events.extend(watched.progress_event(snapshot, name, id, state));
                }
                UnitProgress::Unplaced | UnitProgress::Unknown => {}
            }
            true
        });
        let is_last = |event: &&WaitEvent| !matches!(event, WaitEvent::Progress { .. });
        // A unit is waited for until its last event and no longer: one without would keep its client for ever.
        debug_assert_eq!(
            before - self.open.len(),
            events.iter().filter(is_last).count() + failures.len(),
            "each unit that is closed has one last event"
        );
        let events = events.into_iter().map(WaitUpdate::Event);
        events.chain(failures.into_iter().map(WaitUpdate::Failure)).collect()
    }

    /// Refusals that have not been told, or have changed since.
    fn new_refusals(&mut self, cluster: &mut Cluster) -> Vec<WaitEvent> {
        let mut events = Vec::new();
        for (name, watched) in self.open.iter_mut().filter(|(_, watched)| watched.is_unplaced) {
            let refusal = cluster.explain_refusal(name);
            if watched.refusal != refusal {
                watched.refusal.clone_from(&refusal);
                let events_of_refusal =
                    refusal.map(|refusal| refusal_event(cluster.current_snapshot(), name, refusal));
                events.extend(events_of_refusal);
            }
        }
        events
    }
}

impl ClusterWait for UnitsWait {
    type Update = WaitUpdate;

    fn update(&mut self, now: Duration, cluster: &mut Cluster) -> Vec<WaitUpdate> {
        let mut updates = Vec::new();
        let is_lost = is_blind(cluster);
        if let Some(message) = self.store_loss.update(cluster.store_problem()) {
            updates.push(WaitUpdate::Event(WaitEvent::Degraded { message }));
        }
        if is_lost {
            // A stop that may be over by now takes nobody too long.
            self.open.values_mut().for_each(|watched| watched.stuck = None);
        } else {
            updates.extend(self.update_units(now, cluster.current_snapshot()));
        }
        let has_unplaced = self.open.values().any(|watched| watched.is_unplaced);
        self.explain_at = match self.explain_at {
            _ if !has_unplaced => None,
            None => Some(now + EXPLAIN_AFTER),
            Some(at) if at > now => Some(at),
            Some(_) => {
                // Refusals of a cluster that cannot be seen would be guesses.
                if !is_lost {
                    updates.extend(self.new_refusals(cluster).into_iter().map(WaitUpdate::Event));
                }
                Some(now + EXPLAIN_EVERY)
            }
        };
        updates
    }

    fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    fn next_deadline(&self) -> Option<Duration> {
        let stuck = self.open.values().filter_map(|watched| watched.stuck.as_ref());
        stuck.map(|(_, since)| *since + STOP_PATIENCE).chain(self.explain_at).min()
    }
}

impl WatchedUnit {
    /// The unit's progress in a snapshot. `has_asked`: the snapshot has the change that asked for it.
    fn update(&mut self, now: Duration, snapshot: &Snapshot, has_asked: bool) -> UnitProgress {
        let overtaken = if has_asked { overtaken_by(snapshot, &self.wait) } else { None };
        let progress = overtaken.unwrap_or_else(|| unit_progress(snapshot, &self.wait));
        self.is_unplaced = progress == UnitProgress::Unplaced;
        self.stuck = match &progress {
            UnitProgress::Moving(id, Some(state)) => self.stuck_since(now, snapshot, id, state),
            _ => None,
        };
        match (&self.stuck, progress) {
            (Some((_, since)), UnitProgress::Moving(id, Some(state)))
                if now >= *since + STOP_PATIENCE && !is_planted("failed-stop-waited-for-ever") =>
            {
                UnitProgress::Failed(id, state)
            }
            (_, progress) => progress,
        }
    }

    /// The reason for which a unit that is to go does not, on a machine from which it was taken, and since when it is so.
    fn stuck_since(
        &self,
        now: Duration,
        snapshot: &Snapshot,
        id: &MachineId,
        state: &ObservedState,
    ) -> Option<(String, Duration)> {
        let goes = matches!(self.wait.until, Until::Gone | Until::Inactive);
        let places = snapshot.places.get(&self.wait.name);
        let is_placed = places.is_some_and(|places| places.contains_key(id));
        if !goes || is_placed || !state.active.is_up() {
            return None;
        }
        let problem = state.problem.as_ref()?;
        let before = self.stuck.as_ref().filter(|(before, _)| before == problem);
        Some((problem.clone(), before.map_or(now, |(_, since)| *since)))
    }

    /// The event for a unit on its way, unless it was the last one told.
    fn progress_event(
        &mut self,
        snapshot: &Snapshot,
        name: &UnitName,
        id: MachineId,
        state: Option<ObservedState>,
    ) -> Option<WaitEvent> {
        let machine = Some(lists::machine_with_metadata(snapshot, &id));
        let now = Some((id, state.clone()));
        if self.events_of_refusal == now {
            return None;
        }
        self.events_of_refusal = now;
        self.refusal = None;
        Some(WaitEvent::Progress { name: name.clone(), machine, state })
    }
}

/// The event for a unit that is on no machine: why none takes it, or where it has to end before one does.
fn refusal_event(snapshot: &Snapshot, name: &UnitName, refusal: Refusal) -> WaitEvent {
    let Some(UnitReason::StillRunning { machine }) = &refusal.unit else {
        return WaitEvent::Refused { name: name.clone(), refusal };
    };
    let state = snapshot.states.get(name).and_then(|states| states.get(machine)).cloned();
    let machine = Some(lists::machine_with_metadata(snapshot, machine));
    WaitEvent::Progress { name: name.clone(), machine, state }
}

/// The remarks of these machines on a unit that was started and does not run, though nothing is wrong.
fn idle_remarks(
    snapshot: &Snapshot,
    name: &UnitName,
    ids: &[MachineId],
) -> BTreeMap<MachineId, String> {
    let states = snapshot.states.get(name);
    let idle = |id: &MachineId| {
        let state = states?.get(id)?;
        let has_remark = state.active == ActiveState::Inactive && !state.remark.is_empty();
        has_remark.then(|| (id.clone(), state.remark.clone()))
    };
    ids.iter().filter_map(idle).collect()
}

/// The other thing that a unit is to be in a snapshot that has what was asked of it.
fn overtaken_by(snapshot: &Snapshot, wait: &WaitFor) -> Option<UnitProgress> {
    let unit = snapshot.units.get(&wait.name).filter(|unit| unit.generation >= wait.generation)?;
    let asked = match wait.until {
        Until::Launched => Some(DesiredState::Launched),
        Until::Loaded => Some(DesiredState::Loaded),
        Until::Inactive => Some(DesiredState::Inactive),
        // It was to be no more, and is there again.
        Until::Gone => None,
    };
    (asked != Some(unit.desired)).then_some(UnitProgress::Overtaken(unit.desired))
}

/// A unit's progress, in the terms of a wait.
fn unit_progress(snapshot: &Snapshot, wait: &WaitFor) -> UnitProgress {
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
        (true, None) => UnitProgress::Done(Vec::new()),
        (_, Some(id)) => {
            let state = states.and_then(|s| s.get(&id)).cloned();
            UnitProgress::Moving(id, state)
        }
        (false, None) => UnitProgress::Unknown,
    };
    let Some(unit) = unit else { return leaving(true) };
    let generation = wait.generation;
    match wait.until {
        Until::Gone => leaving(false),
        Until::Inactive => leaving(true),
        Until::Loaded | Until::Launched if unit.generation < generation => UnitProgress::Unknown,
        Until::Loaded | Until::Launched => {
            let is_global = || {
                let file = snapshot.files.get(&unit.file);
                file.is_some_and(|f| Requirements::from_file(name, f).is_ok_and(|r| r.global))
            };
            let Some(places) = places else {
                return match unit.desired {
                    DesiredState::Inactive => UnitProgress::Unknown,
                    // The leader has not looked at it yet, or no machine is eligible; that it is on all of none says neither.
                    _ if is_global() && is_planted("global-done-before-it-is-placed") => {
                        UnitProgress::Done(Vec::new())
                    }
                    _ => UnitProgress::Unplaced,
                };
            };
            // Where it is only about to take over it does not have to be up yet; stopped it is to be everywhere.
            let up = wait.until == Until::Launched;
            // A global unit is on the machines that are here. One that is away has its placement for when it comes back, and whether
            // it does holds nobody up, unless all are away: then it is nowhere.
            let is_away = |id: &MachineId| !snapshot.machines.contains_key(id);
            let all_away =
                places.keys().all(is_away) && !is_planted("global-done-with-nobody-here");
            let skips_away = places.keys().any(is_away)
                && !all_away
                && is_global()
                && !is_planted("absent-machine-holds-global-up");
            let counted = |id: &MachineId| {
                !(skips_away && is_away(id))
                    && (!up || home_placements(places).any(|(home, _)| home == id))
            };
            combine_progress(places, counted, |id, placement| {
                let state = states.and_then(|s| s.get(id));
                if placement.generation < generation || placement.desired != unit.desired {
                    return UnitProgress::Moving(id.clone(), state.cloned());
                }
                progress_on(wait.until, id, placement, state)
            })
        }
    }
}

/// The progress of a unit on all its machines: the first failure, else the first that is on its way, else done.
fn combine_progress(
    places: &BTreeMap<MachineId, Placement>,
    counted: impl Fn(&MachineId) -> bool,
    progress_on: impl Fn(&MachineId, &Placement) -> UnitProgress,
) -> UnitProgress {
    let mut moving = None;
    let counted: Vec<_> = places.iter().filter(|(id, _)| counted(id)).collect();
    for (id, placement) in &counted {
        match progress_on(id, placement) {
            failed @ UnitProgress::Failed(..) => return failed,
            UnitProgress::Done(_) => {}
            other => moving = moving.or(Some(other)),
        }
    }
    moving.unwrap_or_else(|| {
        UnitProgress::Done(counted.into_iter().map(|(id, _)| id.clone()).collect())
    })
}

/// The progress of a unit on one machine that knows of the request.
fn progress_on(
    until: Until,
    id: &MachineId,
    placement: &Placement,
    state: Option<&ObservedState>,
) -> UnitProgress {
    let Some(state) = state else { return UnitProgress::Moving(id.clone(), None) };
    let until = match until {
        Until::Loaded => DesiredState::Loaded,
        _ => DesiredState::Launched,
    };
    match PlacementReport::from_state(state).arrival_at(placement, until) {
        Arrival::Here => UnitProgress::Done(Vec::new()),
        Arrival::Failed(_) => UnitProgress::Failed(id.clone(), state.clone()),
        Arrival::Pending => UnitProgress::Moving(id.clone(), Some(state.clone())),
    }
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
