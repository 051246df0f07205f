//! Three real hosts on one Linux machine: systemd-nspawn with systemd as PID 1, own addresses on a bridge of their own, an etcd
//! cluster, and Muster on each.
//!
//! Owns everything between "root on a Debian machine" and "hosts with addresses": the base root and its cache, disks, network,
//! power, and the way in and out. Used alike by the demo, the end-to-end tests and the benchmarks, so that a fact learned in one holds in all.
//! It never touches the machine's own network or firewall, kills only processes it started (it finds them in
//! cgroups it made), and knows nothing of what Muster should do.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use muster_tests::lab::{Lab, Options};
//!
//! let lab = Lab::start(&Options::default())?;
//! let first = lab.host(0)?;
//! println!("{}", first.exec(&["systemctl", "is-system-running"])?.stdout);
//! first.power_cut()?;
//! first.power_on()?;
//! lab.tear_down()?;
//! # Ok(())
//! # }
//! ```

mod base;
mod cgroup;
mod command;
mod container;
mod host;
mod http;
mod image;
mod kept;
mod limits;
mod lock;
mod network;
mod process;
mod provision;
mod release;
mod run;
mod samples;
mod wait;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

pub use container::Container;
pub use host::{Host, Output};
pub use http::{Answer, Request};
pub use image::{IMAGE, IMAGE_ARCHIVE};
pub use kept::KeptLab;
pub use process::Process;
pub use release::{RELEASE_VARIABLE, Release};
pub use rustix::process::Signal;
pub use samples::{Sample, Samples};
pub use wait::{wait_closely, wait_until};

use run::{NodeRecord, Run};

/// Where the base root and the runs are, unless `MUSTER_LAB_CACHE` says otherwise. Not below a temporary directory: a base is worth
/// keeping, and the disks of etcd should be on a disk.
const CACHE: &str = "/var/cache/muster-lab";

/// Where the daemons serve HTTP beside their socket.
pub const API_PORT: u16 = 7117;

/// Where `provision-host` writes the daemon's configuration.
pub const CONFIGURATION: &str = "/etc/muster/muster.toml";

/// Where members of etcd answer.
pub const ETCD_PORT: u16 = 2379;

/// The hosts to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the lab while it is kept; no other of this checkout may have the name.
    pub name: Option<String>,
    /// The number of hosts: `n1`, `n2` and so on.
    pub hosts: u8,
    /// True when each runs a member of one etcd cluster.
    pub etcd: bool,
    /// Muster's package, if the hosts are to run it.
    pub package: Option<PathBuf>,
    /// Where musterd and musterctl are, to run them without packing them first.
    pub binaries: Option<PathBuf>,
    /// True when each runs a Docker engine, which has [`IMAGE`] when the lab is up.
    pub containers: bool,
    /// True when each has a place for Podman's images, with [`IMAGE`] among them.
    pub podman: bool,
    /// The Debian they are made of; where none is named, that of [`RELEASE_VARIABLE`].
    pub release: Option<Release>,
    /// Metadata of each host, `KEY=VALUE`; hosts beyond the end have none.
    pub metadata: Vec<Vec<String>>,
    /// More options for `provision-host`, the same for each host.
    pub provision: Vec<String>,
    /// More of each daemon's configuration: whole tables of `muster.toml`.
    pub configuration: String,
    /// The way in which progress is told while things take time.
    pub say: fn(&str),
}

impl Default for Options {
    /// Three hosts with an etcd cluster, without Muster; talk goes to standard error.
    fn default() -> Self {
        Self {
            name: None,
            hosts: 3,
            etcd: true,
            package: None,
            binaries: None,
            containers: false,
            podman: false,
            release: None,
            metadata: Vec::new(),
            provision: Vec::new(),
            configuration: String::new(),
            say: |text| eprintln!("lab: {text}"),
        }
    }
}

/// Running hosts. Dropping it takes them away, with everything that was made for them.
#[derive(Debug)]
pub struct Lab {
    run: Run,
    hosts: Vec<Host>,
    kept: bool,
}

