//! Trouble: the store is away, records are damaged, writers meet, clients go.

use futures::future::join_all;
use muster_store::{Op, Store as _};

use super::*;

const GLOBAL: &str = "[Service]\nExecStart=/bin/sleep 1d\n[X-Fleet]\nGlobal=true\n";

/// Waits for a condition, which is looked at again and again.
pub(super) async fn eventually(holds: impl Fn() -> bool) {
    let poll = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !holds() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap();
}

/// Waits until the metrics have a line.
pub(super) async fn eventually_told(cluster: &Cluster, line: &str) {
    let mut last = String::new();
    let poll = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !last.contains(line) {
            ticks.tick().await;
            last = cluster.get("/metrics").await.text;
        }
    };
    assert!(tokio::time::timeout(LIMIT, poll).await.is_ok(), "never {line}: {last}");
}

impl Cluster {
    /// Registers another machine.
    pub(super) async fn join(&self, id: &str) -> Presence {
        self.join_at(id, None).await
    }

    /// The same, saying where its daemon serves the API.
    pub(super) async fn join_at(&self, id: &str, api: Option<String>) -> Presence {
        let lease = self.registry.grant_lease(Duration::from_secs(600)).await.unwrap();
        let mut machine =
            self.registry.read_snapshot().await.unwrap().machines[&self.presence.machine].clone();
        machine.id = id.parse().unwrap();
        machine.address = match &api {
            Some(api) => api.rsplit_once(':').unwrap().0.to_owned(),
            None => format!("{id}.example"),
        };
        machine.api = api;
        self.registry.register_machine(&machine, lease).await.unwrap()
    }

    /// Puts something into the store that no daemon would.
    pub(super) async fn damage(&self, record: &str) {
        let key = format!("/muster/v1/{record}");
        let op = Op::Put { key, value: "{ not JSON".into(), lease: None };
        self.line.commit(vec![], vec![op]).await.unwrap();
    }
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_answered_that_may_be_out_of_date() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "inactive").await;
    let hash = FileHash::of_text(HELLO).to_string();
    let files = json!({ &hash: HELLO });
    cluster.line.set_cut(true);
    let reads = ["/v1/units", "/v1/states", "/v1/machines", "/v1/plan", "/v1/units/a.service"];
    let fleets = ["/fleet/v1/units", "/fleet/v1/state", "/fleet/v1/machines"];
    for path in reads.into_iter().chain(fleets) {
        let answer = cluster.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
        assert!(answer.message().starts_with("the store cannot be reached"), "{}", answer.text);
    }
    let post = async |path: &str, body: Value| {
        cluster.send_json(Method::POST, path, &body.to_string()).await
    };
    for answer in [
        cluster
            .change(json!({"files": files, "units": [{"name": "b.service", "file": hash}]}))
            .await,
        post("/v1/units/destroy", json!({"names": ["a.service"]})).await,
        post("/v1/wait", json!({"units": [{"name": "a.service", "until": "launched"}]})).await,
        cluster.put("a.service", json!({"desiredState": "launched"})).await,
        cluster.send_json(Method::DELETE, "/fleet/v1/units/a.service", "").await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
        assert!(answer.message().starts_with("the store cannot be reached"), "{}", answer.text);
    }
    // What needs no store is answered.
    cluster.get("/v1/version").await.body["version"].as_str().unwrap();

    cluster.line.set_cut(false);
    let units = cluster.get("/v1/units").await.body;
    assert_eq!(units["units"].as_array().unwrap().len(), 1, "nothing was written: {units}");
    assert_eq!(units["units"][0]["desired"], "inactive");
}

#[tokio::test]
async fn whoever_waits_is_told_that_the_store_is_away_and_goes_on_waiting() {
    let cluster = Arc::new(cluster().await);
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "activating", "start").await;
    let machine = {
        let (cluster, name) = (cluster.clone(), name.clone());
        async move |degraded: tokio::sync::oneshot::Receiver<()>| {
            degraded.await.unwrap();
            cluster.line.set_cut(false);
            cluster.report(&name, &placement, "active", "running").await;
        }
    };
    let (tell_degraded, degraded) = tokio::sync::oneshot::channel();
    let machine = tokio::spawn(async move { machine(degraded).await });
    let tell_degraded = std::sync::Mutex::new(Some(tell_degraded));
    let wait = json!({"units": [{"name": "a.service", "until": "launched"}]});
    let events = cluster
        .events(wait, |event| {
            match event["event"].as_str().unwrap() {
                // It has begun.
                "progress" => cluster.line.set_cut(true),
                "degraded" => {
                    if let Some(tell_degraded) = tell_degraded.lock().unwrap().take() {
                        tell_degraded.send(()).unwrap();
                    }
                }
                _ => {}
            }
            false
        })
        .await;
    machine.await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["progress", "degraded", "done"], "{events:?}");
    assert_eq!(events[1]["message"], "the store cannot be reached (cut); waiting for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_of_one_unit_none_overwrites_what_it_has_not_seen() {
    let cluster = cluster().await;
    let first =
        cluster.submit("a.service", HELLO, "launched").await["generation"].as_u64().unwrap();
    let restart = || cluster.change(json!({"units": [{"name": "a.service", "restart": true}]}));
    let answers = join_all((0..12).map(|_| restart())).await;
    let mut changed = 0;
    for answer in answers {
        let unit = &answer.body["units"][0];
        match unit["outcome"].as_str().unwrap() {
            "changed" => changed += 1,
            "failed" => assert_eq!(
                unit["message"],
                "a.service kept changing while it was written; try again"
            ),
            other => panic!("{other}"),
        }
    }
    assert!(changed > 0);
    let unit = cluster.get("/v1/units/a.service").await.body;
    assert_eq!(unit["generation"].as_u64(), Some(first + changed), "each change counts once");
}

