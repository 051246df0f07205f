//! Units that keep data on their machine, moved: looked at from outside all the time, none ever runs on two hosts.
//!
//! What runs is read from cgroups of the hosts, containers' included, never from Muster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::Options;
use muster_tests::reboots::{DEFAULT, Reboots, options_with};

/// Takes its time to stop, so that one that is started too early is seen beside it.
const SERVICE: &str = "\
[Service]
ExecStart=/bin/sh -c 'trap \"sleep 1; exit 0\" TERM; while :; do sleep 0.1; done'
StateDirectory=slow
";
const CONTAINER: &str = "\
Exec=sh -c 'trap \"sleep 1; exit 0\" TERM; while :; do sleep 0.1; done'
Volume=/var/lib/slow
";
const UNITS: [&str; 2] = ["slow.service", "slow.container"];

/// What was seen of the units while something was done.
#[derive(Default)]
struct Seen {
    looks: usize,
    /// On how many hosts each unit ran, at the most, and on which.
    most: BTreeMap<String, Vec<String>>,
}

impl Seen {
    fn observe_cluster(&mut self, cluster: &Cluster) {
        self.looks += 1;
        for unit in UNITS {
            let on = cluster.hosts().iter().filter(|host| host.is_up() && host.is_active(unit));
            let on: Vec<String> = on.map(|host| host.name().to_owned()).collect();
            let most = self.most.entry(unit.to_owned()).or_default();
            if on.len() > most.len() {
                *most = on;
            }
        }
    }

    /// An error if any unit was seen on two hosts.
    fn alone(&self) -> Result<()> {
        for (unit, on) in &self.most {
            ensure!(on.len() == 1, "{unit} ran on {on:?} at once");
        }
        Ok(())
    }
}

/// Looks at the units as often as it can while something is done, from before it begins until it is over.
fn watched(cluster: &Cluster, work: impl FnOnce() -> Result<()>) -> Result<Seen> {
    let stop = AtomicBool::new(false);
    let mut seen = Seen::default();
    seen.observe_cluster(cluster);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                seen.observe_cluster(cluster);
            }
            seen
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let seen = looking.join().map_err(|_| anyhow!("a thread panicked"))?;
        match done {
            Ok(done) => {
                cluster.step(&format!("looked at {} times", seen.looks));
                done.map(|()| seen)
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[test]
fn what_keeps_data_is_never_on_two_hosts_while_it_moves() -> Result<()> {
    let cluster = Cluster::start(Options { containers: true, ..options_with("settle = \"1s\"") })?;
    let first = cluster.host(0)?;

    cluster.step("submit says once that the data stays behind");
    cluster.write_unit(first, "slow.service", SERVICE)?;
    cluster.write_container(first, "slow.container", CONTAINER)?;
    for (unit, what) in UNITS.into_iter().zip(["StateDirectory=slow", "a volume as /var/lib/slow"])
    {
        let submitted = cluster.run(first, &format!("musterctl submit {unit}"))?;
        ensure!(submitted.stderr.contains(what), "no warning: {}", submitted.stderr);
        ensure!(submitted.stderr.contains("MachineID="), "no way out: {}", submitted.stderr);
        let started = cluster.run(first, &format!("musterctl start {unit}"))?;
        ensure!(!started.stderr.contains("stays behind"), "told again: {}", started.stderr);
    }

    cluster.step("the host that each runs on is drained, and again where it went");
    for drained in UNITS.into_iter().chain(UNITS) {
        let host = cluster.host_of(drained)?;
        let seen = watched(&cluster, || {
            cluster.run(first, &format!("musterctl drain {}", host.machine_id()))?;
            for unit in UNITS {
                cluster.wait_for_condition("it to be up elsewhere", || {
                    ensure!(cluster.host_of(unit)?.name() != host.name(), "{unit} is still there");
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        seen.alone()?;
        cluster.run(first, &format!("musterctl uncordon {}", host.machine_id()))?;
    }

    cluster.step("every host reboots in turn");
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let seen = watched(&cluster, || {
        for host in cluster.hosts() {
            cluster.run(host, "musterctl reboot request")?;
        }
        reboots.wait_for_freed(DEFAULT, cluster.hosts().len()).map(|_| ())
    })?;
    seen.alone()?;
    for unit in UNITS {
        cluster.wait_for_condition("both units", || cluster.host_of(unit).map(|_| ()))?;
    }
    cluster.assert_sound()?;
    cluster.tear_down()
}