impl Lab {
    /// Makes the hosts and boots them all at once; returns when etcd answers and every daemon is up.
    pub fn start(options: &Options) -> Result<Self> {
        let release = options.release.map_or_else(Release::from_environment, Ok)?;
        if options.podman && !release.has_quadlet() {
            bail!("the Podman of {release} has no Quadlet");
        }
        let base = Self::prepare_base(release, options.say)?;
        let cache = cache();
        let records = records(options, release)?;
        let run = Run::begin(&cache, options.name.as_deref(), records.clone(), &options.say)?;
        limits::make_room(records.len(), &options.say);
        let hosts = records.into_iter().map(|record| Host::from_record(&run, record)).collect();
        // From here on an error drops the lab, which cleans up.
        let lab = Self { run, hosts, kept: false };
        (options.say)(&format!("booting {} hosts of {release}", lab.hosts.len()));
        lab.run.network.create()?;
        lab.for_each_host(|index, host| {
            host.make_disk(&base)?;
            provision::provision_root(
                &host.disk_root(),
                &lab.provision_arguments(options, index, host),
            )?;
            if !options.configuration.is_empty() {
                let file = host.read_file(CONFIGURATION)?;
                host.write_file(CONFIGURATION, &format!("{file}\n{}", options.configuration))?;
            }
            host.power_on().map(|_| ())
        })?;
        if options.containers {
            lab.for_each_host(|_, host| host.load_image())?;
        }
        if options.podman {
            lab.for_each_host(|_, host| host.load_podman_image())?;
        }
        if options.etcd {
            lab.wait_for_etcd()?;
        }
        if options.package.is_some() || options.binaries.is_some() {
            lab.wait_for_daemons()?;
        }
        Ok(lab)
    }

    /// Builds the base root if it is not there: minutes, once. [`Lab::start`] does it too; tests do not wait that long.
    pub fn prepare_base(release: Release, say: fn(&str)) -> Result<PathBuf> {
        if !rustix::process::geteuid().is_root() {
            bail!("the lab needs root: it makes hosts");
        }
        let cache = cache();
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make {}", cache.display()))?;
        base::ensure_base(&cache, release, &say)
    }

    /// The hosts in order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host with this index, counted from 0.
    pub fn host(&self, index: usize) -> Result<&Host> {
        self.hosts.get(index).with_context(|| format!("the lab has no host {}", index + 1))
    }

    /// The host with this name.
    pub fn host_named(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.with_context(|| format!("the lab has no host {name}"))
    }

