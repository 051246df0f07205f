//! Which endpoints are asked, one after another.

use muster_common::probe::plant_fault;

use super::*;

/// The endpoints of three that are asked, one after another: `x` gives the one up that is asked, `a` is an answer of it, and a dot is
/// a second.
fn endpoints_asked(story: &str) -> Vec<usize> {
    let mut turns = EndpointTurns::new(3);
    let mut now = Instant::now();
    let mut asked = vec![0];
    for letter in story.chars() {
        match letter {
            'x' => {
                turns.give_up(now);
                asked.push(turns.endpoint_of(turns.current_turn()));
            }
            'a' => turns.note_answer(),
            _ => now += Duration::from_secs(1),
        }
    }
    asked
}

/// True if other endpoints are asked once a rule is left out.
fn fails_without(planted: &'static str, story: &str, expected: &[usize]) -> bool {
    plant_fault(Some(planted));
    let asked = endpoints_asked(story);
    plant_fault(None);
    asked != expected
}

#[test]
fn each_endpoint_has_its_turn() {
    assert_eq!(endpoints_asked("xxx"), [0, 1, 2, 0]);
    assert_eq!(endpoints_asked("ax.ax.ax"), [0, 1, 2, 2]);
}

#[test]
fn the_only_endpoint_that_answers_has_another_turn_and_no_third() {
    assert_eq!(endpoints_asked("xxaxx"), [0, 1, 2, 2, 0]);
    assert_eq!(endpoints_asked("xxax..axx"), [0, 1, 2, 2, 2, 0]);
    assert!(fails_without("late-once-given-up", "xxaxx", &[0, 1, 2, 2, 0]));
}

#[test]
fn endpoints_that_were_of_no_use_long_ago_are_asked_first() {
    assert_eq!(endpoints_asked("xxa..........x"), [0, 1, 2, 0]);
}

#[test]
fn an_endpoint_that_is_late_again_and_again_is_given_up_whatever_it_answers_in_between() {
    assert_eq!(endpoints_asked("xxax.ax.ax"), [0, 1, 2, 2, 0, 0]);
}

#[test]
fn a_turn_without_an_answer_is_the_last() {
    assert_eq!(endpoints_asked("xx.x"), [0, 1, 2, 0]);
}
