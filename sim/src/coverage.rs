//! How often everything came that can come.
//!
//! Owns the counts of faults, requests and marked branches of a run or of many, so that a summary can say what never came.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::plan::container_faults::ContainerFault;
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

    /// All requests that were made.
    pub fn count_requests(&self) -> u64 {
        self.requests.values().sum()
    }

    /// The counts as text, and what never came.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (name, kinds, counts) in self.kinds() {
            let came = counts.iter().map(|(kind, count)| format!("{kind} {count}"));
            // A string takes everything.
            let _ = writeln!(text, "{name}: {}", came.collect::<Vec<_>>().join(", "));
            let never = never_came(kinds, counts);
            if !never.is_empty() {
                let _ = writeln!(text, "  never: {}", never.join(", "));
            }
        }
        text
    }

    /// The kinds of faults and requests, and the marked branches, that never came; nothing where all did.
    pub fn describe_missing(&self) -> String {
        let mut text = String::new();
        let of_engines =
            ("faults of container engines", ContainerFault::kind_names(), &self.faults);
        for (name, kinds, counts) in self.kinds().into_iter().chain([of_engines]) {
            let never = never_came(kinds, counts);
            if !never.is_empty() {
                let _ = writeln!(text, "{name} that never came: {}", never.join(", "));
            }
        }
        text
    }

    /// By what they are called: all kinds there are, and the counts of those that came.
    fn kinds(&self) -> [(&'static str, &[&'static str], &BTreeMap<&'static str, u64>); 4] {
        [
            ("faults", Fault::kind_names(), &self.faults),
            ("requests", UserRequest::kind_names(), &self.requests),
            ("events of the world", &[], &self.world),
            ("branches", crate::planted::BRANCHES, &self.branches),
        ]
    }
}

fn never_came(kinds: &[&'static str], counts: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    kinds.iter().filter(|kind| !counts.contains_key(*kind)).copied().collect()
}
