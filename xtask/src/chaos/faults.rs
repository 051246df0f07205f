//! Faults, done to hosts and taken back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{ETCD_PORT, Host, Signal};

use super::chance::Chance;
use super::kinds::FaultKind;
use super::plan::{Fault, Round, milliseconds_of};
use super::users::Wishes;
use super::{checks, exchange};

const ETCD: &str = "etcd.service";
const MUSTERD: &str = "musterd.service";
const ENGINE: &str = "docker.service";
const BUS: &str = "dbus.service";

/// How closely a round is looked at while it lasts.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Begins and ends all faults of a round at their times, lets users ask in between, and looks at what must always be true.
/// Returns the units that users asked for something.
pub(super) fn play_round(
    cluster: &Cluster,
    round: &Round,
    builds: usize,
    wishes: &mut Wishes,
    chance: &mut Chance,
) -> Result<Vec<String>> {
    let began = Instant::now();
    let end = round.faults.iter().map(|fault| fault.begins + fault.lasts).max().unwrap_or_default();
    let mut waiting = round.faults.clone();
    let mut lasting: Vec<Fault> = Vec::new();
    let length = usize::try_from(end.as_millis()).unwrap_or(0);
    let mut requests: Vec<Duration> =
        (0..round.requests).map(|_| milliseconds_of(chance.number_below(length))).collect();
    requests.sort();
    let mut asked: Vec<String> = Vec::new();
    while !(waiting.is_empty() && lasting.is_empty()) {
        let now = began.elapsed();
        while waiting.first().is_some_and(|fault| fault.begins <= now) {
            let fault = waiting.remove(0);
            begin_fault(cluster, fault, builds)?;
            lasting.push(fault);
        }
        // Room is waited for, which nobody gives while the store stands still.
        let keeps_from_ending = lasting.iter().any(|fault| !fault.kind.ends_last());
        let over = |fault: &Fault| {
            fault.begins + fault.lasts <= now && !(fault.kind.ends_last() && keeps_from_ending)
        };
        for fault in lasting.iter().filter(|fault| over(fault)) {
            end_fault(cluster, *fault)?;
            if fault.kind.exchanges_data() {
                wishes.leave_open(&asked);
            }
        }
        lasting.retain(|fault| !over(fault));
        if requests.first().is_some_and(|at| *at <= now) {
            requests.remove(0);
            let (unit, said) = wishes.ask_something(cluster, chance)?;
            cluster.step(&format!("  {said}"));
            asked.push(unit);
        }
        checks::ensure_apart(cluster)?;
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(asked)
}

fn begin_fault(cluster: &Cluster, fault: Fault, builds: usize) -> Result<()> {
    let host = cluster.host(fault.host)?;
    let told = || format!("{:?} of {}", fault.kind, host.name());
    cluster.step(&format!("  {}", told()));
    let done = match fault.kind {
        FaultKind::PowerCut => host.power_cut(),
        FaultKind::CleanReboot => host.reboot().map(|_| ()),
        FaultKind::HostPaused => host.pause_all(),
        FaultKind::CableCut => host.cut_network(),
        FaultKind::DeafHost => drop_packets(cluster, host, "INPUT", ""),
        FaultKind::MuteHost => drop_packets(cluster, host, "OUTPUT", ""),
        FaultKind::DeafToOne => {
            let other = cluster.host((fault.host + 1) % cluster.hosts().len())?;
            drop_packets(cluster, host, "INPUT", &format!("-s {}", other.address()))
        }
        FaultKind::LossyHost => {
            drop_packets(cluster, host, "INPUT", "-m statistic --mode random --probability 0.3")
        }
        FaultKind::SlowHost => {
            let line = "tc qdisc add dev eth0 root tbf rate 200kbit burst 4kb latency 2s";
            cluster.run(host, line).map(|_| ())
        }
        FaultKind::DiskFull => exchange::fill_disk(cluster, host),
        FaultKind::DaemonPaused => host.signal_unit(MUSTERD, Signal::STOP),
        FaultKind::DaemonKilled => host.signal_unit(MUSTERD, Signal::KILL),
        FaultKind::DaemonRestarted => cluster.run(host, "systemctl restart musterd").map(|_| ()),
        FaultKind::Upgraded => {
            let number = usize::from(fault.begins.subsec_millis().is_multiple_of(2)) % builds;
            install_build(cluster, host, number)
        }
        FaultKind::MemberPaused => host.signal_unit(ETCD, Signal::STOP),
        FaultKind::MemberKilled => {
            cluster.run(host, "systemctl kill --signal=KILL etcd; systemctl stop etcd").map(|_| ())
        }
        FaultKind::StorePaused => {
            hosts_with_power(cluster).try_for_each(|host| host.signal_unit(ETCD, Signal::STOP))
        }
        FaultKind::Compacted => compact(cluster),
        FaultKind::StoreFull => fill_store(cluster),
        FaultKind::StoreRestored => exchange::take_snapshot(cluster),
        FaultKind::StoreEmptied => exchange::empty_store(cluster),
        FaultKind::EngineKilled => host.signal_unit(ENGINE, Signal::KILL),
        FaultKind::EnginePaused => host.signal_unit(ENGINE, Signal::STOP),
        FaultKind::BusKilled => host.signal_unit(BUS, Signal::KILL),
        FaultKind::Reexecuted => cluster.run(host, "systemctl daemon-reexec").map(|_| ()),
    };
    // What fails because another fault is there already is no failure of the run.
    if let Err(error) = done {
        cluster.step(&format!("  {} did not begin: {error:#}", told()));
    }
    Ok(())
}

fn end_fault(cluster: &Cluster, fault: Fault) -> Result<()> {
    let host = cluster.host(fault.host)?;
    match fault.kind {
        FaultKind::PowerCut => {
            host.power_on()?;
        }
        FaultKind::HostPaused => host.resume_all(),
        FaultKind::CableCut => host.restore_network()?,
        FaultKind::DeafHost | FaultKind::DeafToOne | FaultKind::LossyHost => {
            let_packets_pass(cluster, host, "INPUT")?;
        }
        FaultKind::MuteHost => let_packets_pass(cluster, host, "OUTPUT")?,
        FaultKind::SlowHost => {
            cluster.run_shell(host, "tc qdisc del dev eth0 root")?;
        }
        FaultKind::DiskFull => exchange::make_room(cluster, host)?,
        FaultKind::DaemonPaused => host.signal_unit(MUSTERD, Signal::CONT)?,
        FaultKind::MemberPaused => host.signal_unit(ETCD, Signal::CONT)?,
        FaultKind::MemberKilled => {
            cluster.run(host, "systemctl start --no-block etcd")?;
        }
        FaultKind::StorePaused => {
            for host in hosts_with_power(cluster) {
                // One that was booted meanwhile has a member that was never paused.
                host.signal_unit(ETCD, Signal::CONT).ok();
            }
        }
        FaultKind::StoreFull => {
            cluster.wait_for_condition("etcd to have room again", || {
                run_on_any_host(cluster, "timeout 2 etcdctl alarm disarm")
            })?;
        }
        FaultKind::StoreRestored => exchange::restore_store(cluster)?,
        FaultKind::StoreEmptied => exchange::return_data(cluster)?,
        FaultKind::EnginePaused => host.signal_unit(ENGINE, Signal::CONT)?,
        FaultKind::CleanReboot
        | FaultKind::DaemonKilled
        | FaultKind::DaemonRestarted
        | FaultKind::Upgraded
        | FaultKind::Compacted
        | FaultKind::EngineKilled
        | FaultKind::BusKilled
        | FaultKind::Reexecuted => {}
    }
    Ok(())
}

fn hosts_with_power(cluster: &Cluster) -> impl Iterator<Item = &Host> {
    cluster.hosts().iter().filter(|host| host.is_up())
}

/// Has a host lose what comes in or goes out over its cable; loopback stays.
fn drop_packets(cluster: &Cluster, host: &Host, chain: &str, matching: &str) -> Result<()> {
    let card = if chain == "INPUT" { "-i eth0" } else { "-o eth0" };
    cluster.run(host, &format!("iptables -I {chain} {card} {matching} -j DROP")).map(|_| ())
}

/// The host may have been booted meanwhile: then there is nothing to be taken back.
fn let_packets_pass(cluster: &Cluster, host: &Host, chain: &str) -> Result<()> {
    cluster.run_shell(host, &format!("iptables -F {chain}")).map(|_| ())
}

/// Runs a command on one host after the other until it succeeds: which of them are out of reach is chance's.
fn run_on_any_host(cluster: &Cluster, line: &str) -> Result<()> {
    let mut last = None;
    for host in hosts_with_power(cluster) {
        match cluster.run(host, line) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no host has power")?)
}

/// The file of a package on a host.
pub(super) fn build_file(number: usize) -> String {
    format!("/root/muster-{number}.deb")
}

/// Installs a package over the one that is there, as docs/operations.md says.
fn install_build(cluster: &Cluster, host: &Host, number: usize) -> Result<()> {
    let package = build_file(number);
    let line = format!(
        "DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install {package} </dev/null"
    );
    cluster.run(host, &line).map(|_| ())
}

/// Drops the history up to now.
fn compact(cluster: &Cluster) -> Result<()> {
    let line = "revision=$(timeout 2 etcdctl get / --write-out=fields | sed -n 's/^\"Revision\" : //p') && \
                timeout 5 etcdctl compact $revision";
    run_on_any_host(cluster, line)
}

/// Has etcd say that its space is used up, as a member does that has reached its quota: it takes no writes until the alarm is
/// taken back. etcdctl can only do the latter, so etcd's gateway is asked.
fn fill_store(cluster: &Cluster) -> Result<()> {
    let body = "{\"action\":\"ACTIVATE\",\"memberID\":\"1\",\"alarm\":\"NOSPACE\"}";
    let url = format!("http://127.0.0.1:{ETCD_PORT}/v3/maintenance/alarm");
    run_on_any_host(cluster, &format!("curl --fail --silent --max-time 2 --data '{body}' {url}"))
}
