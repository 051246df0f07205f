//! Drains over HTTP: ordered, rehearsed, followed, called off.

use muster_engine::schedule::schedule;

use super::*;

impl Cluster {
    /// Writes what the engine plans, as the leader would.
    async fn lead(&self) {
        let plan = schedule(&self.registry.read_snapshot().await.unwrap());
        let done = self.registry.commit_places(self.leadership, &plan.moves).await.unwrap();
        assert!(done.conflicts.is_empty());
    }

    async fn drain(&self, body: Value) -> Answer {
        self.send_json(Method::POST, "/v1/machines/m1/drain", &body.to_string()).await
    }

    async fn placement(&self, name: &UnitName, on: &Presence) -> Placement {
        let snapshot = self.registry.read_snapshot().await.unwrap();
        snapshot.places[name][&on.machine].clone()
    }
}

/// `hello.service` runs on `m1`; `m2` is there too.
async fn running() -> (Cluster, Presence, UnitName) {
    let cluster = cluster().await;
    let name: UnitName = "hello.service".parse().unwrap();
    cluster.submit("hello.service", HELLO, "launched").await;
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "active", "running").await;
    let other = cluster.join("m2").await;
    (cluster, other, name)
}

#[tokio::test]
async fn a_rehearsal_says_what_would_become_of_each_unit_and_changes_nothing() {
    let (cluster, _other, _) = running().await;
    let pinned = HELLO.to_owned() + "[X-Fleet]\nMachineID=m1\n";
    cluster.submit("pinned.service", &pinned, "launched").await;
    cluster.place(&"pinned.service".parse().unwrap()).await;
    let before = cluster.registry.read_snapshot().await.unwrap();
    let answer = cluster.drain(json!({"dry_run": true})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        answer.body,
        json!({
            "progress": {
                "machine": "m1",
                "units": {
                    "hello.service": {"course": "queued", "to": "m2"},
                    "pinned.service": {"course": "pinned"},
                },
            },
            "revision": 0,
        })
    );
    assert_eq!(cluster.registry.read_snapshot().await.unwrap(), before);
}

#[tokio::test]
async fn a_plan_has_each_move_with_its_reason_and_the_sentences_of_older_clients() {
    let (cluster, _other, _) = running().await;
    let ordered = cluster.drain(json!({})).await;
    assert_eq!(ordered.status, StatusCode::OK, "{}", ordered.text);
    let answer = cluster.get("/v1/plan").await;
    assert_eq!(
        answer.body,
        json!({
            "planned": [{
                "unit": "hello.service",
                "reason": "drain",
                "machine": "m1",
                "decisions": [{
                    "decision": "place",
                    "unit": "hello.service",
                    "machine": "m2",
                    "desired": "launched",
                }],
            }],
            "moves": ["hello.service goes to m2..., to be launched"],
            "refusals": {},
        })
    );
}

#[tokio::test]
async fn a_drain_is_ordered_and_followed_to_its_end() {
    let (cluster, other, name) = running().await;
    let order = json!({"by": "ann", "reason": "disk", "deadline": 300, "then": "force"});
    let answer = cluster.drain(order).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let hold = &answer.body["progress"]["cordon"]["holds"]["person"];
    assert_eq!((&hold["by"], &hold["reason"]), (&json!("ann"), &json!("disk")));
    let drain = &hold["drain"];
    assert_eq!((&drain["deadline"], &drain["then"]), (&json!(300), &json!("force")));

    let path = format!("/v1/machines/m1/drain/events?revision={}", answer.body["revision"]);
    // It is followed from here on, whenever the rest happens.
    let mut stream = cluster.follow(Request::get(path).body(Body::empty()).unwrap()).await;
    let mut events = vec![stream.recv().await.unwrap()];
    let act = async {
        cluster.lead().await;
        let progress = cluster.get("/v1/machines/m1/drain").await.body;
        let moving = json!({"course": "moving", "to": "m2"});
        assert_eq!(progress["units"]["hello.service"], moving);
        // Where it is only about to take over, it does not count as placed yet.
        let unit = cluster.get("/fleet/v1/units/hello.service").await.body;
        assert_eq!((&unit["machineID"], &unit["currentState"]), (&json!("m1"), &json!("launched")));

        let placement = cluster.placement(&name, &other).await;
        cluster.report_from(&other, &name, &placement, "active", "running").await;
        cluster.lead().await;
        let gone = StateUpdate { unit: name.clone(), state: None };
        cluster.registry.publish_states(&cluster.presence, vec![gone]).await.unwrap();
    };
    act.await;
    let rest = async {
        while let Some(event) = stream.recv().await {
            events.push(event);
        }
    };
    tokio::time::timeout(LIMIT, rest).await.unwrap();
    let last = &events[events.len() - 2..];
    assert_eq!((&last[0]["event"], &last[0]["to"]["id"]), (&json!("left"), &json!("m2")));
    assert_eq!(last[1]["progress"]["units"], json!({}));
    let unit = cluster.get("/fleet/v1/units/hello.service").await.body;
    assert_eq!((&unit["machineID"], &unit["currentState"]), (&json!("m2"), &json!("launched")));
}

