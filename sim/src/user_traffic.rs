//! What users ask and are told, as the world has it.
//!
//! Owns when a request of the plan is made, and that whatever a user is told comes to the checks.

use std::sync::Arc;

use muster_common::unit::UnitName;

use crate::facts::UserAnswer;
use crate::invariants::waits::OpenWait;
use crate::invariants::{cordons, promises};
use crate::plan::users::UserRequest;
use crate::users::{UserNote, WaitNote};
use crate::world::World;

impl World {
    /// A user makes a request of the plan.
    pub(crate) fn user_asks(&mut self, index: usize) {
        let plan = Arc::clone(&self.plan);
        let Some(planned) = plan.requests.get(index) else { return };
        let request = &planned.request;
        self.trace
            .note_event(self.now, format_args!("user {index} asks m{} {request:?}", planned.to));
        *self.coverage.requests.entry(request.kind()).or_default() += 1;
        if let Some(at) = self.asked_at.get_mut(index) {
            *at = self.now;
        }
        if *request == UserRequest::Unfreeze {
            // A person says that what vanished together may move.
            self.facts.cut_together.clear();
        }
        match *request {
            UserRequest::Upgrade { machine } => return self.upgrade_daemon(machine),
            UserRequest::WriteByHand { record, number, value } => {
                return self.write_by_hand(record, number, value);
            }
            UserRequest::TakeAwayByHand => return self.take_away_by_hand(),
            _ => {}
        }
        if let Some(unit) = self.users.make_request(index, planned, &plan.shape) {
            self.lacks.forget_unit(unit.as_str());
            self.facts.promises.entry(unit).or_default().begin(index);
        }
    }

    /// Takes what users were told to the checks.
    pub(crate) fn take_user_notes(&mut self) {
        for note in self.users.take_notes() {
            self.trace.note_event(self.now, format_args!("user is told {note:?}"));
            match note {
                UserNote::Unit { request, unit, status, answer, is_last } => {
                    self.count_answer(status);
                    self.note_unit_answer(request, &unit, answer, is_last);
                }
                UserNote::Machine { request, status } => {
                    self.count_answer(status);
                    let asked = self.asked_at.get(request).copied().unwrap_or_default();
                    let planned = self.plan.requests.get(request).map(|p| p.request.clone());
                    let counts =
                        (200..300).contains(&status) && !self.store.may_be_foreign(self.now);
                    if let Some(planned) = planned.filter(|_| counts) {
                        let found = cordons::check_answer(&self.facts, &planned, asked);
                        self.report_violations(found);
                    }
                }
                UserNote::Doctor { found } => self.report_violations(found),
                UserNote::Wait { request, note } => self.note_wait(request, note),
            }
        }
    }

    fn count_answer(&mut self, status: u16) {
        self.coverage.count_world(match status {
            0 => "answer to a user missing",
            200..=299 => "user answered",
            400..=499 => "user refused",
            _ => "user told of a failure",
        });
    }

    fn note_unit_answer(
        &mut self,
        request: usize,
        unit: &UnitName,
        answer: UserAnswer,
        is_last: bool,
    ) {
        let asked = self.asked_at.get(request).copied().unwrap_or_default();
        self.lacks.forget_unit(unit.as_str());
        // Where nobody was asked whose word counts, or it was said of a history that was taken back, nothing is promised.
        let is_of_another =
            self.store.may_be_foreign(self.now) || self.facts.was_restored_since(asked);
        let answer = if is_of_another { UserAnswer::Doubt } else { answer };
        let mut found = promises::check_answer(&self.facts, unit, &answer);
        let promise = self.facts.promises.entry(unit.clone()).or_default();
        promise.take_answer(asked, self.now, answer);
        if is_last {
            promise.conclude_request(request);
        }
        found.extend(promises::check_unit(&self.facts, unit));
        self.report_violations(found);
    }

    fn note_wait(&mut self, request: usize, note: WaitNote) {
        match note {
            WaitNote::Served { machine, revision, wait } => {
                let open = OpenWait::new(self.now, machine, revision, wait);
                self.waits.insert(request, open);
            }
            WaitNote::Broken => {
                self.waits.remove(&request);
                self.coverage.count_world("wait cut");
            }
            WaitNote::Over(end) => {
                self.coverage.count_world(end.as_word());
                let is_foreign = self.store.may_be_foreign(self.now);
                if let Some(open) = self.waits.remove(&request).filter(|_| !is_foreign) {
                    let found = open.check_end(&self.facts, end);
                    self.report_violations(found);
                }
            }
        }
    }
}
