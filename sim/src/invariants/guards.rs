//! Every placement is written under guards: the leader's, the unit's, the machine's and the placement's own.

use muster_store::{Guard, MAX_OPERATIONS, Op};

use super::Findings;
use crate::facts::parse_place;
use crate::machine::PREFIX;

/// Checks a commit of a daemon before it is carried out.
pub(crate) fn check_commit(who: &str, guards: &[Guard], ops: &[Op]) -> Findings {
    let mut found = Findings::new();
    if guards.len() > MAX_OPERATIONS || ops.len() > MAX_OPERATIONS {
        let size = format!("{} guards, {} operations", guards.len(), ops.len());
        found.push(("commit-too-large", format!("{who} commits {size}")));
    }
    // As it was created, or even as it was last written.
    let leader = format!("{PREFIX}leader");
    let written = |guard: &Guard| matches!(guard, Guard::Modified { key, revision } if *key == leader && *revision > 0);
    let leads = guards.iter().any(written);
    let modified = |wanted: &str| {
        guards.iter().any(|guard| matches!(guard, Guard::Modified { key, .. } if key == wanted))
    };
    let created = |wanted: &str| {
        let is_it = |guard: &Guard| matches!(guard, Guard::Created { key, revision } if key == wanted && *revision > 0);
        guards.iter().any(is_it)
    };
    for op in ops {
        let Some(key) = op.key().strip_prefix(PREFIX) else { continue };
        let Some((machine, unit)) = parse_place(key) else { continue };
        let mut missing = |word, guard| {
            found.push((word, format!("{who} writes {key} without the guard of {guard}")));
        };
        if !leads && !created(&leader) {
            missing("placed-without-lead", "the leader");
        }
        if !modified(&format!("{PREFIX}unit/{unit}")) {
            missing("placed-without-unit", "the unit");
        }
        if !modified(op.key()) {
            missing("placed-unguarded", "the placement itself");
        }
        if matches!(op, Op::Put { .. }) && !created(&format!("{PREFIX}machine/{machine}")) {
            missing("placed-without-machine", "the machine");
        }
    }
    found
}