#[tokio::test]
async fn uncordoning_calls_a_drain_off_and_ends_its_events() {
    let (cluster, _other, _) = running().await;
    let revision = cluster.drain(json!({})).await.body["revision"].clone();
    let path = format!("/v1/machines/m1/drain/events?revision={revision}");
    let follow = cluster.stream(Request::get(path).body(Body::empty()).unwrap(), |_| false);
    let act = async {
        let answer = cluster.send_json(Method::POST, "/v1/machines/m1/uncordon", "{}").await;
        assert_eq!(answer.body, json!({"machine": "m1"}));
    };
    let (events, ()) = tokio::join!(follow, act);
    let last = &events.last().unwrap()["progress"];
    assert_eq!(last["units"]["hello.service"], json!({"course": "stays"}));
}

#[tokio::test]
async fn a_machine_that_nobody_knows_is_not_drained() {
    let cluster = cluster().await;
    for (method, path) in [
        (Method::POST, "/v1/machines/m7/drain"),
        (Method::GET, "/v1/machines/m7/drain"),
        (Method::GET, "/v1/machines/m7/drain/events"),
    ] {
        let answer = cluster.send_json(method, path, "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.message(), "machine m7 is not known");
    }
    let odd = cluster.drain(json!({"dead_line": 1})).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_submits_what_would_leave_data_behind_is_told_once() {
    const DB: &str = "[Service]\nExecStart=/bin/true\nStateDirectory=db\n";
    let cluster = cluster().await;
    let warnings = |answer: Value| answer["warnings"].as_array().cloned().unwrap_or_default();
    let alone = warnings(cluster.submit("alone.service", DB, "inactive").await);
    assert!(alone.is_empty(), "it cannot move: {alone:?}");

    let _other = cluster.join("m2").await;
    let shown = warnings(cluster.submit("db.service", DB, "inactive").await);
    assert_eq!(
        shown,
        [
            "db.service: line 3: [Service] StateDirectory=db: what is kept there stays behind when the unit moves to \
             another machine; MachineID= or MachineMetadata= in [X-Fleet] ties it to where its data is"
        ]
    );
    for desired in ["inactive", "launched", "launched"] {
        let again = warnings(cluster.submit("db.service", DB, desired).await);
        assert!(again.is_empty(), "it was told before: {again:?}");
    }
    let tied = DB.to_owned() + "[X-Fleet]\nMachineID=m1\n";
    assert!(warnings(cluster.submit("tied.service", &tied, "launched").await).is_empty());

    // One word for a template and all its instances, whoever is first.
    assert_eq!(warnings(cluster.submit("db@1.service", DB, "launched").await).len(), 1);
    assert!(warnings(cluster.submit("db@2.service", DB, "launched").await).is_empty());
    let other = DB.to_owned() + "#\n";
    assert_eq!(warnings(cluster.submit("db@.service", &other, "inactive").await).len(), 1);
    assert!(warnings(cluster.submit("db@3.service", &other, "launched").await).is_empty());
    let from_template = json!({"units": [{"name": "db@4.service", "desired": "launched"}]});
    let answer = cluster.change(from_template).await.body["units"][0].clone();
    assert!(warnings(answer).is_empty());

    // Another file is another matter.
    let hash = FileHash::of_text(&other).to_string();
    let unit = json!({"name": "db.service", "file": hash});
    let change = json!({"files": {hash: other}, "units": [unit], "replace": true});
    assert_eq!(warnings(cluster.change(change).await.body["units"][0].clone()).len(), 1);
}

#[tokio::test]
async fn a_start_waits_for_the_end_of_what_may_not_run_twice() {
    const DB: &str = "[Service]\nExecStart=/bin/true\nStateDirectory=db\n";
    let (cluster, _other, _) = running().await;
    let name: UnitName = "db.service".parse().unwrap();
    cluster.submit("db.service", DB, "launched").await;
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "active", "running").await;
    cluster.submit("db.service", DB, "inactive").await;
    cluster.lead().await;
    cluster.report(&name, &placement, "deactivating", "stop-sigterm").await;

    // It is not refused, for it only has to wait, and is told where it is being stopped.
    let answer = cluster.submit("db.service", DB, "launched").await;
    assert_eq!(answer["outcome"], "changed", "{answer}");
    let unit = json!({"name": "db.service", "until": "launched"});
    let events = cluster.events(json!({"units": [unit]}), |_| true).await;
    assert_eq!(events[0]["event"], "progress", "{events:?}");
    assert_eq!(events[0]["machine"]["id"], "m1");
    assert_eq!(events[0]["state"]["active"], "deactivating");
}
