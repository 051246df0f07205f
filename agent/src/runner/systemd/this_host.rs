//! The real machine around systemd.
//!
//! Owns which parts of the runner look at it: control groups, invocations, facts. It chooses nothing.

use std::path::Path;
use std::sync::Arc;

use muster_common::container::HostFacts;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

use super::groups::ControlGroups;
use super::host::{UnitGroups, UnitHost};
use super::invocation::current_invocation;
use crate::host::identity;
use crate::runner::host_facts;

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ThisHost;

impl UnitHost for ThisHost {
    fn groups_below(&self, own: &str) -> Arc<dyn UnitGroups> {
        Arc::new(ControlGroups::below_manager(own))
    }

    fn current_run(&self, unit: &UnitName, active: &ActiveState) -> (String, u64) {
        current_invocation(unit, active)
    }

    fn host_facts(&self) -> Option<HostFacts> {
        let id = identity::machine_id(Path::new("/etc/machine-id")).ok();
        id.map(|id| host_facts::read_host_facts(&id))
    }
}
