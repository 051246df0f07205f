//! Members of etcd, daemons and cables that fail: nothing stops, starts or moves that should not, and everything comes
//! back.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, Running};
use muster_tests::lab::{Host, Options, Signal};

/// Long enough that a host which is busy with something else is not lost, short beside what a test may take.
const TTL: &str = "10s";

/// What a user is told by a daemon that has no store.
const NO_STORE: &str = "the store cannot be reached";

const ETCD: &str = "etcd.service";
const MUSTERD: &str = "musterd.service";

fn ours(unit: &str) -> bool {
    unit.starts_with("app")
}

/// Six units, two on each host.
fn six_units(cluster: &Cluster) -> Result<Running> {
    let first = cluster.host(0)?;
    let apps: Vec<String> = (1..=6).map(|number| format!("app{number}.service")).collect();
    for app in &apps {
        cluster.write_sleeper(first, app, "")?;
    }
    cluster.run(first, &format!("musterctl start {}", apps.join(" ")))?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 6, "{}", Cluster::format_running(&running));
    Ok(running)
}

/// Writes and reads through this host's daemon.
fn works(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.write_sleeper(host, "probe.service", "")?;
    let probe = || {
        cluster.run(host, "musterctl start --timeout 30 probe.service")?;
        cluster.host_of("probe.service")?;
        cluster.run(host, "musterctl destroy --timeout 30 probe.service").map(|_| ())
    };
    // A daemon whose connection has just died may say so once or twice before it has another.
    let took = cluster.wait_for_condition(&format!("a unit through {}", host.name()), probe)?;
    cluster.report_duration(&format!("a unit started and destroyed through {}", host.name()), took);
    Ok(())
}

