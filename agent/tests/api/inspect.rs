//! Status and journal: from the machine that has the unit, and of Muster's own units only.

#[path = "whole.rs"]
mod whole;

use std::sync::Mutex;

use musterd::machine::ledger::Ledger;
use musterd::stdx::disk::HostDisk;

use super::*;

#[tokio::test]
async fn status_and_journal_come_from_the_units_machine() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let nowhere = cluster.get("/v1/units/a.service/status").await;
    assert_eq!(nowhere.status, StatusCode::CONFLICT);
    cluster.place(&name).await;
    let status = cluster.get("/v1/units/a.service/status").await.body;
    assert_eq!(status["output"], "status --full --no-pager -- a.service\n");
    assert_eq!(status["code"], 0);

    let journal = cluster.get("/v1/units/a.service/journal?lines=3&output=json").await;
    assert_eq!(journal.text, "--no-pager --lines=3 --output=json --unit=a.service\n");
    for wrong in ["output=--help", "lines=-1", "follow=maybe", "machine=!", "nonsense=1"] {
        let answer = cluster.get(&format!("/v1/units/a.service/journal?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {}", answer.text);
    }
    assert_eq!(cluster.get("/v1/units/b.service/status").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_the_machine_has_of_its_own_is_shown_to_nobody() {
    let cluster = cluster().await;
    for (unit, code) in [
        ("sshd.service", StatusCode::NOT_FOUND),
        ("web@1.service", StatusCode::NOT_FOUND),
        ("web@*", StatusCode::BAD_REQUEST),
        ("*.service", StatusCode::BAD_REQUEST),
        ("--help", StatusCode::BAD_REQUEST),
    ] {
        for what in ["status", "journal", "journal/follow"] {
            // Asked here, or through any other daemon.
            for machine in ["", "?machine=m1"] {
                let path = format!("/v1/units/{unit}/{what}{machine}");
                let answer = cluster.get(&path).await;
                assert_eq!(answer.status, code, "{path}: {}", answer.text);
                assert!(answer.message().contains(unit), "{}", answer.text);
            }
        }
    }
    // Known to the cluster, and refused by the machine, which has one of its own.
    cluster.submit("sshd.service", HELLO, "launched").await;
    let answer = cluster.get("/v1/units/sshd.service/journal?machine=m1").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    assert_eq!(answer.message(), "unit sshd.service is not on this machine");
}

#[tokio::test]
async fn a_machine_shows_its_own_units_without_the_store() {
    let mut cluster = cluster().await;
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    let memory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(Arc::new(HostDisk), memory.path().to_owned()).unwrap();
    ledger.record_file(&"a.service".parse().unwrap(), FileHash::of_text(HELLO)).unwrap();
    parts.health.set_owned_units(Arc::new(Mutex::new(ledger)));
    cluster.router = api_router(App::new(parts));
    cluster.line.set_cut(true);
    for what in ["status", "journal"] {
        let own = cluster.get(&format!("/v1/units/a.service/{what}?machine=m1")).await;
        assert_eq!(own.status, StatusCode::OK, "{}", own.text);
        // Whose this is nobody can tell.
        let other = cluster.get(&format!("/v1/units/sshd.service/{what}?machine=m1")).await;
        assert_eq!(other.status, StatusCode::SERVICE_UNAVAILABLE, "{}", other.text);
    }
}
