//! A cluster begins on one machine, and others join it over TLS: daemons' own parts, real keys and sockets, one store.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_client::{Client, ClientError, Limits as ClientLimits, Route};
use muster_common::api::join::{
    BeginAnswer, BeginMessage, JoinAnswer, JoinMessage, TokenAnswer, TokenMessage,
};
use muster_common::cluster_id::ClusterId;
use muster_common::errors::error_chain;
use muster_common::pki::{HostRole, PkiChange, PkiKey};
use muster_identity::{
    CredentialProblem, HostCredentials, JoinToken, PeerSide, TokenOrder, verify_host_chain,
};
use musterd::config::ServedParts;
use musterd::identity::{ClusterAuthority, JoiningHost, MembershipError, PkiDirectory};
use musterd::net::listen::{Sockets, Tcp};
use musterd::net::quota::LocalUser;
use musterd::net::serve::serve;
use musterd::net::tls::{SecureConnector, TlsIdentity};
use musterd::stdx::disk::{Disk, DiskEntry, HostDisk};
use tokio::net::TcpListener;

use super::*;

/// A machine's disk.
pub(super) struct Host {
    state: tempfile::TempDir,
    pub(super) machine: MachineId,
}

impl Host {
    pub(super) fn new(machine: &str) -> Self {
        Self { state: tempfile::tempdir().unwrap(), machine: machine.parse().unwrap() }
    }

    pub(super) fn pki(&self) -> PkiDirectory {
        PkiDirectory::new(self.state.path(), Arc::new(HostDisk))
    }

    pub(super) fn authority(&self, registry: &Registry) -> ClusterAuthority {
        ClusterAuthority {
            registry: registry.clone(),
            pki: self.pki(),
            machine: self.machine.clone(),
            wall: Wall::default(),
        }
    }

    pub(super) fn credentials(&self) -> Option<HostCredentials> {
        self.pki().load_credentials(&self.machine, None).unwrap()
    }

    pub(super) fn prepare(&self, token: &str) -> JoiningHost {
        JoiningHost::prepare_host(self.pki(), self.machine.clone(), token).unwrap()
    }

    /// Joins, as `musterd join` does: with nothing but a token and an address.
    pub(super) async fn join(
        &self,
        token: &str,
        server: SocketAddr,
    ) -> Result<HostCredentials, String> {
        let joining = self.prepare(token);
        let answer = self.ask(&joining, server, Wall::default()).await?;
        joining.accept_answer(&answer).map_err(|error| error_chain(&error))
    }

    async fn ask(
        &self,
        joining: &JoiningHost,
        server: SocketAddr,
        wall: Wall,
    ) -> Result<JoinAnswer, String> {
        let message = joining.join_message(None).unwrap();
        let connector = SecureConnector::pinned_to(joining.join_token().pin, wall).unwrap();
        let client = client(server).with_connector(Arc::new(connector));
        let answered = client.post_json("/v1/cluster/join", &message).await;
        answered.map_err(|error: ClientError| error_chain(&error))
    }
}

pub(super) fn client(server: SocketAddr) -> Client {
    Client::new([Route::from(server)], ClientLimits::default())
}

pub(super) fn order(role: HostRole, uses: u32) -> TokenOrder {
    TokenOrder {
        role,
        ttl: Duration::from_secs(3600),
        uses,
        replaces: None,
        by: "a test".parse().unwrap(),
    }
}

/// A cluster with an authority on its first machine, whose daemon serves over TLS.
pub(super) struct Begun {
    pub(super) cluster: Cluster,
    pub(super) server: Host,
    pub(super) address: SocketAddr,
}

impl Begun {
    pub(super) async fn new() -> Self {
        let cluster = cluster().await;
        cluster.registry.establish_cluster_identity().await.unwrap();
        let server = Host::new("n1");
        let by = "a test".parse().unwrap();
        let credentials = server.authority(&cluster.registry).begin_cluster(&by).await.unwrap();
        let address = serve_over_tls(&cluster, &server, &credentials).await;
        Self { cluster, server, address }
    }

    pub(super) async fn token(&self, role: HostRole, uses: u32) -> String {
        let authority = self.server.authority(&self.cluster.registry);
        authority.order_token(&order(role, uses)).await.unwrap().to_text()
    }
}

