//! The removal of a container unit.
//!
//! Owns what is done from [`UnitInput::Remove`] on: a container on its way is waited for, what there is is removed, and a unit whose
//! removal failed goes on where it was.

use std::time::Duration;

use super::events::{Moment, UnitEffect, UnitInput, WorkResult};
use super::{ContainerUnit, Inspection, UnitRemoval};
use crate::container::life::{ContainerAction, LifeEvent, Phase};

/// The time that a unit that is removed waits for a container that is just being made. An engine with a slow disk needs some ten
/// seconds to make one; a container that comes after that is found as one without a unit, and removed then.
const START_GRACE: Duration = Duration::from_secs(30);

impl ContainerUnit {
    pub(super) fn begin_removal(&mut self, now: Duration, effects: &mut Vec<UnitEffect>) {
        self.queue.clear();
        if self.under_way == Some(ContainerAction::Start) {
            self.removal = UnitRemoval::WaitsForStart { until: now.saturating_add(START_GRACE) };
        } else {
            self.remove_containers(effects);
        }
    }

    fn remove_containers(&mut self, effects: &mut Vec<UnitEffect>) {
        if self.under_way.take().is_some() {
            effects.push(UnitEffect::CancelWork);
        }
        self.removal = UnitRemoval::UnderWay;
        let ids = self.container.iter().chain(&self.replaced).cloned().collect();
        effects.push(UnitEffect::RemoveContainers(ids));
    }

    pub(super) fn go_on_removing(
        &mut self,
        at: &Moment,
        input: UnitInput,
        effects: &mut Vec<UnitEffect>,
    ) {
        debug_assert!(
            !matches!(input, UnitInput::Order { .. } | UnitInput::Plan(_) | UnitInput::Remove),
            "whoever feeds it waits for the removal: {input:?}"
        );
        match (input, self.removal) {
            (UnitInput::WorkDone(result), UnitRemoval::WaitsForStart { .. }) => {
                self.under_way = None;
                if let WorkResult::Started { id, since } = result {
                    self.container = Some(id);
                    self.note_running(since);
                    self.replaced = None;
                }
                self.remove_containers(effects);
            }
            (UnitInput::Tick, UnitRemoval::WaitsForStart { until }) if at.now >= until => {
                self.remove_containers(effects);
            }
            (UnitInput::Removed(true), _) => effects.push(UnitEffect::Forget),
            (UnitInput::Removed(false), _) => {
                self.removal = UnitRemoval::None;
                self.resume_work(at, effects);
                self.publish_state(at.wall, effects);
            }
            // What was asked before is no matter any more.
            (UnitInput::Inspected { .. }, _) => self.inspection = Inspection::None,
            _ => {}
        }
    }

    /// Begins the work again that its removal broke off, since it was not removed.
    fn resume_work(&mut self, at: &Moment, effects: &mut Vec<UnitEffect>) {
        match self.life.current_phase() {
            Phase::Prepare { .. } => self.queue.push_back(ContainerAction::Prepare),
            // It was made while its removal waited for it.
            Phase::Start { running: false, .. } if self.container.is_some() => {
                self.live_on(at, LifeEvent::Started, effects);
                self.request_inspection(effects);
            }
            Phase::Start { running: false, .. } => self.queue.push_back(ContainerAction::Start),
            // The start that made it was called off, so nobody would ever tell of its end.
            Phase::Stop { .. } | Phase::Kill { .. } if self.container.is_none() => {
                self.live_on(at, LifeEvent::Gone, effects);
            }
            Phase::Stop { .. } => self.queue.push_back(ContainerAction::Signal),
            Phase::Kill { .. } => self.queue.push_back(ContainerAction::Kill),
            // It may have ended, and whoever told of that was not heard meanwhile.
            _ => self.request_inspection(effects),
        }
        self.begin_next(effects);
    }
}
