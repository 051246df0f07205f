//! The lab itself: what the other end-to-end tests rest on.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use muster_tests::lab::{Lab, Options, Signal, wait_until};

/// Tells the second process of a test, which is this very program, what to do.
const ABANDON: &str = "MUSTER_LAB_ABANDON";

fn bare(hosts: u8) -> Options {
    Options { hosts, etcd: false, ..Options::default() }
}

#[test]
fn hosts_lose_power_and_come_back_as_the_same_machines() -> Result<()> {
    let lab = Lab::up(&Options::default())?;
    let host = lab.host(1)?;
    host.write_file("/etc/kept", "on disk")?;
    host.write_file("/run/lost", "in memory")?;
    assert!(host.is_active("etcd.service"));

    host.power_cut()?;
    assert!(!host.is_up());
    assert!(!host.is_active("etcd.service"));
    assert!(host.exec(&["true"]).is_err());
    assert!(lab.http(host, 2379, "/health").is_err());
    // Two of three members are a quorum.
    lab.wait_for_etcd()?;

    host.boot()?;
    assert_eq!(host.read_file("/etc/machine-id")?.trim(), host.machine_id());
    assert_eq!(host.exec(&["hostname"])?.stdout.trim(), host.name());
    assert_eq!(host.read_file("/etc/kept")?, "on disk");
    assert!(host.read_file("/run/lost").is_err());
    lab.wait_for_etcd()?;

    host.partition()?;
    assert!(lab.http(host, 2379, "/health").is_err());
    assert!(host.is_active("etcd.service"), "a pulled cable ends nothing");
    host.heal()?;
    lab.wait_for_etcd()?;

    host.reboot()?;
    assert!(host.is_up());
    lab.wait_for_etcd()?;
    host.shutdown()?;
    assert!(!host.is_up());
    host.boot()?;
    lab.wait_for_etcd()?;
    lab.down()
}

#[test]
fn units_are_seen_and_signalled_from_outside() -> Result<()> {
    let lab = Lab::up(&bare(1))?;
    let host = lab.host(0)?;
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n";
    host.write_file("/run/systemd/system/seen@.service", unit)?;
    host.exec(&["systemctl", "start", "seen@a", "seen@b"])?.success()?;
    assert_eq!(
        host.active_units(|name| name.starts_with("seen@")),
        ["seen@a.service", "seen@b.service"]
    );
    assert_eq!(host.count_instances("seen"), 2);
    host.signal_unit("seen@a.service", Signal::KILL)?;
    wait_until("the killed unit to go", Duration::from_secs(10), || {
        if host.is_active("seen@a.service") { Err("it is there") } else { Ok(()) }
    })?;
    assert!(host.is_active("seen@b.service"));
    assert!(host.signal_unit("seen@a.service", Signal::KILL).is_err());
    lab.down()
}

#[test]
fn two_runs_do_not_meet() -> Result<()> {
    let (one, other) = (Lab::up(&bare(2))?, Lab::up(&bare(2))?);
    assert_eq!(one.host(0)?.address(), other.host(0)?.address());
    assert_ne!(one.host(0)?.machine_id(), other.host(0)?.machine_id());
    let address = one.host(1)?.address().to_string();
    let ping = ["ping", "-c1", "-W5", &address];
    one.host(0)?.exec(&ping)?.success()?;
    one.host(1)?.power_cut()?;
    other.host(0)?.exec(&ping)?.success()?;
    one.down()?;
    other.host(0)?.exec(&ping)?.success()?;
    other.down()
}

#[test]
fn what_a_crashed_run_left_is_gone_after_the_next_start() -> Result<()> {
    if std::env::var_os(ABANDON).is_some() {
        // The second process: makes a host and dies without a word to anybody.
        let lab = Lab::up(&bare(1))?;
        println!("machine {}", lab.host(0)?.machine_id());
        std::process::abort();
    }
    let name = "what_a_crashed_run_left_is_gone_after_the_next_start";
    let crashed = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(ABANDON, "yes")
        .output()?;
    let said = String::from_utf8_lossy(&crashed.stdout).into_owned();
    let id = said.lines().find_map(|line| line.split_once("machine ")).map(|(_, id)| id.to_owned());
    let id = id.unwrap_or_else(|| panic!("the run did not crash where it should: {crashed:?}"));
    assert!(processes_know(&id), "a crash leaves the host running, or this test tests nothing");

    let lab = Lab::up(&bare(1))?;
    assert_ne!(lab.host(0)?.machine_id(), id);
    assert!(!processes_know(&id), "a process of the crashed run still runs");
    let before = mounts();
    lab.down()?;
    assert!(mounts().lines().count() < before.lines().count(), "the disk is still mounted");
    Ok(())
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// Whether any process on this machine sees the disk of the host with this machine id.
fn processes_know(id: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        std::fs::read_to_string(process.path().join("root/etc/machine-id"))
            .is_ok_and(|found| found.trim() == id)
    })
}