pub(super) async fn serve_over_tls(
    cluster: &Cluster,
    host: &Host,
    credentials: &HostCredentials,
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = vec![Tcp { listener, serves: ServedParts::all_parts() }];
    let tls = Some(TlsIdentity::new(credentials, Wall::default()).unwrap());
    let app = cluster.app.clone().with_authority(host.authority(&cluster.registry));
    let sockets = Sockets { tcp, tls, ..Sockets::default() };
    tokio::spawn(serve(sockets, app, CancellationToken::new()));
    address
}

/// The way of one host to another's daemon.
fn client_of(host: &HostCredentials, machine: &str, server: SocketAddr) -> Client {
    let identity = TlsIdentity::new(host, Wall::default()).unwrap();
    let connector = identity.connector_to(machine.parse().unwrap()).unwrap();
    client(server).with_connector(Arc::new(connector))
}

#[tokio::test]
async fn a_machine_joins_with_a_token_and_is_known_by_its_certificate() {
    let begun = Begun::new().await;
    let host = Host::new("n2");
    let joined = host.join(&begun.token(HostRole::Agent, 1).await, begun.address).await.unwrap();
    // What lies on its disk is what it got, and its chain leads to the cluster's authority.
    let loaded = host.credentials().unwrap();
    assert_eq!(loaded.own_certificate(), joined.own_certificate());
    let bundle = begun.server.credentials().unwrap().trust_bundle().clone();
    let now = Wall::default().unix_seconds();
    let known = verify_host_chain(loaded.shown_chain(), &bundle, PeerSide::Client, now).unwrap();
    let cluster = begun.cluster.registry.cluster_identity().await.unwrap().unwrap();
    assert_eq!(known.name.to_string(), format!("n2.{cluster}.muster"));
    let record = begun.cluster.registry.host_record(&host.machine).await.unwrap().unwrap().record;
    assert_eq!((record.key, record.role), (loaded.key().hash(), HostRole::Agent));
    // An agent has no authority's key.
    assert!(host.pki().load_authority_key(1).unwrap().is_none());
    // By its certificate it may read, and change nothing.
    let client = client_of(&loaded, "n1", begun.address);
    let _: Value = client.get("/v1/version").await.unwrap();
    let refused = client.post_empty("/v1/unfreeze").await.unwrap_err().to_string();
    assert!(refused.contains("may read and change nothing"), "{refused}");
    // Once its record is gone it is nobody, whatever it shows.
    let found = begun.cluster.registry.host_record(&host.machine).await.unwrap();
    let mut removal = PkiChange::default();
    removal.guard_record(PkiKey::Host(host.machine.clone()), found.as_ref());
    removal.removals.push(PkiKey::Host(host.machine.clone()));
    begun.cluster.registry.commit_pki(&removal).await.unwrap();
    let refused = client.get::<Value>("/v1/version").await.unwrap_err().to_string();
    assert!(refused.contains("machine n2 is not in this cluster"), "{refused}");
}

#[tokio::test]
async fn a_token_is_shown_to_no_other_cluster() {
    let (ours, theirs) = (Begun::new().await, Begun::new().await);
    let host = Host::new("n2");
    let token = ours.token(HostRole::Agent, 1).await;
    let refused = host.join(&token, theirs.address).await.unwrap_err();
    assert!(refused.contains("it is not of the cluster that the token is for"), "{refused}");
    assert!(refused.contains("take a token made on that cluster"), "{refused}");
    assert!(host.credentials().is_none());
    // Nor is it to a host of the cluster that has no say in who joins.
    let agent = Host::new("n3");
    let joined = agent.join(&ours.token(HostRole::Agent, 1).await, ours.address).await.unwrap();
    let between = serve_over_tls(&ours.cluster, &agent, &joined).await;
    let refused = host.join(&token, between).await.unwrap_err();
    assert!(refused.contains("machine n3 answered, which is an agent"), "{refused}");
    // The token is as good as before.
    host.join(&token, ours.address).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_used_up_lets_nobody_in() {
    let begun = Begun::new().await;
    let token = begun.token(HostRole::Agent, 1).await;
    Host::new("n2").join(&token, begun.address).await.unwrap();
    let late = Host::new("n3");
    let refused = late.join(&token, begun.address).await.unwrap_err();
    assert!(refused.contains("has been used as often as it may be; make another"), "{refused}");
    assert!(late.credentials().is_none());
    assert!(begun.cluster.registry.host_record(&late.machine).await.unwrap().is_none());
    // With another it joins with the key that it has made.
    let key = late.pki().make_host_key().unwrap().hash();
    let joined = late.join(&begun.token(HostRole::Agent, 1).await, begun.address).await.unwrap();
    assert_eq!(joined.key().hash(), key);
}

#[tokio::test]
async fn of_two_that_race_for_a_token_one_joins() {
    let begun = Begun::new().await;
    let token = begun.token(HostRole::Agent, 1).await;
    let hosts = [Host::new("n2"), Host::new("n3")];
    let joining = hosts.iter().map(|host| host.join(&token, begun.address));
    let joined: Vec<_> = futures::future::join_all(joining).await;
    let (inside, refused): (Vec<_>, Vec<_>) = joined.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (1, 1), "{refused:?}");
    assert!(refused[0].as_ref().unwrap_err().contains("used as often as it may be"));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    let begun = Begun::new().await;
    let host = Host::new("n2");
    let token = begun.token(HostRole::Agent, 1).await;
    let lost = host.ask(&host.prepare(&token), begun.address, Wall::default()).await.unwrap();
    assert!(host.credentials().is_none());
    let joined = host.join(&token, begun.address).await.unwrap();
    assert_eq!((joined.own_certificate().role, lost.role), (HostRole::Agent, HostRole::Agent));
    // A machine that was installed anew, and comes with the same id and another key, is told so.
    let anew = Host::new("n2");
    let refused =
        anew.join(&begun.token(HostRole::Agent, 1).await, begun.address).await.unwrap_err();
    assert!(refused.contains("musterctl cluster token --replace n2"), "{refused}");
}

