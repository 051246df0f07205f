//! The content of systemd's signals.
//!
//! Owns reading them into events and job ends. Called from the task that drains the socket, so nothing here waits:
//! an event that finds its queue full is dropped, and a relist makes up for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use muster_common::state::{ActiveState, sub};
use muster_common::unit::UnitName;
use tokio::sync::{Notify, mpsc};

use super::host::{Leftovers, UnitGroups};
use super::jobs::JobWaiters;
use super::manager::ManagerSignal;
use crate::runner::RunnerEvent;
use crate::stdx::clock::Wall;

/// Events that wait for the converge loop. A start makes about four; a thousand units at once fit.
const QUEUE: usize = 4096;

/// systemd's words for a unit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedState {
    /// `inactive`, `dead`.
    Dead,
    /// `failed`, `failed`.
    Failed,
}

/// The state of a unit that has ended for systemd and is not empty.
pub(super) const LINGERS: ActiveState = ActiveState::Deactivating;

/// The reader's end.
#[derive(Debug)]
pub(super) struct SignalReader {
    pub(super) jobs: JobWaiters,
    /// Units whose changes are reported: those the converge loop has asked for.
    interest: HashSet<UnitName>,
    /// Number of changes of such units that were heard of, and at which count each last was.
    changes: u64,
    changed: HashMap<UnitName, u64>,
    /// Where processes of units are; not known before units are first asked for.
    groups: Option<Arc<dyn UnitGroups>>,
    /// Units that systemd has done with and that are not empty, with systemd's word for how they ended and what was last
    /// said of them.
    lingering: BTreeMap<UnitName, (EndedState, Leftovers)>,
    /// The notice that there are such units.
    lingers: Arc<Notify>,
    events: mpsc::Sender<RunnerEvent>,
    /// The clock that dates what nobody else does.
    wall: Wall,
    missed: bool,
    up: bool,
}

