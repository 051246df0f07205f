//! What is measured, in order, on one cluster.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_store::{Op, Store};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::etcd::{EtcdCluster, open_store};
use crate::figures::{print_figure, say};
use crate::launch::{GROUP, Launcher};
use crate::leaders::Leaders;
use crate::placements::{Followed, Keys};
use crate::size::{Scale, rate};
use crate::usage::{Spent, Usage};
use crate::{alone, orphans};

/// Where the cluster with agents has its records.
pub(crate) const PREFIX: &str = "/muster/v1/";
/// For which the cluster is looked at when nothing happens.
const IDLE: Duration = Duration::from_secs(30);

/// The cluster that is measured, in which each machine has an agent.
pub(crate) struct Bench<'a> {
    pub(crate) scale: &'a Scale,
    pub(crate) etcd: EtcdCluster,
    pub(crate) leaders: Leaders,
    pub(crate) agents: Agents,
    pub(crate) launcher: Launcher,
}

pub(crate) async fn measure_all(scale: &Scale) {
    let directory = orphans::new_directory();
    let etcd = EtcdCluster::start(&directory).await;
    let store = open_store(&etcd.endpoints).await;
    measure_etcd(scale, &*store).await;
    alone::measure_alone(scale, &etcd, &store, &directory).await;

    let followed = Followed::follow(&store, PREFIX);
    let leaders = Leaders::start(scale, PREFIX, &etcd.endpoints, &directory);
    followed.wait_until("somebody leads", |keys| keys.leader_id().is_some()).await;
    let agents = Agents::start(&etcd.endpoints, scale.ttl);
    let launcher = Launcher { units: scale.units, client: leaders.client(), followed };
    let mut bench = Bench { scale, etcd, leaders, agents, launcher };
    bench.measure_joining().await;
    bench.measure_placing("no conflicts", "plain", None).await;
    bench.measure_placing("in conflict by twenties", "apart", Some(GROUP)).await;
    bench.launcher.launch("kept", None).await;
    bench.await_states().await;
    bench.measure_idle().await;
    bench.measure_losses().await;
    bench.measure_storms().await;
}

/// How many records etcd writes in a second by itself, in commits of the size that placements have.
async fn measure_etcd(scale: &Scale, store: &dyn Store) {
    say("etcd by itself");
    let mut rates = Vec::new();
    for round in 0..scale.repetitions {
        let began = Instant::now();
        let commits = scale.units.div_ceil(64);
        for commit in 0..commits {
            let put = |n| Op::Put {
                key: format!("/raw/{round}/{commit}/{n}"),
                value: Bytes::from_static(&[b'x'; 160]),
                lease: None,
            };
            store.commit(Vec::new(), (0..64).map(put).collect()).await.unwrap();
        }
        rates.push(rate(commits * 64, began.elapsed()));
    }
    print_figure("etcd by itself: records written, 64 a commit, one after the other", "/s", &rates);
}

impl Bench<'_> {
    async fn measure_joining(&mut self) {
        let machines = self.scale.machines;
        say(&format!("{machines} machines register"));
        let (before, began) = (self.usage(), Instant::now());
        self.agents.tell("start", 0, machines).await;
        let took = self.await_machines().await.duration_since(began).as_secs_f64();
        let what = format!("{machines} machines begin at once");
        let mut spent = Spent::default();
        spent.add_round(&before, &self.usage());
        print_figure(&format!("{what}: to the last one registered"), "s", &[took]);
        spent.print(&what);
    }

    /// From the first request to the last placement, and the rate between.
    async fn measure_placing(&mut self, how: &str, prefix: &str, group: Option<usize>) {
        let units = self.scale.units;
        let what = format!("{units} units, {how}");
        let (mut rates, mut submitted, mut running) = (Vec::new(), Vec::new(), Vec::new());
        let mut spent = Spent::default();
        for _ in 0..self.scale.repetitions {
            say(&what);
            let before = self.usage();
            let launched = self.launcher.launch(prefix, group).await;
            let since_first = |at: Instant| at.duration_since(launched.first);
            running.push(since_first(self.await_states().await).as_secs_f64());
            spent.add_round(&before, &self.usage());
            submitted.push(since_first(launched.submitted).as_secs_f64());
            rates.push(rate(units, since_first(launched.placed)));
            self.launcher.destroy(prefix).await;
        }
        print_figure(&format!("{what}: placed"), "/s", &rates);
        print_figure(
            &format!("{what}: from the first request to the last answer"),
            "s",
            &submitted,
        );
        print_figure(&format!("{what}: from the first request to the last state"), "s", &running);
        spent.print(&what);
    }

    /// Waits until each unit has a state.
    pub(crate) async fn await_states(&self) -> Instant {
        let units = self.scale.units;
        let states = self
            .launcher
            .followed
            .wait_until("all states are published", |keys| keys.states.len() >= units);
        states.await
    }

    async fn measure_idle(&self) {
        say("idle");
        let before = self.usage();
        tokio::time::sleep(IDLE).await;
        let mut spent = Spent::default();
        spent.add_round(&before, &self.usage());
        spent.print(&format!("idle for {} s", IDLE.as_secs()));
    }

    /// Waits until each machine is registered.
    pub(crate) async fn await_machines(&self) -> Instant {
        let machines = self.scale.machines;
        let registered = self.launcher.followed.wait_until("all machines are registered", |keys| {
            keys.machines.iter().filter(|id| id.starts_with("machine")).count() == machines
        });
        registered.await
    }

    pub(crate) fn usage(&self) -> Usage {
        let leader = self.launcher.followed.look(Keys::leader_id);
        let mut usage = self.leaders.usage(leader.as_deref());
        usage.add("etcd's members together", &self.etcd.process_ids());
        usage.add("all agents together", self.agents.process.id().as_slice());
        usage
    }
}

/// The process of all agents.
pub(crate) struct Agents {
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
            .inspect(|child| child.id().into_iter().for_each(orphans::remember))
            .unwrap();
        let input = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, answers }
    }

    /// Has it do something with the machines from one number to before another.
    pub(crate) async fn tell(&mut self, verb: &str, first: usize, end: usize) {
        self.input.write_all(format!("{verb} {first} {end}\n").as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
        assert_eq!(self.answers.next_line().await.unwrap().as_deref(), Some("done"));
    }
}
