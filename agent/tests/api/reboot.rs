//! Reboots by hand: slots taken, freed and counted, machines asked to reboot, and what is told of it all.

use muster_common::reboot::{HolderKind, HostStatus, Phase, WaitReason};

use super::*;

impl Cluster {
    async fn reboot(&self, what: &str, body: Value) -> Answer {
        self.send_json(Method::POST, &format!("/v1/reboot/{what}"), &body.to_string()).await
    }

    /// Holders of a group, `id kind`, and how many slots are free.
    async fn slots(&self, group: &str) -> (Vec<String>, u64) {
        let answer = self.get(&format!("/v1/reboot?group={group}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let group = &answer.body["groups"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let holders = group["holders"].as_array().unwrap();
        let holders = holders.iter().map(|h| format!("{} {}", text(&h["id"]), text(&h["kind"])));
        (holders.collect(), group["available"].as_u64().unwrap())
    }

    async fn host(&self, machine: &str, status: HostStatus) {
        self.registry.publish_reboot_host(&machine.parse().unwrap(), &status).await.unwrap();
    }
}

/// A host of a group in a phase.
fn host(group: &str, phase: Phase) -> HostStatus {
    HostStatus { group: group.parse().unwrap(), phase, since: 1_700_000_000, ..Default::default() }
}

#[tokio::test]
async fn a_slot_is_taken_and_freed_by_hand() {
    let cluster = cluster().await;
    let taken = cluster.reboot("lock", json!({})).await;
    assert_eq!(taken.status, StatusCode::OK, "{}", taken.text);
    assert_eq!(
        (&taken.body["group"], &taken.body["id"], &taken.body["anew"]),
        (&json!("default"), &json!("m1"), &json!(true)),
        "the machine that is asked, in the group that is always there"
    );
    assert_eq!(cluster.slots("default").await, (vec!["m1 person".to_owned()], 0));

    let again = cluster.reboot("lock", json!({"id": "m1", "by": "ann"})).await;
    assert_eq!((&again.body["anew"], again.status), (&json!(false), StatusCode::OK));
    assert_eq!(again.body["since"], taken.body["since"]);

    let freed = cluster.reboot("unlock", json!({"id": "m1", "by": "ann"})).await;
    assert_eq!(freed.body["freed"]["kind"], "person", "{}", freed.text);
    let nothing = cluster.reboot("unlock", json!({"id": "m1", "by": "ann"})).await;
    assert_eq!(nothing.body, json!({"group": "default", "id": "m1"}));

    let history = cluster.get("/v1/reboot/history").await;
    assert_eq!(history.body["group"], "default");
    let entries = history.body["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{}", history.text);
    assert_eq!((&entries[0]["outcome"], &entries[0]["by"]), (&json!("unlocked"), &json!("ann")));
}

#[tokio::test]
async fn who_gets_no_slot_is_told_why_as_data() {
    let cluster = cluster().await;
    cluster.reboot("lock", json!({"id": "jane at the console"})).await;
    let refused = cluster.reboot("lock", json!({})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.message(), "the slot of group default taken by jane at the console");
    assert_eq!(
        refused.body["wait"],
        json!({
            "reason": "slots-taken", "group": "default", "max": 1, "holders": ["jane at the console"]
        })
    );
}

#[tokio::test]
async fn setting_the_slots_makes_the_group_and_evicts_nobody() {
    let cluster = cluster().await;
    for path in ["?group=web", "/history?group=web", "/watch?group=web"] {
        let path = &format!("/v1/reboot{path}");
        let unknown = cluster.get(path).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        assert_eq!(unknown.message(), "there is no reboot group web", "{path}");
    }
    for what in ["lock", "unlock"] {
        let unknown = cluster.reboot(what, json!({"group": "web"})).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{what}");
        assert_eq!(unknown.message(), "there is no reboot group web");
    }
    let made = cluster.reboot("max", json!({"group": "web", "max": 2, "by": "ann"})).await;
    assert_eq!(made.body, json!({"group": "web", "old": 0, "new": 2}));
    for id in ["a", "b"] {
        cluster.reboot("lock", json!({"group": "web", "id": id})).await;
    }
    let lowered = cluster.reboot("max", json!({"group": "web", "max": 1})).await;
    assert_eq!(lowered.body, json!({"group": "web", "old": 2, "new": 1}));
    let (holders, free) = cluster.slots("web").await;
    assert_eq!((holders.len(), free), (2, 0), "more holders than slots, and none free");
    let both = cluster.get("/v1/reboot").await;
    let names: Vec<&Value> =
        both.body["groups"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
    assert_eq!(names, ["default", "web"]);
}

#[tokio::test]
async fn forty_ask_at_once_and_as_many_get_a_slot_as_there_are() {
    let cluster = cluster().await;
    for (group, slots) in [("forty", 40), ("seven", 7), ("one", 1)] {
        cluster.reboot("max", json!({"group": group, "max": slots})).await;
        let asked = (0..40)
            .map(|n| cluster.reboot("lock", json!({"group": group, "id": format!("h{n:02}")})));
        let answers = futures::future::join_all(asked).await;
        let granted = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
        assert_eq!(granted, slots, "{group}");
        assert!(answers.iter().all(|a| matches!(a.status.as_u16(), 200 | 409)), "{group}");
        assert_eq!(cluster.slots(group).await.0.len(), slots);
    }
}

#[tokio::test]
async fn a_machine_is_asked_to_reboot_once_however_often_it_is_said() {
    let cluster = cluster().await;
    let first = cluster.reboot("request", json!({"by": "ann", "because": "firmware"})).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!((&first.body["id"], &first.body["anew"]), (&json!("m1"), &json!(true)));
    assert_eq!(first.body.get("host"), None, "m1 never said how far it is");

    let second = cluster.reboot("request", json!({"id": "m1", "by": "bob"})).await;
    assert_eq!(
        (&second.body["anew"], &second.body["request"]["by"]),
        (&json!(false), &json!("ann"))
    );

    // It has rebooted for ann, and not yet taken her wish away: bob's is for another reboot.
    cluster.host("m1", host("default", Phase::Settling)).await;
    let third = cluster.reboot("request", json!({"by": "bob"})).await;
    assert_eq!((&third.body["anew"], &third.body["request"]["by"]), (&json!(true), &json!("bob")));
    assert_eq!(third.body["host"]["phase"], "settling");

    let requests = cluster.get("/v1/reboot").await.body["requests"].clone();
    assert_eq!((&requests[0]["machine"], &requests[0]["by"]), (&json!("m1"), &json!("bob")));

    let cancelled = cluster.reboot("cancel", json!({"id": "m1"})).await;
    assert_eq!(cancelled.body["cancelled"], true);
    let nothing = cluster.reboot("cancel", json!({})).await;
    assert_eq!(nothing.body["cancelled"], false);
    assert_eq!(cluster.get("/v1/reboot").await.body["requests"], json!([]));
}

#[tokio::test]
async fn who_asks_for_another_way_to_reboot_is_asked_for_that_one() {
    let cluster = cluster().await;
    let asks = async |method: Value| {
        let mut body = json!({"by": "ann"});
        if !method.is_null() {
            body["method"] = method;
        }
        let answer = cluster.reboot("request", body).await.body;
        (answer["anew"].clone(), answer["request"]["method"].clone())
    };
    assert_eq!(asks(json!("soft-reboot")).await, (json!(true), json!("soft-reboot")));
    assert_eq!(asks(Value::Null).await, (json!(false), json!("soft-reboot")), "any will do");
    assert_eq!(asks(json!("soft-reboot")).await, (json!(false), json!("soft-reboot")));
    assert_eq!(asks(json!("reboot")).await, (json!(true), json!("reboot")));
}

#[tokio::test]
async fn a_machine_can_be_asked_that_only_reboots() {
    let cluster = cluster().await;
    let unknown = cluster.reboot("request", json!({"id": "m9"})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.message(), "machine m9 is not known");
    let unknown = cluster.reboot("cancel", json!({"id": "m9"})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    // Its daemon has the reboot role alone: it is not registered, but says how far it is.
    cluster.host("m9", host("default", Phase::Idle)).await;
    let known = cluster.reboot("request", json!({"id": "m9"})).await;
    assert_eq!(known.status, StatusCode::OK, "{}", known.text);
    assert_eq!(known.body["host"]["phase"], "idle");
}

#[tokio::test]
async fn the_status_of_a_group_is_that_of_its_hosts() {
    let cluster = cluster().await;
    cluster.reboot("max", json!({"group": "web", "max": 1})).await;
    let mut waiting = host("web", Phase::Waiting);
    let taken = WaitReason::SlotsTaken {
        group: "web".parse().unwrap(),
        max: 1,
        holders: vec!["m2".parse().unwrap()],
    };
    waiting.waits = vec![taken];
    cluster.host("m3", waiting).await;
    let mut draining = host("web", Phase::Draining);
    draining.slot = Some(1_700_000_000);
    cluster.host("m2", draining).await;
    cluster.host("m1", host("default", Phase::Idle)).await;
    let lock = Lock::new(cluster.registry.clone(), []);
    let (group, id) = ("web".parse().unwrap(), "m2".parse().unwrap());
    lock.acquire_slot(&group, &id, HolderKind::Host, LIMIT).await.unwrap();
    for machine in ["m1", "m3"] {
        cluster.reboot("request", json!({"id": machine})).await;
    }

    let web = cluster.get("/v1/reboot?group=web").await;
    let of = |list: &str, key: &str| -> Vec<Value> {
        web.body[list].as_array().unwrap().iter().map(|entry| entry[key].clone()).collect()
    };
    assert_eq!(of("groups", "name"), ["web"]);
    assert_eq!(of("hosts", "machine"), ["m2", "m3"]);
    assert_eq!(of("hosts", "phase"), ["draining", "waiting"]);
    assert_eq!(web.body["hosts"][1]["waits"][0]["reason"], "slots-taken");
    assert_eq!(web.body["groups"][0]["holders"][0]["kind"], "host");
    assert_eq!(of("requests", "machine"), ["m3"]);
    assert_eq!(of("machines", "address"), ["10.0.0.1"], "for names, whatever the group");
    assert_eq!(web.body["machine"], "m1");

    let all = cluster.get("/v1/reboot").await;
    assert_eq!(all.body["hosts"].as_array().unwrap().len(), 3);
    assert_eq!(all.body["requests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_and_grants_nothing() {
    let cluster = cluster().await;
    cluster.damage("reboot/default").await;
    cluster.damage("reboot-host/m2").await;
    let answer = cluster.get("/v1/reboot?group=default").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["groups"], json!([]));
    let keys: Vec<&Value> =
        answer.body["unreadable"].as_array().unwrap().iter().map(|u| &u["key"]).collect();
    assert_eq!(keys, ["reboot-host/m2", "reboot/default"]);
    let refused = cluster.reboot("lock", json!({})).await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refused.message().starts_with("the slots of group default cannot be read: "));
    // It is known all the same, and can be asked.
    assert_eq!(cluster.reboot("request", json!({"id": "m2"})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_understood_is_400() {
    let cluster = cluster().await;
    for (what, body, says) in [
        ("lock", json!({"grp": "web"}), "grp"),
        ("lock", json!({"group": "a b"}), "is not a reboot group"),
        ("lock", json!({"id": "a\nb"}), "cannot hold a slot"),
        ("unlock", json!({"because": "x"}), "because"),
        ("max", json!({}), "max"),
        ("max", json!({"max": -1}), "-1"),
        ("max", json!({"max": 100_001}), "0 (nobody reboots) to 100000"),
        ("request", json!({"id": "a/b"}), "a/b"),
        ("request", json!({"group": "default"}), "group"),
        ("request", json!({"method": "warp"}), "reboot, soft-reboot or kexec"),
        ("cancel", json!("m1"), "invalid"),
    ] {
        let answer = cluster.reboot(what, body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what} {body}: {}", answer.text);
        assert!(answer.message().contains(says), "{what} {body}: {}", answer.message());
    }
    for path in ["/v1/reboot?group=a%20b", "/v1/reboot?grp=web", "/v1/reboot/history?group="] {
        let answer = cluster.get(path).await;
        let expected = if path.ends_with('=') { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        assert_eq!(answer.status, expected, "{path}: {}", answer.text);
    }
    let large = json!({"by": "x".repeat(2 * 1024 * 1024)});
    let answer = cluster.reboot("lock", large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let plain = Request::post("/v1/reboot/lock").body(Body::from("{}")).unwrap();
    assert_eq!(cluster.send(plain).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn every_path_says_which_methods_it_knows() {
    let cluster = cluster().await;
    for what in ["lock", "unlock", "max", "request", "cancel"] {
        let answer = cluster.get(&format!("/v1/reboot/{what}")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
        assert_eq!(answer.allow.as_deref(), Some("POST"), "{what}");
    }
    for path in ["/v1/reboot", "/v1/reboot/history", "/v1/reboot/watch"] {
        let answer = cluster.send_json(Method::POST, path, "{}").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.allow.as_deref(), Some("GET,HEAD"), "{path}");
    }
    let answer = cluster.get("/v1/reboot/nothing").await;
    assert_eq!(answer.message(), "there is nothing at /v1/reboot/nothing");
}

#[tokio::test]
async fn a_store_that_is_away_is_503() {
    let cluster = cluster().await;
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    let app = App::new(AppParts { slot_limit: Duration::from_millis(200), ..parts });
    let cluster = Cluster { router: api_router(app.clone()), app, ..cluster };
    cluster.line.set_cut(true);
    for what in ["lock", "unlock", "request", "cancel"] {
        let answer = cluster.reboot(what, json!({})).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {}", answer.text);
    }
    let answer = cluster.reboot("max", json!({"max": 2})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert!(answer.message().starts_with("the slots of group default cannot be reached"));
    for path in ["/v1/reboot", "/v1/reboot/history", "/v1/reboot/watch"] {
        assert_eq!(cluster.get(path).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}

/// The next event of a stream.
async fn next(stream: &mut mpsc::UnboundedReceiver<Value>) -> Value {
    tokio::time::timeout(LIMIT, stream.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_tells_how_things_are_and_whenever_they_change() {
    let cluster = cluster().await;
    let watch = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let mut stream = cluster.follow(watch("/v1/reboot/watch?group=default")).await;
    let first = next(&mut stream).await;
    assert_eq!((&first["event"], &first["machine"]), (&json!("status"), &json!("m1")));
    assert_eq!(first["groups"][0]["available"], 1);

    // What is of another group, or of no reboot at all, is no news.
    cluster.reboot("max", json!({"group": "web", "max": 2})).await;
    cluster.submit("a.service", HELLO, "inactive").await;
    cluster.reboot("lock", json!({"id": "ann"})).await;
    let locked = next(&mut stream).await;
    assert_eq!(locked["groups"].as_array().unwrap().len(), 1);
    assert_eq!(locked["groups"][0]["holders"][0]["id"], "ann");
    cluster.host("m2", host("default", Phase::Waiting)).await;
    assert_eq!(next(&mut stream).await["hosts"][0]["phase"], "waiting");

    cluster.line.set_cut(true);
    let away = next(&mut stream).await;
    assert_eq!(away["event"], "degraded");
    assert!(away["message"].as_str().unwrap().starts_with("the store cannot be reached"), "{away}");
    cluster.line.set_cut(false);
    let back = next(&mut stream).await;
    assert_eq!((&back["event"], &back["hosts"][0]["phase"]), (&json!("status"), &json!("waiting")));

    // One that comes later sees at least what was there when it came, though the watch is shared.
    cluster.reboot("unlock", json!({"id": "ann"})).await;
    let mut second = cluster.follow(watch("/v1/reboot/watch")).await;
    let first = next(&mut second).await;
    assert_eq!(first["groups"][0]["available"], 1, "{first}");
    assert_eq!(first["groups"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn metrics_tell_slots_holders_waiters_phases_and_what_was() {
    let cluster = cluster().await;
    cluster.reboot("max", json!({"group": "web", "max": 3})).await;
    let id = r#"a "b""#;
    cluster.reboot("lock", json!({"group": "web", "id": id})).await;
    cluster.reboot("lock", json!({})).await;
    cluster.reboot("unlock", json!({})).await;
    for (machine, phase) in [("m1", Phase::Idle), ("m2", Phase::Waiting), ("m3", Phase::Locking)] {
        cluster.host(machine, host("web", phase)).await;
    }
    let metrics = cluster.get("/metrics").await.text;
    let expected = [
        r#"slots_max{group="web"} 3"#,
        r#"slots_available{group="web"} 2"#,
        r#"holders{group="web"} 1"#,
        r#"holders{group="default"} 0"#,
        r#"waiters{group="web"} 2"#,
        r#"waiters{group="default"} 0"#,
        r#"hosts{group="web",phase="waiting"} 1"#,
        r#"history_slots{group="default",outcome="unlocked"} 1"#,
        r#"history_slot_seconds{group="default",outcome="unlocked"} "#,
        r#"last_slot_seconds{group="default"} "#,
        r#"slot_taken_timestamp_seconds{group="web",holder="a \"b\"",kind="person"} 1"#,
    ];
    for line in expected {
        assert!(metrics.contains(&format!("\nmuster_reboot_{line}")), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("muster_reboot_host_phase{"), "only the leader tells of each host");
    assert_eq!(metrics.matches("# EOF").count(), 1);
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let names: Vec<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a name is told once: {names:?}");
}

#[test]
fn the_leader_tells_the_phase_of_each_host() {
    let mut records = muster_store::RebootRecords::default();
    records.hosts.insert("m2".parse().unwrap(), host("web", Phase::Settling));
    let mut text = String::new();
    let registry = musterd::reboot::group_gauges(&records, true);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let labels = r#"{group="web",machine="m2",phase="settling"}"#;
    assert!(text.contains(&format!("muster_reboot_host_phase{labels} 1\n")), "{text}");
    let since = format!("muster_reboot_host_phase_timestamp_seconds{labels} 1700000000\n");
    assert!(text.contains(&since), "{text}");
}