impl SignalReader {
    /// A reader, and where its events arrive.
    pub(super) fn new(wall: Wall) -> (Self, mpsc::Receiver<RunnerEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE);
        let signals = Self {
            jobs: JobWaiters::default(),
            interest: HashSet::new(),
            changes: 0,
            changed: HashMap::new(),
            groups: None,
            lingering: BTreeMap::new(),
            lingers: Arc::default(),
            events,
            wall,
            missed: false,
            up: true,
        };
        (signals, receiver)
    }

    /// Reports a unit's changes from now on.
    pub(super) fn watch_unit(&mut self, unit: &UnitName) {
        if !self.interest.contains(unit) {
            self.interest.insert(unit.clone());
        }
    }

    /// True if a unit's changes are reported.
    pub(super) fn is_watched(&self, unit: &UnitName) -> bool {
        self.interest.contains(unit)
    }

    /// Reports them no more.
    pub(super) fn unwatch_unit(&mut self, unit: &UnitName) {
        self.interest.remove(unit);
        self.changed.remove(unit);
        self.lingering.remove(unit);
    }

    /// Where processes of units are to be looked for.
    pub(super) fn look_in(&mut self, groups: Arc<dyn UnitGroups>) {
        self.groups = Some(groups);
    }

    /// The notice that a unit lingers: somebody has to look whether it still does.
    pub(super) fn lingering_notice(&self) -> Arc<Notify> {
        Arc::clone(&self.lingers)
    }

    /// Number of changes that were heard of so far.
    pub(super) fn change_count(&self) -> u64 {
        self.changes
    }

    /// Takes in what was seen when so many changes had been heard of: what is left of a unit that has ended. What was heard
    /// of it since is newer.
    pub(super) fn on_observed(
        &mut self,
        unit: &UnitName,
        at: u64,
        ended: Option<(EndedState, Leftovers)>,
    ) {
        if self.changed.get(unit).is_some_and(|last| *last > at) {
            return;
        }
        match ended {
            Some(ended) => {
                self.lingering.insert(unit.clone(), ended);
                self.lingers.notify_one();
            }
            None => {
                self.lingering.remove(unit);
            }
        }
    }

    /// Looks at the units that linger, and says which of them are gone and what has changed. Returns whether any is left.
    pub(super) fn look_again(&mut self) -> bool {
        let Some(groups) = &self.groups else { return false };
        let found = groups.find_leftovers(&self.lingering.keys().collect::<Vec<_>>());
        let mut news = Vec::new();
        self.lingering.retain(|unit, (ended, told)| {
            let Some(left) = found.get(unit) else {
                news.push(ended.into_event(unit.clone(), self.wall.unix_seconds(), None));
                return false;
            };
            if left != told {
                news.push(ended.into_event(unit.clone(), 0, Some(left)));
                *told = left.clone();
            }
            true
        });
        for event in news {
            self.send_event(event);
        }
        !self.lingering.is_empty()
    }

    /// Changes may have been missed.
    fn ask_for_relist(&mut self) {
        self.up = true;
        self.send_event(RunnerEvent::Relist);
    }

    /// The line broke or could not be made.
    fn on_connection_lost(&mut self, problem: &str) {
        self.jobs.clear();
        if self.up {
            self.up = false;
            self.send_event(RunnerEvent::Lost { problem: problem.to_owned() });
        }
    }

    /// Takes in what systemd, or the line to it, says.
    pub(super) fn on_signal(&mut self, signal: ManagerSignal) {
        match signal {
            ManagerSignal::JobRemoved { job, result } => self.jobs.on_job_removed(&job, result),
            ManagerSignal::UnitChanged { unit, active, sub, invocation, since } => {
                self.on_unit_changed(unit, active, sub, invocation, since);
            }
            ManagerSignal::OwnerChanged => self.jobs.forget_early(),
            ManagerSignal::Reloaded | ManagerSignal::Connected => self.ask_for_relist(),
            ManagerSignal::Lost { problem } => self.on_connection_lost(&problem),
        }
    }

    fn on_unit_changed(
        &mut self,
        unit: UnitName,
        active: ActiveState,
        sub: String,
        invocation: String,
        since: u64,
    ) {
        if !self.is_watched(&unit) {
            return;
        }
        self.changes += 1;
        self.changed.insert(unit.clone(), self.changes);
        // systemd forgets what is left of a unit that has ended; that is looked for before anybody hears that it has.
        let ended = EndedState::from_active_state(&active);
        let left =
            ended.and_then(|ended| Some((ended, self.groups.as_ref()?.leftovers_of(&unit)?)));
        if let Some((ended, left)) = left {
            self.send_event(ended.into_event(unit.clone(), since, Some(&left)));
            self.lingering.insert(unit, (ended, left));
            self.lingers.notify_one();
            return;
        }
        self.lingering.remove(&unit);
        self.send_event(RunnerEvent::Changed {
            unit,
            active,
            sub,
            invocation,
            since,
            remark: String::new(),
        });
    }

    fn send_event(&mut self, event: RunnerEvent) {
        if self.missed {
            self.missed = self.events.try_send(RunnerEvent::Relist).is_err();
        }
        if self.events.try_send(event).is_err() {
            self.missed = true;
        }
    }
}

impl EndedState {
    /// Of a unit's `ActiveState`; `None` when it has not ended.
    pub(super) fn from_active_state(active: &ActiveState) -> Option<Self> {
        match active {
            ActiveState::Inactive => Some(Self::Dead),
            ActiveState::Failed => Some(Self::Failed),
            _ => None,
        }
    }

    fn into_event(self, unit: UnitName, since: u64, left: Option<&Leftovers>) -> RunnerEvent {
        let (active, sub) = match self {
            Self::Dead => (ActiveState::Inactive, sub::DEAD),
            Self::Failed => (ActiveState::Failed, sub::FAILED),
        };
        RunnerEvent::Changed {
            unit,
            active: if left.is_some() { LINGERS } else { active },
            sub: sub.to_owned(),
            invocation: String::new(),
            since,
            remark: left.map(Leftovers::remark_text).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overfull_queue_ends_in_a_relist() {
        let (mut signals, mut events) = SignalReader::new(Wall::default());
        for _ in 0..=QUEUE {
            signals.send_event(RunnerEvent::Lost { problem: String::new() });
        }
        while events.try_recv().is_ok() {}
        signals.send_event(RunnerEvent::Lost { problem: "next".to_owned() });
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Relist));
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Lost { problem: "next".to_owned() }));
    }

    #[test]
    fn a_line_that_stays_down_is_reported_once() {
        let (mut signals, mut events) = SignalReader::new(Wall::default());
        signals.on_connection_lost("no bus");
        signals.on_connection_lost("no bus");
        signals.ask_for_relist();
        assert!(matches!(events.try_recv(), Ok(RunnerEvent::Lost { .. })));
        assert_eq!(events.try_recv(), Ok(RunnerEvent::Relist));
        assert!(events.try_recv().is_err());
    }
}
