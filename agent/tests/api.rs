//! The API, asked as clients ask it: the router over the embedded store, other machines played by the registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure"
)]

#[path = "api/connections.rs"]
mod connections;
#[path = "api/containers.rs"]
mod containers;
#[path = "api/cordon.rs"]
mod cordon;
#[path = "api/doors.rs"]
mod doors;
#[path = "api/drain.rs"]
mod drain;
#[path = "api/elsewhere.rs"]
mod elsewhere;
#[path = "api/fleet.rs"]
mod fleet;
#[path = "api/flood.rs"]
mod flood;
#[path = "api/inspect.rs"]
mod inspect;
#[path = "api/joining.rs"]
mod joining;
#[path = "api/journal.rs"]
mod journal;
#[path = "api/reboot.rs"]
mod reboot;
#[path = "api/renewing.rs"]
mod renewing;
#[path = "api/starts.rs"]
mod starts;
mod support;
#[path = "api/texts.rs"]
mod texts;
#[path = "api/trouble.rs"]
mod trouble;
#[path = "api/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::StreamExt as _;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use muster_common::decision::{Decision, Move, MoveReason, StateUpdate};
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Handover, Placement};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitName};
use muster_engine::request::limits::StoreLimits;
use muster_store::{Leadership, Presence, Registry};
use musterd::Health;
use musterd::http::{App, AppParts, api_router};
use musterd::inspect::Inspector;
use musterd::net::limits::{LimitShares, Limits};
use musterd::net::peer::HostPeers;
use musterd::net::quota::Quotas;
use musterd::reboot::Lock;
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Generous: a condition that is not met by then never will be.
const LIMIT: Duration = Duration::from_secs(30);

const HELLO: &str = "[Service]\nExecStart=/bin/sleep 1d\n";

struct Cluster {
    router: Router,
    app: App,
    registry: Registry,
    line: Arc<support::StoreLine>,
    view: View,
    presence: Presence,
    leadership: Leadership,
    _directory: tempfile::TempDir,
}

/// One machine, `m1`, which leads; and the API of its daemon.
async fn cluster() -> Cluster {
    // Longer than any test.
    lingering(Duration::from_secs(3600)).await
}

/// The same with a time for which the view outlives its last reader.
async fn lingering(linger: Duration) -> Cluster {
    let (registry, line, directory) = support::StoreLine::new();
    let view = View::with_linger(registry.clone(), linger);
    let lease = registry.grant_lease(Duration::from_secs(600)).await.unwrap();
    let machine = Machine {
        id: "m1".parse().unwrap(),
        host: "n1".to_owned(),
        address: "10.0.0.1".to_owned(),
        api: None,
        metadata: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        version: "1".to_owned(),
        runners: [RunnerKind::Systemd].into(),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: "b".to_owned(),
        created: 0,
        revision: 0,
    };
    let presence = registry.register_machine(&machine, lease).await.unwrap();
    let leadership = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let app = App::new(parts(&registry, &view, &machine.id));
    Cluster {
        router: api_router(app.clone()),
        app,
        registry,
        line,
        view,
        presence,
        leadership,
        _directory: directory,
    }
}

/// What a machine's daemon serves the API with; the stand-ins for systemd's tools print their arguments.
fn parts(registry: &Registry, view: &View, machine: &MachineId) -> AppParts {
    let health = Health::new();
    AppParts {
        drafts: None,
        registry: registry.clone(),
        view: view.clone(),
        machine: machine.clone(),
        // Daemons of one machine: they find each other on loopback.
        peers: Arc::new(HostPeers::new("127.0.0.1")),
        wall: Wall::default(),
        metrics: Metrics::new(health.clone()),
        health,
        inspector: Inspector {
            systemctl: "/bin/echo".into(),
            journalctl: "/bin/echo".into(),
            containers: None,
            podman: None,
        },
        lock: Lock::new(registry.clone(), []),
        group: muster_common::reboot::Group::default(),
        slot_limit: LIMIT,
        token_limit: 100,
        body_limit: 1024 * 1024,
        shutdown: CancellationToken::new(),
    }
}

