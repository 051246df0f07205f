//! `POST /v1/wait`, to the last event.

use super::*;

#[tokio::test]
async fn a_wait_ends_when_the_machine_has_carried_it_out() {
    let cluster = Arc::new(cluster().await);
    let name: UnitName = "a.service".parse().unwrap();
    let generation = cluster.submit("a.service", HELLO, "launched").await["generation"].clone();
    let wait =
        json!({"units": [{"name": "a.service", "until": "launched", "generation": generation}]});
    let machine = {
        let cluster = cluster.clone();
        let name = name.clone();
        tokio::spawn(async move {
            let placement = cluster.place(&name).await;
            cluster.report(&name, &placement, "activating", "start").await;
            cluster.report(&name, &placement, "active", "running").await;
        })
    };
    let events = cluster.events(wait, |_| false).await;
    machine.await.unwrap();
    let done = events.last().unwrap();
    assert_eq!(done["event"], "done", "{events:?}");
    assert_eq!(done["machines"][0]["id"], "m1");

    cluster
        .send_json(Method::POST, "/v1/units/destroy", r#"{"names":["a.service","b.service"]}"#)
        .await;
    let gone = json!({"units": [{"name": "b.service", "until": "gone"}]});
    assert_eq!(cluster.events(gone, |_| false).await.last().unwrap()["event"], "done");
}

#[tokio::test]
async fn a_wait_for_a_start_ends_when_somebody_stops_the_unit() {
    let cluster = cluster().await;
    let started = cluster.submit("a.service", HELLO, "launched").await["generation"].clone();
    let revision = cluster.registry.read_snapshot().await.unwrap().revision;
    let stop = json!({"units": [{"name": "a.service", "desired": "loaded"}], "queue": true});
    assert_eq!(cluster.change(stop).await.status, StatusCode::OK);
    let unit = json!({"name": "a.service", "until": "launched", "generation": started});
    let events = cluster.events(json!({"units": [unit], "revision": revision}), |_| false).await;
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["desired"]), (&json!("overtaken"), &json!("loaded")));
}

#[tokio::test]
async fn a_failure_is_told_with_its_last_lines() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let placement = cluster.place(&name).await;
    assert_eq!(placement.desired, DesiredState::Launched);
    cluster.report(&name, &placement, "failed", "failed").await;
    let wait = json!({"units": [{"name": "a.service", "until": "launched"}]});
    let events = cluster.events(wait, |_| false).await;
    let failed = events.last().unwrap();
    assert_eq!(failed["event"], "failed", "{events:?}");
    // The stand-in for journalctl prints its arguments.
    assert_eq!(failed["log"], json!(["--no-pager --lines=10 --output=cat --unit=a.service"]));
}
