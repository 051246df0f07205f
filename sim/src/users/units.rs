//! Requests about units, and what their users are told.

use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, DestroyAnswer, DestroyRequest, UnitChange, Until,
    WaitFor,
};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_runtime::sleep;

use super::errand::{AGAIN, ATTEMPTS, Errand};
use super::notes::UserNote;
use crate::api_call::ApiRequest;
use crate::facts::{PromisedUnit, UserAnswer};
use crate::plan::shape::Shape;
use crate::plan::users::UserRequest;

/// A request about a unit, ready to be made.
pub(super) struct UnitStory {
    /// The unit.
    pub(super) name: UnitName,
    steps: Vec<UnitStep>,
}

/// One request to the API.
#[derive(Clone)]
enum UnitStep {
    Change(ChangeRequest),
    Destroy(DestroyRequest),
}

impl UnitStory {
    /// The steps that a request comes to; `None` if it is not about a unit.
    pub(super) fn of_request(request: &UserRequest, shape: &Shape) -> Option<Self> {
        let unit = request.unit_number()?;
        let name = shape.units.get(unit)?.name.clone();
        let launched = Some(DesiredState::Launched);
        let file = |version| Some(shape.file_text(unit, version));
        let change = |file, desired| UnitStep::change(&name, file, desired);
        let destroy = || UnitStep::Destroy(DestroyRequest { names: vec![name.clone()] });
        let steps = match *request {
            UserRequest::Launch { version, .. } => vec![change(file(version), launched)],
            UserRequest::Submit { version, .. } => vec![change(file(version), None)],
            UserRequest::Start { .. } => vec![change(None, launched).unqueued()],
            UserRequest::Restart { .. } => vec![change(None, launched).restarting()],
            UserRequest::Load { .. } => vec![change(None, Some(DesiredState::Loaded))],
            UserRequest::Deactivate { .. } => vec![change(None, Some(DesiredState::Inactive))],
            UserRequest::Replace { version, .. } => {
                vec![destroy(), change(file(version), launched)]
            }
            _ => vec![destroy()],
        };
        Some(Self { name, steps })
    }
}

impl UnitStep {
    fn change(name: &UnitName, text: Option<String>, desired: Option<DesiredState>) -> Self {
        let file = text.as_deref().map(FileHash::of_text);
        let unit = UnitChange { name: name.clone(), file, desired, restart: false };
        let files = file.into_iter().zip(text).collect();
        Self::Change(ChangeRequest {
            files,
            units: vec![unit],
            replace: true,
            queue: true,
            dry_run: false,
        })
    }

    fn unqueued(mut self) -> Self {
        if let Self::Change(change) = &mut self {
            change.queue = false;
        }
        self
    }

    fn restarting(mut self) -> Self {
        if let Self::Change(change) = &mut self {
            change.units.iter_mut().for_each(|unit| unit.restart = true);
        }
        self
    }

    fn to_request(&self) -> ApiRequest {
        match self {
            Self::Change(change) => ApiRequest::post_to("/v1/units", change),
            Self::Destroy(destroy) => ApiRequest::post_to("/v1/units/destroy", destroy),
        }
    }

    /// The promise that an answer makes, and the state that is to come about.
    fn read_answer(&self, status: u16, body: &[u8]) -> (UserAnswer, Option<(u64, WaitFor)>) {
        if !(200..300).contains(&status) {
            // What was refused as it stands was not done. Of what failed nobody knows.
            let answer =
                if (400..500).contains(&status) { UserAnswer::Nothing } else { UserAnswer::Doubt };
            return (answer, None);
        }
        let read = match self {
            Self::Change(change) => {
                serde_json::from_slice(body).ok().and_then(|a| read_change(change, a))
            }
            Self::Destroy(_) => serde_json::from_slice(body).ok().and_then(read_destruction),
        };
        read.unwrap_or((UserAnswer::Doubt, None))
    }
}

fn read_change(
    change: &ChangeRequest,
    answer: ChangeAnswer,
) -> Option<(UserAnswer, Option<(u64, WaitFor)>)> {
    let asked = change.units.first()?;
    let unit = answer.units.into_iter().next()?;
    let is_written = match unit.outcome {
        ChangeOutcome::Created | ChangeOutcome::Changed => true,
        ChangeOutcome::Unchanged => false,
        ChangeOutcome::Failed { .. } => return Some((UserAnswer::Nothing, None)),
        // A new unit is there all the same, and inactive.
        _ => return Some((UserAnswer::Doubt, None)),
    };
    let desired = asked.desired.or(unit.was).unwrap_or(DesiredState::Inactive);
    let word = PromisedUnit { file: asked.file, desired, generation: unit.generation };
    let until = match desired {
        DesiredState::Launched => Until::Launched,
        DesiredState::Loaded => Until::Loaded,
        DesiredState::Inactive => Until::Inactive,
    };
    let wait = WaitFor { name: unit.name, until, generation: unit.generation };
    let promised = UserAnswer::Promised { revision: answer.revision, word: Some(word), is_written };
    Some((promised, Some((answer.revision, wait))))
}

fn read_destruction(answer: DestroyAnswer) -> Option<(UserAnswer, Option<(u64, WaitFor)>)> {
    let revision = answer.revision;
    // Nothing was done, and `musterctl` waits for nothing.
    if !answer.unknown.is_empty() {
        return Some((UserAnswer::Nothing, None));
    }
    let name = answer.destroyed.into_iter().next()?;
    // A removal may be known to be carried out, and not when.
    let is_written = revision > 0;
    let wait = WaitFor { name, until: Until::Gone, generation: 0 };
    let promised = UserAnswer::Promised { revision, word: None, is_written };
    Some((if is_written { promised } else { UserAnswer::Doubt }, Some((revision, wait))))
}

impl Errand {
    /// Makes the requests of a story, and waits for what comes of the last where its user does.
    pub(super) async fn change_unit(self, story: UnitStory) {
        let last = story.steps.len().saturating_sub(1);
        let mut awaited = None;
        for (index, step) in story.steps.iter().enumerate() {
            let is_last = index == last;
            awaited = self.take_step(&story.name, step, is_last).await;
        }
        if let Some((revision, wait)) = awaited.filter(|_| self.manner.waits) {
            self.wait_for_unit(revision, wait).await;
        }
    }

    async fn take_step(
        &self,
        unit: &UnitName,
        step: &UnitStep,
        is_last: bool,
    ) -> Option<(u64, WaitFor)> {
        let attempts = if self.manner.insists { ATTEMPTS } else { 1 };
        for attempt in 0..attempts {
            let (machine, patience) = (self.machine_at(attempt), self.patience_at(attempt));
            let answered = self.line.ask_daemon(machine, step.to_request(), patience).await;
            let (status, (answer, awaited)) = match answered {
                Ok((status, body)) => (status, step.read_answer(status, &body)),
                Err(_) => (0, (UserAnswer::Doubt, None)),
            };
            let goes_on = attempt + 1 < attempts && matches!(answer, UserAnswer::Doubt);
            self.notes.add_note(UserNote::Unit {
                request: self.number,
                unit: unit.clone(),
                status,
                answer,
                is_last: is_last && !goes_on,
            });
            if !goes_on {
                return awaited;
            }
            sleep(AGAIN).await;
        }
        None
    }
}
