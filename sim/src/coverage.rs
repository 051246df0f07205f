//! How often everything came that can come.
//!
//! Owns the counts of faults, requests and marked branches of a run or of many, so that a summary can say what never came.

use std::collections::BTreeMap;

use crate::plan::faults::Fault;
use crate::plan::users::UserRequest;

/// The counts.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Faults that began, by kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Requests that were made, by kind.
    pub(crate) requests: BTreeMap<&'static str, u64>,
    /// Things that the world did to messages and units.
    pub(crate) world: BTreeMap<&'static str, u64>,
    /// Branches of the product that are marked.
    pub(crate) branches: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts something that the world did.
    pub(crate) fn count_world(&mut self, what: &'static str) {
        *self.world.entry(what).or_default() += 1;
    }

    /// Adds the counts of another run.
    pub fn add_run(&mut self, run: &Self) {
        for (all, some) in [
            (&mut self.faults, &run.faults),
            (&mut self.requests, &run.requests),
            (&mut self.world, &run.world),
            (&mut self.branches, &run.branches),
        ] {
            for (what, count) in some {
                *all.entry(what).or_default() += count;
            }
        }
    }

    /// All faults that began.
    pub fn count_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// The counts as text, and what never came.
    pub fn describe(&self) -> String {
        let kinds = |name: &str, kinds: &[&'static str], counts: &BTreeMap<&'static str, u64>| {
            let came = counts.iter().map(|(kind, count)| format!("{kind} {count}"));
            let never: Vec<&str> =
                kinds.iter().filter(|kind| !counts.contains_key(*kind)).copied().collect();
            let never = if never.is_empty() {
                String::new()
            } else {
                format!("\n  never: {}", never.join(", "))
            };
            format!("{name}: {}{never}\n", came.collect::<Vec<_>>().join(", "))
        };
        [
            kinds("faults", Fault::kind_names(), &self.faults),
            kinds("requests", UserRequest::kind_names(), &self.requests),
            kinds("world", &[], &self.world),
            kinds("branches", crate::planted::BRANCHES, &self.branches),
        ]
        .concat()
    }
}
