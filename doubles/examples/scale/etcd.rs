//! Three members of etcd on loopback, as a cluster of three machines has them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use crate::orphans;
use muster_store::{EtcdOptions, Range, Store};

/// The members. They end with this.
pub(crate) struct EtcdCluster {
    members: Vec<Child>,
    pub(crate) endpoints: Vec<String>,
}

impl EtcdCluster {
    pub(crate) async fn start(directory: &Path) -> Self {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            (0..).zip(&ports).map(|(n, (_, peer))| format!("m{n}={}", url(peer))).collect();
        let cluster = cluster.join(",");
        let members = (0..).zip(&ports).map(|(n, (client, peer))| {
            let (client, peer, name) = (url(client), url(peer), format!("m{n}"));
            orphans::bound_command("etcd")
                .args(["--name", &name, "--log-level", "error"])
                .args(["--logger", "zap"])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &cluster])
                .arg("--data-dir")
                .arg(directory.join(&name))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .inspect(|child| orphans::remember(child.id()))
                .expect("etcd is needed (Debian: etcd-server)")
        });
        let members = members.collect();
        let endpoints = ports.iter().map(|(client, _)| url(client)).collect();
        let cluster = Self { members, endpoints };
        let store = open_store(&cluster.endpoints).await;
        while store.read(Range::Key("/".to_owned())).await.is_err() {}
        cluster
    }

    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.members.iter().map(Child::id).collect()
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

pub(crate) async fn open_store(endpoints: &[String]) -> Arc<dyn Store> {
    let options = EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() };
    muster_store::open_etcd(options).await.unwrap()
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
