//! What is measured, in order, on one cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_client::Client;
use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, DestroyAnswer, DestroyRequest, UnitChange,
};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_store::{Op, Store};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::agents::machine_name;
use crate::etcd::{EtcdCluster, open_store};
use crate::figures::{FigureLine, print_figure, print_line, say};
use crate::leaders::Leaders;
use crate::placements::{Followed, Keys};

/// The size of what is measured.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) musterd: PathBuf,
    pub(crate) machines: usize,
    pub(crate) units: usize,
    pub(crate) ttl: Duration,
    pub(crate) repetitions: usize,
}

/// Units of one request.
const BATCH: usize = 1000;
/// Units that are in conflict with each other.
const GROUP: usize = 20;
/// Daemons that may lead.
const LEADERS: usize = 3;
/// For which the cluster is looked at when nothing happens.
const IDLE: Duration = Duration::from_secs(30);

struct Bench<'a> {
    scale: &'a Scale,
    etcd: EtcdCluster,
    leaders: Leaders,
    agents: Agents,
    followed: Followed,
    client: Client,
    store: Arc<dyn Store>,
}

pub(crate) async fn measure_all(scale: &Scale) {
    let directory = tempfile::tempdir().unwrap();
    let etcd = EtcdCluster::start(directory.path()).await;
    let store = open_store(&etcd.endpoints).await;
    let followed = Followed::follow(&store);
    let leaders = {
        let Scale { musterd, ttl, .. } = scale;
        Leaders::start(musterd, LEADERS, &etcd.endpoints, *ttl, directory.path())
    };
    followed.wait_until("somebody leads", |keys| keys.leader_id().is_some()).await;
    let agents = Agents::start(&etcd.endpoints, scale.ttl);
    let client = leaders.client();
    let mut bench = Bench { scale, etcd, leaders, agents, followed, client, store };
    bench.measure_etcd().await;
    bench.measure_joining().await;
    bench.measure_placing("no conflicts", "plain", None).await;
    bench.measure_placing("in conflict by twenties", "apart", Some(GROUP)).await;
    bench.launch("kept", None).await;
    bench.measure_idle().await;
    bench.measure_losses().await;
    bench.measure_storms().await;
}

