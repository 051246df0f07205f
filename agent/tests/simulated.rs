//! The daemon's core and its API on a simulated node: no runtime, no thread, no socket, no clock and no disk of this machine, and
//! the same to the last record every time.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::{FutureExt as _, StreamExt as _};
use muster_common::api::v1::ChangeAnswer;
use muster_common::decision::UnitWrite;
use muster_common::seed::Seed;
use muster_common::state::DesiredState;
use muster_common::unit::FileHash;
use muster_doubles::{LossyDisk, ScriptedHost, ScriptedRunner};
use muster_runtime::simulated::Node;
use muster_store::{LeaseClock, MemoryStore, Range, Registry, Store};
use musterd::config::DockerConfig;
use musterd::http::{App, AppParts, api_router};
use musterd::inspect::Inspector;
use musterd::net::peer::HostPeers;
use musterd::reboot::Lock;
use musterd::stdx::clock::Wall;
use musterd::telemetry::metrics::Metrics;
use musterd::view::View;
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const TTL: Duration = Duration::from_secs(10);

/// A machine with its daemon's node, and a store that has the machine's time.
struct World {
    node: Node,
    time: Arc<Mutex<Duration>>,
    began: Instant,
    store: Arc<MemoryStore>,
    registry: Registry,
    host: Arc<ScriptedHost>,
    disk: LossyDisk,
    health: Health,
    wall: Wall,
}

impl World {
    fn new(seed: u64) -> Self {
        let (time, began) = (Arc::new(Mutex::new(Duration::ZERO)), Instant::now());
        let told = Arc::clone(&time);
        let clock = LeaseClock::new(move || began + *told.lock().unwrap());
        let told = Arc::clone(&time);
        let wall = Wall::new(move || 1_700_000_000 + told.lock().unwrap().as_secs());
        let store = Arc::new(MemoryStore::new(clock));
        Self {
            node: Node::new(Duration::ZERO),
            time,
            began,
            registry: Registry::with_seed(store.clone(), "/muster/v1/", Seed(seed)),
            store,
            host: ScriptedHost::new(),
            disk: LossyDisk::new(),
            health: Health::with_wall(wall.clone()),
            wall,
        }
    }

    /// Begins the daemon, as systemd does.
    fn start_daemon(&self) -> CancellationToken {
        let shutdown = CancellationToken::new();
        let settings = CoreSettings {
            machine_id: "m1".parse().unwrap(),
            host_name: "one".to_owned(),
            address: "10.0.0.1".to_owned(),
            api_address: None,
            metadata: BTreeMap::new(),
            ttl: TTL,
            engine: true,
            agent: true,
            more_runners: [].into(),
            state_dir: "/state".into(),
            run_dir: "/run".into(),
            unit_dir: "/units".into(),
            container_runner: None,
            docker: DockerConfig {
                socket: PathBuf::new(),
                credentials: None,
                secrets: PathBuf::new(),
            },
            cluster: "/muster/v1/".to_owned(),
            shared_store: true,
        };
        let core = self.node.enter(|| {
            let (runner, events) = ScriptedRunner::on_host(&self.host);
            let setup = CoreSetup::new(
                settings,
                self.registry.clone(),
                (Arc::new(runner), events),
                self.host.clone(),
                self.health.clone(),
            );
            let setup =
                CoreSetup { disk: Arc::new(self.disk.clone()), wall: self.wall.clone(), ..setup };
            run_core(setup, shutdown.clone())
        });
        self.node.spawn(core.map(Result::unwrap));
        shutdown
    }

    /// Lets the time pass up to a moment, event by event.
    fn run_until(&self, end: Duration) {
        loop {
            let lease =
                self.store.next_deadline().map(|at| at.saturating_duration_since(self.began));
            let next = self.node.next_deadline().into_iter().chain(lease).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            let now = next.max(self.node.now());
            *self.time.lock().unwrap() = now;
            self.store.end_due_leases();
            self.node.run_at(now);
        }
        *self.time.lock().unwrap() = end;
        self.node.run_at(end);
    }

    /// Asks for a unit as a user would.
    fn launch_unit(&self, unit: &str) {
        let write = UnitWrite {
            name: unit.parse().unwrap(),
            file: Arc::new("[Service]\nExecStart=/bin/true\n".parse().unwrap()),
            desired: DesiredState::Launched,
            generation: 1,
            expected: 0,
        };
        let registry = self.registry.clone();
        self.node.spawn(async move {
            registry.write_units(vec![write]).await.unwrap();
        });
    }

    /// The API of the machine's daemon, to be called on its node.
    fn router(&self) -> Router {
        self.node.enter(|| {
            api_router(App::new(AppParts {
                drafts: None,
                registry: self.registry.clone(),
                view: View::new(self.registry.clone()),
                machine: "m1".parse().unwrap(),
                peers: Arc::new(HostPeers::new("10.0.0.1")),
                wall: self.wall.clone(),
                health: self.health.clone(),
                metrics: Metrics::new(self.health.clone()),
                // Programs that are not there: whatever is asked of them has no answer.
                inspector: Inspector {
                    systemctl: "/nonexistent/systemctl".into(),
                    journalctl: "/nonexistent/journalctl".into(),
                    containers: None,
                    podman: None,
                },
                lock: Lock::with_wall(self.registry.clone(), [], self.wall.clone()),
                group: muster_common::reboot::Group::default(),
                slot_limit: Duration::from_secs(8),
                token_limit: 100,
                body_limit: 1024 * 1024,
                shutdown: CancellationToken::new(),
            }))
        })
    }

