//! What a person is told of etcd while it works: faults of its version, and a history that nobody cuts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;

use std::sync::Arc;

use etcd_client::{Permission, UserAddOptions};
use futures::StreamExt as _;
use muster_store::{EtcdOptions, Range, Store, open_etcd};
use support::etcd::Server;
use support::eventually;

/// More than a history may have that was never cut.
const REVISIONS: usize = 10_100;

/// Writers at a time: etcd makes one write to its disk of what comes together.
const WRITERS: usize = 256;

/// A store that has been asked for something, so that its servers are looked at.
async fn used(options: EtcdOptions) -> Arc<dyn Store> {
    let store = open_etcd(options).await.unwrap();
    store.read(Range::Prefix("/case/".to_owned())).await.unwrap();
    store
}

/// The warning with this in it, once there is one.
async fn warning(store: &Arc<dyn Store>, part: &str) -> String {
    eventually(part, || async { store.current_warnings().into_iter().find(|w| w.contains(part)) })
        .await
}

/// The server that these tests have is Debian's, which is one of those with every fault. A later one would have fewer.
async fn is_old(server: &Server) -> bool {
    server.client().await.status().await.unwrap().version().starts_with("3.4.")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_version_are_named_with_what_they_mean_for_users() {
    let server = Server::start(None).await;
    if !is_old(&server).await {
        return;
    }
    let open = warning(&used(server.options()).await, "known faults").await;
    assert!(open.contains(&server.endpoint()) && open.contains("users are not enabled"), "{open}");
    assert!(open.contains("GHSA-xg4h-6gfc-h4m8"), "{open}");

    let mut client = server.client().await;
    client.role_add("case").await.unwrap();
    let all = Permission::read_write("/case/").with_range_end("/case0");
    client.role_grant_permission("case", all).await.unwrap();
    for (user, role) in [("root", "root"), ("muster", "case")] {
        client.user_add(user, "secret", None::<UserAddOptions>).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
    let login = Some(("muster".to_owned(), "secret".to_owned()));
    let store = used(EtcdOptions { login, ..server.options() }).await;
    let known = warning(&store, "known faults").await;
    assert!(known.contains("its users are enabled"), "{known}");
}

/// Each member has a version of its own while a cluster is upgraded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_is_looked_at() {
    let servers = [Server::start(None).await, Server::start(None).await];
    if !is_old(&servers[0]).await {
        return;
    }
    let endpoints = servers.iter().map(Server::endpoint).collect();
    let store = used(EtcdOptions { endpoints, ..servers[0].options() }).await;
    for server in &servers {
        warning(&store, &format!("at {} ", server.endpoint())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_nobody_cuts_is_told_of() {
    let server = Server::start(None).await;
    let client = server.client().await;
    let writes = futures::stream::iter(0..REVISIONS).for_each_concurrent(WRITERS, |_| {
        let mut client = client.kv_client();
        async move { drop(client.put("/case/x", "", None).await.unwrap()) }
    });
    writes.await;
    let warning_text = warning(&used(server.options()).await, "compacted").await;
    assert!(warning_text.starts_with("etcd was never compacted and keeps 101"), "{warning_text}");
    assert!(warning_text.contains("ETCD_AUTO_COMPACTION_RETENTION"), "{warning_text}");

    let store = used(server.options()).await;
    server.compact(&*store).await;
    // Its version is told last.
    let store = used(server.options()).await;
    if is_old(&server).await {
        warning(&store, "known faults").await;
    }
    let compacted =
        store.current_warnings().into_iter().find(|warning| warning.contains("compacted"));
    assert_eq!(compacted, None);
}