impl Bench<'_> {
    /// How many records etcd writes in a second by itself, in commits of the size that placements have.
    async fn measure_etcd(&self) {
        say("etcd by itself");
        let mut rates = Vec::new();
        for round in 0..self.scale.repetitions {
            let began = Instant::now();
            let commits = self.scale.units.div_ceil(64);
            for commit in 0..commits {
                let put = |n| Op::Put {
                    key: format!("/raw/{round}/{commit}/{n}"),
                    value: Bytes::from_static(&[b'x'; 160]),
                    lease: None,
                };
                self.store.commit(Vec::new(), (0..64).map(put).collect()).await.unwrap();
            }
            let written = u32::try_from(commits * 64).unwrap();
            rates.push(f64::from(written) / began.elapsed().as_secs_f64());
        }
        print_figure(
            "etcd by itself: records written, 64 a commit, one after the other",
            "/s",
            &rates,
        );
    }

    async fn measure_joining(&mut self) {
        let machines = self.scale.machines;
        say(&format!("{machines} machines register"));
        let began = Instant::now();
        self.agents.tell("start", 0, machines).await;
        let joined = self.followed.wait_until("all machines are registered", |keys| {
            keys.machines.iter().filter(|id| id.starts_with("machine")).count() == machines
        });
        let took = joined.await.duration_since(began).as_secs_f64();
        print_figure(
            &format!("{machines} machines begin at once, to the last one registered"),
            "s",
            &[took],
        );
    }

    /// From the first request to the last placement, and the rate between.
    async fn measure_placing(&mut self, how: &str, prefix: &str, group: Option<usize>) {
        let units = self.scale.units;
        let (mut rates, mut whole, mut running) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.scale.repetitions {
            say(&format!("{units} units, {how}"));
            let began = Instant::now();
            let (first, placed) = self.launch(prefix, group).await;
            let states = self
                .followed
                .wait_until("all states are published", |keys| keys.states.len() >= units);
            running.push(states.await.duration_since(began).as_secs_f64());
            whole.push(placed.duration_since(began).as_secs_f64());
            let between = placed.duration_since(first).as_secs_f64();
            rates.push(f64::from(u32::try_from(units).unwrap()) / between);
            self.destroy(prefix).await;
        }
        print_figure(&format!("{units} units, {how}: placed"), "/s", &rates);
        print_figure(
            &format!("{units} units, {how}: from the first request to the last placement"),
            "s",
            &whole,
        );
        print_figure(
            &format!("{units} units, {how}: from the first request to the last state"),
            "s",
            &running,
        );
    }

    /// Launches all units; returns when the first request was sent and when the last placement was seen.
    async fn launch(&self, prefix: &str, group: Option<usize>) -> (Instant, Instant) {
        let units = self.scale.units;
        let names: Vec<UnitName> = (0..units).map(|n| unit_name(prefix, group, n)).collect();
        let first = Instant::now();
        let mut number = 0;
        for batch in names.chunks(BATCH) {
            let mut request = ChangeRequest { queue: true, ..ChangeRequest::default() };
            for name in batch {
                let text = unit_text(prefix, group, number);
                number += 1;
                let file: UnitFile = text.parse().unwrap();
                let hash: FileHash = file.hash();
                request.files.insert(hash, text);
                request.units.push(UnitChange {
                    name: name.clone(),
                    file: Some(hash),
                    desired: Some(DesiredState::Launched),
                    restart: false,
                });
            }
            let answer: ChangeAnswer = self.client.post_json("/v1/units", &request).await.unwrap();
            for unit in answer.units {
                assert!(matches!(unit.outcome, ChangeOutcome::Created), "{unit:?}");
            }
        }
        let placed =
            self.followed.wait_until("all units are placed", |keys| keys.places.len() == units);
        (first, placed.await)
    }

    async fn destroy(&self, prefix: &str) {
        let names: Vec<UnitName> = self.followed.look(|keys| {
            let ours = keys.places.keys().filter(|unit| unit.starts_with(prefix));
            ours.map(|unit| unit.parse().unwrap()).collect()
        });
        for batch in names.chunks(BATCH) {
            let request = DestroyRequest { names: batch.to_vec() };
            let _: DestroyAnswer =
                self.client.post_json("/v1/units/destroy", &request).await.unwrap();
        }
        let gone = |keys: &Keys| keys.places.is_empty() && keys.states.is_empty();
        self.followed.wait_until("all units are gone", gone).await;
    }

    async fn measure_idle(&self) {
        say("idle");
        let before = self.usage();
        let began = Instant::now();
        tokio::time::sleep(IDLE).await;
        let after = self.usage();
        let seconds = began.elapsed().as_secs_f64();
        print_usage("idle", &before, &after, seconds);
    }

    /// One machine lost: the time until the last of its units is placed elsewhere.
    async fn measure_losses(&mut self) {
        let mut times = Vec::new();
        for n in 0..self.scale.repetitions.max(3) {
            say("one machine is lost");
            times.push(self.lose(n, n + 1).await);
            self.agents.tell("start", n, n + 1).await;
            let name = machine_name(n);
            self.followed.wait_until("it is back", |keys| keys.machines.contains(&name)).await;
        }
        let ttl = self.scale.ttl.as_secs();
        print_figure(
            &format!("one machine lost, TTL {ttl} s, to its last unit placed elsewhere"),
            "s",
            &times,
        );
    }

    /// Loses machines, and waits until their units are elsewhere; returns how long that took, in seconds.
    async fn lose(&mut self, first: usize, end: usize) -> f64 {
        let lost: Vec<String> = (first..end).map(machine_name).collect();
        let units = self.scale.units;
        let began = Instant::now();
        self.agents.tell("lose", first, end).await;
        let moved = self.followed.wait_until("their units are elsewhere", |keys| {
            keys.places.len() == units
                && keys.places.values().all(|machines| !machines.iter().any(|m| lost.contains(m)))
        });
        moved.await.duration_since(began).as_secs_f64()
    }

    async fn measure_storms(&mut self) {
        let Scale { machines, units, .. } = *self.scale;
        let ttl = self.scale.ttl.as_secs();

        say("a tenth of the machines is lost");
        let (before, began) = (self.usage(), Instant::now());
        let took = self.lose(0, machines / 10).await;
        print_usage("a tenth lost", &before, &self.usage(), began.elapsed().as_secs_f64());
        let what = format!(
            "a tenth of the machines lost at once, TTL {ttl} s, to the last unit placed elsewhere"
        );
        print_figure(&what, "s", &[took]);
        self.agents.tell("start", 0, machines / 10).await;
        self.await_machines(machines).await;

        say("half of the machines are lost and come back");
        let places = |keys: &Keys| keys.places.clone();
        let stood = self.followed.look(places);
        let (before, began) = (self.usage(), Instant::now());
        // Those that may lead count as well.
        let half = (machines + LEADERS).div_ceil(2);
        self.agents.tell("lose", 0, half).await;
        self.followed.wait_until("units are held", Keys::is_frozen).await;
        self.agents.tell("start", 0, half).await;
        self.await_machines(machines).await;
        let thawed = self.followed.wait_until("nothing is held", |keys| !keys.is_frozen());
        let took = thawed.await.duration_since(began).as_secs_f64();
        print_usage("half lost and back", &before, &self.usage(), began.elapsed().as_secs_f64());
        let moved = self.followed.look(|keys| moved_units(&stood, &keys.places));
        print_figure("half of the machines lost and back: to the end of the freeze", "s", &[took]);
        print_figure("half of the machines lost and back: units moved", "", &[moved]);
        self.followed
            .wait_until("all states are published", |keys| keys.states.len() >= units)
            .await;

        say("every agent begins anew at once");
        let stood = self.followed.look(places);
        let (before, began) = (self.usage(), Instant::now());
        self.agents.tell("start", 0, machines).await;
        self.agents.tell("settle", 0, machines).await;
        let took = began.elapsed().as_secs_f64();
        print_usage("every agent anew", &before, &self.usage(), took);
        let moved = self.followed.look(|keys| moved_units(&stood, &keys.places));
        print_figure(
            "every agent anew at once: to the last machine registered and the last state published",
            "s",
            &[took],
        );
        print_figure("every agent anew at once: units moved", "", &[moved]);
    }

    async fn await_machines(&self, machines: usize) {
        let back = self.followed.wait_until("all machines are registered", |keys| {
            keys.machines.iter().filter(|id| id.starts_with("machine")).count() == machines
        });
        back.await;
    }

    fn usage(&self) -> Usage {
        let leader = self.followed.look(Keys::leader_id);
        let leader = leader.map(|id| self.leaders.process_of(&id));
        let mut usage = Usage::default();
        usage.add("the leader", leader.as_slice());
        usage.add("etcd's members together", &self.etcd.process_ids());
        usage.add("all agents together", self.agents.process.id().as_slice());
        usage
    }
}

