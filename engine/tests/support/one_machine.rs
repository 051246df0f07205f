//! One machine in memory, whose runner does what it is told.

use std::collections::BTreeMap;

use muster_common::state::{ActiveState, DesiredState};
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::{Desired, Observed, Owned, Step, Steps};
use muster_engine::run_origin::RunOrigin;

/// What is wanted of a machine, what runs on it, and what its daemon remembers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Machine {
    pub(crate) desired: BTreeMap<UnitName, Desired>,
    pub(crate) observed: BTreeMap<UnitName, Observed>,
    pub(crate) owned: BTreeMap<UnitName, Owned>,
}

impl Machine {
    /// What a runner that never fails makes of the steps.
    pub(crate) fn carry_out(&mut self, steps: &Steps) {
        for chain in steps.removals.iter().chain(&steps.others) {
            let seen = self.observed.entry(chain.unit.clone()).or_default();
            for step in &chain.steps {
                let mut blank = Owned {
                    file: FileHash::of_text(""),
                    generation: 0,
                    desired: DesiredState::Inactive,
                    enabled: false,
                    starting: false,
                    stopping: false,
                };
                let owned = self.owned.get_mut(&chain.unit).unwrap_or(&mut blank);
                match step {
                    Step::Refuse { .. } | Step::Load | Step::AwaitEmpty => continue,
                    Step::Write { file } | Step::Adopt { file } => {
                        owned.file = *file;
                        seen.file = Some(*file);
                    }
                    Step::Enable => owned.enabled = true,
                    Step::Disable => owned.enabled = false,
                    Step::Start { .. } | Step::Restart { .. } => {
                        seen.active = ActiveState::Active;
                        seen.sub.clear();
                        seen.outdated = false;
                        seen.origin = RunOrigin::Cluster;
                    }
                    Step::Stop => {
                        seen.active = ActiveState::Inactive;
                        seen.sub.clear();
                    }
                    Step::Settle { generation, desired } => {
                        owned.generation = *generation;
                        owned.desired = *desired;
                        (owned.starting, owned.stopping) = (false, false);
                    }
                    Step::Remove => {
                        seen.file = None;
                        self.owned.remove(&chain.unit);
                        continue;
                    }
                }
                let owned = owned.clone();
                self.owned.insert(chain.unit.clone(), owned);
            }
        }
    }
}
