//! Many machines' agents in one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_doubles::{LossyDisk, ScriptedHost, ScriptedRunner};
use muster_store::Registry;
use musterd::host::power::HostPower;
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::etcd::open_store;

/// A machine: what runs on it and what it remembers outlive its daemon.
struct SimulatedHost {
    host: Arc<ScriptedHost>,
    disk: LossyDisk,
}

/// Does what standard input says, a line at a time, and answers each with a line: `start 0 1000` has the machines of these
/// numbers begin (a daemon that runs is begun anew, as after `kill -9`), `lose 0 100` takes power and memory from them, and
/// `settle 0 1000` waits until each of them is registered and has reported what it was to report.
pub(crate) async fn run_agents(endpoints: Vec<String>, ttl: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let mut hosts: BTreeMap<usize, SimulatedHost> = BTreeMap::new();
    let mut daemons: BTreeMap<usize, (JoinHandle<()>, Health)> = BTreeMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let words: Vec<&str> = line.split(' ').collect();
        let [verb, first, end] = words[..] else { panic!("{line}") };
        let range = first.parse::<usize>().unwrap()..end.parse().unwrap();
        if verb == "settle" {
            for (_, health) in daemons.range(range).map(|(_, daemon)| daemon) {
                let mut status = health.subscribe();
                status.wait_for(|s| s.lease.ok && s.placements.ok && s.reported).await.unwrap();
            }
            println!("done");
            continue;
        }
        for number in range.clone() {
            if let Some((daemon, _)) = daemons.remove(&number) {
                daemon.abort();
            }
            if verb == "lose" {
                hosts.remove(&number);
            }
        }
        for number in range.filter(|_| verb == "start") {
            let host = hosts.entry(number).or_insert_with(|| SimulatedHost {
                host: ScriptedHost::new(),
                disk: LossyDisk::new(),
            });
            let below = |name: &str| directory.path().join(number.to_string()).join(name);
            let settings = CoreSettings {
                machine_id: machine_name(number).parse().unwrap(),
                host_name: String::new(),
                address: "127.0.0.1".to_owned(),
                api_address: None,
                metadata: BTreeMap::new(),
                ttl,
                engine: false,
                agent: true,
                more_runners: [].into(),
                state_dir: below("state"),
                run_dir: below("run"),
                unit_dir: below("units"),
                container_runner: None,
                docker: musterd::config::DockerConfig {
                    socket: "/nonexistent/docker.sock".into(),
                    credentials: None,
                    secrets: "/nonexistent/secrets".into(),
                },
                cluster: "/muster/v1/".to_owned(),
                shared_store: true,
            };
            for path in [&settings.state_dir, &settings.run_dir, &settings.unit_dir] {
                std::fs::create_dir_all(path).unwrap();
            }
            let (runner, events) = ScriptedRunner::on_host(&host.host);
            let power = Arc::clone(&host.host) as Arc<dyn HostPower>;
            let disk = Arc::new(host.disk.clone());
            // Each machine begins with another member: the first one in everybody's list would carry them all.
            let mut endpoints = endpoints.clone();
            let first = number % endpoints.len();
            endpoints.rotate_left(first);
            let health = Health::new();
            let own = health.clone();
            let daemon = tokio::spawn(async move {
                let registry = Registry::new(open_store(&endpoints).await, "/muster/v1/");
                let runner = (Arc::new(runner) as Arc<_>, events);
                let setup =
                    CoreSetup { disk, ..CoreSetup::new(settings, registry, runner, power, own) };
                run_core(setup, CancellationToken::new()).await.unwrap();
            });
            daemons.insert(number, (daemon, health));
        }
        println!("done");
    }
}

/// The id of a machine by its number.
pub(crate) fn machine_name(number: usize) -> String {
    format!("machine{number:05}")
}
