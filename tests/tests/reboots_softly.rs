//! A host whose userspace reboots while its kernel runs on: by request, by hand while it holds a slot, and what survives it. On a
//! release whose systemd has no soft-reboot, what is said about that.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Release};
use muster_tests::reboots::{DEFAULT, Reboots, options_with};

const QUICK: &str = "settle = \"1s\"\nretry = \"1s\"\nwarn = \"0s\"";

/// What names this boot of a host's userspace.
const USERSPACE: &str = "systemctl show --property=InvocationID --value sysinit.target";

/// A service that systemd leaves running over a soft-reboot, and stops with every other one.
const SURVIVES: &str = "[Unit]\nSurviveFinalKillSignal=yes\nIgnoreOnIsolate=yes\nDefaultDependencies=no\nConflicts=reboot.target kexec.target poweroff.target halt.target\n\
     Before=reboot.target kexec.target poweroff.target halt.target\n\n\
     [Service]\nExecStart=/bin/sleep infinity\n";

#[test]
fn a_host_reboots_softly_and_gives_its_slot_back() -> Result<()> {
    let cluster = Cluster::start(options_with(QUICK))?;
    let reboots = Reboots::for_lab(&cluster);
    let (asked, other) = (cluster.host(0)?, cluster.host(1)?);
    let bound = format!("\n[X-Fleet]\nMachineID={}\n", asked.machine_id());
    cluster.write_unit(
        other,
        "app.service",
        &format!("[Service]\nExecStart=/bin/sleep infinity\n{bound}"),
    )?;
    cluster.write_unit(other, "old.service", &format!("{SURVIVES}{bound}"))?;
    cluster.run(other, "musterctl start app.service old.service")?;
    let request = format!("musterctl reboot request --soft {}", asked.machine_id());
    if Release::from_environment()? == Release::Bookworm {
        return refuse_softly(cluster, &request);
    }
    let kernel = asked.init_process().context("the host does not run")?;
    let (app, old) = (
        cluster.invocation_id(asked, "app.service")?,
        cluster.invocation_id(asked, "old.service")?,
    );

    cluster.step("a soft-reboot is asked for");
    let before = cluster.run(asked, USERSPACE)?.stdout;
    let told = cluster.run(other, &format!("{request} --wait --timeout 120s"))?.stdout;
    ensure!(told.contains("is asked to soft-reboot") && told.contains("has rebooted"), "{told}");
    ensure!(kernel.is_alive(), "the whole host went down");
    ensure!(cluster.run(asked, USERSPACE)?.stdout != before, "its userspace is the same");
    let history = reboots.wait_for_freed(DEFAULT, 1)?;
    ensure!(history.iter().all(|entry| entry.outcome == "rebooted"), "{history:?}");
    ensure!(cluster.list_keys(other, "reboot-request/")?.is_empty(), "the wish stands");
    cluster.wait_for_condition("the bound unit to run again", || {
        let again = cluster.invocation_id(asked, "app.service")?;
        ensure!(again != app, "it was not stopped");
        Ok(())
    })?;
    survived(&cluster, asked, &old)?;

    cluster.step("somebody reboots softly while the host holds its slot");
    let hook = "settle = \"1s\"\nretry = \"10m\"\nwarn = \"0s\"\nbefore_reboot = [\"/bin/sleep\", \"300\"]";
    reboots.configure_host(asked, hook)?;
    cluster.run(other, &format!("musterctl reboot request {}", asked.machine_id()))?;
    reboots.wait_for_phase(asked, "before-reboot")?;
    // The connection goes with the userspace.
    cluster.run_shell(asked, "systemctl soft-reboot --no-block")?;
    let history = reboots.wait_for_freed(DEFAULT, 2)?;
    ensure!(history.last().is_some_and(|entry| entry.outcome == "rebooted"), "{history:?}");
    ensure!(kernel.is_alive(), "the whole host went down");
    let wishes = cluster.list_keys(other, "reboot-request/")?;
    ensure!(wishes.len() == 1, "nobody has had the whole reboot that was asked for: {wishes:?}");
    cluster.run(other, &format!("musterctl reboot cancel {}", asked.machine_id()))?;
    survived(&cluster, asked, &old)?;

    cluster.step("kexec without a kernel is told, and a whole reboot asked for in its place");
    reboots.configure_host(asked, QUICK)?;
    let kexec = format!("musterctl reboot request --method kexec {}", asked.machine_id());
    cluster.run(other, &kexec)?;
    let told = reboots.wait_for_reason(asked, "cannot-reboot")?;
    ensure!(told.to_string().contains("kexec"), "{told}");
    let whole = format!(
        "musterctl reboot request --method reboot --wait --timeout 180s {}",
        asked.machine_id()
    );
    cluster.run(other, &whole)?;
    ensure!(!kernel.is_alive(), "the kernel runs on");
    ensure!(cluster.invocation_id(asked, "old.service")? != old, "it survived a whole reboot");
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// The service is the one that ran before, to Muster as well.
fn survived(cluster: &Cluster, host: &Host, run: &str) -> Result<()> {
    cluster
        .wait_for_condition("the surviving unit to be adopted", || {
            let now = cluster.invocation_id(host, "old.service")?;
            ensure!(now == run, "it was started anew: {run} before, {now} now");
            let rows = cluster.list_states(host)?;
            let row =
                rows.iter().find(|row| row.unit == "old.service").context("it is not listed")?;
            ensure!(row.active.as_deref() == Some("active"), "{row:?}");
            Ok(())
        })
        .map(|_| ())
}

/// Nothing is drained for a soft-reboot that cannot be, and the same can be asked for in another way.
fn refuse_softly(cluster: Cluster, request: &str) -> Result<()> {
    let reboots = Reboots::for_lab(&cluster);
    let (asked, other) = (cluster.host(0)?, cluster.host(1)?);
    cluster.run(other, request)?;
    let told = reboots.wait_for_reason(asked, "cannot-reboot")?.to_string();
    ensure!(
        told.contains("254 is the first that has") && told.contains("--method reboot"),
        "{told}"
    );
    ensure!(reboots.list_holders(DEFAULT)?.is_empty(), "it has taken a slot");
    let whole = format!(
        "musterctl reboot request --method reboot --wait --timeout 180s {}",
        asked.machine_id()
    );
    cluster.run(other, &whole)?;
    let history = reboots.wait_for_freed(DEFAULT, 1)?;
    ensure!(history.iter().all(|entry| entry.outcome == "rebooted"), "{history:?}");
    cluster.assert_sound()?;
    cluster.tear_down()
}
