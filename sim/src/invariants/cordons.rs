//! What a user is told was done about a machine is in the store.

use super::Findings;
use crate::facts::Facts;
use crate::moment::Micros;
use crate::plan::shape::Shape;
use crate::plan::users::UserRequest;

/// Checks a request that was answered well, against what was in the store at some moment since it was made.
pub(crate) fn check_answer(facts: &Facts, request: &UserRequest, asked: Micros) -> Findings {
    let key = |kind: &str, machine: usize| format!("{kind}/{}", Shape::machine_name(machine));
    let (key, is_wanted) = match *request {
        UserRequest::Cordon { machine } | UserRequest::Drain { machine } => {
            (key("cordon", machine), true)
        }
        UserRequest::Reboot { machine } => (key("reboot-request", machine), true),
        UserRequest::CancelReboot { machine } => (key("reboot-request", machine), false),
        _ => return Findings::new(),
    };
    let is_there = facts.find_record(&key).is_some();
    if is_there == is_wanted || facts.has_changed_since(&key, asked) {
        return Findings::new();
    }
    let is = if is_there { "is there" } else { "is not there" };
    vec![("answer-untrue", format!("{request:?} was answered well, and {key} {is}"))]
}