#[test]
fn etcd_fails_in_every_way_and_nothing_moves() -> Result<()> {
    let cluster = Cluster::with_ttl(TTL)?;
    let first = cluster.host(0)?;
    let running = six_units(&cluster)?;

    cluster.step("a member is paused: everything works, through the daemon beside it too");
    let host = cluster.find_leader()?;
    host.signal_unit(ETCD, Signal::STOP)?;
    for host in cluster.hosts() {
        works(&cluster, host)?;
    }
    cluster.wait_for_machines(3)?;
    cluster.ensure_unchanged(&running, ours)?;
    host.signal_unit(ETCD, Signal::CONT)?;
    cluster.wait_for_etcd()?;

    cluster.step("a member is stopped: the same");
    let host = cluster.find_leader()?;
    cluster.run(host, "systemctl stop etcd")?;
    for host in cluster.hosts() {
        works(&cluster, host)?;
    }
    cluster.wait_for_machines(3)?;
    cluster.ensure_unchanged(&running, ours)?;
    cluster.run(host, "systemctl start etcd")?;
    cluster.wait_for_etcd()?;
    cluster.wait_until_settled()?;

    cluster
        .step("two members are stopped: what is left takes no write, says so, and nothing changes");
    let left = cluster.host(0)?;
    for host in [cluster.host(1)?, cluster.host(2)?] {
        // Not waited for: the last but one cannot take leave of a quorum.
        cluster.run(host, "systemctl kill --signal=KILL etcd && systemctl stop etcd")?;
    }
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "store:")?;
        cluster.wait_until_unhealthy(host, "lease:")?;
    }
    cluster.write_sleeper(left, "late.service", "")?;
    for line in ["musterctl submit late.service", "musterctl destroy app1.service"] {
        let failed = cluster.run_failing(left, line, &[NO_STORE])?;
        cluster.report_duration(&format!("`{line}`: {}", failed.stderr.trim()), failed.took);
    }
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("musterd is restarted and killed in the outage");
    cluster.run(left, "systemctl restart musterd")?;
    cluster.host(1)?.signal_unit(MUSTERD, Signal::KILL)?;
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "store:")?;
    }
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("a whole host is rebooted in the outage: its units come back from disk");
    let rebooted = cluster.host(2)?;
    let its: Vec<String> = rebooted.active_units(ours);
    ensure!(its.len() == 2, "{its:?}");
    // It would be up again in a moment, and then only two members of three would be missing no longer.
    cluster.run(rebooted, "systemctl disable --quiet etcd")?;
    rebooted.power_cut()?;
    rebooted.power_on()?;
    let took = cluster.wait_for_condition("its units", || {
        let now = rebooted.active_units(ours);
        ensure!(now == its, "{now:?} instead of {its:?}");
        Ok(())
    })?;
    cluster.report_duration("from boot to its units running", took);
    cluster.wait_until_unhealthy(rebooted, "store:")?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 6, "{}", Cluster::format_running(&running));

    cluster.step("etcd is back: it converges, and nothing has moved");
    cluster.run(rebooted, "systemctl enable --quiet etcd")?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start etcd"))?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("no etcd when the daemons start: they say so, and go on when it comes");
    cluster.run(first, "musterctl destroy app1 app2 app3 app4 app5 app6")?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl stop musterd"))?;
    cluster.for_each_host(|_, host| {
        cluster.run(host, "systemctl kill --signal=KILL etcd; systemctl stop etcd")
    })?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start musterd"))?;
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "store:")?;
        cluster.run_failing(host, "musterctl list-units", &[NO_STORE])?;
    }
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start etcd"))?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    works(&cluster, first)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn hosts_cut_off_and_daemons_paused_do_no_harm() -> Result<()> {
    let cluster = Cluster::with_ttl(TTL)?;
    let six = six_units(&cluster)?;

    cluster.step("a host is cut off: its units run on there, and elsewhere as well");
    let cut = cluster.other_host(&[cluster.find_leader()?])?;
    cut_off(&cluster, cut)?;

    cluster.step("the leader's host is cut off");
    let cut = cluster.find_leader()?;
    cut_off(&cluster, cut)?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == six.len(), "{}", Cluster::format_running(&running));

    cluster.step("units on every host again");
    let first = cluster.host(0)?;
    cluster.run(first, "musterctl destroy app1 app2 app3 app4 app5 app6")?;
    six_units(&cluster)?;

    cluster.step(
        "two daemons, not the leader, are paused beyond their leases: half is too much to move",
    );
    let leader = cluster.find_leader()?;
    let others: Vec<&Host> =
        cluster.hosts().iter().filter(|host| host.name() != leader.name()).collect();
    frozen(&cluster, leader, &others)?;

    cluster.step("the leader and another are paused: whoever leads then sees it as well");
    let leader = cluster.find_leader()?;
    let another = cluster.other_host(&[leader])?;
    let left = cluster.other_host(&[leader, another])?;
    frozen(&cluster, left, &[leader, another])?;

    cluster.step(
        "the leader is paused beyond its lease while the cluster goes on: it writes no stale plan",
    );
    let leader = cluster.find_leader()?;
    let its: Vec<String> = leader.active_units(ours);
    let successor = cluster.other_host(&[leader])?;
    // Waiting for a place when the leader stops: whoever leads next places it, and only that counts.
    leader.signal_unit(MUSTERD, Signal::STOP)?;
    cluster.write_sleeper(successor, "late.service", "")?;
    cluster.wait_for_condition("another leader", || {
        let machines = cluster.machines(successor)?;
        ensure!(
            machines.iter().any(|row| row.leader && row.machine != leader.machine_id()),
            "{machines:?}"
        );
        Ok(())
    })?;
    cluster.run(successor, "musterctl start late.service")?;
    for unit in &its {
        cluster.moves_away(unit, &[leader])?;
    }
    let late = cluster.host_of("late.service")?;
    leader.signal_unit(MUSTERD, Signal::CONT)?;
    cluster.wait_for_machines(3)?;
    cluster.wait_for_condition("one copy of each", || {
        for unit in &its {
            let home = cluster.host_of(unit)?;
            ensure!(home.name() != leader.name(), "{unit} moved back");
        }
        ensure!(cluster.host_of("late.service")?.name() == late.name(), "late.service moved");
        Ok(())
    })?;
    let before = cluster.list_running(ours)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&before, ours)?;
    ensure!(before.len() == 6, "{}", Cluster::format_running(&before));
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// Cuts a host off until its units run elsewhere, and heals it: one copy of each is left, and nothing else moved.
fn cut_off(cluster: &Cluster, cut: &Host) -> Result<()> {
    let its = cut.active_units(ours);
    let there = cluster.list_running(ours)?;
    let its_own = |running: &Running| -> Running {
        running.iter().filter(|(host, _, _)| host == cut.name()).cloned().collect()
    };
    let not_its = |running: &Running| -> Running {
        running.iter().filter(|(_, unit, _)| !its.contains(unit)).cloned().collect()
    };
    cut.cut_network()?;
    for unit in &its {
        cluster.wait_for_condition(&format!("{unit} elsewhere"), || {
            let on = cluster.active_on(unit);
            ensure!(on.iter().any(|host| host.name() != cut.name()), "not yet");
            Ok(())
        })?;
    }
    let during = cluster.list_running(ours)?;
    ensure!(
        its_own(&during) == its_own(&there),
        "{} changed what it runs: before\n{}now\n{}",
        cut.name(),
        Cluster::format_running(&its_own(&there)),
        Cluster::format_running(&its_own(&during))
    );
    cluster.run_failing(cut, "musterctl list-units", &[NO_STORE])?;
    cut.restore_network()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_for_condition("one copy of each", || {
        for unit in &its {
            let home = cluster.host_of(unit)?;
            ensure!(home.name() != cut.name(), "{unit} moved back");
        }
        Ok(())
    })?;
    let after = cluster.list_running(ours)?;
    ensure!(not_its(&after) == not_its(&there), "a unit of another host was touched");
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&after, ours)
}

