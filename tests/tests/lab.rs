//! The lab itself: what the other end-to-end tests rest on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use muster_tests::lab::{Host, Lab, Options, Signal, wait_until};

/// Generous: what is waited for takes moments on a machine that does nothing else.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Tells the second process of a test, which is this very program, what to do.
const ABANDON: &str = "MUSTER_LAB_ABANDON";

fn bare(hosts: u8) -> Options {
    Options { hosts, etcd: false, ..Options::default() }
}

#[test]
fn hosts_lose_power_and_come_back_as_the_same_machines() -> Result<()> {
    let lab = Lab::start(&Options::default())?;
    let host = lab.host(1)?;
    host.write_file("/etc/kept", "on disk")?;
    host.write_file("/run/lost", "in memory")?;
    assert!(host.is_active("etcd.service"));

    host.power_cut()?;
    assert!(!host.is_up());
    assert!(!host.is_active("etcd.service"));
    assert!(host.exec(&["true"]).is_err());
    assert!(lab.http_get(host, 2379, "/health").is_err());
    // Two of three members are a quorum.
    lab.wait_for_etcd()?;

    host.power_on()?;
    assert_eq!(host.read_file("/etc/machine-id")?.trim(), host.machine_id());
    assert_eq!(host.exec(&["hostname"])?.stdout.trim(), host.name());
    assert_eq!(host.read_file("/etc/kept")?, "on disk");
    assert!(host.read_file("/run/lost").is_err());
    lab.wait_for_etcd()?;

    host.cut_network()?;
    assert!(lab.http_get(host, 2379, "/health").is_err());
    assert!(host.is_active("etcd.service"), "a pulled cable ends nothing");
    host.restore_network()?;
    lab.wait_for_etcd()?;

    host.reboot()?;
    assert!(host.is_up());
    lab.wait_for_etcd()?;
    host.shutdown()?;
    assert!(!host.is_up());
    host.power_on()?;
    lab.wait_for_etcd()?;

    // Switched off by somebody on it.
    let _ = host.exec(&["systemctl", "poweroff"])?;
    wait_until("the host to go down", WAIT_LIMIT, || {
        if host.is_up() { Err("it is up") } else { Ok(()) }
    })?;
    host.power_on()?;
    lab.wait_for_etcd()?;
    lab.tear_down()
}

#[test]
fn a_host_that_asks_for_a_reboot_comes_back_as_the_same_machine_or_stays_down() -> Result<()> {
    let lab = Lab::start(&bare(2))?;
    let (host, other) = (lab.host(0)?, lab.host(1)?);
    let reboot_call = "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager Reboot b false";
    let answers = |host: &Host| -> Result<()> {
        let address = host.address().to_string();
        let took = wait_until("an answer", WAIT_LIMIT, || {
            other.exec(&["ping", "-c1", "-W1", &address])?.ensure_success().map(|_| ())
        })?;
        eprintln!("answers after {:.1} s", took.as_secs_f64());
        Ok(())
    };
    let kernel = |host: &Host| host.read_file("/proc/sys/kernel/random/boot_id");
    // When PID 1 was started, as a program on the host finds it.
    let started = |host: &Host| -> Result<String> {
        let stat = host.read_file("/proc/1/stat")?;
        Ok(stat.split_ascii_whitespace().nth(21).unwrap_or_default().to_owned())
    };
    host.write_file("/etc/kept", "on disk")?;
    for round in 0..2 {
        host.write_file("/run/lost", "in memory")?;
        let (init, kernel_before, started_before) =
            (host.init_process(), kernel(host)?, started(host)?);
        host.exec(&["systemctl", "daemon-reexec"])?.ensure_success()?;
        assert_eq!(host.init_process(), init, "systemd executed anew is no boot");
        assert_eq!(started(host)?, started_before);
        // logind goes down with its host and may not live to answer.
        let _ = host.exec(&["sh", "-c", reboot_call])?;
        let Some(init) = init else { bail!("the host was not up") };
        let took = host.wait_for_reboot(init, WAIT_LIMIT)?;
        eprintln!("reboot {round}: {:.1} s", took.as_secs_f64());
        assert_eq!(host.read_file("/etc/machine-id")?.trim(), host.machine_id());
        assert_eq!(host.read_file("/etc/kept")?, "on disk");
        assert!(host.read_file("/run/lost").is_err(), "/run is empty after a boot");
        // nspawn gives each boot its own, as a kernel does.
        assert_ne!(kernel(host)?, kernel_before);
        assert_ne!(started(host)?, started_before);
        answers(host)?;
    }

    host.stay_down(true)?;
    let _ = host.exec(&["sh", "-c", reboot_call])?;
    host.wait_for_the_end(WAIT_LIMIT)?;
    assert!(!host.is_up());
    host.stay_down(false)?;
    eprintln!("switched on: {:.1} s", host.power_on()?.as_secs_f64());
    assert_eq!(host.read_file("/etc/kept")?, "on disk");
    answers(host)?;
    host.reboot()?;
    answers(host)?;
    lab.tear_down()
}

