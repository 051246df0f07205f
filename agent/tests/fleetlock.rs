//! FleetLock as its clients see it: every answer byte for byte, a crowd, and a store that is away.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use insta::assert_snapshot;
use muster_common::reboot::Group;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Registry, Store, StoreError,
    TimeLeft, Watch,
};
use musterd::Health;
use musterd::config::{ApiPart, ServedParts};
use musterd::http::{App, AppParts, api_router};
use musterd::inspect::Inspector;
use musterd::net::listen::{Sockets, Tcp};
use musterd::net::peer::HostPeers;
use musterd::net::serve;
use musterd::reboot::Lock;
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Generous: what it bounds takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

const PRE_REBOOT: &str = "/fleetlock/v1/pre-reboot";
const STEADY_STATE: &str = "/fleetlock/v1/steady-state";

/// A daemon's API over a store.
#[derive(Clone)]
struct Daemon {
    router: Router,
    app: App,
    lock: Lock,
}

impl Daemon {
    fn over(store: Arc<dyn Store>) -> Self {
        Self::within(store, LIMIT)
    }

    fn within(store: Arc<dyn Store>, limit: Duration) -> Self {
        let registry = Registry::new(store, "/t/");
        let health = Health::new();
        let lock = Lock::new(registry.clone(), []);
        let app = App::new(AppParts {
            drafts: None,
            view: View::new(registry.clone()),
            registry,
            machine: "m1".parse().unwrap(),
            peers: Arc::new(HostPeers::new("127.0.0.1")),
            wall: Wall::default(),
            metrics: Metrics::new(health.clone()),
            health,
            inspector: Inspector::default(),
            lock: lock.clone(),
            group: muster_common::reboot::Group::default(),
            slot_limit: limit,
            token_limit: 100,
            body_limit: 1024 * 1024,
            shutdown: CancellationToken::new(),
        });
        Self { router: api_router(app.clone()), app, lock }
    }

    /// What a request is answered with: status, the headers that are always the same, and the body as it is.
    async fn send(&self, request: Request<Body>) -> String {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut text = format!("{}\n", parts.status.as_u16());
        assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        for (name, value) in &parts.headers {
            if name != header::CONTENT_LENGTH && name != header::X_CONTENT_TYPE_OPTIONS {
                writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
            }
        }
        text + "\n" + std::str::from_utf8(&body).unwrap()
    }

    /// The request of a client that does everything right.
    async fn send_request(&self, path: &str, group: &str, id: &str) -> String {
        self.send(request(path, &body(group, id))).await
    }

    async fn slots(&self, group: &str, max: u32) {
        let body = format!(r#"{{"group":"{group}","max":{max}}}"#);
        let answer = self.by_hand("max", &body).await;
        assert!(answer.starts_with("200"), "{answer}");
    }

    /// What a person asks for.
    async fn by_hand(&self, what: &str, body: &str) -> String {
        let request = Request::post(format!("/v1/reboot/{what}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()));
        self.send(request.unwrap()).await
    }

    async fn holders(&self, group: &str) -> Vec<String> {
        let group: Group = group.parse().unwrap();
        let status = self.lock.group_status(&group, LIMIT).await.unwrap();
        status.semaphore.holders.iter().map(|h| format!("{} {}", h.id, h.kind)).collect()
    }
}

fn body(group: &str, id: &str) -> String {
    format!(
        "{{\n  \"client_params\": {{\n    \"id\": \"{id}\",\n    \"group\": \"{group}\"\n  }}\n}}"
    )
}

/// As Zincati sends it: no content type.
fn request(path: &str, body: &str) -> Request<Body> {
    let request = Request::post(path).header("fleet-lock-protocol", "true");
    request.body(Body::from(body.to_owned())).unwrap()
}

fn embedded() -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = muster_store::open_embedded(directory.path()).unwrap();
    (directory, store)
}

const ONE: &str = "c988d2509fdf5cdcbed39037c56406fb";
const TWO: &str = "2b6c8e7a1f0d4c3b9a5e6f7081920a3b";

#[tokio::test]
async fn a_slot_goes_round() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let granted = daemon.send_request(PRE_REBOOT, "default", ONE).await;
    assert_snapshot!(granted, @"200");
    assert_eq!(
        daemon.send_request(PRE_REBOOT, "default", ONE).await,
        granted,
        "its holder may ask again"
    );
    assert_eq!(daemon.holders("default").await, [format!("{ONE} fleet-lock")]);

    assert_snapshot!(daemon.send_request(PRE_REBOOT, "default", TWO).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_lock","value":"the slot of group default taken by c988d2509fdf5cdcbed39037c56406fb"}
    "#);
    assert_eq!(
        daemon.send_request(STEADY_STATE, "default", TWO).await,
        granted,
        "nothing to give back is no fault, and frees nobody else's slot"
    );
    assert_eq!(daemon.holders("default").await, [format!("{ONE} fleet-lock")]);

    assert_eq!(daemon.send_request(STEADY_STATE, "default", ONE).await, granted);
    assert_eq!(
        daemon.send_request(STEADY_STATE, "default", ONE).await,
        granted,
        "nor is doing so twice"
    );
    assert_eq!(daemon.send_request(PRE_REBOOT, "default", TWO).await, granted);
    let history = daemon.lock.group_history(&Group::default(), LIMIT).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].outcome.as_str(), "released");
}