fn moved_units(
    before: &BTreeMap<String, std::collections::BTreeSet<String>>,
    now: &BTreeMap<String, std::collections::BTreeSet<String>>,
) -> f64 {
    let moved = before.iter().filter(|(unit, machines)| now.get(*unit) != Some(machines)).count();
    f64::from(u32::try_from(moved).unwrap())
}

fn unit_name(prefix: &str, group: Option<usize>, number: usize) -> UnitName {
    let text = match group {
        Some(size) => format!("{prefix}{}@{}.service", number / size, number % size),
        None => format!("{prefix}@{number}.service"),
    };
    text.parse().unwrap()
}

fn unit_text(prefix: &str, group: Option<usize>, number: usize) -> String {
    let conflict = group.map_or_else(String::new, |size| {
        format!("[X-Fleet]\nConflicts={prefix}{}@*.service\n", number / size)
    });
    format!("[Service]\nExecStart=/usr/bin/sleep infinity\n{conflict}")
}

/// What processes have used: processor time so far, memory now.
#[derive(Debug, Default)]
struct Usage(Vec<(&'static str, f64, f64)>);

impl Usage {
    fn add(&mut self, name: &'static str, processes: &[u32]) {
        let seconds: f64 = processes.iter().map(|id| processor_seconds(*id)).sum();
        let mebibytes: f64 = processes.iter().map(|id| resident_mebibytes(*id)).sum();
        self.0.push((name, seconds, mebibytes));
    }
}

fn print_usage(when: &str, before: &Usage, after: &Usage, seconds: f64) {
    for ((name, used, _), (_, by_now, memory)) in before.0.iter().zip(&after.0) {
        let percent = (by_now - used).max(0.0) / seconds * 100.0;
        let notes = [format!("{:.1} s of processor time in {seconds:.1} s", by_now - used)];
        let what = format!("{when}: processor of {name}");
        print_line(&FigureLine {
            what: &what,
            unit: "%",
            values: &[percent],
            raw: &[],
            notes: &notes,
        });
        print_figure(&format!("{when}: memory of {name}"), "MiB", &[*memory]);
    }
}

/// Clock ticks are hundredths of a second on Linux (`USER_HZ`).
fn processor_seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // proc(5): utime and stime are fields 14 and 15; the name, which is field 2, is cut off here.
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mebibytes(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) / 1024.0
}

/// The process of all agents.
struct Agents {
    process: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Agents {
    fn start(endpoints: &[String], ttl: Duration) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["agents", "--endpoints", &endpoints.join(",")])
            .args(["--ttl", &ttl.as_secs().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, answers }
    }

    /// Has it do something with the machines from one number to before another.
    async fn tell(&mut self, verb: &str, first: usize, end: usize) {
        self.input.write_all(format!("{verb} {first} {end}\n").as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
        assert_eq!(self.answers.next_line().await.unwrap().as_deref(), Some("done"));
    }
}