#[tokio::test]
async fn a_server_that_joined_lets_others_join() {
    let begun = Begun::new().await;
    let second = Host::new("n2");
    let token = begun.token(HostRole::Server, 1).await;
    let joined = second.join(&token, begun.address).await.unwrap();
    let address = serve_over_tls(&begun.cluster, &second, &joined).await;
    let authority = second.authority(&begun.cluster.registry);
    let token = authority.order_token(&order(HostRole::Agent, 1)).await.unwrap().to_text();
    let third = Host::new("n3");
    let joined = third.join(&token, address).await.unwrap();
    let _: Value = client_of(&joined, "n1", begun.address).get("/v1/version").await.unwrap();
    // Whoever asks for one machine and meets another says so.
    let wrong = client_of(&joined, "n1", address).get::<Value>("/v1/version").await.unwrap_err();
    let said = error_chain(&wrong);
    assert!(said.contains("machine n2 answered, and n1 was asked"), "{said}");
}

#[tokio::test]
async fn whoever_shows_nothing_may_join_and_nothing_else() {
    let begun = Begun::new().await;
    let token: JoinToken = begun.token(HostRole::Agent, 1).await.parse().unwrap();
    let connector = SecureConnector::pinned_to(token.pin, Wall::default()).unwrap();
    let secure = client(begun.address).with_connector(Arc::new(connector));
    for path in ["/v1/units", "/healthz", "/fleet/v1/units", "/v1/cluster/nothing"] {
        let refused = secure.get::<Value>(path).await.unwrap_err().to_string();
        assert!(
            refused.contains("only hosts of this cluster are answered here"),
            "{path}: {refused}"
        );
    }
    // A host of another cluster is none of this one's.
    let other = Begun::new().await;
    let theirs = other.server.credentials().unwrap();
    client_of(&theirs, "n1", begun.address).get::<Value>("/v1/version").await.unwrap_err();
    // Plain HTTP is not spoken there, and over plain HTTP nobody joins.
    client(begun.address).get::<Value>("/v1/version").await.unwrap_err();
    let message = Host::new("n2").prepare(&token.to_text()).join_message(None).unwrap();
    let plain = connections::listen(begun.cluster.app.clone()).await;
    let refused = client(plain).post_json::<JoinMessage, Value>("/v1/cluster/join", &message).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("a host joins over TLS"), "{refused}");
}

#[tokio::test]
async fn a_clock_that_is_two_hours_off_is_said_to_be() {
    let begun = Begun::new().await;
    let host = Host::new("n2");
    let joining = host.prepare(&begun.token(HostRole::Agent, 1).await);
    let behind = Wall::new(|| Wall::default().unix_seconds() - 2 * 3600);
    let refused = host.ask(&joining, begun.address, behind).await.unwrap_err();
    assert!(refused.contains("one of the two clocks is wrong"), "{refused}");
    // Ahead by so much is no hindrance.
    let ahead = Wall::new(|| Wall::default().unix_seconds() + 2 * 3600);
    host.ask(&joining, begun.address, ahead).await.unwrap();
}

