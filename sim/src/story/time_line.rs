//! The time line of a story: who did what, without what everybody does all the time.
//!
//! Owns which lines of a trace are told, and how. Faults and requests of the plan are told in words, a change of the store with the
//! commit that made it, and lines about units and machines that the violation is not about are left out where there are many.

use std::collections::BTreeSet;

use super::words;
use crate::moment::Micros;
use crate::plan::Plan;
use crate::run::RunOutcome;

/// Lines that a reader reads. Where there are more, those about others are left out, and then those in the middle.
const MOST_LINES: usize = 70;
/// Lines of the beginning that are told in any case.
const FIRST_LINES: usize = 15;

/// A line of the trace, or several of them in one.
struct StoryLine {
    at: Micros,
    text: String,
    /// It tells of a fault, of a request or of the violation.
    is_planned: bool,
}

/// The lines, in the order of time.
pub(super) fn describe_events(plan: &Plan, outcome: &RunOutcome) -> Vec<String> {
    let lines = read_lines(plan, outcome.trace.lines());
    let (told, left_out) = choose_lines(lines, &subjects_of(plan, outcome));
    let mut told = join_repeated(told);
    // What came to pass while the cluster came up, before anybody did anything.
    let quiet = told.iter().position(|line| line.is_planned).unwrap_or(0);
    let mut text = Vec::new();
    if quiet > FIRST_LINES {
        text.push(format!("            (the cluster comes up: {quiet} lines)"));
        told.drain(..quiet);
    }
    let cut = told.len().saturating_sub(MOST_LINES);
    for (index, line) in told.iter().enumerate() {
        let in_middle = cut > 0 && (FIRST_LINES..FIRST_LINES + cut).contains(&index);
        if in_middle && !line.is_planned {
            if index == FIRST_LINES {
                text.push("            (more of the same)".to_owned());
            }
            continue;
        }
        let mark = if line.is_planned { "*" } else { " " };
        text.push(format!("{:>11} {mark} {}", line.at.to_string(), line.text));
    }
    if left_out > 0 {
        text.push(format!("            ({left_out} lines about others are left out)"));
    }
    text
}

/// The machines and units that the violation and the plan name.
fn subjects_of(plan: &Plan, outcome: &RunOutcome) -> BTreeSet<String> {
    let machines = (0..plan.shape.machines).map(|number| format!("m{number}"));
    let units = plan.shape.units.iter().map(|unit| unit.name.to_string());
    let violations = &outcome.violations;
    let named = |name: &String| violations.iter().any(|violation| has_word(&violation.text, name));
    machines.chain(units).filter(named).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '@' | '-')))
        .any(|found| found.trim_end_matches('.') == word)
}

fn read_lines(plan: &Plan, trace: &[(Micros, String)]) -> Vec<StoryLine> {
    let mut lines: Vec<StoryLine> = Vec::new();
    let mut commit: Option<Micros> = None;
    for (at, text) in trace {
        if let Some(planned) = describe_planned(plan, *at, text) {
            lines.push(StoryLine { at: *at, text: planned, is_planned: true });
            continue;
        }
        if let Some(changed) = text.strip_prefix("revision ") {
            // The commit before says as much.
            if commit.take() == Some(*at) {
                continue;
            }
            let keys = changed.split_once(": ").map_or(changed, |(_, keys)| keys);
            let text = format!("the store drops {}", words::shorten_line(keys));
            lines.push(StoryLine { at: *at, text, is_planned: false });
            continue;
        }
        commit = text.contains(" commits ").then_some(*at);
        let is_planned = text.starts_with("VIOLATION");
        lines.push(StoryLine { at: *at, text: words::shorten_line(text), is_planned });
    }
    lines
}

/// The line of a fault or a request, in words.
fn describe_planned(plan: &Plan, at: Micros, text: &str) -> Option<String> {
    if let Some((number, _)) = text.strip_prefix("user ").and_then(|t| t.split_once(" asks m")) {
        let planned = plan.requests.get(number.parse::<usize>().ok()?)?;
        return Some(words::describe_item(&planned.request, plan));
    }
    if let Some(fault) = text.strip_prefix("over: ") {
        let planned = plan
            .faults
            .iter()
            .find(|planned| planned.at <= at && format!("{:?}", planned.fault) == fault)?;
        return Some(format!("over: {}", words::describe_item(&planned.fault, plan)));
    }
    let fault = text.strip_prefix("fault ")?;
    let planned = plan.faults.iter().find(|planned| {
        planned.at == at && fault.starts_with(&format!("{:?} for ", planned.fault))
    })?;
    Some(words::describe_fault(&planned.fault, planned.lasts, plan))
}

/// Tells what happens again and again once, with how often and until when.
fn join_repeated(lines: Vec<StoryLine>) -> Vec<StoryLine> {
    let mut joined: Vec<StoryLine> = Vec::new();
    let mut lines = lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        let mut last = None;
        let mut more = 0;
        while let Some(again) = lines.next_if(|next| next.text == line.text) {
            last = Some(again.at);
            more += 1;
        }
        joined.push(line);
        if let Some(at) = last {
            let text = format!("(the same, {more} times more until now)");
            joined.push(StoryLine { at, text, is_planned: false });
        }
    }
    joined
}

/// Leaves out what is about others, where there is more than anybody reads.
fn choose_lines(lines: Vec<StoryLine>, subjects: &BTreeSet<String>) -> (Vec<StoryLine>, usize) {
    if lines.len() <= MOST_LINES || subjects.is_empty() {
        return (lines, 0);
    }
    let all = lines.len();
    let is_about = |line: &StoryLine| {
        line.is_planned
            || line.text.contains("leader")
            || subjects.iter().any(|subject| line.text.contains(subject.as_str()))
    };
    let told: Vec<StoryLine> = lines.into_iter().filter(is_about).collect();
    let left_out = all - told.len();
    (told, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, text: &str) -> StoryLine {
        StoryLine { at: Micros::from_secs(at), text: text.to_owned(), is_planned: false }
    }

    #[test]
    fn what_happens_again_and_again_is_told_once() {
        let lines = vec![line(1, "a"), line(2, "b"), line(3, "b"), line(4, "b"), line(5, "a")];
        let joined = join_repeated(lines);
        let told: Vec<(u64, &str)> =
            joined.iter().map(|line| (line.at.0 / 1_000_000, line.text.as_str())).collect();
        let again = "(the same, 2 times more until now)";
        assert_eq!(told, [(1, "a"), (2, "b"), (4, again), (5, "a")]);
    }
}
