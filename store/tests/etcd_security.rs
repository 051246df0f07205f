//! etcd that lets in only those it knows: TLS with certificates on both sides, users and passwords.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[path = "cases/commits.rs"]
#[allow(dead_code, reason = "the conformance suite has the rest")]
mod commits;
#[path = "cases/leases.rs"]
#[allow(dead_code, reason = "the conformance suite has the rest")]
mod leases;
#[path = "cases/reads.rs"]
#[allow(dead_code, reason = "the conformance suite has the rest")]
mod reads;
#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;
#[path = "cases/watches.rs"]
#[allow(dead_code, reason = "the conformance suite has the rest")]
mod watches;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Permission, UserAddOptions};
use muster_common::reboot::{Group, HistoryEntry, HolderKind, Semaphore, SlotOutcome};
use muster_store::{
    CommitOutcome, EtcdOptions, LeaseId, Op, Range, RebootGroup, Registry, Store, StoreError,
    Watch, WatchEvent, open_etcd,
};
use support::certificates::Certificates;
use support::etcd::Server;
use support::{Bed, chain, eventually, next, patient};

const LONG: Duration = Duration::from_secs(600);

fn everything() -> Range {
    Range::Prefix("/case".to_owned())
}

fn put(key: &str) -> Vec<Op> {
    vec![Op::Put { key: key.to_owned(), value: "".into(), lease: None }]
}

/// Waits until a record is seen, in whatever way.
async fn seen(watch: &mut Watch) {
    loop {
        match next(watch).await {
            WatchEvent::Reset(listing) if !listing.entries.is_empty() => return,
            WatchEvent::Changes { .. } => return,
            _ => {}
        }
    }
}

/// An error without the port, which changes from run to run.
fn shown(server: &Server, error: &StoreError) -> String {
    let port = server.endpoint().rsplit_once(':').unwrap().1.to_owned();
    chain(error).replace(&port, "PORT")
}

/// What a user is told.
async fn connect_warning(server: &Server, options: EtcdOptions) -> String {
    let store = open_etcd(options).await.unwrap();
    let error = store.read(everything()).await.unwrap_err();
    shown(server, &error)
}

