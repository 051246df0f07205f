//! The lab itself: what the other end-to-end tests rest on.

use anyhow::Result;
use muster_tests::lab::{Lab, Options};

#[test]
fn hosts_boot_lose_power_and_come_back_as_the_same_machines() -> Result<()> {
    let begin = std::time::Instant::now();
    let lab = Lab::up(&Options::default())?;
    eprintln!("up after {:?}", begin.elapsed());
    let host = lab.host(1)?;
    host.write_file("/etc/kept", "on disk")?;
    host.write_file("/run/lost", "in memory")?;
    assert!(host.is_active("etcd.service"));

    host.power_cut()?;
    assert!(!host.is_up());
    assert!(!host.is_active("etcd.service"));
    assert!(lab.http(host, 2379, "/health").is_err());

    eprintln!("boot {:?}", host.boot()?);
    assert_eq!(host.read_file("/etc/machine-id")?.trim(), host.machine_id());
    assert_eq!(host.read_file("/etc/kept")?, "on disk");
    assert!(host.read_file("/run/lost").is_err());
    lab.wait_for_etcd()?;

    host.partition()?;
    assert!(lab.http(host, 2379, "/health").is_err());
    host.heal()?;
    lab.wait_for_etcd()?;

    eprintln!("reboot {:?}", host.reboot()?);
    lab.wait_for_etcd()?;
    eprintln!("shutdown {:?}", host.shutdown()?);
    assert!(!host.is_up());
    host.boot()?;
    lab.wait_for_etcd()?;
    lab.down()
}
