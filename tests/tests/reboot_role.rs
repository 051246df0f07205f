//! One machine of three is asked to reboot: real slots, a real logind, a real boot. What becomes of a roll of three is tested
//! elsewhere; here the road itself is.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL, WAIT_LIMIT};
use muster_tests::lab::Host;
use serde::Deserialize;

/// A host's record of how far it is, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Status {
    phase: String,
}

#[test]
fn a_machine_that_is_asked_reboots_and_gives_its_slot_back() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    cluster.for_each_host(|_, host| {
        let variables = "Environment=MUSTER_REBOOT_SETTLE=3s MUSTER_REBOOT_DRAIN_TIMEOUT=30s";
        let line = format!(
            "mkdir -p /etc/systemd/system/musterd.service.d && printf '[Service]\\n{variables}\\n' \
             > /etc/systemd/system/musterd.service.d/reboot.conf && systemctl daemon-reload && systemctl restart musterd"
        );
        cluster.run(host, &line).map(|_| ())
    })?;
    cluster.wait_for_machines(3)?;

    cluster.step("a service with a replica on each machine");
    let first = cluster.host(0)?;
    cluster.write_sleeper(first, "web@.service", "Conflicts=web@*.service\n")?;
    cluster.run(first, "musterctl start web@1 web@2 web@3")?;
    let asked = cluster.host(1)?;
    let before = asked.init_process().context("the host does not run")?;

    cluster.step("the second machine is asked to reboot");
    let began = Instant::now();
    let id = asked.machine_id();
    cluster.run(first, &format!("musterctl reboot request --because test {id}"))?;
    asked.wait_for_reboot(before, WAIT_LIMIT)?;
    cluster.report_duration("asked and booted again", began.elapsed());
    cluster.wait_for_condition("the slot to be free", || {
        let record = "etcdctl get --print-value-only /muster/v1/reboot/default";
        let record = cluster.run(first, record)?.stdout;
        ensure!(record.contains("\"holders\":[]"), "{record}");
        Ok(())
    })?;
    cluster.report_duration("the slot is free", began.elapsed());
    ensure!(asked.count_instances("web") == 1, "its replica is not back when the slot is free");
    cluster.wait_for_condition("the machine to be at rest", || {
        let status = status(&cluster, first, id)?;
        ensure!(status.phase == "idle", "{status:?}");
        Ok(())
    })?;
    let history = cluster.run(first, "musterctl reboot history")?.stdout;
    ensure!(history.contains("rebooted"), "{history}");
    eprintln!("{history}");
    let again = asked.init_process().context("the host does not run")?;
    ensure!(again.is_alive(), "it reboots once more");
    let wishes = cluster.list_keys(first, "reboot-request/")?;
    ensure!(wishes.is_empty(), "the wish was fulfilled and stands: {wishes:?}");
    ensure!(cluster.list_keys(first, "cordon/")?.is_empty(), "it is cordoned still");
    ensure!(began.elapsed() < Duration::from_secs(300), "it took too long");
    cluster.tear_down()
}

fn status(cluster: &Cluster, from: &Host, id: &str) -> Result<Status> {
    cluster.json(from, &format!("etcdctl get --print-value-only /muster/v1/reboot-host/{id}"))
}
