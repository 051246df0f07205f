//! What a machine's report says of what it was asked.
//!
//! Owns the comparison of a placement with the machine's report on it: whether the machine has carried it out, and
//! whether that went well. A report on an earlier generation, or on another file, says nothing.

use muster_common::probe::is_planted;
use muster_common::snapshot::Placement;
use muster_common::state::{ActiveState, DesiredState, ObservedState, sub};
use muster_common::unit::FileHash;

/// A machine's progress with a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// It has not carried it out yet, or the unit is still on its way up.
    Pending,
    /// The unit is up, or has ended well, or is loaded if that is all that was asked.
    Here,
    /// It was tried and did not work; what the machine says.
    Failed(String),
}

/// The part of a machine's report that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementReport {
    file: Option<FileHash>,
    generation: u64,
    desired: DesiredState,
    stage: LifeStage,
    /// The problem that kept the machine from doing as asked.
    problem: Option<String>,
    /// The way in which the unit failed afterwards.
    failure: Option<String>,
}

/// Where the unit stands in its own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifeStage {
    /// Up, or ended well after a start that was carried out, as a oneshot does.
    Well,
    /// Failed, or about to be tried again after it has.
    Failed,
    /// Neither yet.
    Between,
}

impl PlacementReport {
    /// The part of a published state that decisions rest on.
    pub fn from_state(state: &ObservedState) -> Self {
        let stage = match (&state.active, state.sub.as_str()) {
            // Waiting for a restart, the start job is over and systemd will try again: it was tried and did not work.
            (ActiveState::Failed, _) | (ActiveState::Deactivating, sub::FAILED) => {
                LifeStage::Failed
            }
            (ActiveState::Activating, word) if sub::awaits_restart(word) => LifeStage::Failed,
            // Over for systemd, but not empty: how it went is known.
            (ActiveState::Deactivating, sub::DEAD) => LifeStage::Well,
            // `inactive` after a start that was carried out: a oneshot that has finished, and not failed.
            (active, _) if active.is_settled() => LifeStage::Well,
            _ => LifeStage::Between,
        };
        let problem = state.problem.clone();
        let failed = || format!("it is {} ({})", state.active, state.sub);
        let failure = (stage == LifeStage::Failed).then(failed);
        Self {
            file: state.file,
            generation: state.generation,
            desired: state.desired,
            stage,
            problem,
            failure,
        }
    }

    /// The file that the machine has for the unit, as far as it is known.
    pub(crate) fn reported_file(&self) -> Option<FileHash> {
        self.file
    }

    /// The machine's progress with a placement, as far as `until`: a launched unit may be asked whether it is
    /// loaded.
    pub fn arrival_at(&self, placement: &Placement, until: DesiredState) -> Arrival {
        let is_earlier =
            self.generation < placement.generation && !is_planted("earlier-report-believed");
        if is_earlier || self.desired != placement.desired {
            return Arrival::Pending;
        }
        if let Some(problem) = &self.problem {
            return Arrival::Failed(problem.clone());
        }
        if self.file.is_some_and(|file| file != placement.file) {
            return Arrival::Pending;
        }
        if until == DesiredState::Loaded {
            return Arrival::Here;
        }
        if placement.desired != DesiredState::Launched {
            return Arrival::Pending;
        }
        match self.stage {
            LifeStage::Well => Arrival::Here,
            LifeStage::Failed => Arrival::Failed(self.failure.clone().unwrap_or_default()),
            LifeStage::Between => Arrival::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::Handover;

    use super::*;

    fn placement(desired: DesiredState) -> Placement {
        let (file, handover) = (FileHash::of_text(""), Handover::default());
        Placement { file, desired, generation: 2, handover, revision: 1 }
    }

    fn state(active: &str, sub: &str) -> ObservedState {
        ObservedState {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.to_owned(),
            file: Some(FileHash::of_text("")),
            hash: String::new(),
            generation: 2,
            desired: DesiredState::Launched,
            since: 0,
            invocation: String::new(),
            problem: None,
            remark: String::new(),
        }
    }

    fn launched(state: &ObservedState) -> Arrival {
        let wanted = placement(DesiredState::Launched);
        PlacementReport::from_state(state).arrival_at(&wanted, DesiredState::Launched)
    }

    #[test]
    fn a_unit_has_arrived_when_it_is_up_or_has_ended_well() {
        assert_eq!(launched(&state("active", "running")), Arrival::Here);
        assert_eq!(launched(&state("inactive", "dead")), Arrival::Here);
        assert_eq!(launched(&state("activating", "start")), Arrival::Pending);
        assert_eq!(launched(&state("failed", "failed")), failed("it is failed (failed)"));
        let again = state("activating", "auto-restart");
        assert_eq!(launched(&again), failed("it is activating (auto-restart)"));
        // It has ended, and has left processes behind.
        assert_eq!(launched(&state("deactivating", "dead")), Arrival::Here);
        assert_eq!(
            launched(&state("deactivating", "failed")),
            failed("it is deactivating (failed)")
        );
        assert_eq!(launched(&state("deactivating", "stop-sigterm")), Arrival::Pending);
    }

    fn failed(problem: &str) -> Arrival {
        Arrival::Failed(problem.to_owned())
    }

    #[test]
    fn a_report_on_something_else_says_nothing() {
        let up = || state("active", "running");
        let earlier = ObservedState { generation: 1, ..up() };
        assert_eq!(launched(&earlier), Arrival::Pending);
        let loaded = ObservedState { desired: DesiredState::Loaded, ..up() };
        assert_eq!(launched(&loaded), Arrival::Pending);
        let other = ObservedState { file: Some(FileHash::of_text("other")), ..up() };
        assert_eq!(launched(&other), Arrival::Pending);
    }

    #[test]
    fn what_keeps_a_machine_from_doing_as_asked_is_a_failure() {
        let problem = Some("this machine has one of its own".to_owned());
        let refused = ObservedState { problem, ..state("inactive", "dead") };
        assert_eq!(launched(&refused), failed("this machine has one of its own"));
    }

    #[test]
    fn a_loaded_unit_has_arrived_when_it_is_loaded() {
        let desired = DesiredState::Loaded;
        let report =
            PlacementReport::from_state(&ObservedState { desired, ..state("inactive", "dead") });
        assert_eq!(report.arrival_at(&placement(desired), desired), Arrival::Here);
        let report = PlacementReport::from_state(&state("failed", "failed"));
        assert_eq!(report.arrival_at(&placement(DesiredState::Launched), desired), Arrival::Here);
    }
}
