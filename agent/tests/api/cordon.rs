//! Machines that take no new units, because a person or a reboot says so.

use super::*;

#[tokio::test]
async fn a_machine_is_cordoned_and_uncordoned_by_a_person_and_only_for_that_person() {
    let cluster = cluster().await;
    let send_order = |verb: &'static str, body: Value| {
        let cluster = &cluster;
        async move {
            let path = format!("/v1/machines/m1/{verb}");
            cluster.send_json(Method::POST, &path, &body.to_string()).await
        }
    };
    let answer = send_order("cordon", json!({"by": "ann", "reason": "disk"})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["cordon"]["holds"]["person"]["by"], "ann");

    // What is started now is refused, and the cordon is named.
    let hash = FileHash::of_text(HELLO).to_string();
    let unit = json!({"name": "hello.service", "file": hash, "desired": "launched"});
    let refused = cluster.change(json!({"files": {hash: HELLO}, "units": [unit]})).await;
    let refusal = &refused.body["units"][0]["refusal"]["machines"][0]["reason"];
    assert_eq!(
        (&refusal["reason"], &refusal["why"]),
        (&json!("cordoned"), &json!("by ann (disk)"))
    );

    let holder = muster_common::cordon::CordonHolder::Reboot;
    let hold = muster_common::cordon::Hold::default();
    cluster.registry.cordon_machine(&cluster.presence.machine, &holder, hold).await.unwrap();
    let answer = send_order("uncordon", json!({})).await;
    assert!(answer.body["cordon"]["holds"]["reboot"].is_object(), "{}", answer.text);
    assert!(cluster.get("/v1/machines").await.body["cordons"]["m1"].is_object());
    let answer = send_order("uncordon", json!({"all": true})).await;
    assert_eq!(answer.body, json!({"machine": "m1"}));

    let unknown = cluster.send_json(Method::POST, "/v1/machines/m7/cordon", "{}").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.message(), "machine m7 is not known");
}
