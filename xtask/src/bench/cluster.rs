//! What the measurements do to the hosts: cheap units by the hundred, with Muster and without.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use muster_tests::lab::{API_PORT, Host, Lab, Options, Output, wait_closely};
use serde_json::Value;

/// The cheapest service there is: what is measured is the way to it.
const UNIT: &str =
    "[Unit]\nDescription=Measured unit %i\n\n[Service]\nExecStart=/bin/sleep infinity\n";

/// Prefix of the units that Muster places.
pub(crate) const MEASURED: &str = "measured";

/// Prefix of the units that are started without it.
pub(crate) const RAW: &str = "raw";

/// The exactness with which a moment is seen from outside.
const INTERVAL: Duration = Duration::from_millis(2);

/// Longer than anything measured may take.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// Hosts for measuring, with everything in place that is not to be measured.
pub(crate) fn boot_cluster(options: &Options) -> Result<Lab> {
    let lab = Lab::start(options)?;
    lab.for_each_host(|_, host| {
        host.write_file(&format!("/root/{MEASURED}@.service"), UNIT)?;
        host.write_file(&format!("/run/systemd/system/{RAW}@.service"), UNIT)
    })?;
    wait_for_machines(&lab, lab.hosts().len())?;
    run_command(lab.host(0)?, &format!("musterctl submit {MEASURED}@.service"))?;
    Ok(lab)
}

/// Runs a command line in root's home; its failure is an error.
pub(crate) fn run_command(host: &Host, line: &str) -> Result<Output> {
    let output = host.exec(&["sh", "-c", &format!("cd /root && exec {line}")])?;
    output.ensure_success().with_context(|| format!("{line} on {}", host.name()))
}

/// Instances `from..=to` as arguments.
pub(crate) fn instance_names(prefix: &str, from: usize, to: usize) -> String {
    let names: Vec<String> = (from..=to).map(|number| format!("{prefix}@{number}")).collect();
    names.join(" ")
}

/// The number of instances that run on all hosts together.
pub(crate) fn count_running(lab: &Lab, prefix: &str) -> usize {
    lab.hosts().iter().map(|host| host.count_instances(prefix)).sum()
}

/// Waits until so many instances run; how long after `since`.
pub(crate) fn wait_for_running(
    lab: &Lab,
    prefix: &str,
    count: usize,
    since: Instant,
) -> Result<Duration> {
    wait_closely(&format!("{count} units"), WAIT_LIMIT, INTERVAL, || {
        let running = count_running(lab, prefix);
        if running == count { Ok(()) } else { Err(anyhow!("{running} run")) }
    })?;
    Ok(since.elapsed())
}

/// The times of a launch: until all run, and until the command returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    pub(crate) active: Duration,
    pub(crate) returned: Duration,
}

/// Starts instances with one command on a host and watches them from outside.
pub(crate) fn launch_units(lab: &Lab, from: usize, to: usize) -> Result<Launch> {
    let host = lab.host(0)?;
    let line = format!("musterctl start {}", instance_names(MEASURED, from, to));
    let before = count_running(lab, MEASURED);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| run_command(host, &line));
        let active = wait_for_running(lab, MEASURED, before + to + 1 - from, begin);
        let returned = starting.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(Launch { active: active?, returned: returned.took })
    })
}

/// The raw limit of [`launch`]: the same units, files in place, systemctl on all hosts at once.
pub(crate) fn launch_raw(lab: &Lab, count: usize) -> Result<Duration> {
    let share = count.div_ceil(lab.hosts().len());
    let begin = Instant::now();
    lab.for_each_host(|index, host| {
        let (from, to) = (index * share + 1, ((index + 1) * share).min(count));
        if from > to {
            return Ok(());
        }
        run_command(host, &format!("systemctl start {}", instance_names(RAW, from, to))).map(|_| ())
    })?;
    wait_for_running(lab, RAW, count, begin)
}

/// Stops what [`launch_raw`] started.
pub(crate) fn clear_raw(lab: &Lab) -> Result<()> {
    lab.for_each_host(|_, host| {
        host.exec(&["systemctl", "stop", &format!("{RAW}@*.service")])?.ensure_success().map(|_| ())
    })?;
    wait_for_running(lab, RAW, 0, Instant::now()).map(|_| ())
}

/// Destroys what [`launch`] started.
pub(crate) fn clear_units(lab: &Lab, from: usize, to: usize) -> Result<()> {
    let names = instance_names(MEASURED, from, to);
    run_command(lab.host(0)?, &format!("musterctl destroy {names}"))?;
    wait_for_running(lab, MEASURED, 0, Instant::now()).map(|_| ())
}

/// Waits until the daemons of all running hosts see so many machines.
pub(crate) fn wait_for_machines(lab: &Lab, count: usize) -> Result<()> {
    for host in lab.hosts().iter().filter(|host| host.is_up()) {
        wait_closely(&format!("{count} machines"), WAIT_LIMIT, Duration::from_millis(50), || {
            let seen =
                read_machines(lab, host)?.get("machines").and_then(Value::as_array).map(Vec::len);
            if seen == Some(count) { Ok(()) } else { Err(anyhow!("{seen:?} are seen")) }
        })
        .with_context(|| host.name().to_owned())?;
    }
    Ok(())
}

/// The host whose engine decides.
pub(crate) fn muster_leader(lab: &Lab) -> Result<&Host> {
    let answer = read_machines(lab, lab.host(0)?)?;
    let id = answer.get("leader").and_then(Value::as_str).context("no leader")?;
    lab.host_with_id(id)
}

/// The host whose member leads etcd.
pub(crate) fn etcd_leader(lab: &Lab) -> Result<&Host> {
    for (host, (own, leader)) in etcd_members(lab)? {
        if own == leader {
            return Ok(host);
        }
    }
    bail!("no member of etcd leads")
}

/// Makes the member of this host lead etcd.
pub(crate) fn move_etcd_leader(lab: &Lab, to: &Host) -> Result<()> {
    let from = etcd_leader(lab)?;
    if from.name() == to.name() {
        return Ok(());
    }
    let members = etcd_members(lab)?;
    let (_, (id, _)) = members
        .iter()
        .find(|(host, _)| host.name() == to.name())
        .with_context(|| format!("no member on {}", to.name()))?;
    // Only the leader hands over. etcdctl takes ids in hexadecimal and prints them in decimal.
    run_command(
        from,
        &format!("etcdctl --endpoints=http://{}:2379 move-leader {id:x}", from.address()),
    )
    .map(|_| ())
}

/// Each host's member: its id and whom it takes for the leader.
fn etcd_members(lab: &Lab) -> Result<Vec<(&Host, (u64, u64))>> {
    lab.hosts()
        .iter()
        .map(|host| {
            let endpoint = format!("--endpoints=http://{}:2379", host.address());
            let line = format!("etcdctl {endpoint} endpoint status --write-out=json");
            let text = run_command(host, &line)?.stdout;
            let answer: Value = serde_json::from_str(&text)?;
            let status = answer.pointer("/0/Status").context("no status")?;
            let own = status.pointer("/header/member_id").and_then(Value::as_u64);
            let leader = status.get("leader").and_then(Value::as_u64);
            Ok((host, (own.context("no id")?, leader.context("no leader")?)))
        })
        .collect()
}

fn read_machines(lab: &Lab, host: &Host) -> Result<Value> {
    let answer = lab.http_get(host, API_PORT, "/v1/machines")?;
    if answer.status != 200 {
        bail!("{}: {}", answer.status, answer.body);
    }
    Ok(serde_json::from_str(&answer.body)?)
}
