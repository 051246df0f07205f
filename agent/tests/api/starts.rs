//! What a start and a restart make of a unit that is there already.

use super::*;

#[tokio::test]
async fn a_start_of_what_runs_changes_nothing_and_of_what_failed_starts_it_again() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    let first = cluster.submit("a.service", HELLO, "launched").await;
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "active", "running").await;
    let again = cluster.submit("a.service", HELLO, "launched").await;
    assert_eq!(
        (&again["outcome"], &again["generation"]),
        (&json!("unchanged"), &first["generation"])
    );

    cluster.report(&name, &placement, "failed", "failed").await;
    let anew = cluster.submit("a.service", HELLO, "launched").await;
    assert_eq!(anew["outcome"], "changed");
    assert_eq!(anew["generation"].as_u64(), first["generation"].as_u64().map(|g| g + 1));

    let restart = json!({"units": [{"name": "a.service", "restart": true}]});
    let restarted = cluster.change(restart).await.body["units"][0]["generation"].as_u64();
    assert_eq!(restarted, first["generation"].as_u64().map(|g| g + 2));
}
