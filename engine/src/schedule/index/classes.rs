//! Classes of units that ask the same of a machine.
//!
//! Owns what units ask of a machine whoever else is there, and the set of machines that is eligible for each class. It is made
//! once ([`crate::schedule::filter`]) and again only after machines changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::machine::RunnerDemand;
use muster_common::unit::Requirements;

use crate::schedule::table::{Bits, ClassKey, Table};

/// The demand of a unit on a machine, whoever else is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MachineDemand {
    pub(crate) runner: RunnerDemand,
    pub(crate) machine_id: Option<String>,
    pub(crate) metadata: BTreeMap<String, BTreeSet<String>>,
}

/// One class.
#[derive(Debug, Clone)]
struct Class {
    demand: MachineDemand,
    users: u32,
    /// Positions of the live machines that meet it and take something new, as of `epoch`.
    eligible: Bits,
    epoch: u64,
}

/// Every class some unit belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Classes {
    table: Table<ClassKey, Class>,
    by_demand: BTreeMap<MachineDemand, ClassKey>,
    /// The last class asked for, and by which requirements.
    recent: Option<(Arc<Requirements>, RunnerDemand, ClassKey)>,
    /// Raised when machines change, which makes what classes know out of date.
    epoch: u64,
}

impl Classes {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), by_demand: BTreeMap::new(), recent: None, epoch: 1 }
    }

    /// The class of one more unit with these requirements.
    pub(crate) fn acquire_class(
        &mut self,
        requirements: &Arc<Requirements>,
        runner: RunnerDemand,
    ) -> ClassKey {
        // Units of one file follow one another when a cluster is read, and share what they require.
        if let Some((recent, for_runner, key)) = &self.recent
            && Arc::ptr_eq(recent, requirements)
            && *for_runner == runner
        {
            self.table[*key].users += 1;
            return *key;
        }
        let demand = MachineDemand {
            runner,
            machine_id: requirements.machine_id.clone(),
            metadata: requirements.metadata.clone(),
        };
        let key = if let Some(key) = self.by_demand.get(&demand) {
            self.table[*key].users += 1;
            *key
        } else {
            let class =
                Class { demand: demand.clone(), users: 1, eligible: Bits::default(), epoch: 0 };
            let key = self.table.insert(class);
            self.by_demand.insert(demand, key);
            key
        };
        self.recent = Some((Arc::clone(requirements), runner, key));
        key
    }

    /// One unit less in a class.
    pub(crate) fn release_class(&mut self, key: ClassKey) {
        let class = &mut self.table[key];
        class.users -= 1;
        if class.users == 0 {
            self.by_demand.remove(&class.demand);
            self.table.release_row(key);
            self.recent = None;
        }
    }

    pub(crate) fn demand_of(&self, key: ClassKey) -> &MachineDemand {
        &self.table[key].demand
    }

    /// Machines have changed: every class has to be looked at again.
    pub(crate) fn mark_outdated(&mut self) {
        self.epoch += 1;
    }

    /// True if machines have changed since the eligible ones of a class were found.
    pub(crate) fn is_outdated(&self, key: ClassKey) -> bool {
        self.table[key].epoch != self.epoch
    }

    /// Keeps the eligible machines of a class, as of now.
    pub(crate) fn set_eligible(&mut self, key: ClassKey, eligible: Bits) {
        let class = &mut self.table[key];
        class.eligible = eligible;
        class.epoch = self.epoch;
    }

    /// The eligible machines, as of the last [`Self::set_eligible`].
    pub(crate) fn eligible_machines(&self, key: ClassKey) -> &Bits {
        &self.table[key].eligible
    }
}