#[tokio::test]
async fn a_global_unit_is_shown_on_each_of_its_machines() {
    let cluster = cluster().await;
    let second = cluster.join("m2").await;
    let name: UnitName = "g.service".parse().unwrap();
    cluster.submit("g.service", GLOBAL, "launched").await;
    for there in [&cluster.presence, &second] {
        let placement = cluster.place_on(there, &name).await;
        cluster.report_from(there, &name, &placement, "active", "running").await;
    }
    let units = cluster.get("/v1/units").await.body;
    assert_eq!(units["units"][0]["global"], true, "{units}");
    assert_eq!(units["units"][0]["machines"], json!(["m1", "m2"]));
    assert_eq!(units["units"][0]["current"], "launched");
    let states = cluster.get("/v1/states").await.body;
    let machines: Vec<_> =
        states["states"].as_array().unwrap().iter().map(|s| &s["machine"]).collect();
    assert_eq!(machines, ["m1", "m2"]);

    // fleet names no machine for a unit that is on many, and has a state for each.
    let unit = cluster.get("/fleet/v1/units/g.service").await.body;
    assert_eq!(unit["currentState"], "launched");
    assert_eq!(unit.get("machineID"), None, "{unit}");
    let states = cluster.get("/fleet/v1/state").await.body;
    assert_eq!(states["states"].as_array().unwrap().len(), 2, "{states}");
    let states = cluster.get("/fleet/v1/state?machineID=m2").await.body;
    assert_eq!(states["states"][0]["machineID"], "m2");
    assert_eq!(states["states"].as_array().unwrap().len(), 1);

    // One machine has not carried it out: then it is not launched yet, nor is a wait for it over.
    let third = cluster.join("m3").await;
    cluster.place_on(&third, &name).await;
    assert_eq!(cluster.get("/v1/units").await.body["units"][0]["current"], "inactive");
    let wait = json!({"units": [{"name": "g.service", "until": "launched"}]});
    let events = cluster.events(wait, |event| event["event"] == "progress").await;
    assert_eq!(events[0]["machine"]["id"], "m3", "{events:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_shown_and_harms_nothing_else() {
    let cluster = cluster().await;
    cluster.submit("good.service", HELLO, "inactive").await;
    cluster.submit("bad.service", HELLO, "inactive").await;
    for record in ["unit/bad.service", "machine/m9", "unit/new.service", "unit/fleets.service"] {
        cluster.damage(record).await;
    }
    let units = cluster.get("/v1/units").await.body;
    let names: Vec<_> = units["units"].as_array().unwrap().iter().map(|u| &u["name"]).collect();
    assert_eq!(names, ["good.service"]);
    let keys: Vec<_> = units["unreadable"].as_array().unwrap().iter().map(|u| &u["key"]).collect();
    assert_eq!(keys, ["machine/m9", "unit/bad.service", "unit/fleets.service", "unit/new.service"]);
    let machines = cluster.get("/v1/machines").await.body;
    assert_eq!(machines["machines"].as_array().unwrap().len(), 1);
    let bad = cluster.get("/v1/units/bad.service").await;
    assert_eq!(bad.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        bad.message().starts_with("the record of bad.service cannot be read ("),
        "{}",
        bad.text
    );
    let start = |name: &str| json!({"units": [{"name": name, "desired": "launched"}]});
    let started = cluster.change(start("bad.service")).await.body["units"][0].clone();
    assert_eq!(started["outcome"], "failed");
    let message = started["message"].as_str().unwrap();
    assert!(message.starts_with("the record of bad.service cannot be read ("), "{message}");
    let good = cluster.change(start("good.service")).await.body["units"][0].clone();
    assert_eq!(good["outcome"], "changed", "{good}");

    // The way out that it names.
    let names = r#"{"names":["bad.service","new.service"]}"#;
    let destroyed = cluster.send_json(Method::POST, "/v1/units/destroy", names).await;
    assert_eq!(destroyed.body["destroyed"], json!(["bad.service", "new.service"]));
    let anew = cluster.submit("bad.service", HELLO, "inactive").await;
    assert_eq!(anew["outcome"], "created", "{anew}");
    let fleets = "/fleet/v1/units/fleets.service";
    assert_eq!(cluster.send_json(Method::DELETE, fleets, "").await.status, StatusCode::NO_CONTENT);
    let units = cluster.get("/v1/units").await.body;
    assert_eq!(units["unreadable"].as_array().unwrap().len(), 1, "{units}");
}

#[tokio::test]
async fn a_wait_ends_with_its_client() {
    let cluster = lingering(Duration::ZERO).await;
    cluster.submit("a.service", HELLO, "launched").await;
    let wait = json!({"units": [{"name": "a.service", "until": "launched"}]});
    let request = Request::post("/v1/wait").header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(wait.to_string())).unwrap();
    let response = cluster.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(cluster.view.is_warm(), "it looks on the client's behalf");
    drop(response);
    eventually(|| !cluster.view.is_warm()).await;
}

#[tokio::test]
async fn health_and_metrics_say_what_is_wrong() {
    let cluster = cluster().await;
    let health = cluster.get("/healthz").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.body["reasons"][0], "store: not ready yet");
    let metrics = cluster.get("/metrics").await.text;
    assert!(metrics.contains("muster_store_reachable 0\n"), "{metrics}");
    assert!(
        metrics.contains(
            "muster_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"503\"} 1\n"
        ),
        "{metrics}"
    );
}
