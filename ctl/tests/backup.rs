//! `musterctl export` and `import`, as typed, with a daemon's API over each store: what one cluster has, another gets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure"
)]

#[path = "../../store/tests/support/ports.rs"]
mod ports;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster_common::backup::Backup;
use muster_common::machine::Machine;
use muster_common::state::DesiredState::{Inactive, Launched, Loaded};
use muster_store::{EtcdOptions, Liveness, Registry, Store};
use musterd::Health;
use musterd::http::{App, AppParts, SLOT_LIMIT};
use musterd::inspect::Inspector;
use musterd::net::listen::Sockets;
use musterd::net::peer::HostPeers;
use musterd::net::serve;
use musterd::reboot::Lock;
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use ports::free_port;
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const WEB: &str =
    "# Kept as written.\n[Service]\nExecStart=/bin/sleep 1d\n\n[X-Fleet]\nConflicts=web@*\n";
const DB: &str = "[Service]\nExecStart=/bin/sleep 2d\n\n[X-Fleet]\nMachineMetadata=disk=ssd\n";

/// Generous: what it bounds takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An etcd of the test's own, and its data; killed when dropped.
struct Etcd {
    store: Arc<dyn Store>,
    _process: tokio::process::Child,
    _data: tempfile::TempDir,
}

impl Etcd {
    async fn start() -> Self {
        let (client, peer) = (free_port(), free_port());
        let (client, peer) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let data = tempfile::tempdir().unwrap();
        let process = Command::new("etcd")
            .args(["--name", "m0", "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m0={peer}"), "--data-dir"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("etcd is needed (Debian: etcd-server)");
        // A server that works is given all the time it needs.
        let liveness =
            Liveness { call: LIMIT, keep_alive: LIMIT, sign_of_life: LIMIT, ..Liveness::default() };
        let options = EtcdOptions { endpoints: vec![client], liveness, ..EtcdOptions::default() };
        let store = muster_store::open_etcd(options).await.unwrap();
        let registry = Registry::new(Arc::clone(&store), "/ready/");
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        let ready = async {
            while registry.read_snapshot().await.is_err() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.expect("etcd does not answer");
        Self { store, _process: process, _data: data }
    }
}

/// The API of a daemon whose cluster has the machine `m1`.
struct Cluster {
    registry: Registry,
    directory: tempfile::TempDir,
    shutdown: CancellationToken,
}

impl Cluster {
    async fn on_store(store: Arc<dyn Store>, directory: tempfile::TempDir) -> Self {
        let registry = Registry::new(store, "/muster/v1/");
        let lease = registry.grant_lease(Duration::from_secs(600)).await.unwrap();
        let machine = Machine {
            id: "m1".parse().unwrap(),
            host: "n1".to_owned(),
            address: "10.0.0.1".to_owned(),
            api: None,
            metadata: BTreeMap::new(),
            version: String::new(),
            runners: [].into(),
            container_runner: None,
            containers_lost: None,
            leaving: false,
            boot: String::new(),
            created: 0,
            revision: 0,
        };
        registry.register_machine(&machine, lease).await.unwrap();
        let (health, shutdown) = (Health::new(), CancellationToken::new());
        let parts = AppParts {
            drafts: None,
            registry: registry.clone(),
            view: View::new(registry.clone()),
            machine: machine.id.clone(),
            peers: Arc::new(HostPeers::new(machine.address.clone())),
            wall: Wall::default(),
            metrics: Metrics::new(health.clone()),
            health,
            inspector: Inspector::default(),
            lock: Lock::new(registry.clone(), ["default".parse().unwrap()]),
            group: muster_common::reboot::Group::default(),
            slot_limit: SLOT_LIMIT,
            token_limit: 100,
            body_limit: 8 * 1024 * 1024,
            shutdown: shutdown.clone(),
        };
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let sockets = Sockets { unix: vec![listener], ..Sockets::default() };
        tokio::spawn(serve::serve(sockets, App::new(parts), shutdown.clone()));
        Self { registry, directory, shutdown }
    }

    async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = muster_store::open_embedded(&directory.path().join("store")).unwrap();
        Self::on_store(store, directory).await
    }

    async fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterctl"));
        command.env("MUSTERCTL_ENDPOINT", self.directory.path().join("socket"));
        command.env("USER", "root").env_remove("SUDO_USER").args(arguments);
        command.current_dir(self.directory.path()).output().await.unwrap()
    }

