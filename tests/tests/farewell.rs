//! A host that goes down in order: what it ran runs elsewhere as soon as it is down there, whatever the rest takes, and nothing new
//! comes to it. No lease ends meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL};
use muster_tests::lab::Options;

/// Is down when a person says so, and not before.
const SLOW: &str = "\
[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c 'until test -e /root/let-go; do sleep 0.1; done'
TimeoutStopSec=300
";

#[test]
fn units_of_a_host_that_goes_move_as_each_is_down() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    cluster.write_unit(
        first,
        "app-slow.service",
        &format!("{SLOW}\n[X-Fleet]\nConflicts=app-slow.service\n"),
    )?;
    let quick: Vec<String> = (1..=6).map(|number| format!("app{number}.service")).collect();
    for unit in &quick {
        cluster.write_sleeper(first, unit, "")?;
    }
    cluster.run(first, &format!("musterctl start app-slow.service {}", quick.join(" ")))?;
    let going = cluster.host_of("app-slow.service")?;
    let asked = cluster.other_host(&[going])?;
    let its: Vec<String> = quick.iter().filter(|unit| going.is_active(unit)).cloned().collect();
    ensure!(!its.is_empty(), "{} runs none of the quick ones", going.name());

    cluster.step(&format!(
        "{} goes down: what is quick runs elsewhere while the slow one stops",
        going.name()
    ));
    going.exec(&["systemctl", "poweroff"])?;
    for unit in &its {
        let took = cluster.moves_away(unit, &[going])?;
        cluster.report_duration(unit, took);
    }
    ensure!(going.is_active("app-slow.service"), "the slow one is down already");
    ensure!(cluster.active_on("app-slow.service").len() == 1, "the slow one runs twice");

    cluster.step("  nothing new comes to it");
    for number in 1..=3 {
        let unit = format!("app-new{number}.service");
        cluster.write_sleeper(asked, &unit, "")?;
        cluster.run(asked, &format!("musterctl start {unit}"))?;
        ensure!(cluster.host_of(&unit)?.name() != going.name(), "{unit} came to it");
    }

    cluster.step("  the slow one runs elsewhere as soon as it is down");
    going.write_file("/root/let-go", "")?;
    for host in cluster.hosts().iter().filter(|host| host.name() != going.name()) {
        cluster.run(host, "touch /root/let-go")?;
    }
    let took = cluster.moves_away("app-slow.service", &[going])?;
    cluster.report_duration("the slow one", took);
    going.wait_for_the_end(muster_tests::cluster::WAIT_LIMIT)?;

    cluster.step("it is back: it is a machine like the others, and nothing moves");
    let before = cluster.list_running(|unit| unit.starts_with("app"))?;
    going.power_on()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.ensure_unchanged(&before, |unit| unit.starts_with("app"))?;
    let back = cluster.machines(asked)?;
    back.iter().find(|row| row.machine == going.machine_id()).context("it is not back")?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// Less than what is left of a lease of [`LONG_TTL`].
const BEFORE_ANY_LEASE: Duration = Duration::from_secs(15);

/// Ends when it is told to.
const HEEDS: &str =
    "Network=none\nExec=sh -c 'trap \"exit 0\" TERM; sleep infinity & wait'\nStopTimeout=30\n";

#[test]
fn containers_of_a_host_that_goes_move_as_each_is_down() -> Result<()> {
    let provision = vec!["--ttl".to_owned(), LONG_TTL.to_owned()];
    let cluster = Cluster::start(Options { containers: true, provision, ..Options::default() })?;
    let first = cluster.host(0)?;
    let (keeps, plain) = ("app-keeps.container", "app-plain.container");
    let container = format!("[Container]\nImage=busybox:latest\nPull=never\n{HEEDS}");
    cluster.write_unit(first, "app-data.volume", "[Volume]\n")?;
    cluster.write_unit(first, keeps, &format!("{container}Volume=app-data.volume:/data\n"))?;
    let beside = format!("{container}\n[X-Fleet]\nMachineOf={keeps}\n");
    cluster.write_unit(first, plain, &beside)?;
    cluster.run(first, "musterctl submit app-data.volume")?;
    cluster.run(first, &format!("musterctl start {keeps} {plain}"))?;
    let going = cluster.host_of(keeps)?;

    cluster
        .step(&format!("{} goes down: Muster stops its containers, and then Docker", going.name()));
    going.exec(&["systemctl", "poweroff"])?;
    for unit in [plain, keeps] {
        let took = cluster.moves_away(unit, &[going])?;
        cluster.report_duration(unit, took);
        ensure!(took < BEFORE_ANY_LEASE, "{unit} took {took:?}: it waited for a lease to end");
    }
    let took = going.wait_for_the_end(muster_tests::cluster::WAIT_LIMIT)?;
    cluster.report_duration("until it was off", took);
    cluster.assert_sound()?;
    cluster.tear_down()
}
