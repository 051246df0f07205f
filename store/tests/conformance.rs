//! What every store does: one suite of cases for all backends, and the registry's cases on top of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[macro_use]
#[path = "cases/all.rs"]
mod all;
#[path = "cases/commits.rs"]
mod commits;
#[path = "cases/cordons.rs"]
mod cordons;
#[path = "cases/crossed.rs"]
mod crossed;
#[path = "cases/forget.rs"]
mod forget;
#[path = "cases/identities.rs"]
mod identities;
#[path = "cases/late.rs"]
mod late;
#[path = "cases/leases.rs"]
mod leases;
#[path = "cases/machines.rs"]
mod machines;
#[path = "cases/places.rs"]
mod places;
#[path = "cases/poison.rs"]
mod poison;
#[path = "cases/reads.rs"]
mod reads;
#[path = "cases/reboots.rs"]
mod reboots;
#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;
#[path = "cases/units.rs"]
mod units;
#[path = "cases/watches.rs"]
mod watches;

/// Makes three tests of each case.
macro_rules! on_every_backend {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod on_embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::embedded()).await;
                }
            )+
        }

        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::memory()).await;
                }
            )+
        }

        mod on_etcd {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&crate::support::Bed::etcd().await).await;
                }
            )+
        }
    };
}

with_all_cases!(on_every_backend);

/// Compaction is etcd's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_under_a_watch_loses_nothing() {
    // A server of its own, since it is restarted.
    let bed = support::Bed::etcd_of_its_own().await;
    watches::survive_compaction(&bed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_at_the_very_revision_compacted_is_seen() {
    let bed = support::Bed::etcd_of_its_own().await;
    watches::see_what_compaction_hides(&bed).await;
}