#[tokio::test]
async fn of_two_machines_that_begin_one_is_the_first() {
    let cluster = cluster().await;
    cluster.registry.establish_cluster_identity().await.unwrap();
    let hosts = [Host::new("n1"), Host::new("n2")];
    let by = "a test".parse().unwrap();
    let authorities = hosts.each_ref().map(|host| host.authority(&cluster.registry));
    let begun = futures::future::join_all(authorities.iter().map(|one| one.begin_cluster(&by)));
    let begun: Vec<_> = begun.await;
    let winner = begun.iter().position(Result::is_ok).expect("one begins");
    let (winner, loser) = (&hosts[winner], &hosts[1 - winner]);
    let refused: Vec<_> = begun.iter().filter_map(|one| one.as_ref().err()).collect();
    let [MembershipError::Begin(refused)] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(refused.to_string().contains("join it instead"), "{refused}");
    assert!(winner.pki().load_authority_key(1).unwrap().is_some());
    assert!(
        loser.pki().load_authority_key(1).unwrap().is_none(),
        "a key of no authority stays nowhere"
    );
}

#[tokio::test]
async fn nothing_begins_and_nobody_is_invited_before_there_is_something() {
    let cluster = cluster().await;
    let authority = Host::new("n1").authority(&cluster.registry);
    let begun = authority.begin_cluster(&"a test".parse().unwrap()).await;
    assert!(matches!(begun, Err(MembershipError::NoCluster)), "{begun:?}");
    let order = authority.order_token(&order(HostRole::Agent, 1)).await.unwrap_err().to_string();
    assert!(order.contains("musterctl cluster init"), "{order}");
}

/// A disk that goes away after so many writes, as it does when the machine loses power.
#[derive(Debug)]
struct DyingDisk {
    left: AtomicUsize,
}

impl DyingDisk {
    fn write_once(&self) -> io::Result<()> {
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| io::Error::other("no power"))
    }
}

impl Disk for DyingDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        HostDisk.read(path)
    }

    fn look_at(&self, path: &Path) -> Option<DiskEntry> {
        HostDisk.look_at(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        HostDisk.list(directory)
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.write_once()?;
        HostDisk.write(path, bytes, mode)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.write_once()?;
        HostDisk.sync_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write_once()?;
        HostDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.write_once()?;
        HostDisk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.write_once()?;
        HostDisk.sync_directory(directory)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.write_once()?;
        HostDisk.make_directory(path, mode)
    }
}

/// That machine's directory, on a disk that dies.
fn dying(host: &Host, writes: usize) -> PkiDirectory {
    PkiDirectory::new(host.state.path(), Arc::new(DyingDisk { left: AtomicUsize::new(writes) }))
}

#[tokio::test]
async fn a_beginning_that_is_cut_off_anywhere_goes_on() {
    let by = "a test".parse().unwrap();
    for writes in 0.. {
        let cluster = cluster().await;
        cluster.registry.establish_cluster_identity().await.unwrap();
        let host = Host::new("n1");
        let authority = host.authority(&cluster.registry);
        let cut = ClusterAuthority { pki: dying(&host, writes), ..authority.clone() };
        let is_through = cut.begin_cluster(&by).await.is_ok();
        let begun = authority.begin_cluster(&by).await.unwrap();
        let record = cluster.registry.authority_record(1).await.unwrap().unwrap().record;
        let own = begun.trust_bundle().to_pem();
        assert_eq!(own, record.certificate, "after {writes} writes");
        assert_eq!(host.credentials().unwrap().own_certificate(), begun.own_certificate());
        if is_through {
            assert!(writes > 15, "{writes}: everything is synced");
            return;
        }
    }
}

