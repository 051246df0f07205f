//! The reboot role of a simulated daemon: in whose name it acts.

use muster_common::probe::plant_fault;
use muster_common::reboot::Request;
use muster_doubles::{LONG, long_after, timed_store};
use musterd::reboot::role;
use musterd::telemetry::health::NameStanding;

use super::*;

/// Whether the reboot role of a machine asks it to reboot, which a user has asked for.
async fn is_rebooted(name: NameStanding) -> bool {
    let (registry, _disk) = timed_store();
    let machine: MachineId = "m1".parse().unwrap();
    let request = Request { by: "anna".to_owned(), at: 1, because: None, method: None };
    registry.request_reboot(&machine, &request).await.unwrap();
    let power = PowerLine::new("boot-1".to_owned(), "userspace-1".to_owned());
    let (_, setup) = PartsOf {
        machine: machine.clone(),
        registry: &registry,
        health: &Health::new(),
        wall: &Wall::default(),
        outbox: &Outbox::default(),
        power: &power,
        disk: &LossyDisk::new(),
        state_dir: PathBuf::from("/var/lib/muster"),
        shutdown: &CancellationToken::new(),
    }
    .make_parts();
    setup.health.set_name_standing(name);
    let stop = CancellationToken::new();
    let role = tokio::spawn(role::run(setup, stop.clone()));
    long_after().await;
    stop.cancel();
    tokio::time::timeout(LONG, role).await.unwrap().unwrap();
    registry.reboot_host(&machine).await.unwrap().is_some()
}

#[test]
fn a_machine_whose_name_another_bears_says_and_does_nothing_about_reboots() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let acts = |name| runtime.block_on(is_rebooted(name));
    assert!(acts(NameStanding::Ours));
    assert!(!acts(NameStanding::Unknown));
    assert!(!acts(NameStanding::Anothers));
    plant_fault(Some("copy-reboots"));
    let fails_without = acts(NameStanding::Anothers);
    plant_fault(None);
    assert!(fails_without, "copy-reboots makes no difference here");
}
