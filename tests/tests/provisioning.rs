//! provision/provision-host on machines that run, as a person or `vagrant/Vagrantfile` calls it: hosts of the lab get the same script
//! before their first boot, which leaves out half of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::newest_package;
use muster_tests::lab::{API_PORT, Host, Lab, Options, wait_until};

const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// A command line that must succeed; what it printed.
fn run(host: &Host, line: &str) -> Result<String> {
    let output = host.exec(&["sh", "-c", &format!("cd /root && {line}")])?;
    Ok(output.ensure_success().with_context(|| format!("{}: {line}", host.name()))?.stdout)
}

/// Puts the script with what lies beside it, and the package, where Vagrant puts them.
fn copy(host: &Host) -> Result<()> {
    let provision = Path::new(env!("CARGO_MANIFEST_DIR")).join("../provision");
    let packages = std::env::var_os("MUSTER_PACKAGES").map(PathBuf::from);
    let packages = packages.context("`cargo xtask test` sets MUSTER_PACKAGES")?;
    let mut tar = Command::new("tar");
    let tree = tar.arg("--create").arg("--directory").arg(provision).arg(".").output()?;
    ensure!(tree.status.success(), "tar: {}", String::from_utf8_lossy(&tree.stderr));
    let unpack = "mkdir -p /tmp/provision && tar --extract --directory=/tmp/provision";
    host.exec_with_input(&["sh", "-c", unpack], &tree.stdout)?.ensure_success()?;
    let package = std::fs::read(newest_package(&packages)?)?;
    host.exec_with_input(&["sh", "-c", "cat > /tmp/muster.deb"], &package)?.ensure_success()?;
    Ok(())
}

fn listed(host: &Host, machine: &Host) -> Result<()> {
    wait_until(&format!("{} to know of {}", host.name(), machine.name()), WAIT_LIMIT, || {
        let list = run(host, ". /etc/profile; musterctl list-machines --full --no-legend")?;
        ensure!(list.starts_with(machine.machine_id()) && list.contains("machine=n1"), "{list}");
        Ok(())
    })
    .map(|_| ())
}

#[test]
fn a_running_machine_becomes_a_host_and_another_a_client() -> Result<()> {
    let lab =
        Lab::start(&Options { hosts: 2, etcd: false, containers: true, ..Options::default() })?;
    let (host, client) = (lab.host(0)?, lab.host(1)?);
    let address = host.address();
    let script = "bash /tmp/provision/provision-host --install-packages --package /tmp/muster.deb";
    let as_host = format!(
        "{script} --address {address} --etcd-member n1 --etcd-initial-cluster n1=http://{address}:2380 \
         --etcd-endpoints http://{address}:2379 --docker --metadata machine=n1 \
         --http-listen {address}:{API_PORT} --insecure --start"
    );
    for machine in [host, client] {
        copy(machine)?;
    }

    eprintln!("a host");
    run(host, &as_host)?;
    listed(host, host)?;
    host.write_file("/root/keeps.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    run(host, "musterctl start keeps.service")?;
    let invocation = "systemctl show --property=InvocationID --value keeps.service";
    let before = run(host, invocation)?;
    run(host, "systemctl is-active etcd docker musterd.socket musterd.service keeps.service")?;

    eprintln!("the same once more");
    run(host, &as_host)?;
    listed(host, host)?;
    ensure!(run(host, invocation)? == before, "its unit has restarted");
    run(host, "systemctl is-active etcd docker musterd.socket musterd.service keeps.service")?;

    eprintln!("after a reboot");
    host.reboot()?;
    listed(host, host)?;
    wait_until("its unit", WAIT_LIMIT, || {
        ensure!(host.is_active("keeps.service"), "it does not run");
        Ok(())
    })?;

    eprintln!("a client");
    run(client, &format!("{script} --client --endpoint http://{address}:{API_PORT} --start"))?;
    listed(client, host)?;
    let state = client.exec(&["systemctl", "is-enabled", "musterd.service", "musterd.socket"])?;
    ensure!(state.stdout == "masked\nmasked\n", "{}", state.stdout);

    eprintln!("wrong words");
    let refused = client.exec(&["bash", "/tmp/provision/provision-host", "--docket"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("--docket"), "{refused:?}");
    lab.tear_down()
}
