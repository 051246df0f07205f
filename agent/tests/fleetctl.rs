//! fleetctl 1.0.0 in front of Muster: a client that speaks as it does on the wire, request by request, against daemons on
//! their unix sockets. Every command that blocks ends as it does at fleetd, and none hangs or crashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::unnecessary_wraps,
    unreachable_pub,
    dead_code,
    reason = "in a test a panic is the failure"
)]

#[path = "fleetctl/client.rs"]
mod client;
#[path = "fleetctl/commands.rs"]
mod commands;
mod support;
#[path = "fleetctl/wire.rs"]
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState;
use muster_store::Registry;
use musterd::Health;
use musterd::http::{App, AppParts};
use musterd::inspect::Inspector;
use musterd::net::listen::Sockets;
use musterd::net::peer::HostPeers;
use musterd::net::serve::serve;
use musterd::reboot::Lock;
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use support::{Daemon, Machine, name};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use commands::{Ended, Fleetctl};
use wire::Endpoint;

const HELLO: &str = "[Service]\nExecStart=/bin/sleep 1d\n";
const OTHER: &str = "[Service]\nExecStart=/bin/sleep 2d\n";

/// Attempts that are counted, and so many of them that the verdict hangs on no one's speed; fleetctl needs one.
const MANY: &str = "--block-attempts=30";

/// A machine for each daemon, and its API on a socket of its own.
struct Cluster {
    machines: Vec<(Machine, Daemon, PathBuf)>,
    registry: Registry,
    shutdown: CancellationToken,
    files: tempfile::TempDir,
    _store: tempfile::TempDir,
}

impl Cluster {
    async fn of(count: usize) -> Self {
        let (registry, store) = support::store();
        let files = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let mut machines = Vec::new();
        for number in 1..=count {
            let mut machine =
                Machine::new(&format!("machine{number}"), &format!("10.0.0.{number}"));
            machine.settings.ttl = support::LONG;
            let daemon = machine.start(&registry);
            let socket = machine.settings.run_dir.join("muster.sock");
            let app = App::new(parts(&registry, &machine));
            let unix = vec![UnixListener::bind(&socket).unwrap()];
            let sockets = Sockets { unix, ..Sockets::default() };
            tokio::spawn(serve(sockets, app, shutdown.clone()));
            machines.push((machine, daemon, socket));
        }
        let all =
            |snapshot: &Snapshot| snapshot.machines.len() == count && snapshot.leader.is_some();
        support::wait_until(&registry, "every machine is there", all).await;
        Self { machines, registry, shutdown, files, _store: store }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.files.path().join(file), text).unwrap();
    }

    /// Runs fleetctl, pointed at the first machine.
    async fn fleetctl(&self, words: &[&str]) -> Ended {
        self.fleetctl_at(1, words).await
    }

    /// Runs fleetctl, pointed at so many of the machines in turn, one request each.
    async fn fleetctl_at(&self, count: usize, words: &[&str]) -> Ended {
        self.fleetctl_through(self.endpoint(count), words).await
    }

    fn endpoint(&self, count: usize) -> Endpoint {
        let sockets = self.machines.iter().take(count).map(|(_, _, socket)| socket.as_path());
        Endpoint::unix(&sockets.collect::<Vec<_>>())
    }

    async fn fleetctl_through(&self, endpoint: Endpoint, words: &[&str]) -> Ended {
        let directory = self.files.path().to_owned();
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let run = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Fleetctl::new(endpoint, &directory).run(&words)
        });
        run.await.unwrap()
    }

    /// The same, and it has to succeed.
    async fn ok(&self, words: &[&str]) -> Ended {
        let ended = self.fleetctl(words).await;
        assert_eq!(ended.exit, 0, "{words:?}: {ended:?}");
        ended
    }

    /// Wanted, and carried out where it is placed.
    async fn states(&self, unit: &str) -> (DesiredState, DesiredState) {
        let snapshot = self.registry.read_snapshot().await.unwrap();
        let unit = &snapshot.units[&name(unit)];
        (unit.desired, muster_engine::cluster::lists::current_state(&snapshot, &unit.name))
    }

    /// `active` and the number of its run, on the first machine that knows the unit.
    fn run_of(&self, unit: &str) -> Option<(String, u64)> {
        self.machines.iter().find_map(|(machine, ..)| machine.host.unit_state(unit))
    }

    async fn end(self) {
        self.shutdown.cancel();
        for (_, daemon, _) in self.machines {
            daemon.stop().await;
        }
    }
}

