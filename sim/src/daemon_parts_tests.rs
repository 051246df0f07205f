//! The reboot role of a simulated daemon: in whose name it acts.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use muster_common::cluster_id::ClusterId;
use muster_common::probe::plant_fault;
use muster_common::reboot::{Phase, Request};
use muster_doubles::{LONG, long_after, open_timed, timed_store};
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
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

/// A store that forgets all slots while a machine says that it reboots, as one does that is put back from a backup then.
struct ForgetfulStore {
    store: Arc<dyn Store>,
    forgets: AtomicBool,
}

#[async_trait]
impl Store for ForgetfulStore {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.store.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        let says_so = ops.iter().any(|op| match op {
            Op::Put { value, .. } => String::from_utf8_lossy(value).contains("\"rebooting\""),
            Op::Delete { .. } => false,
        });
        let outcome = self.store.commit(guards, ops).await?;
        if says_so && self.forgets.swap(false, Ordering::Relaxed) {
            let key = "/muster/v1/reboot/default".to_owned();
            self.store.commit(Vec::new(), vec![Op::Delete { key }]).await?;
        }
        Ok(outcome)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.store.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }
}

/// Tells whether a machine that a user asks for it goes down before it has given its first attempt up. `of` says which cluster it is of,
/// where that is known.
async fn goes_down(forgets: bool, of: Option<ClusterId>) -> bool {
    let disk = tempfile::tempdir().unwrap();
    let forgets = AtomicBool::new(forgets);
    let store = ForgetfulStore { store: open_timed(disk.path()), forgets };
    let registry = Registry::new(Arc::new(store), "/muster/v1/");
    let stored = registry.establish_cluster_identity().await.unwrap();
    registry.set_own_cluster(of.unwrap_or(stored));
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
    setup.health.set_name_standing(NameStanding::Ours);
    let mut status = setup.status.subscribe();
    let stop = CancellationToken::new();
    let role = tokio::spawn(role::run(setup, stop.clone()));
    let asked = || power.take_wish();
    let gives_up = status.wait_for(|status| status.phase == Phase::GivingUp);
    let goes_down = tokio::select! {
        given_up = gives_up => { given_up.unwrap(); asked() }
        () = long_after() => asked(),
    };
    stop.cancel();
    tokio::time::timeout(LONG, role).await.unwrap().unwrap();
    goes_down
}

#[test]
fn a_machine_whose_slot_goes_right_before_its_reboot_does_not_reboot() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let goes = |forgets| runtime.block_on(goes_down(forgets, None));
    assert!(goes(false), "with its slot it reboots");
    assert!(!goes(true));
    plant_fault(Some("slot-trusted-until-reboot"));
    let fails_without = goes(true);
    plant_fault(None);
    assert!(fails_without, "slot-trusted-until-reboot makes no difference here");
}

#[test]
fn a_machine_goes_down_on_no_slot_of_another_cluster() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let goes = || runtime.block_on(goes_down(false, Some(ClusterId::from_number(9))));
    assert!(!goes());
    plant_fault(Some("foreign-slot-relied-on"));
    let fails_without = goes();
    plant_fault(None);
    assert!(fails_without, "foreign-slot-relied-on makes no difference here");
}
