//! The plan of a run: everything that is not the product's doing, as data.
//!
//! Owns what a seed makes of itself: the cluster's shape, the faults and the users' requests, each with its moment. A plan can be
//! written down, read again and made smaller; a run has nothing but its plan.

mod clone_mix;
pub(crate) mod container_faults;
mod container_mix;
mod container_units;
pub(crate) mod engines;
pub(crate) mod faults;
pub(crate) mod host_faults;
pub(crate) mod shape;
pub(crate) mod users;

use muster_common::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::moment::Micros;
use crate::seed::Chance;
use faults::{FaultMix, PlannedFault};
use shape::Shape;
use users::{PlannedRequest, UserMix};

/// A run, before it is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of what is left to chance: latencies, and how long units take.
    pub(crate) seed: u64,
    /// The cluster.
    pub(crate) shape: Shape,
    /// The faults, by their moments.
    pub(crate) faults: Vec<PlannedFault>,
    /// The requests of users, by their moments.
    pub(crate) requests: Vec<PlannedRequest>,
}

impl Plan {
    /// The plan that a seed makes.
    pub fn for_seed(seed: u64) -> Self {
        let root = Seed(seed);
        let mut shape = Shape::draw_from(&Chance::for_purpose(root, "shape"));
        container_units::add_engines(&mut shape, &Chance::for_purpose(root, "engines"));
        let mut faults = FaultMix::draw_from(&Chance::for_purpose(root, "fault mix"))
            .draw_faults(&Chance::for_purpose(root, "faults"), &shape);
        let chance = Chance::for_purpose(root, "container faults");
        faults.extend(container_mix::draw_faults(&chance, &shape));
        faults.extend(clone_mix::draw_faults(&Chance::for_purpose(root, "clones"), &shape));
        faults.sort_by_key(|planned| planned.at);
        let requests = UserMix::draw_from(&Chance::for_purpose(root, "user mix"))
            .draw_requests(&Chance::for_purpose(root, "users"), &shape);
        Self { seed, shape, faults, requests }
    }

    /// The seed it was made from.
    pub fn run_seed(&self) -> u64 {
        self.seed
    }

    /// The number of its faults.
    pub fn count_faults(&self) -> usize {
        self.faults.len()
    }

    /// The number of its requests.
    pub fn count_requests(&self) -> usize {
        self.requests.len()
    }

    /// The number of its machines.
    pub fn count_machines(&self) -> usize {
        self.shape.machines
    }

    /// The time after which nothing goes wrong any more.
    pub fn calm_begins(&self) -> Micros {
        self.shape.calm_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_data() {
        for seed in 0..50 {
            let plan = Plan::for_seed(seed);
            assert_eq!(plan, Plan::for_seed(seed));
            let text = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }

    #[test]
    fn seeds_have_mixes_of_their_own() {
        let kinds = |seed| {
            let plan = Plan::for_seed(seed);
            plan.faults.iter().map(|f| f.fault.kind()).collect::<std::collections::BTreeSet<_>>()
        };
        let mixes: std::collections::BTreeSet<_> = (0..40).map(kinds).collect();
        assert!(mixes.len() > 20, "only {} mixes", mixes.len());
    }
}
