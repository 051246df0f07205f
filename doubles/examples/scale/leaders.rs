//! Daemons that may lead and take no units, as processes of their own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::orphans;
use muster_client::{Client, Endpoint, Limits};

/// The daemons. They end with this.
pub(crate) struct Leaders {
    processes: Vec<Child>,
    sockets: Vec<PathBuf>,
}

/// Requests of a thousand units at a time are answered once they are written.
const ANSWER: Duration = Duration::from_secs(300);
/// Their answers have a few hundred bytes a unit.
const BODY: usize = 64 << 20;

impl Leaders {
    pub(crate) fn start(
        musterd: &Path,
        count: usize,
        endpoints: &[String],
        ttl: Duration,
        directory: &Path,
    ) -> Self {
        let (mut processes, mut sockets) = (Vec::new(), Vec::new());
        for n in 0..count {
            let own = directory.join(format!("leader{n}"));
            std::fs::create_dir_all(own.join("state")).unwrap();
            let socket = own.join("muster.sock");
            let config = own.join("muster.toml");
            let text = format!(
                "machine_id = \"leader{n}\"\naddress = \"127.0.0.1\"\nroles = [\"engine\"]\nttl = \"{}s\"\n\
                 state_dir = \"{}\"\n[http]\nsocket = \"{}\"\n[etcd]\nendpoints = {endpoints:?}\n",
                ttl.as_secs(),
                own.join("state").display(),
                socket.display(),
            );
            std::fs::write(&config, text).unwrap();
            // Its own /run: several daemons on a machine would share what they remember of their leases there.
            let script = "mount -t tmpfs tmpfs /run && exec \"$0\" --config \"$1\"";
            let process = Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", script])
                .arg(musterd)
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

    /// The process of the daemon with this machine id.
    pub(crate) fn process_of(&self, id: &str) -> u32 {
        let n: usize = id.strip_prefix("leader").unwrap().parse().unwrap();
        self.processes.get(n).unwrap().id()
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
