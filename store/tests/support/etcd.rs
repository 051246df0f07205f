//! etcd servers of a test's own, on free ports of the loopback, in a directory that goes with them.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};

use muster_store::{EtcdOptions, Range, Store};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::sync::Mutex;

use super::certificates::Certificates;
use super::ports::free_port;

/// One running server.
pub(crate) struct Server {
    name: String,
    client_port: u16,
    peer_port: u16,
    cluster: String,
    directory: tempfile::TempDir,
    process: std::sync::Mutex<Option<Child>>,
    quota: Option<u64>,
    tls: Option<Arc<Certificates>>,
    signs: bool,
}

/// The server that the tests of this process share while any of them runs.
pub(crate) async fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start(None).await);
    *shared = Arc::downgrade(&server);
    server
}

/// Three servers that form a cluster.
pub(crate) async fn cluster() -> Vec<Server> {
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let cluster: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{peer}"))
        .collect();
    let cluster = cluster.join(",");
    let servers: Vec<Server> = ports
        .into_iter()
        .enumerate()
        .map(|(n, (client, peer))| Server::new(&format!("m{n}"), client, peer, &cluster, None))
        .collect();
    for server in &servers {
        server.launch();
    }
    for server in &servers {
        server.ready().await;
    }
    servers
}

impl Server {
    fn new(
        name: &str,
        client_port: u16,
        peer_port: u16,
        cluster: &str,
        quota: Option<u64>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            client_port,
            peer_port,
            cluster: cluster.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            process: std::sync::Mutex::new(None),
            quota,
            tls: None,
            signs: false,
        }
    }

    fn alone(quota: Option<u64>) -> Self {
        let (client, peer) = (free_port(), free_port());
        Self::new("m0", client, peer, &format!("m0=http://127.0.0.1:{peer}"), quota)
    }

    /// Starts a server that is a cluster of its own.
    pub(crate) async fn start(quota: Option<u64>) -> Self {
        let server = Self::alone(quota);
        server.launch();
        server.ready().await;
        server
    }

    /// Starts a server that speaks TLS only, and only with those who have a certificate.
    pub(crate) async fn start_tls(certificates: Arc<Certificates>) -> Self {
        let mut server = Self::alone(None);
        server.tls = Some(certificates);
        server.launch();
        server.ready().await;
        server
    }

    /// Starts a server that signs the tokens of logins instead of remembering them.
    pub(crate) async fn start_signing() -> Self {
        let mut server = Self::alone(None);
        server.signs = true;
        std::fs::write(server.directory.path().join("secret"), "a secret").unwrap();
        server.launch();
        server.ready().await;
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    /// How to reach it, with all the patience that it needs.
    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![self.endpoint()],
            login: None,
            ca_file: self.tls.as_ref().map(|c| c.authority()),
            identity_files: self.tls.as_ref().map(|c| c.client()),
            liveness: super::patient(),
            seed: None,
        }
    }

    /// Starts the process.
    pub(crate) fn launch(&self) {
        let client = self.endpoint();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new("etcd");
        command
            .args(["--name", &self.name, "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.cluster])
            // Elections within a second, so that a test takes no longer than it must.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(bytes) = self.quota {
            command.args(["--quota-backend-bytes", &bytes.to_string()]);
        }
        if let Some(certificates) = &self.tls {
            let (certificate, key) = certificates.server();
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            command.arg("--client-cert-auth");
            command.arg("--trusted-ca-file").arg(certificates.authority());
        }
        if self.signs {
            let key = self.directory.path().join("secret");
            let key = key.display();
            command.arg("--auth-token").arg(format!("jwt,sign-method=HS256,priv-key={key}"));
        }
        let process = command.spawn().expect("etcd is needed (Debian: etcd-server)");
        *self.process.lock().unwrap() = Some(process);
    }

    /// Waits until the server answers.
    pub(crate) async fn ready(&self) {
        let store = muster_store::open_etcd(self.options()).await.unwrap();
        super::eventually("etcd to start", || async {
            store.read(Range::Key("/".to_owned())).await.ok()
        })
        .await;
    }

    fn signal(&self, signal: Signal) -> Pid {
        let process = self.process.lock().unwrap();
        let id = process.as_ref().expect("the server runs").id();
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        id
    }

    /// Stops the process where it is: its sockets stay open and nobody answers.
    pub(crate) fn pause(&self) {
        let id = self.signal(Signal::STOP);
        // A process that runs on another processor may answer something yet before it stops.
        waitpid(Some(id), WaitOptions::UNTRACED).unwrap();
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&self) {
        let _ = self.signal(Signal::CONT);
    }

    /// Ends the process without warning.
    pub(crate) fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// A client past the store, for what the store does not do.
    pub(crate) async fn client(&self) -> etcd_client::Client {
        etcd_client::Client::connect([self.endpoint()], None).await.unwrap()
    }

    /// Forgets the history up to the present revision.
    pub(crate) async fn compact(&self, store: &dyn Store) {
        let revision = store.read(Range::Key("/".to_owned())).await.unwrap().revision;
        let mut client = self.client().await;
        client.compact(i64::try_from(revision).unwrap(), None).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
