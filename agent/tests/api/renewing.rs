//! Certificates are renewed over TLS, and daemons ask each other there: daemons' own parts, real keys and sockets, one store.

use std::net::SocketAddr;

use muster_client::Route;
use muster_common::errors::error_chain;
use muster_common::pki::{HostRole, PkiChange, PkiKey};
use muster_identity::CertificateAge;
use musterd::identity::{CertificateUpkeep, ClusterAuthority, RegistryServers, RenewingHost};
use musterd::net::peer::Peers as _;
use musterd::net::tls::TlsIdentity;
use tokio::net::TcpListener;

use super::joining::{Begun, Host, client, order, serve_over_tls};
use super::*;

impl Begun {
    /// A host that joined so many days ago and has not been heard of since.
    async fn host_from_the_past(&self, machine: &str, days: u64) -> Host {
        let host = Host::new(machine);
        let past = Wall::new(move || Wall::default().unix_seconds() - days * 24 * 3600);
        let authority = self.server.authority(&self.cluster.registry);
        let authority = ClusterAuthority { wall: past, ..authority };
        let token = authority.order_token(&order(HostRole::Agent, 1)).await.unwrap().to_text();
        let joining = host.prepare(&token);
        let answer = authority.admit_host(&joining.join_message(None).unwrap()).await.unwrap();
        joining.accept_answer(&answer).unwrap();
        host
    }
}

fn renewing(host: &Host) -> RenewingHost {
    let identity = TlsIdentity::new(&host.credentials().unwrap(), Wall::default()).unwrap();
    RenewingHost { pki: host.pki(), identity }
}

#[tokio::test]
async fn a_machine_that_was_off_for_a_year_comes_back_by_itself() {
    let begun = Begun::new().await;
    let now = Wall::default().unix_seconds();
    for (machine, days) in [("n2", 11), ("n3", 31), ("n4", 365)] {
        let host = begun.host_from_the_past(machine, days).await;
        let renewing = renewing(&host);
        let connector = renewing.identity.connector_to("n1".parse().unwrap()).unwrap();
        let client = client(begun.address).with_connector(Arc::new(connector));
        let before = client.get::<Value>("/v1/version").await;
        if days > 30 {
            // With a certificate that is over it may ask for the next one and for nothing else.
            let refused = before.unwrap_err().to_string();
            assert!(refused.contains("ask for the next one and for nothing else"), "{refused}");
        } else {
            before.unwrap();
        }
        let old = host.credentials().unwrap();
        assert_ne!(old.own_certificate().validity.age_at(now), CertificateAge::Fresh);
        let renewed = renewing.renew_at(&old, [Route::from(begun.address)]).await.unwrap();
        assert_eq!(renewed.own_certificate().validity.age_at(now), CertificateAge::Fresh);
        let loaded = host.credentials().unwrap();
        assert_eq!(loaded.own_certificate(), renewed.own_certificate());
        let record = begun.cluster.registry.host_record(&host.machine).await.unwrap().unwrap();
        assert_eq!(record.record.not_after, renewed.own_certificate().validity.not_after);
        // The same way, without a restart, shows the new one.
        let _: Value = client.get("/v1/version").await.unwrap();
    }
}

#[tokio::test]
async fn whoever_was_removed_gets_no_certificate_any_more() {
    let begun = Begun::new().await;
    let registry = &begun.cluster.registry;
    let host = begun.host_from_the_past("n2", 11).await;
    let found = registry.host_record(&host.machine).await.unwrap();
    let mut removal = PkiChange::default();
    removal.guard_record(PkiKey::Host(host.machine.clone()), found.as_ref());
    removal.removals.push(PkiKey::Host(host.machine.clone()));
    registry.commit_pki(&removal).await.unwrap();
    let before = host.credentials().unwrap();
    let certificate = before.own_certificate().clone();
    let refused =
        renewing(&host).renew_at(&before, [Route::from(begun.address)]).await.unwrap_err();
    let said = error_chain(&refused);
    assert!(said.contains("machine n2 is not in this cluster, or was removed from it"), "{said}");
    // It keeps what it has: somebody may put its record back.
    assert_eq!(host.credentials().unwrap().own_certificate(), &certificate);
}

