//! A leader by itself: machines are records, and nobody carries out what it decides.
//!
//! What it places in a second here is what it and etcd can do; what it places in a second among a thousand agents on the same machine
//! is what they leave it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use muster_common::machine::Machine;
use muster_store::{Registry, Store};

use crate::agents::machine_name;
use crate::etcd::EtcdCluster;
use crate::figures::{print_figure, say};
use crate::launch::{GROUP, Launcher};
use crate::leaders::Leaders;
use crate::placements::{Followed, Keys};
use crate::size::{Scale, rate};
use crate::usage::Spent;

/// Where its records are.
const PREFIX: &str = "/alone/v1/";
/// Longer than any of this takes.
const LEASE: Duration = Duration::from_secs(3600);

pub(crate) async fn measure_alone(
    scale: &Scale,
    etcd: &EtcdCluster,
    store: &Arc<dyn Store>,
    directory: &Path,
) {
    let followed = Followed::follow(store, PREFIX);
    let leaders = Leaders::start(scale, PREFIX, &etcd.endpoints, &directory.join("alone"));
    followed.wait_until("somebody leads", |keys| keys.leader_id().is_some()).await;
    let registry = Registry::new(Arc::clone(store), PREFIX);
    let lease = registry.grant_lease(LEASE).await.unwrap();
    let registrations = (0..scale.machines).map(|number| {
        let (registry, machine) = (&registry, machine_record(number));
        async move { registry.register_machine(&machine, lease).await.unwrap() }
    });
    stream::iter(registrations).buffer_unordered(32).count().await;
    let launcher =
        Launcher { units: scale.units, client: leaders.client(), followed: followed.clone() };
    for (how, prefix, group) in
        [("no conflicts", "plain", None), ("in conflict by twenties", "apart", Some(GROUP))]
    {
        let what = format!("{} units without agents, {how}", scale.units);
        let (mut rates, mut spent) = (Vec::new(), Spent::default());
        let usage = || {
            let mut usage = leaders.usage(followed.look(Keys::leader_id).as_deref());
            usage.add("etcd's members together", &etcd.process_ids());
            usage
        };
        for _ in 0..scale.repetitions {
            say(&what);
            let before = usage();
            let launched = launcher.launch(prefix, group).await;
            rates.push(rate(scale.units, launched.placed.duration_since(launched.first)));
            spent.add_round(&before, &usage());
            launcher.destroy(prefix).await;
        }
        print_figure(&format!("{what}: placed"), "/s", &rates);
        spent.print(&what);
    }
}

fn machine_record(number: usize) -> Machine {
    let id = machine_name(number);
    let record = serde_json::json!({ "id": id, "address": "127.0.0.1", "runners": ["systemd"] });
    serde_json::from_value(record).unwrap()
}
