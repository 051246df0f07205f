//! A cluster that its engine has planned, and whose machines have done as they were asked, has no violations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod paper;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use muster_checker::{Severity, check_cluster, check_safety};
use proptest::prelude::*;

use paper::PaperCluster;
use support::events::{ALL, MACHINES, apply_event, with_drains};

/// Plays events on a cluster of which a part of the machines is there from the start.
fn cluster_after(events: &[support::events::Event]) -> PaperCluster {
    let mut cluster = PaperCluster::default();
    cluster.add_machine(MACHINES[0]);
    for event in events {
        apply_event(&mut cluster.cluster, event);
    }
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cluster_at_rest_has_no_violations(events in with_drains(ALL)) {
        let mut cluster = cluster_after(&events);
        cluster.come_to_rest();
        let mut found = check_cluster(&cluster.picture());
        found.retain(|violation| violation.severity_level() != Severity::Remark);
        prop_assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn nothing_that_must_never_be_is_found_at_any_moment_of_a_plan(events in with_drains(ALL)) {
        let mut cluster = PaperCluster::default();
        cluster.add_machine(MACHINES[0]);
        for event in &events {
            apply_event(&mut cluster.cluster, event);
            let found = check_safety(&cluster.picture());
            prop_assert!(found.is_empty(), "{event:?}: {found:#?}");
        }
        for _ in 0..20 {
            let plan = cluster.cluster.plan();
            for planned in plan.moves {
                let one = muster_engine::schedule::Plan { moves: vec![planned], ..Default::default() };
                cluster.cluster.write_plan(&one);
                let found = check_safety(&cluster.picture());
                prop_assert!(found.is_empty(), "{:?}: {found:#?}", one.moves);
            }
            cluster.obey_placements();
        }
    }
}
