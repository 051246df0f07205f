//! Filters that look at the machine alone: cordon, runner, `MachineID=`, `MachineMetadata=`.
//!
//! Owns what units ask of a machine whoever else is there. Units that ask the same share a class, whose set of eligible
//! machines is computed once and again only after machines changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::machine::RunnerKind;
use muster_common::unit::Requirements;

use crate::schedule::table::{Bits, ClassKey, Table};

/// What is asked of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) runner: RunnerKind,
    pub(crate) machine_id: Option<String>,
    pub(crate) metadata: BTreeMap<String, BTreeSet<String>>,
}

/// One class.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) asked: Asked,
    users: u32,
    /// Positions of the live machines that meet it all, as of `epoch`.
    eligible: Bits,
    epoch: u64,
}

/// Every class some unit belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Classes {
    table: Table<ClassKey, Class>,
    by_asked: BTreeMap<Asked, ClassKey>,
    /// The last class asked for, and by which requirements.
    recent: Option<(Arc<Requirements>, RunnerKind, ClassKey)>,
    /// Raised when machines change, which makes what classes know out of date.
    epoch: u64,
}

impl Classes {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), by_asked: BTreeMap::new(), recent: None, epoch: 1 }
    }

    /// One more unit with these requirements.
    pub(crate) fn acquire(
        &mut self,
        requirements: &Arc<Requirements>,
        runner: RunnerKind,
    ) -> ClassKey {
        // Units of one file follow one another when a cluster is read, and share what they require.
        if let Some((recent, for_runner, key)) = &self.recent
            && Arc::ptr_eq(recent, requirements)
            && *for_runner == runner
        {
            self.table[*key].users += 1;
            return *key;
        }
        let asked = Asked {
            runner,
            machine_id: requirements.machine_id.clone(),
            metadata: requirements.metadata.clone(),
        };
        let key = if let Some(key) = self.by_asked.get(&asked) {
            self.table[*key].users += 1;
            *key
        } else {
            let class =
                Class { asked: asked.clone(), users: 1, eligible: Bits::default(), epoch: 0 };
            let key = self.table.insert(class);
            self.by_asked.insert(asked, key);
            key
        };
        self.recent = Some((Arc::clone(requirements), runner, key));
        key
    }

    /// One unit less.
    pub(crate) fn release(&mut self, key: ClassKey) {
        let class = &mut self.table[key];
        class.users -= 1;
        if class.users == 0 {
            self.by_asked.remove(&class.asked);
            self.table.release(key);
            self.recent = None;
        }
    }

    pub(crate) fn asked(&self, key: ClassKey) -> &Asked {
        &self.table[key].asked
    }

    /// Machines have changed.
    pub(crate) fn outdate(&mut self) {
        self.epoch += 1;
    }

    /// Computes the eligible machines unless they are known.
    pub(crate) fn refresh(&mut self, key: ClassKey, compute: impl FnOnce(&Asked) -> Bits) {
        let class = &mut self.table[key];
        if class.epoch != self.epoch {
            class.eligible = compute(&class.asked);
            class.epoch = self.epoch;
        }
    }

    /// The eligible machines, as of the last [`Self::refresh`].
    pub(crate) fn eligible(&self, key: ClassKey) -> &Bits {
        &self.table[key].eligible
    }
}
