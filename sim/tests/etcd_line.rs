//! The store's suite on simulated lines: what every backend does, the product's own does over simulated members, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[macro_use]
#[path = "../../store/tests/cases/all.rs"]
mod all;
#[path = "../../store/tests/cases/commits.rs"]
mod commits;
#[path = "../../store/tests/cases/cordons.rs"]
mod cordons;
#[path = "../../store/tests/cases/crossed.rs"]
mod crossed;
#[path = "../../store/tests/cases/forget.rs"]
mod forget;
#[path = "../../store/tests/cases/identities.rs"]
mod identities;
#[path = "../../store/tests/cases/late.rs"]
mod late;
#[path = "../../store/tests/cases/leases.rs"]
mod leases;
#[path = "../../store/tests/cases/machines.rs"]
mod machines;
#[path = "../../store/tests/cases/places.rs"]
mod places;
#[path = "../../store/tests/cases/poison.rs"]
mod poison;
#[path = "../../store/tests/cases/reads.rs"]
mod reads;
#[path = "../../store/tests/cases/reboots.rs"]
mod reboots;
mod support;
#[path = "../../store/tests/cases/units.rs"]
mod units;
#[path = "../../store/tests/cases/watches.rs"]
mod watches;

/// Makes two tests of each case.
macro_rules! on_every_line {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod on_one_member {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::simulated(1)).await;
                }
            )+
        }

        mod on_three_members {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::simulated(3)).await;
                }
            )+
        }
    };
}

with_all_cases!(on_every_line);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_under_a_watch_loses_nothing() {
    watches::survive_compaction(&support::Bed::simulated(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_at_the_very_revision_compacted_is_seen() {
    watches::see_what_compaction_hides(&support::Bed::simulated(1)).await;
}
