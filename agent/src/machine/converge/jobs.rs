//! The jobs among this machine's units: what was begun here is not begun again.
//!
//! Owns the carrying out of what [`muster_engine::machine::job`] decides, before a pass and as jobs end.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::state::DesiredState;
use muster_common::unit::UnitName;
use muster_engine::machine::converge::Observed;
use muster_engine::machine::job::{Verdict, end_of, judge};

use super::Converge;
use crate::machine::ledger::Entry;

impl Converge {
    /// Jobs that a pass leaves alone, with the reason. One that has been carried out is remembered as such, and one that has
    /// ended is noted.
    pub(super) fn judge_jobs(&self, units: &BTreeSet<UnitName>) -> BTreeMap<UnitName, String> {
        let mut given_up = BTreeMap::new();
        for unit in units {
            let Some(place) = self.desired.get(unit) else { continue };
            let is_job = self.file(place.file).is_some_and(|known| known.job);
            if !is_job || place.desired != DesiredState::Launched || self.busy.contains_key(unit) {
                continue;
            }
            let nothing = Observed::default();
            let seen = self.seen.get(unit).map_or(&nothing, |seen| &seen.observed);
            let owned = self.hands.ledger().get(unit).map(Entry::decisive);
            let run = self.hands.jobs().get(unit).cloned();
            let verdict = judge(run.as_ref(), place.generation, owned.as_ref(), seen);
            match verdict {
                Verdict::Free => {}
                Verdict::Spent => {
                    let mut ledger = self.hands.ledger();
                    let done = ledger
                        .write(unit, place.file)
                        .and_then(|()| ledger.settle(unit, place.generation, place.desired, None));
                    if let Err(error) = done {
                        given_up.insert(unit.clone(), format!("cannot remember it: {error}"));
                    }
                }
                Verdict::GivenUp(problem) => {
                    given_up.insert(unit.clone(), problem);
                }
            }
            let end = run.zip(owned).and_then(|(run, owned)| end_of(&run, &owned, seen));
            if let Some(end) = end
                && let Err(error) = self.hands.jobs().end(unit, end)
            {
                tracing::error!(%unit, %error, "cannot note how a job ended");
            }
        }
        given_up
    }

    /// Forgets the jobs that are placed here no longer, once it is known what is.
    pub(super) fn forget_jobs(&self) {
        let units: BTreeSet<UnitName> = self.desired.keys().cloned().collect();
        if let Err(error) = self.hands.jobs().retain(&units) {
            tracing::error!(%error, "cannot forget jobs that are gone");
        }
    }
}
