//! Several runners as one: systemd, Podman before it, and a container engine.
//!
//! Owns who runs what, by the unit's type and, of a container unit, by its file; and the joining of what they report. The engine is
//! allowed to be away: its silence concerns its own units and never systemd's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt as _, stream};
use muster_common::machine::RunnerKind;
use muster_common::unit::{FileHash, UnitFile, UnitName, runner_demand_of};
use tokio::sync::mpsc;

use super::podman::Podman;
use super::{Runner, RunnerError, RunnerEvent, RunnerEvents, StartOutcome, UnitObservation};

/// Events on their way from either.
const QUEUE: usize = 64;

/// All runners.
pub struct CombinedRunner {
    systemd: Arc<dyn Runner>,
    containers: Arc<dyn Runner>,
    /// The same as `systemd`, where container units may be services.
    podman: Option<Arc<Podman>>,
    /// The runner of container units whose files name none.
    container_runner: RunnerKind,
}

impl CombinedRunner {
    /// Joins two runners, each given with its events, into one and its events.
    pub fn new(
        (systemd, systemd_events): (Arc<dyn Runner>, RunnerEvents),
        (containers, container_events): (Arc<dyn Runner>, RunnerEvents),
    ) -> (Self, RunnerEvents) {
        let (sender, events) = mpsc::channel(QUEUE);
        muster_runtime::spawn(join_events(systemd_events, container_events, sender));
        let container_runner = RunnerKind::Docker;
        (Self { systemd, containers, podman: None, container_runner }, events)
    }

    /// The same with Podman, which stands before systemd; container units whose files name no runner are for `container_runner`.
    pub fn with_podman(
        (podman, podman_events): (Arc<Podman>, RunnerEvents),
        containers: (Arc<dyn Runner>, RunnerEvents),
        container_runner: RunnerKind,
    ) -> (Self, RunnerEvents) {
        let systemd: Arc<dyn Runner> = Arc::<Podman>::clone(&podman);
        let (joined, events) = Self::new((systemd, podman_events), containers);
        (Self { podman: Some(podman), container_runner, ..joined }, events)
    }

    /// True if a unit is the container engine's.
    fn is_engines(&self, unit: &UnitName) -> bool {
        let is_podmans = || self.podman.as_ref().is_some_and(|podman| podman.has_unit(unit));
        let unit_type = unit.unit_type();
        unit_type.is_quadlet() && !unit_type.needs_podman() && !is_podmans()
    }

    fn runner_of(&self, unit: &UnitName) -> &dyn Runner {
        if self.is_engines(unit) { self.containers.as_ref() } else { self.systemd.as_ref() }
    }

    /// The runner that a unit's new file is for. One that has the unit still, by an earlier file, gives it up first.
    async fn runner_for(&self, unit: &UnitName, text: &str) -> Result<&dyn Runner, RunnerError> {
        let Some(podman) = self.podman.as_ref().filter(|_| unit.unit_type().is_quadlet()) else {
            return Ok(self.runner_of(unit));
        };
        let file: Result<UnitFile, _> = text.parse();
        let to_podman = file.is_ok_and(|file| self.is_for_podman(unit, &file));
        let (before, after): (&dyn Runner, &dyn Runner) = if to_podman {
            (self.containers.as_ref(), podman.as_ref())
        } else {
            (podman.as_ref(), self.containers.as_ref())
        };
        let is_held = if to_podman {
            let seen = before.observe_units(&BTreeSet::from([unit.clone()])).await?;
            seen.get(unit).is_some_and(|seen| seen.observed.file.is_some())
        } else {
            podman.has_unit(unit)
        };
        if is_held {
            before.stop(unit).await?;
            before.remove(unit).await?;
        }
        Ok(after)
    }

    /// True if a unit's file is Podman's here.
    fn is_for_podman(&self, unit: &UnitName, file: &UnitFile) -> bool {
        let demand = runner_demand_of(unit, file);
        demand.resolve_kind(self.container_runner) == RunnerKind::Podman
    }

    fn split_by_runner(
        &self,
        units: impl Iterator<Item = UnitName>,
    ) -> [(&dyn Runner, Vec<UnitName>); 2] {
        let (containers, others) = units.partition(|unit| self.is_engines(unit));
        [(self.systemd.as_ref(), others), (self.containers.as_ref(), containers)]
    }
}

