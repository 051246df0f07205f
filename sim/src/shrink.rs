//! The smallest plan that still shows a violation.
//!
//! Owns the taking away: halves, quarters and single ones of the faults and of the requests, for as long as the same word comes, and
//! then whatever makes the cluster and the faults that are left easier to read.

use crate::moment::Micros;
use crate::plan::Plan;
use crate::run::run_plan;

/// The runs that may be spent on one plan: some seconds. What has been taken away by then is.
const MOST_RUNS: u64 = 1500;

/// Takes faults and requests away for as long as a run ends with the same violation. Returns the plan and the number of runs.
pub fn shrink_plan(plan: &Plan, word: &str) -> (Plan, u64) {
    let mut shrinking = Shrinking { best: plan.clone(), word, runs: 0 };
    shrinking.take_away_all();
    if shrinking.simplify() {
        // What was needed for its timing only may go as well by now.
        shrinking.take_away_all();
    }
    (shrinking.best, shrinking.runs)
}

struct Shrinking<'a> {
    best: Plan,
    word: &'a str,
    runs: u64,
}

impl Shrinking<'_> {
    fn take_away_all(&mut self) {
        loop {
            let before = self.best.faults.len() + self.best.requests.len();
            self.shrink_list(
                |plan, from, to| drop(plan.faults.drain(from..to)),
                |plan| plan.faults.len(),
            );
            self.shrink_list(
                |plan, from, to| drop(plan.requests.drain(from..to)),
                |plan| plan.requests.len(),
            );
            if self.best.faults.len() + self.best.requests.len() == before {
                return;
            }
        }
    }

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
                if !self.try_change(|plan| take_away(plan, from, to)) {
                    from = to;
                }
            }
            size /= 2;
        }
    }

    /// Takes away what makes a story longer than it needs to be. True if anything went.
    fn simplify(&mut self) -> bool {
        let mut changed = false;
        changed |= self.try_change(|plan| plan.shape.drifts.fill(0));
        changed |= self.try_change(|plan| plan.shape.slow_per_mille = 0);
        changed |= self.try_change(|plan| plan.shape.failing_per_mille = 0);
        changed |= self.try_change(|plan| {
            plan.shape.latency = plan.shape.latency.min(Micros::from_millis(3));
        });
        for index in 0..self.best.faults.len() {
            // As short as it may be, of the lengths that are easy to read.
            for millis in [100, 1000, 5000, 15_000] {
                let lasts = Micros::from_millis(millis);
                let shorter = self.best.faults.get(index).is_some_and(|f| f.lasts > lasts);
                let shortened = shorter
                    && self.try_change(|plan| {
                        if let Some(fault) = plan.faults.get_mut(index) {
                            fault.lasts = lasts;
                        }
                    });
                if shortened {
                    changed = true;
                    break;
                }
            }
        }
        changed
    }

    /// Keeps a change, unless the violation does not come any more. True if it was kept and is one.
    fn try_change(&mut self, change: impl Fn(&mut Plan)) -> bool {
        let mut changed = self.best.clone();
        change(&mut changed);
        if changed == self.best || self.runs >= MOST_RUNS {
            return false;
        }
        self.runs += 1;
        let outcome = run_plan(&changed, false);
        let shows = outcome.violations.first().is_some_and(|found| found.word == self.word);
        if shows {
            self.best = changed;
        }
        shows
    }
}