#[test]
fn kept_labs_have_names_and_each_is_entered_and_taken_away_by_its_own() -> Result<()> {
    let named = |name: &str| Options { name: Some(name.to_owned()), ..bare(1) };
    Lab::start(&named("test-one"))?.keep_running()?;
    let taken = Lab::start(&named("test-one")).err().map(|error| error.to_string());
    let other = Lab::start(&named("test-other"))?;
    assert!(Lab::find_kept(Some("test-other")).is_err(), "it was not kept yet");
    other.keep_running()?;
    let found = Lab::find_kept(Some("test-one"))?;
    assert_eq!((found.name.as_str(), found.own), ("test-one", true));
    let several = Lab::find_kept(None).err().map(|error| error.to_string());
    let nobody = Lab::find_kept(Some("test-nobody")).err().map(|error| error.to_string());
    found.lab.tear_down()?;
    let left = Lab::find_kept(Some("test-other"))?;
    assert!(left.lab.host(0)?.exec(&["true"])?.ensure_success().is_ok(), "the other one lives on");
    assert!(Lab::find_kept(Some("test-one")).is_err());
    left.lab.tear_down()?;
    for (error, word) in [
        (taken, "cargo xtask lab down test-one"),
        (several, "test-one, test-other"),
        (nobody, "no lab called test-nobody was kept"),
    ] {
        assert!(error.as_ref().is_some_and(|error| error.contains(word)), "{word}: {error:?}");
    }
    Ok(())
}

#[test]
fn a_limit_of_the_kernel_that_hosts_need_is_raised() -> Result<()> {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let before = std::fs::read_to_string(LIMIT)?;
    // Nothing gets one any more: a systemd would hang in its boot.
    std::fs::write(LIMIT, "1")?;
    let lab = Lab::start(&bare(1));
    let after: u32 = std::fs::read_to_string(LIMIT)?.trim().parse()?;
    std::fs::write(LIMIT, before)?;
    lab?.tear_down()?;
    assert!(after >= 1024, "{after}");
    Ok(())
}

#[test]
fn a_host_that_hangs_in_its_shutdown_says_what_holds_it_up() -> Result<()> {
    let lab = Lab::start(&bare(1))?;
    let host = lab.host(0)?;
    let unit =
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 600\nTimeoutStopSec=600\n";
    host.write_file("/run/systemd/system/stuck.service", unit)?;
    host.exec(&["systemctl", "start", "stuck"])?.ensure_success()?;
    let _ = host.exec(&["systemctl", "--no-block", "poweroff"])?;
    let error = host.wait_for_the_end(Duration::from_secs(3)).err().map(|error| error.to_string());
    assert!(
        error.as_ref().is_some_and(|error| error.contains("stuck.service (process")),
        "{error:?}"
    );
    lab.tear_down()
}