struct Answer {
    status: StatusCode,
    allow: Option<String>,
    body: Value,
    text: String,
}

impl Answer {
    fn message(&self) -> &str {
        assert_eq!(self.body["error"]["code"], self.status.as_u16(), "{}", self.text);
        self.body["error"]["message"].as_str().unwrap()
    }
}

impl Cluster {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            allow: parts.headers.get(header::ALLOW).map(|a| a.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn send_json(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn put(&self, unit: &str, body: Value) -> Answer {
        self.send_json(Method::PUT, &format!("/fleet/v1/units/{unit}"), &body.to_string()).await
    }

    async fn change(&self, body: Value) -> Answer {
        self.send_json(Method::POST, "/v1/units", &body.to_string()).await
    }

    async fn submit(&self, name: &str, text: &str, desired: &str) -> Value {
        let hash = FileHash::of_text(text).to_string();
        let unit = json!({"name": name, "file": hash, "desired": desired});
        let answer = self.change(json!({"files": {hash: text}, "units": [unit]})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.body["units"][0].clone()
    }

    /// Places a unit on `m1`, as the leader would.
    async fn place(&self, name: &UnitName) -> Placement {
        self.place_on(&self.presence, name).await
    }

    async fn place_on(&self, there: &Presence, name: &UnitName) -> Placement {
        let snapshot = self.registry.read_snapshot().await.unwrap();
        let unit = snapshot.units[name].clone();
        let placement = Placement {
            file: unit.file,
            desired: unit.desired,
            generation: unit.generation,
            handover: Handover::default(),
            revision: 0,
        };
        let decision = Decision::Place {
            machine: there.machine.clone(),
            unit: name.clone(),
            placement: placement.clone(),
            unit_revision: unit.revision,
            machine_created: there.created,
            cordon: 0,
        };
        self.commit(decision).await;
        placement
    }

    /// Writes one decision, as the leader would.
    async fn commit(&self, decision: Decision) {
        let decided = Move {
            unit: decision.unit().clone(),
            reason: MoveReason::Place,
            decisions: vec![decision],
        };
        let done = self.registry.commit_places(self.leadership, &[decided]).await.unwrap();
        assert!(done.conflicts.is_empty());
    }

    /// Reports a unit's state, as `m1` would.
    async fn report(&self, name: &UnitName, placement: &Placement, active: &str, sub: &str) {
        self.report_from(&self.presence, name, placement, active, sub).await;
    }

    async fn report_from(
        &self,
        there: &Presence,
        name: &UnitName,
        placement: &Placement,
        active: &str,
        sub: &str,
    ) {
        let state = ObservedState {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.to_owned(),
            file: Some(placement.file),
            hash: "h".to_owned(),
            generation: placement.generation,
            desired: placement.desired,
            since: 0,
            invocation: String::new(),
            problem: None,
            remark: String::new(),
        };
        let update = StateUpdate { unit: name.clone(), state: Some(state) };
        self.registry.publish_states(there, vec![update]).await.unwrap();
    }

    /// Waits, and reads events until the stream ends or `enough` says so.
    async fn events(&self, wait: Value, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let request = Request::post("/v1/wait").header(header::CONTENT_TYPE, "application/json");
        self.stream(request.body(Body::from(wait.to_string())).unwrap(), enough).await
    }

    /// Reads events until the stream ends or `enough` says so.
    async fn stream(&self, request: Request<Body>, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut stream = self.follow(request).await;
        let mut events = Vec::new();
        let read = async {
            while let Some(event) = stream.recv().await {
                let last = enough(&event);
                events.push(event);
                if last {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, read).await.unwrap();
        events
    }

    /// The events of a stream, as they come.
    async fn follow(&self, request: Request<Body>) -> mpsc::UnboundedReceiver<Value> {
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut chunks = response.into_body().into_data_stream();
        let (events, stream) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut text = String::new();
            while let Some(chunk) = chunks.next().await {
                text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
                while let Some(end) = text.find("\n\n") {
                    let event: String = text.drain(..end + 2).collect();
                    let Some(data) = event.strip_prefix("data: ") else { continue };
                    if events.send(serde_json::from_str(data).unwrap()).is_err() {
                        return;
                    }
                }
            }
        });
        stream
    }
}

fn options() -> Value {
    json!([{"section": "Service", "name": "ExecStart", "value": "/bin/sleep 1d"}])
}

#[tokio::test]
async fn fleetctl_submits_starts_lists_and_destroys() {
    let cluster = cluster().await;
    let path = "/fleet/v1/units/hello.service";
    assert_eq!(cluster.get(path).await.message(), "unit does not exist");
    let created =
        cluster.put("hello.service", json!({"name": "hello.service", "options": options()})).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let unit = cluster.get(path).await.body;
    assert_eq!(unit["desiredState"], "inactive");
    assert_eq!(unit["currentState"], "inactive");
    assert_eq!(unit["options"], options());

    let started = cluster.put("hello.service", json!({"desiredState": "launched"})).await;
    assert_eq!(started.status, StatusCode::NO_CONTENT);
    let name: UnitName = "hello.service".parse().unwrap();
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "active", "running").await;
    let unit = cluster.get(path).await.body;
    assert_eq!(unit["currentState"], "launched");
    assert_eq!(unit["machineID"], "m1");

    let states = cluster.get("/fleet/v1/state?unitName=hello.service&machineID=m1").await.body;
    assert_eq!(states["states"][0]["systemdSubState"], "running");
    let none = cluster.get("/fleet/v1/state?unitName=other.service").await.body;
    assert_eq!(none, json!({}));

    let gone = cluster.send_json(Method::DELETE, path, "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let again = cluster.send_json(Method::DELETE, path, "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn put_answers_as_fleet_did() {
    let cluster = cluster().await;
    let missing = cluster.put("a.service", json!({"desiredState": "launched"})).await;
    assert_eq!(missing.status, StatusCode::CONFLICT);
    assert_eq!(missing.message(), "unit does not exist and options field empty");

    assert_eq!(
        cluster.put("a.service", json!({"options": options()})).await.status,
        StatusCode::CREATED
    );
    let same = cluster.put("a.service", json!({"options": options()})).await;
    assert_eq!(same.status, StatusCode::CONFLICT);
    assert_eq!(same.message(), "must provide DesiredState to update existing unit");

    let other = cluster.put("a.service", json!({"name": "b.service", "options": options()})).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert!(other.message().starts_with("name in URL \"a.service\" differs"));

    let word = cluster.put("a.service", json!({"desiredState": "on"})).await;
    assert_eq!(word.status, StatusCode::BAD_REQUEST);

    assert_eq!(
        cluster.put("t@.service", json!({"options": options()})).await.status,
        StatusCode::CREATED
    );
    let template = cluster.put("t@.service", json!({"desiredState": "launched"})).await;
    assert_eq!(template.status, StatusCode::BAD_REQUEST);
    assert_eq!(template.message(), "cannot activate template \"t@.service\"");

    let name = cluster.put("a.servce", json!({"options": options()})).await;
    assert_eq!(name.status, StatusCode::BAD_REQUEST);
    let typo = json!([{"section": "X-Fleet", "name": "MachineOff", "value": "x"}]);
    let option = cluster.put("c.service", json!({"options": typo})).await;
    assert_eq!(option.status, StatusCode::BAD_REQUEST);
    assert!(option.message().contains("MachineOff"), "{}", option.message());
}

#[tokio::test]
async fn bad_requests_are_answered_with_json_errors() {
    let cluster = cluster().await;
    let nowhere = cluster.get("/nope").await;
    assert_eq!(
        (nowhere.status, nowhere.message()),
        (StatusCode::NOT_FOUND, "there is nothing at /nope")
    );

    let method = cluster.send_json(Method::POST, "/fleet/v1/units", "{}").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(method.allow.as_deref(), Some("GET,HEAD"));
    assert!(method.message().starts_with("POST is not supported"), "{}", method.message());

    let json = cluster.send_json(Method::POST, "/v1/units", "{\"units\": [}").await;
    assert_eq!(json.status, StatusCode::BAD_REQUEST);
    assert!(json.message().ends_with("at line 1 column 12"), "{}", json.message());

    let unknown = cluster.change(json!({"units": [], "colour": 1})).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.message().contains("colour"), "{}", unknown.message());

    let plain =
        Request::put("/fleet/v1/units/a.service").header(header::CONTENT_TYPE, "text/plain");
    let plain = cluster.send(plain.body(Body::from("{}")).unwrap()).await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(plain.message(), "only acceptable Content-Type is application/json");
    let none = Request::put("/fleet/v1/units/a.service").body(Body::from("{}")).unwrap();
    assert_eq!(cluster.send(none).await.message(), "expected 1 Content-Type, got 0");

    let huge = cluster.send_json(Method::POST, "/v1/units", &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(huge.message().contains("larger than 1048576 bytes"), "{}", huge.message());

    for token in ["x", "ZAAAAA==", "CgACAA==", "AAAA"] {
        let answer = cluster.get(&format!("/fleet/v1/units?nextPageToken={token}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{token}");
    }
    let twice = cluster.get("/fleet/v1/units?nextPageToken=ZAACAA==&nextPageToken=ZAACAA==").await;
    assert_eq!(twice.message(), "too many values for page token");
}

#[tokio::test]
async fn a_thousand_units_in_one_request_come_back_in_pages() {
    let cluster = cluster().await;
    let hash = FileHash::of_text(HELLO).to_string();
    let units: Vec<Value> =
        (0..1000).map(|i| json!({"name": format!("u{i:04}.service"), "file": hash})).collect();
    let answer = cluster.change(json!({"files": {&hash: HELLO}, "units": units})).await;
    let created = answer.body["units"].as_array().unwrap();
    assert!(created.iter().all(|u| u["outcome"] == "created"), "{}", answer.text);

    let mut names = Vec::new();
    let mut path = "/fleet/v1/units".to_owned();
    let mut pages = 0;
    loop {
        let page = cluster.get(&path).await.body;
        pages += 1;
        names.extend(page["units"].as_array().unwrap().iter().map(|u| u["name"].to_string()));
        let Some(token) = page["nextPageToken"].as_str() else { break };
        path = format!("/fleet/v1/units?nextPageToken={token}");
    }
    assert_eq!((pages, names.len()), (10, 1000));
    assert!(names.is_sorted());
}

#[tokio::test]
async fn metadata_is_patched_as_a_whole_or_not_at_all() {
    let cluster = cluster().await;
    let patch =
        async |body: &str| cluster.send_json(Method::PATCH, "/fleet/v1/machines", body).await;
    let half = patch(
        r#"[{"op":"add","path":"/m1/metadata/disk","value":"ssd"},{"op":"move","path":"/m1/metadata/x","value":"y"}]"#,
    )
    .await;
    assert_eq!(half.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        cluster.get("/fleet/v1/machines").await.body["machines"][0]["metadata"],
        json!({"zone": "a"})
    );

    let good = patch(
        r#"[{"op":"add","path":"/m1/metadata/disk","value":"ssd"},{"op":"replace","path":"/m1/metadata/zone","value":"b"},{"op":"add","path":"/absent/metadata/k","value":"v"}]"#,
    )
    .await;
    assert_eq!(good.status, StatusCode::NO_CONTENT);
    let machines = cluster.get("/fleet/v1/machines").await.body;
    assert_eq!(machines["machines"][0]["metadata"], json!({"disk": "ssd", "zone": "b"}));
    assert_eq!(machines["machines"][0]["primaryIP"], "10.0.0.1");

    let bad = [
        "[{}]",
        "{}",
        r#"[{"op":"add","path":"/m1/x/k","value":"v"}]"#,
        r#"[{"op":"add","path":"/m1/metadata/k"}]"#,
    ];
    for body in bad {
        assert_eq!(patch(body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn the_discovery_document_names_every_schema_it_refers_to() {
    let document = cluster().await.get("/fleet/v1/discovery").await.body;
    assert_eq!(document["servicePath"], "fleet/v1/");
    let text = document.to_string();
    for part in text.split("\"$ref\":\"").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_unit_by_unit() {
    let cluster = cluster().await;
    let start = |name: &str| json!({"name": name, "desired": "launched"});
    let answer = cluster.change(json!({"units": [start("x.service"), start("w@1.service")]})).await;
    let message = |i: usize| answer.body["units"][i]["message"].as_str().unwrap();
    assert_eq!(message(0), "x.service is not known; submit its file first");
    assert!(message(1).contains("neither is its template w@.service"), "{}", message(1));

    cluster.submit("w@.service", HELLO, "inactive").await;
    let template = cluster.change(json!({"units": [start("w@.service")]})).await;
    let message = template.body["units"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("cannot activate template \"w@.service\""), "{message}");

    let instance = cluster.change(json!({"units": [start("w@1.service")]})).await;
    assert_eq!(instance.body["units"][0]["outcome"], "created", "{}", instance.text);

    let bad = cluster.submit("bad.service", "[X-Fleet]\nMachineOff=x\n", "inactive").await;
    assert_eq!(bad["outcome"], "failed");
    assert!(
        bad["message"].as_str().unwrap().starts_with("bad.service: line 2: [X-Fleet] MachineOff"),
        "{bad}"
    );
}

#[tokio::test]
async fn a_start_that_no_machine_takes_is_refused_unless_it_may_wait() {
    let cluster = cluster().await;
    let text = format!("{HELLO}[X-Fleet]\nMachineMetadata=zone=b\n");
    let refused = cluster.submit("far.service", &text, "launched").await;
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert_eq!(refused["refusal"]["machines"][0]["machine"], "m1");
    let unit = cluster.get("/v1/units/far.service").await.body;
    assert_eq!(unit["desired"], "inactive");

    let change = json!({"units": [{"name": "far.service", "desired": "launched"}], "queue": true});
    let queued = cluster.change(change).await.body["units"][0].clone();
    assert_eq!(queued["outcome"], "changed", "{queued}");
    let unit = cluster.get("/v1/units/far.service").await.body;
    assert_eq!(unit["desired"], "launched");
    assert_eq!(unit["refusal"]["machines"][0]["reason"]["reason"], "metadata", "{unit}");

    let wait = json!({"units": [{"name": "far.service", "until": "launched"}]});
    let events = cluster.events(wait, |event| event["event"] == "refused").await;
    assert_eq!(events.last().unwrap()["refusal"], unit["refusal"]);
}

#[tokio::test]
async fn a_unit_is_taken_beside_a_global_one_that_is_started_with_it() {
    let cluster = cluster().await;
    cluster.submit("all.service", &format!("{HELLO}[X-Fleet]\nGlobal=yes\n"), "inactive").await;
    let beside = format!("{HELLO}[X-Fleet]\nMachineOf=all.service\n");
    cluster.submit("beside.service", &beside, "inactive").await;
    let start = |name: &str| json!({"name": name, "desired": "launched"});
    let units = [start("beside.service"), start("all.service")];
    let answer = cluster.change(json!({"units": units})).await.body;
    assert_eq!(answer["units"][0]["outcome"], "changed", "{answer}");
    assert_eq!(answer["units"][1]["outcome"], "changed", "{answer}");
}

#[tokio::test]
async fn a_file_that_differs_is_kept_until_it_is_to_be_replaced() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "inactive").await;
    let other = "[Service]\nExecStart=/bin/true\n";
    let differs = cluster.submit("a.service", other, "launched").await;
    assert_eq!(differs["outcome"], "differs");
    let unit = cluster.get("/v1/units/a.service").await.body;
    assert_eq!((unit["text"].as_str(), unit["desired"].as_str()), (Some(HELLO), Some("launched")));

    let hash = FileHash::of_text(other).to_string();
    let unit = json!({"name": "a.service", "file": hash});
    cluster.change(json!({"files": {hash: other}, "units": [unit], "replace": true})).await;
    assert_eq!(cluster.get("/v1/units/a.service").await.body["text"], other);
}