    /// A command that goes well; what it printed.
    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments).await;
        let output_text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {output_text}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that fails; what it said.
    async fn run_failing(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments).await;
        let output_text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output_text}");
        output_text
    }

    /// Units of every kind of wish, two groups and a cordon.
    async fn fill_store(&self) {
        for (name, text) in [("web@.service", WEB), ("db.service", DB)] {
            std::fs::write(self.directory.path().join(name), text).unwrap();
        }
        self.run(&["submit", "web@.service", "db.service"]).await;
        self.run(&["start", "--no-block", "--queue", "web@1", "web@2"]).await;
        self.run(&["load", "--no-block", "--queue", "db"]).await;
        self.run(&["reboot", "--group", "front", "set-max", "3"]).await;
        self.run(&["reboot", "set-max", "2"]).await;
        self.run(&["cordon", "m1", "--reason", "new disk"]).await;
    }

    /// What [`Self::fill`] did, in the store.
    async fn is_full(&self) {
        let snapshot = self.registry.read_snapshot().await.unwrap();
        let units: Vec<_> = snapshot
            .units
            .iter()
            .map(|(name, unit)| (name.to_string(), unit.desired, unit.file))
            .collect();
        let (web, db) = (
            muster_common::unit::FileHash::of_text(WEB),
            muster_common::unit::FileHash::of_text(DB),
        );
        let wanted = [
            ("db.service".to_owned(), Loaded, db),
            ("web@.service".to_owned(), Inactive, web),
            ("web@1.service".to_owned(), Launched, web),
            ("web@2.service".to_owned(), Launched, web),
        ];
        assert_eq!(units, wanted);
        assert_eq!(self.run(&["cat", "web@1"]).await, WEB);
        assert!(self.run(&["reboot", "status"]).await.contains("Max: 2\n"));
        assert!(self.run(&["reboot", "--group", "front", "status"]).await.contains("Max: 3\n"));
        let machines = self.run(&["list-machines", "--fields", "cordon", "--no-legend"]).await;
        assert!(machines.contains("new disk"), "{machines}");
    }

    async fn export_to(&self, file: &str) -> PathBuf {
        let path = self.directory.path().join(file);
        self.run(&["export", file]).await;
        path
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// From one cluster to the other, and what comes out of that is what went in.
async fn carry_over(from: &Cluster, to: &Cluster) {
    from.fill_store().await;
    from.is_full().await;
    let file = from.export_to("records.json").await;
    let path = file.to_str().unwrap();
    assert_eq!(to.run(&["import", path]).await, "Imported 4 of 4 units\n");
    to.is_full().await;
    let again = to.export_to("again.json").await;
    assert_eq!(std::fs::read(again).unwrap(), std::fs::read(&file).unwrap());

    // Not over what is there, unless that is what is wanted.
    let output_text = to.run_failing(&["import", path]).await;
    assert!(
        output_text.contains("error: the cluster has 4 units; nothing was imported"),
        "{output_text}"
    );
    assert!(output_text.contains("hint: `--force` imports all the same"), "{output_text}");
    to.run(&["unload", "--no-block", "web@1"]).await;
    to.run(&["import", "--force", path]).await;
    to.is_full().await;
    let output_text = from.run_failing(&["export", "records.json"]).await;
    assert!(
        output_text.contains("records.json is there already; nothing was written"),
        "{output_text}"
    );
    from.run(&["export", "--force", "records.json"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_machine_alone_has_another_gets() {
    carry_over(&Cluster::embedded().await, &Cluster::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_alone_grows_into_a_cluster_with_etcd_and_back() {
    let etcd = Etcd::start().await;
    let cluster = Cluster::on_store(Arc::clone(&etcd.store), tempfile::tempdir().unwrap()).await;
    carry_over(&Cluster::embedded().await, &cluster).await;
    let file = cluster.export_to("back.json").await;
    let alone = Cluster::embedded().await;
    alone.run(&["import", file.to_str().unwrap()]).await;
    alone.is_full().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_carried_is_said() {
    let cluster = Cluster::embedded().await;
    cluster.fill_store().await;
    let text = cluster.run(&["export"]).await;
    let mut backup = Backup::read(text.as_bytes()).unwrap();
    for cordon in &mut backup.cordons {
        cordon.machine = "0123456789abcdef0123456789abcdef".parse().unwrap();
    }
    let other = Cluster::embedded().await;
    let file = other.directory.path().join("records.json");
    std::fs::write(&file, serde_json::to_vec(&backup).unwrap()).unwrap();
    let output_text = other.run_failing(&["import", "records.json"]).await;
    assert!(output_text.starts_with("warning: 01234567... is not cordoned: "), "{output_text}");
    assert_eq!(other.registry.read_snapshot().await.unwrap().units.len(), 4, "the rest is");

    let other = Cluster::embedded().await;
    let file = other.directory.path().join("records.json");
    std::fs::write(&file, text.replace("1d", "9d")).unwrap();
    let output_text = other.run_failing(&["import", "records.json"]).await;
    assert!(
        output_text.contains("records.json cannot be imported: the text filed under"),
        "{output_text}"
    );
    assert!(other.registry.read_snapshot().await.unwrap().units.is_empty());
}
