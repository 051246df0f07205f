//! What is told to whoever looks at the whole cluster.

use std::sync::Mutex;

use muster_common::api::inspect::{ClusterRecords, MachineAnswer, MachineReport, MachineReports};
use musterd::machine::cluster_memory::ClusterMemory;
use musterd::machine::ledger::Ledger;
use musterd::machine::sight::MachineSight;
use musterd::stdx::disk::HostDisk;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

/// A machine's own daemon tells its ledger, what its runner sees of it, and its clock.
#[tokio::test]
async fn a_machine_tells_what_it_keeps_and_what_runs() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let unit: UnitName = "a.service".parse().unwrap();
    let file = muster_common::unit::FileHash::of_text(HELLO);
    let mut ledger = Ledger::open(Arc::new(HostDisk), directory.path().to_owned()).unwrap();
    ledger.record_file(&unit, file).unwrap();
    cluster.app.health.set_owned_units(Arc::new(Mutex::new(ledger)));
    let (runner, _events) =
        muster_doubles::ScriptedRunner::on_host(&muster_doubles::ScriptedHost::new());
    cluster.app.health.set_sight(Arc::new(MachineSight {
        runner: Arc::new(runner),
        disk: Arc::new(HostDisk),
        placements: directory.path().join("placements.json"),
        cluster: ClusterMemory::new(
            Arc::new(HostDisk),
            directory.path(),
            directory.path(),
            "/muster/v1/",
        ),
        boot: "b".to_owned(),
    }));
    let answer = cluster.get("/v1/inspect/machine").await;
    let report: MachineReport = serde_json::from_value(answer.body).unwrap();
    assert_eq!((report.machine.as_str(), report.boot.as_str()), ("m1", "b"));
    assert!(report.clock > 0 && report.unseen.is_none());
    assert_eq!(report.owned[&unit].file, file);
    assert!(report.runs[&unit].active.is_down() && report.last_known.is_none());
    let components: Vec<&str> = report.components.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(components, ["store", "lease", "runner", "placements"]);
}

#[tokio::test]
async fn every_machine_is_asked_and_each_silence_has_its_reason() {
    let cluster = cluster().await;
    // It says that it is another, which whoever looks is to see.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|n| n > 2) {
            line.clear();
        }
        let answer =
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"machine\":\"m9\",\"clock\":1000}";
        stream.write_all(answer).await.unwrap();
    });
    cluster.join_at("m2", Some(address.to_string())).await;
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    cluster.join_at("m3", Some(closed.to_string())).await;
    cluster.join_at("m4", None).await;
    let answer = cluster.get("/v1/inspect/machines").await;
    let MachineReports { machines } = serde_json::from_value(answer.body).unwrap();
    let told: Vec<String> = machines
        .iter()
        .map(|(id, answer)| match answer {
            MachineAnswer::Report { report, clock_offset } => {
                let is_off = clock_offset.unsigned_abs() > 1_000_000;
                format!("{id} answers as {}, off {is_off}", report.machine)
            }
            MachineAnswer::Silent { problem } => format!("{id} is silent: {}", begin_of(problem)),
            MachineAnswer::Unasked { problem } => {
                format!("{id} is not asked: {}", begin_of(problem))
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "m1 answers as m1, off false",
            "m2 answers as m9, off true",
            "m3 is silent: cannot reach the dae",
            "m4 is not asked: machine m4 can be as",
        ]
    );
}

#[tokio::test]
async fn records_are_told_as_the_store_has_them() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "launched").await;
    let answer = cluster.get("/v1/inspect/records").await;
    let records: ClusterRecords = serde_json::from_value(answer.body).unwrap();
    let snapshot = cluster.registry.read_snapshot().await.unwrap();
    let mut told = records.to_snapshot();
    for (id, machine) in &mut told.machines {
        let stored = &snapshot.machines[id];
        (machine.created, machine.revision) = (stored.created, stored.revision);
    }
    assert_eq!(told, snapshot);
    assert!(records.unleased.is_empty());
}

/// Enough of a sentence to know it by.
fn begin_of(problem: &str) -> String {
    problem.chars().take(20).collect()
}
