//! What must be true of a whole cluster.
//!
//! Owns the rules that hold across records, machines and what runs on them, each with a word for its violation. It asks nobody
//! and mends nothing: a picture of a cluster comes in, violations go out as data.
//!
//! ```text
//!   records (a snapshot, reboot groups, …) ─┐
//!   what each machine says of itself        ├─▶ ClusterPicture ─▶ rules/ ─▶ Vec<Violation>: word, severity, sentence, way out
//!   which machines do not answer           ─┘
//! ```
//!
//! Some things must never be, at any moment ([`Severity::Unsafe`]); some are wrong only if they stay ([`Severity::Unsettled`]), for
//! how long is [`settle_limit`]'s; the rest is worth knowing ([`Severity::Remark`]). The parts of a picture are taken one after another.
//! Whoever looks at a cluster that works therefore looks again before a violation counts, and keeps what both looks show. A
//! simulator, whose world stands still, need not.

mod picture;
mod rules;
mod violation;

use std::time::Duration;

pub use picture::{ClusterPicture, RecordPicture};
pub use violation::{Severity, Violation, WORDS};

/// Time for two passes of a machine's loop, and for what they find to be reported: a state is published within a second, a step
/// that failed is taken again after five.
const TWO_PASSES: Duration = Duration::from_secs(10);

/// Time after the last fault or request within which a cluster comes to rest: a machine that is lost is noticed within the TTL, and
/// machines carry out what follows from it in two passes.
pub fn settle_limit(ttl: Duration) -> Duration {
    ttl + TWO_PASSES
}

/// Everything that is wrong with a cluster or worth knowing of it, the worst first. The cost is that of a full plan.
pub fn check_cluster(picture: &ClusterPicture) -> Vec<Violation> {
    let mut found = rules::find_unsafe(picture);
    found.extend(rules::find_unsettled(picture));
    in_order(found)
}

/// The violations that must never be, alone. It plans nothing, so that whoever simulates can ask after each step.
pub fn check_safety(picture: &ClusterPicture) -> Vec<Violation> {
    let mut found = rules::find_unsafe(picture);
    found.retain(|violation| violation.severity_level() == Severity::Unsafe);
    in_order(found)
}

/// Each once, the worst first.
fn in_order(mut found: Vec<Violation>) -> Vec<Violation> {
    found.sort_by(|a, b| (a.severity_level(), a).cmp(&(b.severity_level(), b)));
    found.dedup();
    found
}

/// The violations that count when nothing has been asked of a cluster, and nothing has gone wrong in it, for a time: those of
/// [`check_safety`] always, the unsettled ones once it is over the [`settle_limit`].
pub fn check_after(picture: &ClusterPicture, calm: Duration, ttl: Duration) -> Vec<Violation> {
    if calm < settle_limit(ttl) {
        return check_safety(picture);
    }
    let mut found = check_cluster(picture);
    found.retain(|violation| violation.severity_level() != Severity::Remark);
    found
}
