//! A host that goes down in order: what it ran runs elsewhere as soon as it is down there, whatever the rest takes, and nothing new
//! comes to it. No lease ends meanwhile.

use anyhow::{Context as _, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL};

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
