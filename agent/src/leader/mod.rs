//! Leading: being elected, deciding with the engine, writing its decisions.
//!
//! Owns the campaign and the schedule loop. It makes no choice of its own: the engine plans, and the store refuses
//! whatever rests on something that has changed. Only a leader follows the whole cluster; the others watch one key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent, Leader, Snapshot};
use muster_common::unit::UnitName;
use muster_engine::leader::freeze::{Freeze, is_silent};
use muster_engine::schedule::Scheduler;
use muster_store::{CommitError, Leadership, Presence, Registry};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::machine::registration::Registration;
use crate::stdx::errors::error_chain;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;
use muster_engine::leader::deadlines::Deadlines;

/// Pause before an attempt that the store did not answer is made again.
const RETRY: Duration = Duration::from_millis(500);
/// After a conflict the change that caused it is on its way to us; should it not come, the plan is made again anyway.
const CONFLICT: Duration = Duration::from_millis(200);
/// How often the store is asked after machines that are silent.
const ASK: Duration = Duration::from_millis(200);
/// How long the store may take to say how much time the leases have left.
const ANSWER: Duration = Duration::from_secs(1);

/// Campaigns and leads until `shutdown`.
pub async fn run(
    registry: Registry,
    ttl: Duration,
    mut standing: watch::Receiver<Registration>,
    health: Health,
    shutdown: CancellationToken,
) {
    let work = async {
        let mut leader = registry.watch_leader();
        // `None`: not known, so nobody to succeed.
        let mut led: Option<Option<Leader>> = None;
        let mut retry = None;
        loop {
            let presence = match &*standing.borrow_and_update() {
                Registration::Registered(presence) => Some(presence.clone()),
                _ => None,
            };
            let free = match (&led, &presence) {
                (Some(None), Some(_)) => true,
                // Our own record: an earlier daemon of this machine led under the lease we have taken over.
                (Some(Some(leader)), Some(presence)) => leader.machine == presence.machine,
                _ => false,
            };
            if let Some(presence) = presence.filter(|_| free && retry.is_none()) {
                match registry.campaign_for_leadership(&presence).await {
                    Ok(Some(leadership)) => {
                        tracing::info!("this daemon leads");
                        health.update(|s| {
                            s.leading = true;
                            s.counters.elections += 1;
                        });
                        Lead::new(&registry, presence, leadership, ttl, &health)
                            .run(&mut standing)
                            .await;
                        tracing::info!("this daemon leads no more");
                        health.update(|s| {
                            s.leading = false;
                            s.held.clear();
                        });
                        led = None;
                        leader = registry.watch_leader();
                        continue;
                    }
                    // Someone was quicker, and the watch is about to say who.
                    Ok(None) => retry = Some(Instant::now() + RETRY),
                    Err(error) => {
                        tracing::debug!(error = error_chain(&error), "cannot campaign");
                        retry = Some(Instant::now() + RETRY);
                    }
                }
            }
            tokio::select! {
                event = leader.events.recv() => {
                    let Some(event) = event else { return };
                    retry = None;
                    match event {
                        ClusterEvent::Reset(snapshot) => led = Some(snapshot.leader),
                        ClusterEvent::Changes { changes, .. } => {
                            for change in changes {
                                if let Change::Leader(now) = change {
                                    led = Some(now);
                                }
                            }
                        }
                        ClusterEvent::Lost { .. } => {}
                    }
                }
                changed = standing.changed() => if changed.is_err() { return },
                () = sleep_until_opt(retry) => retry = None,
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

/// One term of leadership.
struct Lead<'a> {
    registry: &'a Registry,
    presence: Presence,
    leadership: Leadership,
    health: &'a Health,
    began: Instant,
    freeze: Freeze,
    view: Option<View>,
    /// Held machines as the leader record says.
    recorded: BTreeSet<MachineId>,
    /// Members as the store has them.
    members: BTreeSet<MachineId>,
    /// Machines that have taken their leave and are still here.
    leaving: BTreeSet<MachineId>,
    /// When drains are to end.
    deadlines: Deadlines,
    /// No plan before the view is at this revision: it would repeat what has just been written.
    wait_for: u64,
    retry: Option<Instant>,
}

/// The cluster as the leader sees it.
struct View {
    scheduler: Scheduler,
    revision: u64,
    machines: BTreeSet<MachineId>,
    placed: BTreeMap<MachineId, BTreeSet<UnitName>>,
    /// Whether something has changed since the last plan.
    changed: bool,
}

impl<'a> Lead<'a> {
    fn new(
        registry: &'a Registry,
        presence: Presence,
        leadership: Leadership,
        ttl: Duration,
        health: &'a Health,
    ) -> Self {
        Self {
            registry,
            presence,
            leadership,
            health,
            began: Instant::now(),
            freeze: Freeze::new(ttl),
            view: None,
            recorded: BTreeSet::new(),
            members: BTreeSet::new(),
            leaving: BTreeSet::new(),
            deadlines: Deadlines::default(),
            wait_for: 0,
            retry: None,
        }
    }

    /// Leads until another does, or until the lease is not good any more.
    async fn run(mut self, standing: &mut watch::Receiver<Registration>) {
        let mut updates = self.registry.watch();
        loop {
            tokio::select! {
                event = updates.events.recv() => {
                    let Some(event) = event else { return };
                    if !self.take(event) {
                        return;
                    }
                    // Whatever else has arrived belongs into the same plan.
                    while let Ok(event) = updates.events.try_recv() {
                        if !self.take(event) {
                            return;
                        }
                    }
                }
                changed = standing.changed() => {
                    let ours = matches!(
                        &*standing.borrow_and_update(),
                        Registration::Registered(p) if p.lease.id == self.presence.lease.id
                    );
                    if changed.is_err() || !ours {
                        return;
                    }
                }
                () = sleep_until_opt(self.retry) => {
                    self.retry = None;
                    if let Some(view) = &mut self.view {
                        view.changed = true;
                    }
                }
            }
            self.end_drains().await;
            if self.decide().await.is_err() {
                return;
            }
        }
    }

    /// Takes an event in. `false`: another leads.
    fn take(&mut self, event: ClusterEvent) -> bool {
        match event {
            ClusterEvent::Reset(snapshot) => self.reset(&snapshot),
            ClusterEvent::Changes { revision, changes } => {
                for change in changes {
                    if let Change::Leader(leader) = &change
                        && !self.leader_changed(leader.as_ref())
                    {
                        return false;
                    }
                    self.apply(&change);
                }
                if let Some(view) = &mut self.view {
                    view.revision = revision;
                }
                true
            }
            ClusterEvent::Lost { problem } => {
                tracing::warn!(
                    problem,
                    "the leader has lost the store; nothing is decided meanwhile"
                );
                true
            }
        }
    }

    fn reset(&mut self, snapshot: &Snapshot) -> bool {
        if !self.leader_changed(snapshot.leader.as_ref()) {
            return false;
        }
        let now = self.began.elapsed();
        let machines: BTreeSet<MachineId> = snapshot.machines.keys().cloned().collect();
        let mut placed: BTreeMap<MachineId, BTreeSet<UnitName>> = BTreeMap::new();
        for (unit, places) in &snapshot.places {
            for machine in places.keys() {
                placed.entry(machine.clone()).or_default().insert(unit.clone());
            }
        }
        match &self.view {
            None => {
                // Nobody has recorded any where no leader ever led.
                let known = match &snapshot.members {
                    none if none.is_empty() => placed.keys().cloned().collect(),
                    members => members.clone(),
                };
                self.freeze.take_over(machines.clone(), &known, now);
                self.members.clone_from(&snapshot.members);
            }
            Some(before) => {
                let gone: Vec<_> = before.machines.difference(&machines).cloned().collect();
                let returned: Vec<_> = machines.difference(&before.machines).cloned().collect();
                self.members_changed(&snapshot.members);
                for machine in gone {
                    self.gone(machine);
                }
                for machine in returned {
                    self.returned(machine);
                }
            }
        }
        self.deadlines.reset(&snapshot.cordons, now);
        let scheduler = Scheduler::new(snapshot);
        self.view =
            Some(View { scheduler, revision: snapshot.revision, machines, placed, changed: true });
        true
    }

    /// Follows the leader record. `false`: it is not ours.
    fn leader_changed(&mut self, leader: Option<&Leader>) -> bool {
        let Some(leader) = leader.filter(|l| l.machine == self.presence.machine) else {
            return false;
        };
        if leader.held.is_empty() && !self.recorded.is_empty() {
            tracing::warn!("unfrozen by a person; units of the missing machines are placed anew");
            self.freeze.unfreeze();
        }
        self.recorded.clone_from(&leader.held);
        true
    }

    /// A machine's registration is gone: with a leave taken, or lost.
    fn gone(&mut self, machine: MachineId) {
        if self.leaving.remove(&machine) {
            self.freeze.left(&machine);
        } else {
            tracing::warn!(%machine, "a machine is lost");
            self.freeze.gone(machine, self.began.elapsed());
        }
    }

    fn returned(&mut self, machine: MachineId) {
        self.leaving.remove(&machine);
        self.freeze.returned(machine);
    }

    /// Follows the record of the members. We take none out of it that is here: one that is here and out of it has taken
    /// its leave.
    fn members_changed(&mut self, members: &BTreeSet<MachineId>) {
        let here = self.view.as_ref().map(|view| &view.machines);
        let left = self.members.difference(members);
        let leaving = left.filter(|machine| here.is_some_and(|here| here.contains(*machine)));
        self.leaving.extend(leaving.cloned());
        // It was our own record, overtaken by a later one of ours.
        self.leaving.retain(|machine| !members.contains(machine));
        self.members.clone_from(members);
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Machine(id, record) => {
                let Some(view) = &mut self.view else { return };
                match record {
                    Some(_) if view.machines.insert(id.clone()) => self.returned(id.clone()),
                    None if view.machines.remove(id) => self.gone(id.clone()),
                    _ => {}
                }
            }
            Change::Members(members) => self.members_changed(members),
            _ => {}
        }
        let Some(view) = &mut self.view else { return };
        match change {
            Change::Place(machine, unit, Some(_)) => {
                view.placed.entry(machine.clone()).or_default().insert(unit.clone());
            }
            Change::Place(machine, unit, None) => {
                if let Some(units) = view.placed.get_mut(machine) {
                    units.remove(unit);
                    if units.is_empty() {
                        view.placed.remove(machine);
                    }
                }
            }
            Change::Cordon(machine, cordon) => {
                self.deadlines.set(machine, cordon.as_ref(), self.began.elapsed());
            }
            _ => {}
        }
        // Most of what machines report decides nothing.
        if view.scheduler.apply(change) {
            view.changed = true;
        }
    }

    /// Looks again after a while, or when it was going to anyway if that is sooner.
    fn again_in(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Before anything moves away from a lost machine: how are the others?
    async fn ask_after_the_others(&mut self) {
        let Some(view) = &self.view else { return };
        let answer = tokio::time::timeout(ANSWER, self.registry.time_left()).await;
        let problem = match answer {
            Ok(Ok(left)) => {
                let is_well = |machine: &MachineId| {
                    *machine == self.presence.machine
                        || left.get(machine).is_some_and(|l| !is_silent(l.left, l.granted))
                };
                let silent = view.machines.iter().filter(|machine| !is_well(machine));
                let silent: BTreeSet<MachineId> = silent.cloned().collect();
                self.freeze.asked(&silent);
                if !self.freeze.is_unsure() {
                    return;
                }
                let names: Vec<&str> = silent.iter().map(MachineId::as_str).collect();
                format!("not heard of lately: {}", names.join(" "))
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_) => "the store does not answer in time".to_owned(),
        };
        tracing::info!(problem, "units of lost machines wait until it is known who else is lost");
        self.again_in(ASK);
    }

    /// Keeps the record of the members true. A failure is made good with the next decision.
    async fn record_members(&mut self) -> Result<(), ()> {
        if let Some(at) = self.freeze.forget(self.began.elapsed()) {
            // A moment later it certainly is in the past.
            self.again_in(at.saturating_sub(self.began.elapsed()) + ASK);
        }
        let mut members = self.freeze.members();
        members.retain(|machine| !self.leaving.contains(machine));
        if members == self.members {
            return Ok(());
        }
        match self.registry.set_members(self.leadership, &members).await {
            Ok(()) => self.members = members,
            Err(CommitError::Deposed) => return Err(()),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "cannot record the members");
                self.again_in(RETRY);
            }
        }
        Ok(())
    }

    /// Notes of drains that their deadline has come. A failure is made good a little later.
    async fn end_drains(&mut self) {
        let now = self.began.elapsed();
        for (machine, drains) in self.deadlines.due(now) {
            for (holder, drain) in &drains {
                let end = drain.then.end();
                tracing::info!(%machine, %holder, ?end, "a drain is at its deadline");
            }
            match self.registry.end_drains(self.leadership, &machine, &drains).await {
                Ok(()) => self.deadlines.ended(&machine, &drains),
                Err(error) => {
                    tracing::warn!(%machine, error = error_chain(&error), "cannot end a drain");
                    self.again_in(RETRY);
                }
            }
        }
        if let Some(next) = self.deadlines.next().and_then(|at| at.checked_sub(now)) {
            self.again_in(next);
        }
    }

    /// Plans and writes the plan. `Err`: another leads.
    async fn decide(&mut self) -> Result<(), ()> {
        match &self.view {
            Some(view) if view.changed && view.revision >= self.wait_for => {}
            _ => return Ok(()),
        }
        if self.freeze.is_unsure() {
            self.ask_after_the_others().await;
        }
        self.record_members().await?;
        let held = self.freeze.held().clone();
        let Some(view) = &mut self.view else { return Ok(()) };
        view.scheduler.hold(self.freeze.waiting());
        if held != self.health.status().held {
            if !held.is_empty() {
                let names: Vec<&str> = held.iter().map(MachineId::as_str).collect();
                tracing::error!(
                    machines = names.join(" "),
                    "too many machines vanished together: their units stay where they are until the machines return or \
                     `musterctl unfreeze` is run"
                );
            }
            let recorded = self
                .registry
                .write_held_machines(self.leadership, &self.presence, held.clone())
                .await;
            match recorded {
                Ok(()) => self.health.update(|s| s.held = held),
                Err(CommitError::Deposed) => return Err(()),
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "cannot record the freeze");
                    self.again_in(RETRY);
                    return Ok(());
                }
            }
        }
        view.changed = false;
        let began = std::time::Instant::now();
        let plan = view.scheduler.plan();
        self.health.record_plan(began.elapsed());
        if plan.moves.is_empty() {
            return Ok(());
        }
        let decisions: usize = plan.moves.iter().map(|m| m.decisions.len()).sum();
        match self.registry.commit_places(self.leadership, &plan.moves).await {
            Ok(committed) => {
                self.wait_for = committed.revision;
                let conflicts = committed.conflicts.len() as u64;
                self.health.update_counters(|c| {
                    c.decisions += decisions as u64;
                    c.conflicts += conflicts;
                });
                if conflicts > 0 {
                    tracing::debug!(conflicts, "part of the plan was overtaken; planning again");
                    self.again_in(CONFLICT);
                }
                Ok(())
            }
            Err(CommitError::Deposed) => Err(()),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "cannot write the plan");
                self.again_in(RETRY);
                Ok(())
            }
        }
    }
}
