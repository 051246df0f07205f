//! Daemons killed in each phase of their hosts' reboots: each host reboots once, in its turn, and nothing is left.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Signal, wait_closely};
use muster_tests::reboots::{DEFAULT, ROLL_TIMEOUT, Reboots, format_history, options_with};
use serde::Deserialize;

const MUSTERD: &str = "musterd.service";

/// What a daemon keeps of its host's reboot on disk.
const JOURNAL: &str = "/var/lib/muster/reboot.json";

/// How often the journal is looked at: some phases last no longer than a commit of the store.
const CLOSELY: Duration = Duration::from_millis(1);

/// The commands there are, by the name they are run with.
const COMMANDS: [&str; 4] = ["check", "before-drain", "before-reboot", "after-boot"];

/// A command that hangs for ever the first time it is run in a boot, so that the daemon that runs it has to be killed, and
/// ends well the next time.
const HANGS_ONCE: &str = r#"#!/bin/sh
seen=/run/hung-$1
test -e $seen || { : > $seen; exec sleep infinity; }
echo "$1" >> /etc/ran
"#;

/// What a daemon that runs a command is killed in; some commands are named as their phase.
fn running(command: &str) -> String {
    format!("the {command} command")
}

#[derive(Debug, Deserialize)]
struct Journal {
    phase: String,
}

/// Kills the daemon of a host once in each phase that is seen and once while each command runs, until the host is idle again
/// after its reboot. The phases and the commands.
fn kill_in_each_phase(cluster: &Cluster, host: &Host) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    let mut init = host.init_process();
    let what = format!("{} to be through", host.name());
    wait_closely(&what, ROLL_TIMEOUT, CLOSELY, || {
        let Some(boot) = init.filter(|init| init.is_alive()) else {
            init = host.init_process();
            return Err(format!("it is off; {seen:?}"));
        };
        let journal = host.peek_file(boot, JOURNAL);
        let journal = journal.and_then(|text| serde_json::from_str::<Journal>(&text).ok());
        let Some(Journal { phase }) = journal else { return Err(format!("no journal; {seen:?}")) };
        if phase == "idle" {
            return if seen.contains("settling") { Ok(()) } else { Err("it is idle".to_owned()) };
        }
        let hangs = |name: &&&str| host.peek_file(boot, &format!("/run/hung-{name}")).is_some();
        let command = COMMANDS.iter().filter(hangs).map(|name| running(name));
        let now = command.into_iter().find(|command| !seen.contains(command)).unwrap_or(phase);
        if !seen.contains(&now) && host.signal_unit(MUSTERD, Signal::KILL).is_ok() {
            cluster.step(&format!("{}: musterd is killed in {now}", host.name()));
            seen.insert(now.clone());
        }
        Err(format!("it is in {now}; {seen:?}"))
    })?;
    Ok(seen)
}

