//! fleet's API where its own word counts: names, keys, metadata, the state of one unit.

use super::*;

#[tokio::test]
async fn a_name_that_is_no_units_is_not_there() {
    let cluster = cluster().await;
    for name in
        ["ZZZ", "a.servce", "@.service", "a%2Fb.service", "a%FF.service", "%20", "a@1.slice"]
    {
        for path in [format!("/fleet/v1/units/{name}"), format!("/fleet/v1/state/{name}")] {
            let answer = cluster.get(&path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.message(), "unit does not exist");
        }
        let gone = cluster.send_json(Method::DELETE, &format!("/fleet/v1/units/{name}"), "").await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{name}");
        let put = cluster.put(name, json!({"options": options()})).await;
        assert_eq!(put.status, StatusCode::BAD_REQUEST, "{name}: {}", put.text);
    }
    for path in ["/fleet/v1/units/", "/fleet/v1/units/a/b", "/fleet/v1/state/", "/fleet/v1/nope"] {
        assert_eq!(cluster.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        let answer = cluster.send_json(method, "/fleet/v1/state/a.service", "{}").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_put_is_told_in_fleets_order() {
    let cluster = cluster().await;
    let plain = Request::put("/fleet/v1/units/ZZZ").body(Body::from("{")).unwrap();
    assert_eq!(cluster.send(plain).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let body = cluster.send_json(Method::PUT, "/fleet/v1/units/ZZZ", "{").await;
    assert!(body.message().starts_with("unable to decode body"), "{}", body.text);
    let other = cluster.put("ZZZ", json!({"name": "a.service"})).await;
    assert!(other.message().starts_with("name in URL \"ZZZ\" differs"), "{}", other.text);
}

#[tokio::test]
async fn a_new_file_makes_its_unit_inactive_unless_it_says_otherwise() {
    let cluster = cluster().await;
    let file =
        |command: &str| json!([{"section": "Service", "name": "ExecStart", "value": command}]);
    let desired = async || {
        let unit = cluster.get("/fleet/v1/units/a.service").await.body;
        unit["desiredState"].as_str().unwrap().to_owned()
    };
    let put = async |body: Value| cluster.put("a.service", body).await.status;
    assert_eq!(
        put(json!({"options": file("/a"), "desiredState": "launched"})).await,
        StatusCode::CREATED
    );
    assert_eq!(desired().await, "launched");
    assert_eq!(put(json!({"options": file("/b")})).await, StatusCode::CREATED);
    assert_eq!(desired().await, "inactive");
    assert_eq!(
        put(json!({"options": file("/c"), "desiredState": "loaded"})).await,
        StatusCode::CREATED
    );
    assert_eq!(desired().await, "loaded");
    // The same file is no new one.
    assert_eq!(
        put(json!({"options": file("/c"), "desiredState": "launched"})).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(put(json!({"options": file("/c")})).await, StatusCode::CONFLICT);
    assert_eq!(desired().await, "launched");
}

#[tokio::test]
async fn keys_are_read_in_any_case_as_in_go() {
    let cluster = cluster().await;
    let option = json!({"Section": "Service", "NAME": "ExecStart", "Value": "/a"});
    let answer =
        cluster.put("a.service", json!({"Options": [option], "DESIREDSTATE": "loaded"})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let unit = cluster.get("/fleet/v1/units/a.service").await.body;
    assert_eq!(unit["desiredState"], "loaded");
    assert_eq!(
        unit["options"],
        json!([{"section": "Service", "name": "ExecStart", "value": "/a"}])
    );
}

#[tokio::test]
async fn the_state_of_one_unit_is_an_entry_of_the_list() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "launched").await;
    let unit: UnitName = "a.service".parse().unwrap();
    let path = "/fleet/v1/state/a.service";
    assert_eq!(cluster.get(path).await.body["systemdActiveState"], "");
    let placement = cluster.place(&unit).await;
    cluster.report(&unit, &placement, "active", "running").await;
    let list = cluster.get("/fleet/v1/state").await.body;
    assert_eq!(cluster.get(path).await.body, list["states"][0]);
    let document = cluster.get("/fleet/v1/discovery").await.body;
    let method = &document["resources"]["UnitState"]["methods"]["Get"];
    assert_eq!(method["path"], "state/{unitName}");
    assert_eq!(method["response"]["$ref"], "UnitState");
}

#[tokio::test]
async fn metadata_is_taken_in_every_form_fleet_knew() {
    let cluster = cluster().await;
    let send = async |body: &Value| {
        let request = Request::patch("/fleet/v1/machines");
        let request = request.body(Body::from(body.to_string())).unwrap();
        cluster.router.clone().oneshot(request).await.unwrap()
    };
    let metadata =
        async || cluster.get("/fleet/v1/machines").await.body["machines"][0]["metadata"].clone();
    for (number, value) in [
        json!({"op": "add", "value": {"value": "x"}}),
        json!({"op": "replace", "value": {"Value": "x"}}),
        json!({"op": "add", "Value": {"value": "x"}}),
        json!({"Op": "add", "VALUE": {"VALUE": "x"}}),
        json!({"op": "add", "value": "x"}),
        json!({"op": "add", "Value": "x"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut operation = value;
        operation["path"] = json!(format!("/m1/metadata/k{number}"));
        let answer = send(&json!([operation])).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{operation}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(metadata().await[format!("k{number}")], "x", "{operation}");
        let gone = json!([{"op": "remove", "path": operation["path"], "value": {"value": "y"}}]);
        assert_eq!(send(&gone).await.status(), StatusCode::NO_CONTENT);
        // What is gone already may be removed again.
        assert_eq!(send(&gone).await.status(), StatusCode::NO_CONTENT);
    }
    let good = json!({"op": "add", "path": "/m1/metadata/good", "value": {"value": "x"}});
    for bad in [
        json!({"op": "add", "path": "/m1/metadata/k", "value": {"value": ""}}),
        json!({"op": "add", "path": "/m1/metadata/k", "value": {"other": "x"}}),
        json!({"op": "add", "path": "/m1/metadata/k", "value": {"value": {"value": "x"}}}),
        json!({"op": "add", "path": "/m1/metadata/k", "value": {"value": 1}}),
        json!({"op": "add", "path": "/m1/metadata/k", "value": 1}),
        json!({"op": "add", "path": "/m1/metadata/k", "value": null}),
        json!({"op": "add", "path": "/m1/metadata/"}),
        json!({"op": "test", "path": "/m1/metadata/k", "value": "x"}),
        json!({"path": "/m1/metadata/k", "value": "x"}),
        json!("add"),
    ] {
        for both in [json!([good, bad]), json!([bad, good])] {
            assert_eq!(send(&both).await.status(), StatusCode::BAD_REQUEST, "{both}");
        }
    }
    assert_eq!(metadata().await, json!({"zone": "a"}), "nothing of what was refused is done");
}