/// Pauses daemons beyond their leases: re-placement freezes, `/healthz` says so, and nothing moves, not even from the
/// machine whose lease ends first; then lets them go on.
fn frozen(cluster: &Cluster, left: &Host, paused: &[&Host]) -> Result<()> {
    let running = cluster.list_running(ours)?;
    for host in paused {
        host.signal_unit(MUSTERD, Signal::STOP)?;
    }
    cluster.wait_for_condition("a plan that tells of the freeze", || {
        let machines = cluster.machines(left)?;
        ensure!(machines.len() == 1, "{machines:?}");
        let (_, body) = cluster.fetch_health(left)?;
        for host in paused {
            ensure!(body.contains(host.machine_id()), "{} is not held: {body}", host.name());
        }
        Ok(())
    })?;
    cluster.ensure_unchanged(&running, ours)?;
    // New units are placed all the same, which shows that the leader decides and has decided not to move these.
    cluster.write_sleeper(left, "probe.service", "")?;
    cluster.run(left, "musterctl start --timeout 30 probe.service")?;
    cluster.run(left, "musterctl destroy --timeout 30 probe.service")?;
    cluster.ensure_unchanged(&running, ours)?;

    for host in paused {
        host.signal_unit(MUSTERD, Signal::CONT)?;
    }
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    let plan = cluster.run(left, "musterctl plan")?;
    ensure!(plan.stdout == "nothing to do\n", "{}", plan.stdout);
    cluster.ensure_unchanged(&running, ours)?;
    let (_, body) = cluster.fetch_health(left)?;
    ensure!(!body.contains("held"), "still frozen: {body}");
    Ok(())
}

#[test]
fn what_starts_from_disk_is_what_nobody_else_has() -> Result<()> {
    let cluster = Cluster::with_ttl(TTL)?;
    let running = six_units(&cluster)?;

    cluster.step(
        "a host is rebooted in order while there is no store: its units come back from its disk",
    );
    cluster.for_each_host(|_, host| {
        // Not waited for: the last but one cannot take leave of a quorum.
        cluster.run(host, "systemctl kill --signal=KILL etcd; systemctl disable --quiet --now etcd")
    })?;
    let rebooted = cluster.host(2)?;
    let its = rebooted.active_units(ours);
    ensure!(its.len() == 2, "{its:?}");
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "store:")?;
    }
    rebooted.reboot()?;
    let took = cluster.wait_for_condition("its units", || {
        let now = rebooted.active_units(ours);
        ensure!(now == its, "{now:?} instead of {its:?}");
        Ok(())
    })?;
    cluster.report_duration("from boot to its units running", took);
    let now = cluster.list_running(ours)?;
    ensure!(now.len() == running.len(), "{}", Cluster::format_running(&now));
    cluster.for_each_host(|_, host| {
        cluster.run(host, "systemctl enable --quiet --now --no-block etcd")
    })?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.ensure_unchanged(&now, ours)?;

    cluster.step("a host loses power while the store is well, and boots without a way to it: it starts nothing");
    let cut = cluster.other_host(&[cluster.find_leader()?])?;
    let its = cut.active_units(ours);
    // Its daemon is started when its cable is pulled.
    cluster.run(cut, "systemctl disable --quiet musterd.service musterd.socket")?;
    cut.power_cut()?;
    for unit in &its {
        cluster.moves_away(unit, &[cut])?;
    }
    cut.power_on()?;
    cut.cut_network()?;
    cluster.run(cut, "systemctl enable --quiet --now --no-block musterd.socket musterd.service")?;
    let waits = format!("and the {} units that this machine ran last", its.len());
    cluster.wait_until_unhealthy(cut, &waits)?;
    let moved = cluster.list_running(ours)?;
    ensure!(cut.active_units(ours).is_empty(), "{} runs {:?}", cut.name(), cut.active_units(ours));

    cluster.step("  its way is back: it is a machine like the others, and what has moved stays");
    cut.restore_network()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&moved, ours)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn a_person_ends_a_freeze() -> Result<()> {
    let cluster = Cluster::start(Options {
        provision: vec!["--ttl".to_owned(), TTL.to_owned()],
        ..Options::default()
    })?;
    six_units(&cluster)?;
    let left = cluster.find_leader()?;
    let lost: Vec<&Host> =
        cluster.hosts().iter().filter(|host| host.name() != left.name()).collect();

    cluster.step("two daemons of three are gone for good");
    for host in &lost {
        host.signal_unit(MUSTERD, Signal::STOP)?;
    }
    cluster.wait_for_condition("a plan that tells of the freeze", || {
        let plan = cluster.run(left, "musterctl plan")?;
        ensure!(plan.stdout.contains("musterctl unfreeze"), "{}", plan.stdout);
        Ok(())
    })?;

    cluster.step("musterctl unfreeze: their units run on the one that is left");
    cluster.run(left, "musterctl unfreeze")?;
    cluster.wait_for_condition("six units here", || {
        let here = left.active_units(ours);
        ensure!(here.len() == 6, "{here:?}");
        Ok(())
    })?;
    let last = lost.first().context("the lab has one host")?;
    last.signal_unit(MUSTERD, Signal::CONT)?;
    lost.last().context("the lab has one host")?.signal_unit(MUSTERD, Signal::CONT)?;
    cluster.wait_for_machines(3)?;
    cluster.wait_for_condition("one copy of each", || {
        let on: usize = lost.iter().map(|host| host.active_units(ours).len()).sum();
        ensure!(on == 0, "{on} are left on hosts that were given up");
        Ok(())
    })?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
