//! The machine around systemd, as far as a runner looks at it itself.
//!
//! Owns the seam between the runner and control groups, the runs that systemd links, and the facts that unit files may ask about. Files are [`crate::stdx::disk`]'s affair.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use muster_common::container::HostFacts;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

/// Most processes that are named; a hundred numbers tell nobody more.
const NAMED: usize = 8;

/// The machine around systemd. Nothing here waits.
pub trait UnitHost: fmt::Debug + Send + Sync + 'static {
    /// The control groups below that which systemd names as its own; empty for the root.
    fn groups_below(&self, own: &str) -> Arc<dyn UnitGroups>;

    /// The run a unit is in, in 32 hexadecimal digits, and the second since the Unix epoch at which it began; nothing for one
    /// that does not run, and for one with a name too long to be linked.
    fn current_run(&self, unit: &UnitName, active: &ActiveState) -> (String, u64);

    /// The facts that unit files may ask about this machine; nothing for one without an id.
    fn host_facts(&self) -> Option<HostFacts>;
}

/// The control groups of units.
pub trait UnitGroups: fmt::Debug + Send + Sync + 'static {
    /// True if there are none to be looked at.
    fn is_empty(&self) -> bool;

    /// The leftovers of those of these units that have any.
    fn find_leftovers(&self, units: &[&UnitName]) -> BTreeMap<UnitName, Leftovers>;

    /// The leftovers of one unit; `None` when there are none.
    fn leftovers_of(&self, unit: &UnitName) -> Option<Leftovers> {
        self.find_leftovers(&[unit]).remove(unit)
    }
}

/// The processes that are left of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// Its processes, as far as their numbers can be told from here, in order.
    pub processes: Vec<u32>,
}

impl Leftovers {
    /// The processes that are waited for, in words for people.
    pub(super) fn remark_text(&self) -> String {
        let named: Vec<String> = self.processes.iter().take(NAMED).map(u32::to_string).collect();
        let more = match self.processes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match self.processes.len() {
            0 => "waits for processes that it has left behind".to_owned(),
            1 => format!("waits for a process that it has left behind: {}", named.join(", ")),
            _ => format!("waits for processes that it has left behind: {}{more}", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_are_not_all_named() {
        let left = Leftovers { processes: (1..=20).collect() };
        assert_eq!(
            left.remark_text(),
            "waits for processes that it has left behind: 1, 2, 3, 4, 5, 6, 7, 8 and 12 more"
        );
    }
}