fn parts(registry: &Registry, machine: &Machine) -> AppParts {
    let health = Health::new();
    AppParts {
        drafts: None,
        registry: registry.clone(),
        view: View::new(registry.clone()),
        machine: machine.settings.machine_id.clone(),
        peers: Arc::new(HostPeers::new(machine.settings.address.clone())),
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
        slot_limit: Duration::from_secs(30),
        token_limit: 2,
        body_limit: 1024 * 1024,
        shutdown: CancellationToken::new(),
    }
}

fn active(run: u64) -> Option<(String, u64)> {
    Some(("active".to_owned(), run))
}

use DesiredState::{Inactive, Launched, Loaded};

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_goes_through_all_its_states_and_back() {
    let cluster = Cluster::of(1).await;
    cluster.write("hello.service", HELLO);

    let submitted = cluster.ok(&["submit", "hello.service"]).await;
    assert_eq!(submitted.out, ["Unit hello.service inactive"]);
    assert_eq!(cluster.states("hello.service").await, (Inactive, Inactive));

    let loaded = cluster.ok(&["load", "hello.service"]).await;
    assert_eq!(loaded.out, ["Unit hello.service loaded on machine1.../10.0.0.1"]);
    assert_eq!(cluster.states("hello.service").await, (Loaded, Loaded));

    let started = cluster.ok(&["start", "hello"]).await;
    assert_eq!(started.out, ["Unit hello.service launched on machine1.../10.0.0.1"]);
    assert!(started.sent.contains(&"GET /fleet/v1/state/hello.service?alt=json".to_owned()));
    assert_eq!(cluster.run_of("hello.service"), active(1));
    let again = cluster.ok(&["start", "hello"]).await;
    assert_eq!(again.out, [""; 0], "nothing to do");

    let status = cluster.ok(&["status", "hello"]).await;
    assert_eq!(status.out, ["ssh 10.0.0.1 systemctl status -l hello.service"]);
    let text = cluster.ok(&["cat", "hello"]).await;
    assert_eq!(text.out, ["[Service]", "ExecStart=/bin/sleep 1d"]);

    let stopped = cluster.ok(&["stop", "hello"]).await;
    assert_eq!(stopped.out, ["Unit hello.service loaded on machine1.../10.0.0.1"]);
    assert_eq!(cluster.states("hello.service").await, (Loaded, Loaded));
    assert_eq!(cluster.run_of("hello.service").unwrap().0, "inactive");

    let unloaded = cluster.ok(&["unload", "hello"]).await;
    assert_eq!(unloaded.out, ["Unit hello.service inactive"]);
    assert_eq!(cluster.run_of("hello.service"), None);
    let idle = cluster.fleetctl(&["stop", "hello"]).await;
    assert_eq!((idle.exit, idle.err.len()), (1, 1), "{idle:?}");

    cluster.ok(&["start", "hello"]).await;
    let unloaded = cluster.ok(&["unload", "hello"]).await;
    assert_eq!(unloaded.out, ["Unit hello.service inactive"]);
    assert_eq!(cluster.run_of("hello.service"), None);

    cluster.ok(&["start", "hello"]).await;
    let destroyed = cluster.ok(&["destroy", "hello", "never.service"]).await;
    assert_eq!(destroyed.out, ["Destroyed hello.service"]);
    support::wait_until(&cluster.registry, "it is gone", |s| s.states.is_empty()).await;
    assert_eq!(cluster.run_of("hello.service"), None);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_ends_and_the_unit_runs_anew() {
    let cluster = Cluster::of(1).await;
    cluster.write("hello.service", HELLO);
    cluster.ok(&["start", "hello.service"]).await;
    assert_eq!(cluster.run_of("hello.service"), active(1));

    let restarted = cluster.ok(&["restart", "hello"]).await;
    assert_eq!(restarted.out.len(), 2, "it has seen it twice: {restarted:?}");
    assert_eq!(cluster.run_of("hello.service"), active(2));
    cluster.ok(&["restart", MANY, "hello"]).await;
    assert_eq!(cluster.run_of("hello.service"), active(3));
    // Of one that is stopped, right after the stop.
    cluster.ok(&["stop", "hello"]).await;
    cluster.ok(&["restart", "hello"]).await;
    assert_eq!(cluster.run_of("hello.service"), active(4));
    // Whoever asked for the stop.
    cluster.ok(&["stop", "--no-block", "hello"]).await;
    cluster.ok(&["restart", "hello"]).await;
    assert_eq!(cluster.run_of("hello.service").unwrap().0, "active");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_of_a_unit_that_takes_its_time_to_stop_ends_when_it_runs_anew() {
    let cluster = Cluster::of(1).await;
    cluster.write("slow.service", HELLO);
    cluster.ok(&["start", "slow.service"]).await;
    let host = cluster.machines[0].0.host.clone();
    host.stop_slowly("slow.service", true);
    let endpoint = cluster.endpoint(1);
    let mut sent = endpoint.follow();
    let end = async {
        host.until_state(|active| active == Some("deactivating"), "slow.service").await;
        // fleetctl is past its first wait, and its second must not be content with what ran before.
        let asked = |s: &Snapshot| s.units[&name("slow.service")].generation == 2;
        support::wait_until(&cluster.registry, "it is asked for again", asked).await;
        let looked = |sent: &Vec<String>| {
            let mut last = sent.iter().rev().take_while(|request| !request.starts_with("PUT "));
            let puts = sent.iter().filter(|request| request.starts_with("PUT ")).count();
            puts == 2 && last.by_ref().count() >= 2
        };
        sent.wait_for(looked).await.unwrap();
        assert_eq!(cluster.run_of("slow.service"), Some(("deactivating".to_owned(), 1)));
        host.stop_slowly("slow.service", false);
    };
    let (restarted, ()) =
        tokio::join!(cluster.fleetctl_through(endpoint, &["restart", "slow"]), end);
    assert_eq!(restarted.exit, 0, "{restarted:?}");
    assert_eq!(cluster.run_of("slow.service"), active(2), "{restarted:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_when_the_unit_has_stopped() {
    let cluster = Cluster::of(1).await;
    cluster.write("slow.service", HELLO);
    cluster.ok(&["start", "slow.service"]).await;
    let host = cluster.machines[0].0.host.clone();
    host.stop_slowly("slow.service", true);
    let waited = cluster.fleetctl(&["stop", "--block-attempts=1", "slow"]).await;
    assert_eq!(waited.exit, 1, "{waited:?}");
    assert!(waited.err[0].contains("timed out waiting for unit slow.service"), "{waited:?}");
    host.stop_slowly("slow.service", false);
    // It is asked to stop already, or has.
    cluster.ok(&["stop", "slow"]).await;
    assert_eq!(cluster.run_of("slow.service").unwrap().0, "inactive");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_counted_are_enough_for_a_unit_that_stops_at_once() {
    let cluster = Cluster::of(1).await;
    cluster.write("hello.service", HELLO);
    cluster.ok(&["start", "hello.service"]).await;
    cluster.ok(&["stop", MANY, "hello"]).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_ends_in_the_state_the_command_is_named_after() {
    let cluster = Cluster::of(1).await;
    for (command, state) in [("submit", Inactive), ("load", Loaded), ("start", Launched)] {
        let unit = format!("{command}.service");
        cluster.write(&unit, HELLO);
        cluster.ok(&[command, &unit]).await;
        assert_eq!(cluster.states(&unit).await, (state, state));

        let kept = {
            cluster.write(&unit, OTHER);
            cluster.ok(&[command, &unit]).await
        };
        assert!(kept.err[0].starts_with("WARNING: "), "{kept:?}");
        let replaced = cluster.ok(&[command, "--replace", &unit]).await;
        assert_eq!(cluster.states(&unit).await, (state, state), "{replaced:?}");
        let text = cluster.ok(&["cat", &unit]).await;
        assert_eq!(text.out[1], "ExecStart=/bin/sleep 2d");
        // It goes through `inactive`, as at fleetd.
        assert_eq!(replaced.out[0], format!("Unit {unit} inactive"));
    }
    assert_eq!(cluster.run_of("start.service").unwrap().0, "active");
    // A state that the command does not reach is left alone.
    cluster.write("start.service", HELLO);
    let beyond = cluster.ok(&["submit", "--replace", "start.service"]).await;
    assert!(beyond.err[0].contains("can not replace"), "{beyond:?}");
    assert_eq!(cluster.states("start.service").await, (Launched, Launched));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_instances_and_global_units_are_taken_as_they_come() {
    let cluster = Cluster::of(1).await;
    cluster.write("web@.service", HELLO);
    cluster.write("all.service", &format!("{HELLO}[X-Fleet]\nGlobal=true\n"));

    cluster.ok(&["submit", "web@.service"]).await;
    let started = cluster.ok(&["start", "web@1", "web@a:b"]).await;
    assert_eq!(started.out.iter().filter(|line| line.contains("launched on")).count(), 2);
    assert!(started.sent.contains(&"GET /fleet/v1/units/web%401.service?alt=json".to_owned()));
    assert!(started.sent.iter().any(|sent| sent.contains("web%40a%3Ab.service")), "{started:?}");

    let global = cluster.ok(&["start", "all.service"]).await;
    assert_eq!(global.out.last().unwrap(), "Triggered global unit all.service start");
    cluster.write("all.service", &format!("{OTHER}[X-Fleet]\nGlobal=true\n"));
    cluster.ok(&["start", "--replace", "all.service"]).await;
    cluster.ok(&["stop", "all.service"]).await;

    // Two on a page.
    let files = cluster.ok(&["list-unit-files"]).await;
    assert_eq!(files.out.len(), 4, "{files:?}");
    assert!(files.sent.iter().any(|sent| sent.contains("nextPageToken=AgACAA%3D%3D")));
    let states = cluster.ok(&["list-units"]).await;
    assert!(states.out.iter().any(|l| l == "web@1.service\tmachine1\tactive\trunning"));
    let machines = cluster.ok(&["list-machines"]).await;
    assert_eq!(machines.out, ["machine1\t10.0.0.1"]);
    cluster.ok(&["destroy", "web@1", "web@a:b", "web@.service", "all.service"]).await;
    let none = cluster.ok(&["list-unit-files"]).await;
    assert_eq!(none.out, [""; 0]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_to_nothing_ends_with_an_error_and_not_in_a_crash() {
    let cluster = Cluster::of(1).await;
    let host = cluster.machines[0].0.host.clone();
    cluster.write("bad.service", HELLO);
    host.fail_starts("bad.service");
    let failed = cluster.fleetctl(&["start", "bad.service"]).await;
    assert_eq!(
        (failed.exit, failed.err),
        (1, vec!["Failed to find an active unit bad.service".to_owned()])
    );
    // One that no machine takes.
    cluster.write("lost.service", &format!("{HELLO}[X-Fleet]\nMachineMetadata=a=b\n"));
    let nowhere = cluster.fleetctl(&["start", "--block-attempts=1", "lost.service"]).await;
    assert!(nowhere.err[0].contains("timed out waiting for unit lost.service"), "{nowhere:?}");
    assert_eq!(cluster.states("lost.service").await, (Launched, Inactive));
    let missing = cluster.fleetctl(&["start", "none.service"]).await;
    assert_eq!(missing.exit, 1);
    let unblocked = cluster.ok(&["start", "--no-block", "lost.service"]).await;
    assert_eq!(unblocked.out, [""; 0], "it is launched already");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_daemon_may_be_asked_at_any_time() {
    let cluster = Cluster::of(3).await;
    cluster.write("hello.service", HELLO);
    for words in [
        &["start", "hello.service"][..],
        &["restart", "hello"],
        &["restart", "hello"],
        &["stop", "hello"],
        &["restart", "hello"],
        &["load", "hello"],
        &["unload", "hello"],
        &["start", "hello"],
    ] {
        let ended = cluster.fleetctl_at(3, words).await;
        assert_eq!(ended.exit, 0, "{words:?}: {ended:?}");
    }
    assert_eq!(cluster.states("hello.service").await, (Launched, Launched));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_waits_to_be_placed_has_a_state_of_empty_words() {
    let cluster = Cluster::of(1).await;
    cluster.write("hello.service", HELLO);
    cluster.ok(&["submit", "hello.service"]).await;
    let endpoint = cluster.endpoint(1);
    let (known, unknown, no_name) = tokio::task::spawn_blocking(move || {
        let get = |path: &str| endpoint.get(path, &[]);
        (get("state/hello.service"), get("state/other.service"), get("state/ZZZ"))
    })
    .await
    .unwrap();
    let empty = serde_json::json!({
        "name": "hello.service", "hash": "", "machineID": "",
        "systemdLoadState": "", "systemdActiveState": "", "systemdSubState": "",
    });
    assert_eq!(known.unwrap(), empty);
    for answer in [unknown, no_name] {
        assert!(matches!(answer, Err(wire::Failure::Status(404, _))), "{answer:?}");
    }
    cluster.end().await;
}