#[tokio::test]
async fn a_join_that_is_cut_off_anywhere_goes_on() {
    let begun = Begun::new().await;
    let authority = begun.server.authority(&begun.cluster.registry);
    for writes in 0.. {
        let host = Host::new(&format!("h{writes}"));
        let token = begun.token(HostRole::Server, 1).await;
        let cut = async {
            let joining =
                JoiningHost::prepare_host(dying(&host, writes), host.machine.clone(), &token)?;
            let answer = authority.admit_host(&joining.join_message(None)?).await?;
            joining.accept_answer(&answer)
        };
        let cut: Result<_, MembershipError> = cut.await;
        // A certificate is there, and all that goes with it, or there is none.
        let half = host.pki().load_credentials(&host.machine, None).unwrap();
        let joining = host.prepare(&token);
        let answer = authority.admit_host(&joining.join_message(None).unwrap()).await.unwrap();
        let joined = joining.accept_answer(&answer).unwrap();
        assert!(half.is_none_or(|half| half.key().hash() == joined.key().hash()));
        assert!(host.pki().load_authority_key(1).unwrap().is_some());
        if cut.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_belong_to_the_host_is_not_written() {
    let begun = Begun::new().await;
    let authority = begun.server.authority(&begun.cluster.registry);
    let token = begun.token(HostRole::Agent, 2).await;
    let (host, other) = (Host::new("n2"), Host::new("n3"));
    let theirs =
        authority.admit_host(&other.prepare(&token).join_message(None).unwrap()).await.unwrap();
    let refused = host.prepare(&token).accept_answer(&theirs).unwrap_err();
    assert!(
        matches!(refused, MembershipError::Answer(CredentialProblem::OtherKey { .. })),
        "{refused:?}"
    );
    let ours =
        authority.admit_host(&host.prepare(&token).join_message(None).unwrap()).await.unwrap();
    let elsewhere = JoinAnswer { cluster: ClusterId::from_number(1), ..ours.clone() };
    let refused = host.prepare(&token).accept_answer(&elsewhere).unwrap_err();
    assert!(matches!(refused, MembershipError::Answer(CredentialProblem::OtherCluster { .. })));
    assert!(host.credentials().is_none());
    host.prepare(&token).accept_answer(&ours).unwrap();
}

fn token_message() -> TokenMessage {
    TokenMessage {
        role: HostRole::Agent,
        ttl_seconds: 3600,
        uses: 1,
        replaces: None,
        by: "ann".parse().unwrap(),
    }
}

#[tokio::test]
async fn root_begins_a_cluster_and_invites_on_the_unix_socket() {
    let cluster = cluster().await;
    cluster.registry.establish_cluster_identity().await.unwrap();
    let server = Host::new("n1");
    let app = cluster.app.clone().with_authority(server.authority(&cluster.registry));
    let directory = tempfile::tempdir().unwrap();
    let socket = connections::listen_locally(app, Limits::default(), directory.path());
    let route = Route::from(muster_client::Endpoint::Unix(socket));
    let local = Client::new([route], ClientLimits::default());
    let by = "ann".parse().unwrap();
    let begun: Result<BeginAnswer, _> =
        local.post_json("/v1/cluster/init", &BeginMessage { by }).await;
    if !rustix::process::geteuid().is_root() {
        assert!(begun.unwrap_err().to_string().contains("use sudo"));
        return;
    }
    let begun = begun.unwrap();
    let own = server.credentials().unwrap();
    assert_eq!(
        (begun.machine, begun.not_after),
        (server.machine.clone(), own.own_certificate().validity.not_after)
    );
    let made: TokenAnswer = local.post_json("/v1/cluster/token", &token_message()).await.unwrap();
    let token: JoinToken = made.token.parse().unwrap();
    assert_eq!(token.pin, begun.pin);
    let record = cluster.registry.join_record(token.id).await.unwrap().unwrap().record;
    assert_eq!(&*record.by, "ann");
    // By that token a machine joins.
    let address = serve_over_tls(&cluster, &server, &own).await;
    Host::new("n2").join(&made.token, address).await.unwrap();
    let wrong = TokenMessage { uses: 0, ..token_message() };
    let refused = local.post_json::<_, TokenAnswer>("/v1/cluster/token", &wrong).await.unwrap_err();
    assert!(refused.to_string().contains("1 to 1000 machines"), "{refused}");
}

#[tokio::test]
async fn nobody_else_begins_or_invites() {
    let begun = Begun::new().await;
    let app = begun.cluster.app.clone();
    let app = app.with_authority(begun.server.authority(&begun.cluster.registry));
    let router = api_router(app.clone());
    for (path, body) in [
        ("/v1/cluster/init", json!({})),
        ("/v1/cluster/token", serde_json::to_value(token_message()).unwrap()),
    ] {
        for (user, said) in [(Some(1000), "user 1000 asks; use sudo"), (None, "on the unix socket")]
        {
            let mut request = Request::post(path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
                .unwrap();
            if let Some(uid) = user {
                request.extensions_mut().insert(LocalUser { uid });
            }
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.contains(said), "{path}: {text}");
        }
        // A host of the cluster is not root on any other.
        let host = client_of(&begun.server.credentials().unwrap(), "n1", begun.address);
        let refused = host.post_json::<_, Value>(path, &body).await.unwrap_err().to_string();
        assert!(refused.contains("may read and change nothing"), "{refused}");
    }
}