/// The cases that between them use every kind of call, each in a place of its own.
async fn behaves(server: Server, options: EtcdOptions) {
    let server = Arc::new(server);
    let bed = async || Bed::with(Arc::clone(&server), options.clone()).await;
    reads::a_range_holds_its_keys_in_order_and_no_others(&bed().await).await;
    commits::guards_decide(&bed().await).await;
    leases::a_lease_that_is_kept_alive_lasts(&bed().await).await;
    leases::a_lease_that_is_gone_is_said_to_be(&bed().await).await;
    watches::changes_come_in_order_and_each_commit_whole(&bed().await).await;
    watches::the_end_of_a_lease_is_seen(&bed().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_tls_is_a_store() {
    let server = Server::start_tls(Arc::new(Certificates::new("muster"))).await;
    let options = server.options();
    behaves(server, options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_not_trusted() {
    let server = Server::start_tls(Arc::new(Certificates::new("muster"))).await;
    let foreign = Certificates::new("muster");
    let options = EtcdOptions { ca_file: Some(foreign.authority()), ..server.options() };
    insta::assert_snapshot!(connect_warning(&server, options).await, @"the store cannot be reached (read of /case): https://127.0.0.1:PORT: invalid peer certificate: BadSignature; etcd.ca_file must hold the authority that signed its certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_certificate_or_with_a_foreign_one_is_told_so() {
    let server = Server::start_tls(Arc::new(Certificates::new("muster"))).await;
    let foreign = Certificates::new("muster");
    for identity_files in [None, Some(foreign.client())] {
        let connect_warning =
            connect_warning(&server, EtcdOptions { identity_files, ..server.options() }).await;
        // What comes between is the alert that the server sends, unless its end of the connection is seen first.
        let (begin, end) = (
            "the store cannot be reached (read of /case): https://127.0.0.1:PORT: ",
            "it may want a certificate that its --trusted-ca-file vouches for (etcd.cert_file, etcd.key_file)",
        );
        assert!(
            connect_warning.starts_with(begin) && connect_warning.ends_with(end),
            "{connect_warning}"
        );
    }
}

/// What is done with a store while its certificates change: a write, a lease kept alive.
async fn goes_on(store: &Arc<dyn Store>, lease: LeaseId, key: &str) {
    eventually("a write", || async {
        matches!(store.commit(vec![], put(key)).await, Ok(CommitOutcome::Done { .. })).then_some(())
    })
    .await;
    eventually("a keepalive", || async { store.keep_alive(lease).await.ok() }).await;
}

/// A renewal replaces the files; what was trusted before is of no use any more when the connections break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_are_used_without_a_restart() {
    let certificates = Arc::new(Certificates::new("muster"));
    let server = Server::start_tls(Arc::clone(&certificates)).await;
    let store = open_etcd(server.options()).await.unwrap();
    let lease = store.grant(LONG).await.unwrap();
    let mut watch = store.watch(everything());
    assert!(matches!(next(&mut watch).await, WatchEvent::Reset(_)));
    for round in 0..2 {
        certificates.renew("muster");
        server.kill();
        server.launch();
        goes_on(&store, lease.id, &format!("/case/{round}")).await;
        seen(&mut watch).await;
    }
}

/// A renewal writes one file after the other, and a connection may be made in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_renewal_changes_nothing() {
    let certificates = Arc::new(Certificates::new("muster"));
    let server = Server::start_tls(Arc::clone(&certificates)).await;
    let store = open_etcd(server.options()).await.unwrap();
    let lease = store.grant(LONG).await.unwrap();
    let (certificate, key) = certificates.client();
    let (whole, whole_key) = (std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap());
    let another = Certificates::new("muster");
    let foreign = std::fs::read(another.client().0).unwrap();
    let files = [
        // Another's certificate beside the old key, half a file, an empty one, none.
        (&certificate, Some(foreign), &whole),
        (&certificate, Some(whole[..whole.len() / 2].to_vec()), &whole),
        (&key, Some(Vec::new()), &whole_key),
        (&key, None, &whole_key),
    ];
    for (round, (path, half, before)) in files.into_iter().enumerate() {
        match half {
            Some(half) => std::fs::write(path, half).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        server.kill();
        server.launch();
        goes_on(&store, lease.id, &format!("/case/{round}")).await;
        std::fs::write(path, before).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_scheme_is_named() {
    let secure = Server::start_tls(Arc::new(Certificates::new("muster"))).await;
    let plain = secure.endpoint().replace("https", "http");
    let (endpoints, liveness) = (vec![plain], patient());
    let options = EtcdOptions { endpoints, liveness, ..EtcdOptions::default() };
    // What comes between says in which way the connection broke off, and that differs.
    let told_plain = connect_warning(&secure, options).await;
    assert!(
        told_plain
            .starts_with("the store cannot be reached (read of /case): http://127.0.0.1:PORT")
            && told_plain.ends_with("; if it speaks TLS, its endpoint begins with https://"),
        "{told_plain}"
    );
    let open = Server::start(None).await;
    let endpoints = vec![open.endpoint().replace("http", "https")];
    let told_secure = connect_warning(&open, EtcdOptions { endpoints, ..secure.options() }).await;
    assert!(
        told_secure
            .starts_with("the store cannot be reached (read of /case): https://127.0.0.1:PORT")
            && told_secure.contains("; if it does not speak TLS, its endpoint begins with http://"),
        "{told_secure}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_certificates_are_refused_at_once() {
    let certificates = Certificates::new("muster");
    let (certificate, key) = certificates.client();
    let authority = certificates.authority();
    let no_file = certificates.path("nonsense.pem");
    std::fs::write(&no_file, "nonsense").unwrap();
    let endpoints = vec!["https://127.0.0.1:1".to_owned()];
    let with = |ca_file: &std::path::Path, certificate: &std::path::Path, key: &std::path::Path| {
        EtcdOptions {
            endpoints: endpoints.clone(),
            ca_file: Some(ca_file.to_owned()),
            identity_files: Some((certificate.to_owned(), key.to_owned())),
            ..EtcdOptions::default()
        }
    };
    let directory = authority.parent().unwrap().display().to_string();
    let refused = async |options| {
        let error = open_etcd(options).await.err().expect("it is no good");
        assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
        chain(&error).replace(&directory, "DIRECTORY")
    };
    insta::assert_snapshot!(refused(with(&no_file, &certificate, &key)).await, @"the store refuses connection to etcd: DIRECTORY/nonsense.pem: there is no certificate in PEM form in it");
    insta::assert_snapshot!(refused(with(&authority, &no_file, &key)).await, @"the store refuses connection to etcd: DIRECTORY/nonsense.pem: there is no certificate in PEM form in it");
    insta::assert_snapshot!(refused(with(&authority, &certificate, &no_file)).await, @"the store refuses connection to etcd: DIRECTORY/nonsense.pem: there is no private key in PEM form in it");
    let (_, foreign) = certificates.server();
    insta::assert_snapshot!(refused(with(&authority, &certificate, &foreign)).await, @"the store refuses connection to etcd: https://127.0.0.1:1: keys may not be consistent: KeyMismatch; etcd.key_file is not the key of etcd.cert_file");
    let missing = certificates.path("missing.pem");
    insta::assert_snapshot!(refused(with(&missing, &certificate, &key)).await, @"the store refuses connection to etcd: DIRECTORY/missing.pem: No such file or directory (os error 2)");
    let trusting = EtcdOptions { ca_file: None, ..with(&authority, &certificate, &key) };
    insta::assert_snapshot!(refused(trusting).await, @"the store refuses connection to etcd: endpoint https://127.0.0.1:1 needs the file of the authorities to trust (etcd.ca_file)");
    let endpoints = vec!["http://127.0.0.1:1".to_owned()];
    let plain = EtcdOptions { endpoints, ..with(&authority, &certificate, &key) };
    insta::assert_snapshot!(refused(plain).await, @"the store refuses connection to etcd: there are files for TLS (etcd.ca_file, etcd.cert_file), but no endpoint begins with https://");
}

/// A server with users: `root`, and `muster`, who may do all below `/case` and nothing else.
async fn with_users() -> Server {
    let server = Server::start(None).await;
    add_users(&server).await;
    server
}

async fn add_users(server: &Server) {
    let mut client = server.client().await;
    client.role_add("case").await.unwrap();
    let all = Permission::read_write("/case").with_range_end("/casf");
    client.role_grant_permission("case", all).await.unwrap();
    for (user, role) in [("root", "root"), ("muster", "case")] {
        client.user_add(user, "secret", None::<UserAddOptions>).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

fn login(server: &Server, user: &str, password: &str) -> EtcdOptions {
    EtcdOptions { login: Some((user.to_owned(), password.to_owned())), ..server.options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_a_login_is_a_store() {
    let server = with_users().await;
    let options = login(&server, "muster", "secret");
    behaves(server, options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_is_told_why() {
    let server = with_users().await;
    insta::assert_snapshot!(connect_warning(&server, server.options()).await, @"the store refuses read of /case: http://127.0.0.1:PORT: etcdserver: user name is empty; it wants a login (etcd.username, etcd.password_file)");
    insta::assert_snapshot!(connect_warning(&server, login(&server, "muster", "wrong")).await, @"the store refuses read of /case: http://127.0.0.1:PORT: etcdserver: authentication failed, invalid user ID or password; etcd.username or the password is not the one it knows");
    insta::assert_snapshot!(connect_warning(&server, login(&server, "nobody", "secret")).await, @"the store refuses read of /case: http://127.0.0.1:PORT: etcdserver: authentication failed, invalid user ID or password; etcd.username or the password is not the one it knows");
    // Another's keys.
    let store = open_etcd(login(&server, "muster", "secret")).await.unwrap();
    let error = store.commit(vec![], put("/other")).await.unwrap_err();
    insta::assert_snapshot!(shown(&server, &error), @"the store refuses commit of /other: http://127.0.0.1:PORT: etcdserver: permission denied; the role of etcd.username must allow reading and writing all keys below the prefix");
}

/// A role that may not touch histories frees slots all the same: a history is for people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_freed_where_the_history_may_be_neither_read_nor_written() {
    let server = Server::start(None).await;
    let mut client = server.client().await;
    client.role_add("case").await.unwrap();
    client
        .role_grant_permission("case", Permission::read_write("/case/v1/reboot/default"))
        .await
        .unwrap();
    for (user, role) in [("root", "root"), ("muster", "case")] {
        client.user_add(user, "secret", None::<UserAddOptions>).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    let key = "/case/v1/reboot/default";
    let readable = Permission::read("/case/v1/reboot-history/default");
    client.auth_enable().await.unwrap();
    let store = open_etcd(login(&server, "muster", "secret")).await.unwrap();
    let registry = Registry::new(Arc::clone(&store), "/case/v1/");
    let free = async || {
        let held = r#"{"schema":1,"max":1,"holders":[{"id":"a","kind":"person","since":1}]}"#;
        let put = Op::Put { key: key.to_owned(), value: held.into(), lease: None };
        store.commit(vec![], vec![put]).await.unwrap();
        let found = registry.reboot_group(&Group::default()).await.unwrap().unwrap();
        let semaphore = Semaphore { max: 1, holders: Vec::new() };
        let freed = RebootGroup { semaphore, ..found };
        let ended = HistoryEntry {
            id: "a".parse().unwrap(),
            kind: HolderKind::Person,
            taken: 1,
            freed: 2,
            outcome: SlotOutcome::Released,
            due: Vec::new(),
            phases: Vec::new(),
        };
        assert!(registry.write_reboot_group(&freed, Some(ended)).await.unwrap());
        let now = registry.reboot_group(&Group::default()).await.unwrap().unwrap();
        assert!(now.semaphore.holders.is_empty());
    };
    free().await;
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let mut root = etcd_client::Client::connect([server.endpoint()], Some(options)).await.unwrap();
    root.role_grant_permission("case", readable).await.unwrap();
    free().await;
}

/// Tokens are in the server's memory: a restart forgets them, as their time to live does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_forgotten_is_asked_for_again() {
    let server = with_users().await;
    let store = open_etcd(login(&server, "muster", "secret")).await.unwrap();
    let lease = store.grant(LONG).await.unwrap();
    store.keep_alive(lease.id).await.unwrap();
    let mut watch = store.watch(everything());
    assert!(matches!(next(&mut watch).await, WatchEvent::Reset(_)));
    server.kill();
    server.launch();
    eventually("a write", || async {
        matches!(store.commit(vec![], put("/case")).await, Ok(CommitOutcome::Done { .. }))
            .then_some(())
    })
    .await;
    eventually("a keepalive", || async { store.keep_alive(lease.id).await.ok() }).await;
    seen(&mut watch).await;
}

/// With signed tokens each change of users or roles makes those given before useless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_users_of_etcd_is_survived() {
    let server = Server::start_signing().await;
    add_users(&server).await;
    let store = open_etcd(login(&server, "muster", "secret")).await.unwrap();
    let lease = store.grant(LONG).await.unwrap();
    let mut watch = store.watch(everything());
    assert!(matches!(next(&mut watch).await, WatchEvent::Reset(_)));
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let mut client =
        etcd_client::Client::connect([server.endpoint()], Some(options)).await.unwrap();
    client.user_add("another", "secret", None::<UserAddOptions>).await.unwrap();
    let done = store.commit(vec![], put("/case/after")).await.unwrap();
    assert!(matches!(done, CommitOutcome::Done { .. }));
    assert_eq!(store.read(everything()).await.unwrap().entries.len(), 1);
    store.keep_alive(lease.id).await.unwrap();
    seen(&mut watch).await;
}

/// Whoever is about to protect a cluster tells the daemons their password first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_may_be_enabled_under_a_daemon_that_has_a_login() {
    let server = Server::start(None).await;
    let store = open_etcd(login(&server, "muster", "secret")).await.unwrap();
    store.commit(vec![], put("/case/before")).await.unwrap();
    add_users(&server).await;
    let done = store.commit(vec![], put("/case/after")).await.unwrap();
    assert!(matches!(done, CommitOutcome::Done { .. }));
}
