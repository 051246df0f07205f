//! The smallest plan that still shows a violation.
//!
//! Owns the taking away: halves, quarters and single ones of the faults and of the requests, for as long as the same word comes.

use crate::plan::Plan;
use crate::run::run_plan;

/// Takes faults and requests away for as long as a run ends with the same violation. Returns the plan and the number of runs.
pub fn shrink_plan(plan: &Plan, word: &str) -> (Plan, u64) {
    let mut shrinking = Shrinking { best: plan.clone(), word, runs: 0 };
    loop {
        let before = shrinking.best.faults.len() + shrinking.best.requests.len();
        shrinking.shrink_list(
            |plan, from, to| drop(plan.faults.drain(from..to)),
            |plan| plan.faults.len(),
        );
        shrinking.shrink_list(
            |plan, from, to| drop(plan.requests.drain(from..to)),
            |plan| plan.requests.len(),
        );
        if shrinking.best.faults.len() + shrinking.best.requests.len() == before {
            return (shrinking.best, shrinking.runs);
        }
    }
}

struct Shrinking<'a> {
    best: Plan,
    word: &'a str,
    runs: u64,
}

impl Shrinking<'_> {
    fn shrink_list(
        &mut self,
        take_away: impl Fn(&mut Plan, usize, usize),
        count: impl Fn(&Plan) -> usize,
    ) {
        let mut size = count(&self.best);
        while size > 0 {
            let mut from = 0;
            while from < count(&self.best) {
                let to = (from + size).min(count(&self.best));
                let mut smaller = self.best.clone();
                take_away(&mut smaller, from, to);
                if self.shows_it(&smaller) {
                    self.best = smaller;
                } else {
                    from = to;
                }
            }
            size /= 2;
        }
    }

    fn shows_it(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        let outcome = run_plan(plan, false);
        outcome.violations.first().is_some_and(|violation| violation.word == self.word)
    }
}