    /// The host with this machine id.
    pub fn host_with_id(&self, id: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.machine_id() == id);
        found.with_context(|| format!("the lab has no machine {id}"))
    }

    /// Hosts on which processes of the systemd unit run, seen from outside.
    pub fn active_on(&self, unit: &str) -> Vec<&Host> {
        self.hosts.iter().filter(|host| host.is_active(unit)).collect()
    }

    /// A command outside all hosts but inside their network, such as etcdctl.
    pub fn command_inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.run.network.bridge_namespace(), program]);
        command
    }

    /// Asks a service of a host over HTTP, from outside all hosts but inside their network.
    pub fn http_get(&self, host: &Host, port: u16, path: &str) -> Result<Answer> {
        self.send_request(host, port, Request::get(path))
    }

    /// [`Lab::http_get`] with any request.
    pub fn send_request(&self, host: &Host, port: u16, request: Request<'_>) -> Result<Answer> {
        let address = network::socket_address(host.address(), port);
        self.run.network.run_inside(|| http::send_request(address, request))
    }

    /// Does something while the replicas of a service are asked all the time whether they are there. A replica is a port
    /// at which it answers `GET /` with 200, from whatever host it is on.
    pub fn sample_while<T>(
        &self,
        ports: &[u16],
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Samples)> {
        let hosts: Vec<_> =
            self.hosts.iter().map(|host| (host.name().to_owned(), host.address())).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                self.run.network.run_inside(|| samples::sample_until(&hosts, ports, &stop))
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            stop.store(true, Ordering::Relaxed);
            let samples = looking.join().map_err(|_| anyhow!("a thread panicked"))??;
            match done {
                Ok(done) => Ok((done?, samples)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Does something on every host at once; the first error of any is the answer.
    pub fn for_each_host<T: Send>(
        &self,
        work: impl Fn(usize, &Host) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let work = &work;
        std::thread::scope(|scope| {
            let workers: Vec<_> = self
                .hosts
                .iter()
                .enumerate()
                .map(|(index, host)| scope.spawn(move || work(index, host)))
                .collect();
            workers
                .into_iter()
                .zip(&self.hosts)
                .map(|(worker, host)| {
                    let result = worker.join().map_err(|_| anyhow!("a thread panicked"));
                    result.and_then(|result| result).with_context(|| host.name().to_owned())
                })
                .collect()
        })
    }

    /// Waits until every running member of etcd answers and has a leader.
    pub fn wait_for_etcd(&self) -> Result<Duration> {
        let begin = Instant::now();
        for host in self.hosts.iter().filter(|host| host.is_up()) {
            let what = format!("etcd on {}", host.name());
            wait_until(&what, Duration::from_secs(60), || {
                let answer = self.http_get(host, ETCD_PORT, "/health")?;
                if answer.status == 200 { Ok(()) } else { Err(anyhow!("{}", answer.body)) }
            })?;
        }
        Ok(begin.elapsed())
    }

    /// Waits until the daemon of every running host says it is ready.
    pub fn wait_for_daemons(&self) -> Result<Duration> {
        let begin = Instant::now();
        for host in self.hosts.iter().filter(|host| host.is_up()) {
            let what = format!("musterd on {}", host.name());
            wait_until(&what, Duration::from_secs(60), || {
                host.exec(&["systemctl", "is-active", "musterd.service"])?
                    .ensure_success()
                    .map(|_| ())
            })
            .with_context(|| {
                let journal = host.exec(&["journalctl", "-u", "musterd", "-n", "20", "--no-pager"]);
                journal.map(|output| output.stdout).unwrap_or_default()
            })?;
        }
        Ok(begin.elapsed())
    }

    /// Leaves the hosts running when this process ends, until somebody calls [`Lab::tear_down`].
    pub fn keep_running(mut self) -> Result<()> {
        self.run.keep_run()?;
        self.kept = true;
        Ok(())
    }

    /// Takes the hosts away, with everything that was made for them.
    pub fn tear_down(mut self) -> Result<()> {
        // What goes wrong is reported once, here, instead of once more by drop.
        self.kept = true;
        self.run.remove()
    }

    /// What `provision-host` is told about a host.
    fn provision_arguments(&self, options: &Options, index: usize, host: &Host) -> Vec<String> {
        let address = host.address().to_string();
        let mut arguments = vec!["--address".to_owned(), address.clone()];
        if options.etcd {
            let cluster: Vec<String> = self
                .hosts
                .iter()
                .map(|host| format!("{}=http://{}:2380", host.name(), host.address()))
                .collect();
            let endpoints: Vec<String> = self
                .hosts
                .iter()
                // Its own member first: it is the nearest.
                .cycle()
                .skip(index)
                .take(self.hosts.len())
                .map(|host| format!("http://{}:{ETCD_PORT}", host.address()))
                .collect();
            arguments.extend(["--etcd-member".to_owned(), host.name().to_owned()]);
            arguments.extend(["--etcd-initial-cluster".to_owned(), cluster.join(",")]);
            arguments.extend(["--etcd-endpoints".to_owned(), endpoints.join(",")]);
            arguments.extend(["--http-listen".to_owned(), format!("{address}:{API_PORT}")]);
            arguments.push("--insecure".to_owned());
        }
        let from = options.package.iter().map(|package| ("--package", package));
        let mut from = from.chain(options.binaries.iter().map(|binaries| ("--binaries", binaries)));
        if let Some((option, path)) = from.next() {
            arguments.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
        }
        if options.containers {
            arguments.push("--docker".to_owned());
        }
        if options.podman {
            arguments.push("--podman".to_owned());
        }
        for pair in options.metadata.get(index).into_iter().flatten() {
            arguments.extend(["--metadata".to_owned(), pair.clone()]);
        }
        arguments.extend_from_slice(&options.provision);
        arguments
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.run.remove()
        {
            eprintln!("lab: run {} was not removed: {error:#}", self.run.id);
        }
    }
}

fn cache() -> PathBuf {
    std::env::var_os("MUSTER_LAB_CACHE").map_or_else(|| PathBuf::from(CACHE), PathBuf::from)
}

fn records(options: &Options, release: Release) -> Result<Vec<NodeRecord>> {
    (0..options.hosts)
        .map(|index| {
            Ok(NodeRecord {
                name: format!("n{}", u16::from(index) + 1),
                address: network::node_address(index),
                // As random as a real one; ids have to differ between runs that share an etcd cluster by mistake.
                machine_id: std::fs::read_to_string("/proc/sys/kernel/random/uuid")?
                    .trim()
                    .replace('-', ""),
                containers: options.containers,
                podman: options.podman,
                release,
            })
        })
        .collect()
}
