//! Daemons that may lead and take no units, as processes of their own.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::orphans;
use crate::size::Scale;
use crate::usage::Usage;
use muster_client::{Client, Endpoint, Limits};

/// The daemons. They end with this.
pub(crate) struct Leaders {
    processes: Vec<Child>,
    sockets: Vec<PathBuf>,
}

/// Daemons that may lead.
pub(crate) const LEADERS: usize = 3;
/// Requests of a thousand units at a time are answered once they are written.
const ANSWER: Duration = Duration::from_secs(300);
/// Their answers have a few hundred bytes a unit.
const BODY: usize = 64 << 20;

impl Leaders {
    pub(crate) fn start(
        scale: &Scale,
        prefix: &str,
        endpoints: &[String],
        directory: &Path,
    ) -> Self {
        let (mut processes, mut sockets) = (Vec::new(), Vec::new());
        for n in 0..LEADERS {
            let own = directory.join(format!("leader{n}"));
            std::fs::create_dir_all(own.join("state")).unwrap();
            let socket = own.join("muster.sock");
            let config = own.join("muster.toml");
            let text = format!(
                "machine_id = \"leader{n}\"\nprefix = \"{prefix}\"\naddress = \"127.0.0.1\"\nroles = [\"engine\"]\nttl = \"{}s\"\n\
                 state_dir = \"{}\"\n[http]\nsocket = \"{}\"\n[etcd]\nendpoints = {endpoints:?}\n",
                scale.ttl.as_secs(),
                own.join("state").display(),
                socket.display(),
            );
            std::fs::write(&config, text).unwrap();
            // Its own /run: several daemons on a machine would share what they remember of their leases there.
            let script = "mount -t tmpfs tmpfs /run && exec \"$0\" --config \"$1\"";
            let process = orphans::bound_command("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", script])
                .arg(&scale.musterd)
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(own.join("log")).unwrap())
                .spawn()
                .inspect(|child| orphans::remember(child.id()))
                .expect("unshare is needed (Debian: util-linux)");
            processes.push(process);
            sockets.push(socket);
        }
        Self { processes, sockets }
    }

    /// A client of one of them.
    pub(crate) fn client(&self) -> Client {
        let socket = self.sockets.first().unwrap();
        let endpoint: Endpoint = format!("unix://{}", socket.display()).parse().unwrap();
        let mut limits = Limits::default();
        limits.request = ANSWER;
        limits.body_bytes = BODY;
        Client::new([endpoint.into()], limits)
    }

    /// What the one that leads uses, and what the others do.
    pub(crate) fn usage(&self, leader: Option<&str>) -> Usage {
        let leads = |n: usize| leader == Some(format!("leader{n}").as_str());
        let ids = |leading: bool| -> Vec<u32> {
            let chosen = self.processes.iter().enumerate().filter(|(n, _)| leads(*n) == leading);
            chosen.map(|(_, process)| process.id()).collect()
        };
        let mut usage = Usage::default();
        usage.add("the leader", &ids(true));
        usage.add("the two who would follow it, of whom one may be asked", &ids(false));
        usage
    }
}

impl Drop for Leaders {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