#[tokio::test]
async fn groups_have_slots_of_their_own() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "eu-1.canary", ONE).await, @r#"
    400
    content-type: application/json

    {"kind":"unknown_group","value":"there is no reboot group eu-1.canary"}
    "#);
    assert_snapshot!(daemon.send_request(STEADY_STATE, "eu-1.canary", ONE).await, @r#"
    400
    content-type: application/json

    {"kind":"unknown_group","value":"there is no reboot group eu-1.canary"}
    "#);
    daemon.slots("eu-1.canary", 2).await;
    for (id, status) in [(ONE, "200"), (TWO, "200"), ("third", "500")] {
        assert!(
            daemon.send_request(PRE_REBOOT, "eu-1.canary", id).await.starts_with(status),
            "{id}"
        );
    }
    assert!(daemon.send_request(PRE_REBOOT, "default", "third").await.starts_with("200"));
    daemon.slots("none", 0).await;
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "none", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_lock","value":"group none has no slots: its max is 0"}
    "#);
}

#[tokio::test]
async fn a_person_takes_a_slot_before_clients_and_frees_that_of_one_that_is_gone() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    daemon.by_hand("lock", r#"{"id":"maintenance"}"#).await;
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_lock","value":"the slot of group default taken by maintenance"}
    "#);
    daemon.by_hand("unlock", r#"{"id":"maintenance"}"#).await;
    assert!(daemon.send_request(PRE_REBOOT, "default", ONE).await.starts_with("200"));
    daemon.by_hand("unlock", &format!(r#"{{"id":"{ONE}","by":"ann"}}"#)).await;
    assert!(daemon.send_request(PRE_REBOOT, "default", TWO).await.starts_with("200"));
    assert!(
        daemon.send_request(STEADY_STATE, "default", ONE).await.starts_with("200"),
        "it comes back"
    );
    assert_eq!(daemon.holders("default").await, [format!("{TWO} fleet-lock")]);
}

#[tokio::test]
async fn hosts_of_either_kind_take_turns() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let host = muster_common::reboot::HolderKind::Host;
    let id = "6a1f2b3c4d5e6f708192a3b4c5d6e7f8".parse().unwrap();
    daemon.lock.acquire_slot(&Group::default(), &id, host, LIMIT).await.unwrap();
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_lock","value":"the slot of group default taken by 6a1f2b3c4d5e6f708192a3b4c5d6e7f8"}
    "#);
}

#[tokio::test]
async fn the_header_has_to_be_there_and_to_be_true() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let headers: [&[&str]; 5] = [&[], &["false"], &["TRUE"], &["1"], &["true", "true"]];
    let mut answers = Vec::new();
    for path in [PRE_REBOOT, STEADY_STATE] {
        for values in headers {
            let mut request = Request::post(path);
            for value in values {
                request = request.header("fleet-lock-protocol", *value);
            }
            let request = request.body(Body::from(body("default", ONE))).unwrap();
            answers.push(daemon.send(request).await);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_snapshot!(answers[0], @r#"
    400
    content-type: application/json

    {"kind":"invalid_client_identity","value":"expected one header fleet-lock-protocol: true"}
    "#);
    assert!(daemon.holders("default").await.is_empty());
}

#[tokio::test]
async fn the_body_has_to_name_client_and_group() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let bodies = [
        String::new(),
        "{}".to_owned(),
        "client_params".to_owned(),
        "[]".to_owned(),
        r#"{"client_params":{"id":"a"}}"#.to_owned(),
        r#"{"client_params":{"group":"a"}}"#.to_owned(),
        r#"{"client_params":{"node_uuid":"a","group":"a"}}"#.to_owned(),
        r#"{"client_params":{"id":7,"group":"a"}}"#.to_owned(),
        r#"{"client_params":{"id":"a","group":"a"}} and more"#.to_owned(),
        body("", "a"),
        body("a", ""),
        body("a b", "a"),
        body("a_b", "a"),
        body("a/b", "a"),
        body("ä", "a"),
        body(r"a\n", "a"),
        body("a", r"a\n"),
    ];
    let mut output = String::new();
    for body in bodies {
        for path in [PRE_REBOOT, STEADY_STATE] {
            let answer = daemon.send(request(path, &body)).await;
            let text = answer.strip_prefix("400\ncontent-type: application/json\n\n").unwrap();
            if path == PRE_REBOOT {
                writeln!(output, "{text}").unwrap();
            } else {
                assert!(output.ends_with(&format!("{text}\n")));
            }
        }
    }
    assert_snapshot!(output, @r#"
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: EOF while parsing a value at line 1 column 0"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: missing field `client_params` at line 1 column 2"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: expected value at line 1 column 1"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: invalid length 0, expected struct Body with 1 element at line 1 column 2"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: missing field `group` at line 1 column 27"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: missing field `id` at line 1 column 30"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: missing field `id` at line 1 column 46"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: invalid type: integer `7`, expected a string at line 1 column 24"}
    {"kind":"invalid_client_identity","value":"expected the body {\"client_params\":{\"id\":\"...\",\"group\":\"...\"}}: trailing characters at line 1 column 42"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.id: \"\" cannot hold a slot: expected 1 to 256 bytes without control characters"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"a b\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"a_b\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"a/b\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"ä\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.group: \"a\\n\" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"}
    {"kind":"invalid_client_identity","value":"client_params.id: \"a\\n\" cannot hold a slot: expected 1 to 256 bytes without control characters"}
    "#);
}

#[tokio::test]
async fn the_content_type_is_of_no_interest() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    for kind in
        ["application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"]
    {
        let request = Request::post(PRE_REBOOT)
            .header("Fleet-Lock-Protocol", "true")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body("default", ONE)))
            .unwrap();
        assert_eq!(daemon.send(request).await, "200\n\n", "{kind}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("          "));
    let endless = Request::post(PRE_REBOOT)
        .header("fleet-lock-protocol", "true")
        .body(Body::from_stream(endless))
        .unwrap();
    assert_snapshot!(daemon.send(endless).await, @r#"
    413
    content-type: application/json

    {"kind":"invalid_client_identity","value":"the body is larger than 8192 bytes"}
    "#);
    let longest = body(&"g".repeat(256), &"ä".repeat(128));
    assert_snapshot!(daemon.send(request(STEADY_STATE, &longest)).await.replace(&"g".repeat(256), "G"), @r#"
    400
    content-type: application/json

    {"kind":"unknown_group","value":"there is no reboot group G"}
    "#);
}

#[tokio::test]
async fn only_post_is_known() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    for path in [PRE_REBOOT, STEADY_STATE] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"] {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("fleet-lock-protocol", "true");
            let answer = daemon.send(request.body(Body::from(body("default", ONE))).unwrap()).await;
            let expected = format!(
                "405\ncontent-type: application/json\nallow: POST\n\n{{\"kind\":\"method_not_allowed\",\"value\":\"{method} means nothing here: FleetLock knows only POST\"}}"
            );
            assert_eq!(answer, expected);
        }
        let head = Request::head(path).body(Body::empty()).unwrap();
        assert_eq!(daemon.send(head).await.lines().next(), Some("405"));
    }
    assert!(daemon.holders("default").await.is_empty());
}

#[tokio::test]
async fn other_paths_say_where_fleetlock_is() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    assert_snapshot!(daemon.send_request("/fleetlock/v1/reboot", "default", ONE).await, @r#"
    404
    content-type: application/json

    {"kind":"not_found","value":"there is nothing at /fleetlock/v1/reboot; FleetLock has v1/pre-reboot and v1/steady-state below /fleetlock/"}
    "#);
    // Zincati's base URL http://host:port/fleetlock, without a slash at its end.
    assert_snapshot!(daemon.send_request("/v1/pre-reboot", "default", ONE).await, @r#"
    404
    content-type: application/json

    {"kind":"not_found","value":"there is nothing at /v1/pre-reboot; FleetLock is below /fleetlock/: end the client's base URL with a slash"}
    "#);
}

#[tokio::test]
async fn a_semaphore_nobody_can_read_grants_nothing() {
    let (_directory, store) = embedded();
    let poison = Op::Put { key: "/t/reboot/default".to_owned(), value: "?".into(), lease: None };
    store.commit(Vec::new(), vec![poison]).await.unwrap();
    let daemon = Daemon::over(store);
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_sem_init","value":"the slots of group default cannot be read: the record reboot/default cannot be read: expected value at line 1 column 1"}
    "#);
    assert_snapshot!(daemon.send_request(STEADY_STATE, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_sem_init","value":"the slots of group default cannot be read: the record reboot/default cannot be read: expected value at line 1 column 1"}
    "#);
}

/// On the wire, with a client that sends its request in pieces.
#[tokio::test]
async fn the_exchange_on_the_wire() {
    let (_directory, store) = embedded();
    let daemon = Daemon::over(store);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let tcp = Tcp { listener, serves: ServedParts::of_parts(&[ApiPart::FleetLock]).unwrap() };
    let sockets = Sockets { tcp: vec![tcp], ..Sockets::default() };
    let serving = tokio::spawn(serve::serve(sockets, daemon.app.clone(), shutdown.clone()));

    let exchange = async |id: &str| {
        let body = body("default", id);
        let head = format!(
            "POST {PRE_REBOOT} HTTP/1.1\r\nfleet-lock-protocol: true\r\naccept: */*\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        for piece in [head.as_bytes(), &body.as_bytes()[..20], &body.as_bytes()[20..]] {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let always =
            |line: &&str| !line.starts_with("date: ") && *line != "x-content-type-options: nosniff";
        let lines: Vec<&str> = answer.split("\r\n").filter(always).collect();
        lines.join("\n")
    };
    assert_snapshot!(exchange(ONE).await, @"
    HTTP/1.1 200 OK
    connection: close
    content-length: 0
    ");
    assert_snapshot!(exchange(TWO).await, @r#"
    HTTP/1.1 500 Internal Server Error
    content-type: application/json
    content-length: 100
    connection: close

    {"kind":"failed_lock","value":"the slot of group default taken by c988d2509fdf5cdcbed39037c56406fb"}
    "#);
    shutdown.cancel();
    serving.await.unwrap();
}

/// Forty clients at two daemons, all at once; the statuses they are answered with.
async fn crowd(daemons: &[Daemon], path: &'static str, group: &str) -> Vec<StatusCode> {
    let clients: Vec<_> = (0..40)
        .map(|client| {
            let router = daemons[client % daemons.len()].router.clone();
            let request = request(path, &body(group, &format!("{client:032x}")));
            tokio::spawn(async move { router.oneshot(request).await.unwrap().status() })
        })
        .collect();
    let mut statuses = Vec::new();
    for client in clients {
        statuses.push(client.await.unwrap());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_clients_get_forty_slots_and_one_gets_one() {
    let (_directory, store) = embedded();
    let daemons = [Daemon::over(Arc::clone(&store)), Daemon::over(store)];
    let well = |statuses: &[StatusCode]| statuses.iter().filter(|s| **s == StatusCode::OK).count();
    for round in 0..20 {
        let (many, one) = (format!("many-{round}"), format!("one-{round}"));
        daemons[0].slots(&many, 40).await;
        daemons[0].slots(&one, 1).await;
        assert_eq!(well(&crowd(&daemons, PRE_REBOOT, &many).await), 40);
        assert_eq!(well(&crowd(&daemons, PRE_REBOOT, &one).await), 1);
        assert_eq!(daemons[1].holders(&many).await.len(), 40);
        assert_eq!(daemons[1].holders(&one).await.len(), 1);
        assert_eq!(well(&crowd(&daemons, STEADY_STATE, &many).await), 40);
        assert_eq!(well(&crowd(&daemons, STEADY_STATE, &one).await), 40);
        assert!(daemons[0].holders(&many).await.is_empty());
        assert!(daemons[0].holders(&one).await.is_empty());
    }
}

/// A store that never answers but with an error.
struct Away;

fn away() -> StoreError {
    StoreError::Unavailable { during: "reading from etcd".to_owned(), source: None }
}

#[async_trait]
impl Store for Away {
    async fn read(&self, _: Range) -> Result<Listing, StoreError> {
        Err(away())
    }

    fn watch(&self, range: Range) -> Watch {
        unreachable!("nobody watches {range:?}")
    }

    async fn commit(&self, _: Vec<Guard>, _: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        Err(away())
    }

    async fn grant(&self, _: Duration) -> Result<Lease, StoreError> {
        Err(away())
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<Lease, StoreError> {
        Err(away())
    }

    async fn time_left(&self, _: LeaseId) -> Result<TimeLeft, StoreError> {
        Err(away())
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), StoreError> {
        Err(away())
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be() {
    let daemon = Daemon::within(Arc::new(Away), Duration::from_millis(100));
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_sem_init","value":"the slots of group default cannot be reached: the store cannot be reached (reading from etcd)"}
    "#);
    assert_snapshot!(daemon.send_request(STEADY_STATE, "default", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_sem_init","value":"the slots of group default cannot be reached: the store cannot be reached (reading from etcd)"}
    "#);
    assert_snapshot!(daemon.send_request(PRE_REBOOT, "unheard-of", ONE).await, @r#"
    500
    content-type: application/json

    {"kind":"failed_sem_init","value":"the slots of group unheard-of cannot be reached: the store cannot be reached (reading from etcd)"}
    "#);
}