#[tokio::test]
async fn authorities_are_learnt_from_servers_alone() {
    let begun = Begun::new().await;
    let agent = begun.host_from_the_past("n2", 1).await;
    let between = serve_over_tls(&begun.cluster, &agent, &agent.credentials().unwrap()).await;
    let host = begun.host_from_the_past("n3", 11).await;
    let before = host.credentials().unwrap();
    let refused = renewing(&host).renew_at(&before, [Route::from(between)]).await.unwrap_err();
    let said = error_chain(&refused);
    assert!(said.contains("machine n2 answered, which is an agent"), "{said}");
}

#[tokio::test]
async fn a_server_renews_its_own_certificate_and_shows_it_at_once() {
    let begun = Begun::new().await;
    let authority = begun.server.authority(&begun.cluster.registry);
    let later = Wall::new(|| Wall::default().unix_seconds() + 12 * 24 * 3600);
    let ahead = ClusterAuthority { wall: later, ..authority };
    let renewing = renewing(&begun.server);
    let before = begun.server.credentials().unwrap();
    let end = before.own_certificate().validity.not_after;
    let renewed = renewing.renew_by(&before, &ahead).await.unwrap();
    assert!(renewed.own_certificate().validity.not_after > end);
    assert_eq!(renewed.own_certificate().role, HostRole::Server);
    let loaded = begun.server.credentials().unwrap();
    assert_eq!(loaded.own_certificate(), renewed.own_certificate());
}

#[tokio::test]
async fn daemons_ask_each_other_over_tls_and_know_whom_they_ask() {
    let begun = Begun::new().await;
    let host = begun.host_from_the_past("n2", 0).await;
    let credentials = host.credentials().unwrap();
    let address = serve_over_tls(&begun.cluster, &host, &credentials).await;
    let first = TlsIdentity::new(&begun.server.credentials().unwrap(), Wall::default()).unwrap();
    let peers = HostPeers::new("127.0.0.1").with_identity(first);
    let machine = |id: &str, address: SocketAddr| Machine {
        id: id.parse().unwrap(),
        host: String::new(),
        address: "127.0.0.1".to_owned(),
        api: Some(address.to_string()),
        metadata: BTreeMap::new(),
        version: String::new(),
        runners: [].into(),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: String::new(),
        created: 0,
        revision: 0,
    };
    let answer = peers.ask_daemon(&machine("n2", address), "/v1/version").await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // A record that sends it to another host of the cluster is found out before anything is said.
    let refused = peers.ask_daemon(&machine("n2", begun.address), "/v1/version").await.unwrap_err();
    let said = error_chain(&refused);
    assert!(said.contains("machine n1 answered, and n2 was asked"), "{said}");
    // So is a daemon that has no identity, or whoever speaks for it.
    let plain = connections::listen(begun.cluster.app.clone()).await;
    peers.ask_daemon(&machine("n2", plain), "/v1/version").await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_is_renewed_by_whichever_server_comes_to_be_there() {
    let begun = Begun::new().await;
    let registry = &begun.cluster.registry;
    let host = begun.host_from_the_past("n2", 40).await;
    let credentials = host.credentials().unwrap();
    let upkeep = CertificateUpkeep {
        host: renewing(&host),
        authority: None,
        servers: Arc::new(RegistryServers {
            registry: registry.clone(),
            machine: host.machine.clone(),
        }),
        wall: Wall::default(),
        interval: Duration::from_millis(20),
    };
    let shown = upkeep.host.identity.clone();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(upkeep.keep_renewed(credentials, shutdown.clone()));
    // Its only server is not registered, and then at an address at which nobody is.
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    begun.cluster.join_at("n1", Some(nobody.to_string())).await;
    let connector = shown.connector_to("n1".parse().unwrap()).unwrap();
    let client = client(begun.address).with_connector(Arc::new(connector));
    client.get::<Value>("/v1/version").await.unwrap_err();
    // A second server, which is there: the host comes back by itself.
    let second = Host::new("n3");
    let joined = second.join(&begun.token(HostRole::Server, 1).await, begun.address).await.unwrap();
    let address = serve_over_tls(&begun.cluster, &second, &joined).await;
    begun.cluster.join_at("n3", Some(address.to_string())).await;
    let now = Wall::default().unix_seconds();
    let is_fresh = || {
        let found = host.credentials().unwrap();
        found.own_certificate().validity.age_at(now) == CertificateAge::Fresh
    };
    trouble::eventually(is_fresh).await;
    let ask = async || client.get::<Value>("/v1/version").await.is_ok();
    // On disk a moment before it is shown.
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let asking = async {
        while !ask().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(LIMIT, asking).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
}