#[test]
fn a_daemon_killed_in_each_phase_ends_as_if_it_had_not_been() -> Result<()> {
    let hooks = "settle = \"3s\"\nretry = \"1s\"\n\
                 check = [\"/etc/hangs-once\", \"check\"]\n\
                 before_drain = [\"/etc/hangs-once\", \"before-drain\"]\n\
                 before_reboot = [\"/etc/hangs-once\", \"before-reboot\"]\n\
                 after_boot = [\"/etc/hangs-once\", \"after-boot\"]";
    let cluster = Cluster::start(options_with(hooks))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    cluster.for_each_host(|_, host| {
        host.write_file("/etc/hangs-once", HANGS_ONCE)?;
        host.exec(&["chmod", "+x", "/etc/hangs-once"])?.ensure_success()
    })?;
    let first = cluster.host(0)?;
    cluster.write_examples(first, &["web@.service"])?;
    cluster.run(first, "musterctl start web@1 web@2 web@3")?;

    cluster.step("all of them want to reboot");
    cluster.for_each_host(|_, host| cluster.run(host, "musterctl reboot request"))?;
    let (killed, samples) = cluster.sample_while(&[8001, 8002, 8003], || {
        cluster.for_each_host(|_, host| kill_in_each_phase(&cluster, host))
    })?;
    let all: BTreeSet<String> = killed.iter().flatten().cloned().collect();
    cluster.step(&format!("killed in {all:?}"));
    // The others last as long as a commit of the store and are met by chance.
    for phase in
        ["due", "waiting", "draining", "before-reboot", "rebooting", "returned", "settling"]
    {
        ensure!(all.contains(phase), "nobody was killed in {phase}: {all:?}");
    }
    for (host, killed) in cluster.hosts().iter().zip(&killed) {
        for command in COMMANDS {
            let command = running(command);
            ensure!(killed.contains(&command), "{} was not killed in {command}", host.name());
        }
    }

    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    let hosts: BTreeSet<&str> = history.iter().map(|entry| entry.id.as_str()).collect();
    ensure!(hosts.len() == 3, "{}", format_history(&history));
    ensure!(history.iter().all(|one| one.outcome == "rebooted"), "{}", format_history(&history));
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().all(|count| *count == 1), "each should have booted once: {boots:?}");
    ensure!(
        samples.fewest_answering() >= 2,
        "at one time {} replicas answered",
        samples.fewest_answering()
    );
    for host in cluster.hosts() {
        reboots.wait_for_phase(host, "idle")?;
        let ran = host.read_file("/etc/ran")?;
        for command in COMMANDS {
            ensure!(ran.lines().any(|line| line == command), "{command} did not end: {ran}");
        }
    }
    for below in ["cordon/", "reboot-request/"] {
        let left = cluster.list_keys(first, below)?;
        ensure!(left.is_empty(), "{left:?} is left");
    }
    cluster.wait_until_settled()?;
    for unit in ["web@1.service", "web@2.service", "web@3.service"] {
        cluster.host_of(unit)?;
    }
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn a_daemon_killed_while_it_gives_up_gives_its_slot_back() -> Result<()> {
    // Nothing ends well here but giving up, again and again, with a daemon that is killed in the middle of it.
    let lines = "settle = \"1s\"\nretry = \"1s\"\n\
                 before_drain = [\"/bin/false\"]";
    let cluster = Cluster::start(options_with(lines))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let host = cluster.host(0)?;
    let init = host.init_process().context("n1 is off")?;
    cluster.run(host, "musterctl reboot request")?;
    let mut kills = 0;
    wait_closely("three kills while it gives up", ROLL_TIMEOUT, CLOSELY, || {
        let journal = host.peek_file(init, JOURNAL);
        let journal = journal.and_then(|text| serde_json::from_str::<Journal>(&text).ok());
        let giving_up = journal.is_some_and(|journal| journal.phase == "giving-up");
        if giving_up && host.signal_unit(MUSTERD, Signal::KILL).is_ok() {
            kills += 1;
        }
        ensure!(kills >= 3, "{kills}");
        Ok(())
    })?;
    cluster.step("killed three times while it gave up; now it is not due any more");
    cluster.wait_for_condition("the wish to be withdrawn", || {
        cluster.run(host, "musterctl reboot cancel").map(|_| ())
    })?;
    reboots.wait_for_phase(host, "idle")?;
    let holders = reboots.list_holders(DEFAULT)?;
    ensure!(holders.is_empty(), "{holders:?}");
    let history = reboots.read_history(DEFAULT)?;
    ensure!(!history.is_empty(), "it never held a slot");
    ensure!(history.iter().all(|entry| entry.outcome == "gave-up"), "{}", format_history(&history));
    let cordons = cluster.list_keys(host, "cordon/")?;
    ensure!(cordons.is_empty(), "{cordons:?}");
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().all(|count| *count == 0), "nobody should have booted: {boots:?}");
    cluster.assert_sound()?;
    cluster.tear_down()
}
