//! A user without any rights, on the system bus of a host: whatever it says in the name of systemd, logind, `update_engine`
//! or the bus itself, straight to the daemon, nothing comes of it.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL, StateRow};
use muster_tests::lab::Host;

/// Sends, as `nobody`, one of each signal that the daemon listens to straight to every name that it has on the bus, from the
/// right object and from another. `$1` is the unit that is spoken of, as in an object's path, `$2` its name, `$3` a job.
const FORGE: &str = r#"set -eu
names=$(busctl list --unique --no-legend | awk '$3 == "musterd" { print $1 }')
[ -n "$names" ]
emit() {
    for name in $names; do
        setpriv --reuid=nobody --regid=nogroup --clear-groups busctl emit --destination="$name" "$@"
    done
}
unit=/org/freedesktop/systemd1/unit/$1
manager="/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"
for path in /com/coreos/update1 /; do
    emit $path com.coreos.update1.Manager StatusUpdate xdssx 1 1.0 UPDATE_STATUS_UPDATED_NEED_REBOOT 9999.0.0 1
done
for path in "$unit" /org/freedesktop/systemd1; do
    emit $path org.freedesktop.DBus.Properties PropertiesChanged 'sa{sv}as' org.freedesktop.systemd1.Unit \
        2 ActiveState s failed SubState s failed 0
done
emit $manager JobRemoved uoss "${3##*/}" "$3" "$2" failed
emit $manager Reloading b false
emit /org/freedesktop/DBus org.freedesktop.DBus NameOwnerChanged sss org.freedesktop.systemd1 :1.0 :1.99
emit /org/freedesktop/DBus org.freedesktop.DBus NameOwnerChanged sss com.coreos.update1 "" :1.99
emit /org/freedesktop/login1 org.freedesktop.login1.Manager PrepareForShutdown b true
"#;

/// How often everything is said, and looked at in between.
const ROUNDS: usize = 10;

/// Starts until a file is there.
const SLOW: &str = "\
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.2; done'
";

#[test]
fn what_nobody_says_on_the_bus_changes_nothing() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    cluster.for_each_host(|_, host| host.write_file("/root/forge", FORGE))?;
    cluster.write_sleeper(first, "web.service", "Global=true")?;
    cluster.write_unit(first, "slow.service", &format!("{SLOW}\n[X-Fleet]\nGlobal=true\n"))?;
    cluster.run(first, "musterctl start web.service")?;
    cluster.run(first, "musterctl start --no-block slow.service")?;
    cluster.wait_for_condition("both units everywhere", || {
        is_quiet(&cluster.list_states(first)?, cluster.hosts().len(), "activating")
    })?;
    let ours = |unit: &str| unit == "web.service" || unit == "slow.service";
    let running = cluster.list_running(ours)?;
    let boots = cluster.for_each_host(|_, host| boot_id(&cluster, host))?;

    cluster.step("nobody speaks for systemd, for update_engine and for the bus");
    for _ in 0..ROUNDS {
        cluster.for_each_host(|_, host| {
            let job = cluster.run(host, "systemctl list-jobs --no-legend slow.service")?.stdout;
            let job = job.split_whitespace().next().context("the start is over")?.to_owned();
            let job = format!("/org/freedesktop/systemd1/job/{job}");
            for (path, name) in
                [("web_2eservice", "web.service"), ("slow_2eservice", "slow.service")]
            {
                cluster.run(host, &format!("sh /root/forge {path} {name} {job}"))?;
            }
            Ok(())
        })?;
        is_quiet(&cluster.list_states(first)?, cluster.hosts().len(), "activating")?;
    }

    cluster.step("the daemons do what they are told by those that may, and nothing else");
    cluster.one_round()?;
    is_quiet(&cluster.list_states(first)?, cluster.hosts().len(), "activating")?;
    cluster.ensure_unchanged(&running, ours)?;
    for host in cluster.hosts() {
        let reboot_status = cluster.run(host, "musterctl reboot status")?.stdout;
        ensure!(!reboot_status.contains("9999"), "a reboot is due:\n{reboot_status}");
    }
    ensure!(cluster.list_keys(first, "cordon/")?.is_empty(), "a host begins to reboot");
    ensure!(
        cluster.for_each_host(|_, host| boot_id(&cluster, host))? == boots,
        "a host has rebooted"
    );

    cluster.step("and the real systemd is heard as before");
    cluster.for_each_host(|_, host| cluster.run(host, "touch /run/go"))?;
    cluster.wait_for_condition("the start to be over", || {
        is_quiet(&cluster.list_states(first)?, cluster.hosts().len(), "active")
    })?;
    cluster.run(first, "systemctl kill --signal=KILL web.service")?;
    cluster.wait_for_condition("a crash to be told", || {
        let failed = cluster
            .list_states(first)?
            .iter()
            .filter(|row| row.active.as_deref() == Some("failed"))
            .count();
        ensure!(failed == 1, "{failed} have failed");
        Ok(())
    })?;
    cluster.tear_down()
}

/// Every host runs `web.service`, and `slow.service` is in this state; nothing has gone wrong anywhere.
fn is_quiet(states: &[StateRow], hosts: usize, slow: &str) -> Result<()> {
    for (unit, active) in [("web.service", "active"), ("slow.service", slow)] {
        let rows: Vec<&StateRow> = states.iter().filter(|row| row.unit == unit).collect();
        ensure!(rows.len() == hosts, "{unit} is on {} hosts", rows.len());
        for row in rows {
            let well = row.active.as_deref() == Some(active) && row.problem.is_none();
            ensure!(well, "{row:?} is not {active}");
        }
    }
    Ok(())
}

fn boot_id(cluster: &Cluster, host: &Host) -> Result<(String, String)> {
    let id = cluster.run(host, "cat /proc/sys/kernel/random/boot_id")?.stdout;
    let began = cluster.run(host, "stat --format=%Z /proc/1")?.stdout;
    Ok((id, began))
}