/// The runner that an event comes from.
#[derive(Debug, Clone, Copy)]
enum ReportingRunner {
    Systemd,
    Containers,
}

fn stream_of(events: mpsc::Receiver<RunnerEvent>) -> impl Stream<Item = RunnerEvent> + Unpin {
    Box::pin(stream::unfold(events, async |mut events| {
        let event = events.recv().await?;
        Some((event, events))
    }))
}

/// Joins the events. Whether the machine's units can be seen at all is for systemd to say: that the engine has gone or
/// come back only means to look at everything anew. Ends when both have ended, or nobody listens.
async fn join_events(
    systemd: mpsc::Receiver<RunnerEvent>,
    containers: mpsc::Receiver<RunnerEvent>,
    events: mpsc::Sender<RunnerEvent>,
) {
    let mut up = false;
    // They take turns while both have something to say: a storm of the one's events would keep the other's from being seen.
    let mut both = stream::select(
        stream_of(systemd).map(|event| (ReportingRunner::Systemd, event)),
        stream_of(containers).map(|event| (ReportingRunner::Containers, event)),
    );
    while let Some((source, event)) = both.next().await {
        let event = match (source, event) {
            (_, event @ RunnerEvent::Changed { .. }) => Some(event),
            (ReportingRunner::Systemd, event) => {
                up = matches!(event, RunnerEvent::Relist);
                Some(event)
            }
            (ReportingRunner::Containers, _) => up.then_some(RunnerEvent::Relist),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

#[async_trait]
impl Runner for CombinedRunner {
    fn learn_userspace(&self, userspace: &str) {
        self.systemd.learn_userspace(userspace);
        self.containers.learn_userspace(userspace);
    }

    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        let mut seen = BTreeMap::new();
        for (runner, units) in self.split_by_runner(units.iter().cloned()) {
            if !units.is_empty() {
                seen.extend(runner.observe_units(&units.into_iter().collect()).await?);
            }
        }
        Ok(seen)
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        // Asked before the file is written, so that who has the unit now says nothing.
        match &self.podman {
            Some(podman) if self.is_for_podman(unit, file) => podman.find_obstacle(unit, file),
            _ => self.runner_of(unit).find_obstacle(unit, file),
        }
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        self.runner_for(unit, text).await?.write(unit, hash, text).await
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.runner_of(unit).remove(unit).await
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        for (runner, units) in self.split_by_runner(units.iter().cloned()) {
            if !units.is_empty() {
                runner.enable(&units).await?;
            }
        }
        Ok(())
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        for (runner, units) in self.split_by_runner(units.iter().cloned()) {
            if !units.is_empty() {
                runner.disable(&units).await?;
            }
        }
        Ok(())
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.runner_of(unit).load(unit).await
    }

    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.runner_of(unit).start(unit, generation).await
    }

    async fn find_replaced_run(&self, unit: &UnitName) -> Result<String, RunnerError> {
        self.runner_of(unit).find_replaced_run(unit).await
    }

    fn find_lasting_run(&self, unit: &UnitName) -> String {
        self.runner_of(unit).find_lasting_run(unit)
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.runner_of(unit).restart(unit, generation).await
    }

    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        self.runner_of(unit).failed_since_start(unit).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.runner_of(unit).stop(unit).await
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        self.runner_of(unit).wait_until_empty(unit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_goes_does_not_take_systemd_along() {
        let (systemd, systemds) = mpsc::channel(8);
        let (containers, theirs) = mpsc::channel(8);
        let (sender, mut events) = mpsc::channel(8);
        let joined = tokio::spawn(join_events(systemds, theirs, sender));
        let lost = || RunnerEvent::Lost { problem: String::new() };

        // Nothing is looked at before systemd can be.
        containers.send(RunnerEvent::Relist).await.unwrap();
        tokio::task::yield_now().await;
        systemd.send(RunnerEvent::Relist).await.unwrap();
        assert_eq!(events.recv().await, Some(RunnerEvent::Relist));
        containers.send(lost()).await.unwrap();
        assert_eq!(events.recv().await, Some(RunnerEvent::Relist));
        systemd.send(lost()).await.unwrap();
        assert_eq!(events.recv().await, Some(lost()));
        containers.send(RunnerEvent::Relist).await.unwrap();
        drop((systemd, containers));
        assert_eq!(events.recv().await, None);
        joined.await.unwrap();
    }
}