    /// Begins something on the node; what it returns is there once it has ended.
    fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let result = Arc::new(Mutex::new(None));
        let place = Arc::clone(&result);
        self.node.spawn(async move {
            let value = work.await;
            *place.lock().unwrap() = Some(value);
        });
        result
    }

    /// All records with their revisions and leases, and what was asked of the runner.
    fn everything(&self) -> String {
        let all = self.store.read(Range::Prefix(String::new())).now_or_never().unwrap().unwrap();
        format!("{all:#?}\n{:#?}", self.host.requests_made())
    }

    fn active(&self, unit: &str) -> Option<(String, u64)> {
        self.host.unit_state(unit)
    }
}

/// A life of a machine: it registers, leads, places and starts a unit; its daemon is killed and goes on; its power fails, and it
/// comes back; its daemon is stopped.
fn live(seed: u64) -> String {
    let world = World::new(seed);
    world.start_daemon();
    world.run_until(Duration::from_secs(1));
    world.launch_unit("a.service");
    world.run_until(Duration::from_secs(2));
    assert_eq!(world.active("a.service"), Some(("active".to_owned(), 1)));
    assert!(world.health.status().leading && world.health.status().reported);

    world.node.kill_tasks();
    world.start_daemon();
    world.run_until(Duration::from_secs(30));
    assert_eq!(world.active("a.service"), Some(("active".to_owned(), 1)), "it was adopted");
    assert!(world.health.status().leading, "{:?}", world.health.status());

    world.node.kill_tasks();
    world.host.power_cut();
    world.disk.cut_power();
    world.disk.clear_below("/run".as_ref());
    world.run_until(Duration::from_secs(50));
    assert!(world.everything().contains("/muster/v1/unit/a.service"));
    assert!(!world.everything().contains("/muster/v1/machine/m1"), "its lease has ended");
    let shutdown = world.start_daemon();
    world.run_until(Duration::from_secs(60));
    assert_eq!(world.active("a.service"), Some(("active".to_owned(), 2)));

    shutdown.cancel();
    world.run_until(Duration::from_secs(61));
    assert_eq!(world.active("a.service"), Some(("active".to_owned(), 2)), "units go on");
    world.everything()
}

#[test]
fn a_machine_lives_on_a_node_and_its_life_can_be_replayed() {
    let first = live(7);
    assert_eq!(first, live(7));
    assert_ne!(first, live(8), "ids of writes follow from the seed");
}

async fn post(router: Router, path: &'static str, body: Value) -> (StatusCode, Body) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    (head.status, body)
}

/// The pieces of a body, each with the second at which it came.
async fn read_pieces(body: Body) -> Vec<(u64, String)> {
    let (began, mut pieces, mut body) =
        (muster_runtime::Instant::now(), Vec::new(), body.into_data_stream());
    while let Some(piece) = body.next().await {
        let text = String::from_utf8(piece.unwrap().to_vec()).unwrap();
        pieces.push((began.elapsed().as_secs(), text));
    }
    pieces
}

#[test]
fn a_user_submits_starts_and_waits_for_a_unit_without_a_socket() {
    const TEXT: &str = "[Service]\nExecStart=/bin/true\n";
    let world = World::new(1);
    world.start_daemon();
    world.run_until(Duration::from_secs(1));
    world.host.hold_starts("a.service", true);
    let router = world.router();
    let (client, hash) = (router.clone(), FileHash::of_text(TEXT));
    let submitted = world.begin(async move {
        let unit = json!({"name": "a.service", "file": hash, "desired": "launched"});
        let change = json!({"files": {hash.to_string(): TEXT}, "units": [unit]});
        let (status, body) = post(client, "/v1/units", change).await;
        let text = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text:?}");
        serde_json::from_slice::<ChangeAnswer>(&text).unwrap()
    });
    world.run_until(Duration::from_secs(2));
    let answer = submitted.lock().unwrap().take().unwrap();
    let waited = world.begin(async move {
        let unit = json!({"name": "a.service", "until": "launched", "generation": 1});
        let wait = json!({"units": [unit], "revision": answer.revision});
        let (status, body) = post(router, "/v1/wait", wait).await;
        assert_eq!(status, StatusCode::OK);
        read_pieces(body).await
    });
    world.run_until(Duration::from_secs(15));
    assert!(waited.lock().unwrap().is_none(), "it has not been started");
    world.host.hold_starts("a.service", false);
    world.run_until(Duration::from_secs(20));
    let pieces = waited.lock().unwrap().take().unwrap();
    let signs: Vec<u64> =
        pieces.iter().filter(|(_, text)| text == ":\n\n").map(|(at, _)| *at).collect();
    assert_eq!(signs, [10], "a silent stream says that it is alive: {pieces:?}");
    let (_, last) = pieces.last().unwrap();
    assert!(last.contains("\"event\":\"done\"") && last.contains("\"id\":\"m1\""), "{pieces:?}");
}

#[test]
fn a_failure_is_told_where_no_log_can_be_read() {
    let world = World::new(1);
    world.start_daemon();
    world.host.fail_starts("a.service");
    world.launch_unit("a.service");
    let router = world.router();
    let waited = world.begin(async move {
        let wait = json!({"units": [{"name": "a.service", "until": "launched"}]});
        read_pieces(post(router, "/v1/wait", wait).await.1).await
    });
    world.run_until(Duration::from_secs(5));
    let pieces = waited.lock().unwrap().take().unwrap();
    let (_, last) = pieces.last().unwrap();
    assert!(last.contains("\"event\":\"failed\"") && !last.contains("\"log\""), "{pieces:?}");
}
