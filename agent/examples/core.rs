//! The daemon's core alone, on one machine: runs the unit files named until interrupted. For trying the runner out.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::state::DesiredState;
use muster_common::unit::UnitFile;
use muster_store::{Event, Registry, UnitWrite};
use musterd::{Health, Settings, identity};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut args = std::env::args().skip(1);
    let n: usize = args.next().unwrap().parse().unwrap();
    let mode = args.next().unwrap_or_else(|| "destroy".to_owned());
    let state = PathBuf::from("/var/lib/muster-core");
    let store = muster_store::open_embedded(&state).unwrap();
    let registry = Registry::new(store, "/muster/v1/");
    let settings = Settings {
        machine_id: identity::machine_id(std::path::Path::new("/etc/machine-id")).unwrap(),
        address: identity::address(),
        api_address: None,
        metadata: [].into(),
        ttl: Duration::from_secs(10),
        engine: true,
        state_dir: state,
        run_dir: "/run/muster-core".into(),
        unit_dir: "/run/systemd/system".into(),
    };
    let health = Health::new();
    let shutdown = CancellationToken::new();
    let daemon =
        tokio::spawn(musterd::run(settings, registry.clone(), shutdown.clone(), health.clone()));
    let mut h = health.subscribe();
    h.wait_for(|s| s.runner.ok && s.leading && s.placements.ok).await.unwrap();
    let text = "[Unit]\nDescription=try %i\n[Service]\nExecStart=/bin/sleep infinity\n";
    let file: Arc<UnitFile> = Arc::new(text.parse().unwrap());
    let mut watch = registry.watch();
    let before = registry.snapshot().await.unwrap();
    let writes: Vec<UnitWrite> = (0..n)
        .map(|i| {
            let name: muster_common::unit::UnitName = format!("try@{i}.service").parse().unwrap();
            let old = before.units.get(&name);
            UnitWrite {
                expected: old.map_or(0, |u| u.revision),
                generation: old.map_or(1, |u| u.generation + 1),
                name,
                file: file.clone(),
                desired: DesiredState::Launched,
            }
        })
        .collect();
    println!(
        "before: {} active",
        before.states.values().flat_map(|m| m.values()).filter(|s| s.active == "active").count()
    );
    if mode != "adopt" {
        let begin = Instant::now();
        registry.write_units(writes).await.unwrap();
        let mut view = muster_common::snapshot::Snapshot::default();
        loop {
            match watch.events.recv().await.unwrap() {
                Event::Reset(s) => view = *s,
                Event::Changes { changes, .. } => changes.into_iter().for_each(|c| view.apply(c)),
                Event::Lost { problem } => println!("{problem}"),
            }
            let active = view
                .states
                .values()
                .flat_map(|m| m.values())
                .filter(|s| s.active == "active" && s.generation > 0)
                .count();
            if active == n && view.units.len() == n {
                break;
            }
        }
        println!("{n} active after {:?}", begin.elapsed());
        println!("{:?}", view.states.values().next());
    }
    println!("{:?}", health.status());
    if mode == "destroy" {
        let names: Vec<_> = registry.snapshot().await.unwrap().units.into_keys().collect();
        let begin = Instant::now();
        registry.destroy_units(&names).await.unwrap();
        while !registry.snapshot().await.unwrap().states.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("gone after {:?}", begin.elapsed());
    }
    if mode == "idle" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    shutdown.cancel();
    daemon.await.unwrap().unwrap();
}