#[test]
fn replicas_are_asked_all_the_time() -> Result<()> {
    let lab = Lab::start(&bare(2))?;
    let (one, other) = (lab.host(0)?, lab.host(1)?);
    // Reads the request up to its blank line, then answers.
    let answer = "while read -r line && [ ${#line} -gt 1 ]; do :; done\nprintf 'HTTP/1.0 200 OK\\r\\n\\r\\nhere\\n'\n";
    let unit = "[Service]\nExecStart=/usr/bin/systemd-socket-activate --listen=%i --accept --inetd /bin/sh /etc/answer\n";
    for (host, port) in [(one, 8001), (other, 8002)] {
        host.write_file("/etc/answer", answer)?;
        host.write_file("/run/systemd/system/replica@.service", unit)?;
        host.exec(&["systemctl", "start", &format!("replica@{port}")])?.ensure_success()?;
        wait_until("an answer", WAIT_LIMIT, || lab.http_get(host, port, "/").map(|_| ()))?;
    }
    let both =
        || lab.http_get(one, 8001, "/").and_then(|_| lab.http_get(other, 8002, "/")).map(|_| ());
    let ((), calm) = lab.sample_while(&[8001, 8002], both)?;
    assert_eq!(calm.fewest_answering(), 2, "{calm:?}");
    let ((), samples) = lab.sample_while(&[8001, 8002], || {
        other.exec(&["systemctl", "start", "replica@8001"])?.ensure_success()?;
        one.reboot()?;
        other.exec(&["systemctl", "stop", "replica@8001"])?.ensure_success()?;
        // Runtime files are gone with the boot.
        one.write_file("/run/systemd/system/replica@.service", unit)?;
        one.exec(&["systemctl", "start", "replica@8001"])?.ensure_success()?;
        wait_until("an answer", WAIT_LIMIT, || lab.http_get(one, 8001, "/").map(|_| ()))?;
        other.power_cut()
    })?;
    assert_eq!(
        samples.time_away(1),
        Duration::ZERO,
        "8002 was there until the power cut: {samples:?}"
    );
    assert!(samples.fewest_answering() >= 1, "{samples:?}");
    assert!(lab.sample_while(&[8001], || -> Result<()> { bail!("no") }).is_err());
    lab.tear_down()
}

#[test]
fn units_are_seen_and_signalled_from_outside() -> Result<()> {
    let lab = Lab::start(&bare(1))?;
    let host = lab.host(0)?;
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n";
    host.write_file("/run/systemd/system/seen@.service", unit)?;
    host.exec(&["systemctl", "start", "seen@a", "seen@b"])?.ensure_success()?;
    assert_eq!(
        host.active_units(|name| name.starts_with("seen@")),
        ["seen@a.service", "seen@b.service"]
    );
    assert_eq!(host.count_instances("seen"), 2);
    host.signal_unit("seen@a.service", Signal::KILL)?;
    wait_until("the killed unit to go", WAIT_LIMIT, || {
        if host.is_active("seen@a.service") { Err("it is there") } else { Ok(()) }
    })?;
    assert!(host.is_active("seen@b.service"));
    assert!(host.signal_unit("seen@a.service", Signal::KILL).is_err());
    lab.tear_down()
}

#[test]
fn two_runs_do_not_meet() -> Result<()> {
    let (one, other) = (Lab::start(&bare(2))?, Lab::start(&bare(2))?);
    assert_eq!(one.host(0)?.address(), other.host(0)?.address());
    assert_ne!(one.host(0)?.machine_id(), other.host(0)?.machine_id());
    let address = one.host(1)?.address().to_string();
    let ping = ["ping", "-c1", "-W60", &address];
    one.host(0)?.exec(&ping)?.ensure_success()?;
    one.host(1)?.power_cut()?;
    other.host(0)?.exec(&ping)?.ensure_success()?;
    one.tear_down()?;
    other.host(0)?.exec(&ping)?.ensure_success()?;
    other.tear_down()
}

#[test]
fn what_a_crashed_run_left_is_gone_after_the_next_start() -> Result<()> {
    if std::env::var_os(ABANDON).is_some() {
        // The second process: makes a host and dies without a word to anybody.
        let lab = Lab::start(&bare(1))?;
        println!("machine {}", lab.host(0)?.machine_id());
        std::process::abort();
    }
    let name = "what_a_crashed_run_left_is_gone_after_the_next_start";
    let crashed = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(ABANDON, "yes")
        .output()?;
    let output_text = String::from_utf8_lossy(&crashed.stdout).into_owned();
    let id = output_text
        .lines()
        .find_map(|line| line.split_once("machine "))
        .map(|(_, id)| id.to_owned());
    let id = id.unwrap_or_else(|| panic!("the run did not crash where it should: {crashed:?}"));
    assert!(processes_know(&id), "a crash leaves the host running, or this test tests nothing");

    let lab = Lab::start(&bare(1))?;
    assert_ne!(lab.host(0)?.machine_id(), id);
    assert!(!processes_know(&id), "a process of the crashed run still runs");
    let before = mounts();
    lab.tear_down()?;
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
