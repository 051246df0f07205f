//! A lab with Muster on its hosts, as the end-to-end tests use it: units written, commands typed, and what runs where.
//!
//! Owns the ways to ask Muster (its client, as a user would) and the ways to check it from outside (cgroups of the hosts,
//! systemd's own answers, etcd's records). It never believes the one for the other. When a test ends before
//! [`Cluster::down`], it tells what the daemons logged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lab::{Container, Host, IMAGE, Lab, Options, Output, wait_until};

/// The time that anything may take that is expected to happen. Generous: a machine that runs tests is slow at times.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// For tests in which no machine is to be lost: longer than one that is busy with something else may stand still.
pub const LONG_TTL: &str = "60s";

/// Under it lie the cluster's records.
pub const PREFIX: &str = "/muster/v1/";

/// A lab whose hosts run Muster.
#[derive(Debug)]
pub struct Cluster {
    lab: Option<Lab>,
    began: Instant,
}

/// Something that runs, seen from outside: host, unit, systemd's id of this very run of it or the container's.
pub type Running = BTreeSet<(String, String, String)>;

/// A row of `musterctl list-machines`.
#[derive(Debug, Clone, Deserialize)]
pub struct MachineRow {
    /// Machine id.
    pub machine: String,
    /// Address.
    pub ip: Option<String>,
    /// Metadata as constraints see it.
    pub metadata: BTreeMap<String, String>,
    /// True when its engine decides.
    pub leader: bool,
}

/// A row of `musterctl list-unit-files`.
#[derive(Debug, Clone, Deserialize)]
pub struct FileRow {
    /// Name.
    pub unit: String,
    /// fleet's hash.
    pub hash: Option<String>,
    /// The state that is wanted.
    pub dstate: String,
    /// The state it has reached.
    pub state: String,
    /// Where it is placed.
    pub target: Vec<Place>,
}

/// A machine that has a unit.
#[derive(Debug, Clone, Deserialize)]
pub struct Place {
    /// Machine id.
    pub id: String,
}

/// A row of `musterctl list-units`.
#[derive(Debug, Clone, Deserialize)]
pub struct StateRow {
    /// Name.
    pub unit: String,
    /// Machine id.
    pub machine: Option<String>,
    /// `ActiveState`.
    pub active: Option<String>,
    /// `SubState`.
    pub sub: Option<String>,
    /// Why the machine could not do what it was asked.
    pub problem: Option<String>,
    /// A remark besides.
    #[serde(default)]
    pub remark: Option<String>,
}

impl Cluster {
    /// Hosts with the package in `MUSTER_PACKAGES`, which `cargo xtask test` sets, or else, for quick runs, with the
    /// programs in `MUSTER_BINARIES`.
    pub fn start(options: Options) -> Result<Self> {
        let package = std::env::var_os("MUSTER_PACKAGES")
            .map(|path| newest_package(path.as_ref()))
            .transpose()?;
        let binaries = std::env::var_os("MUSTER_BINARIES").map(PathBuf::from);
        ensure!(
            package.is_some() || binaries.is_some(),
            "neither MUSTER_PACKAGES nor MUSTER_BINARIES names a directory; `cargo xtask test` sets them"
        );
        Self::boot_hosts(&Options { package, binaries, ..options })
    }

    /// Hosts with the programs that the options name.
    pub fn boot_hosts(options: &Options) -> Result<Self> {
        let began = Instant::now();
        let hosts = usize::from(options.hosts);
        let lab = Lab::start(options)?;
        let cluster = Self { lab: Some(lab), began };
        cluster.step("the hosts are up");
        if cluster.hosts().len() > 1 {
            cluster.wait_for_machines(hosts)?;
        }
        Ok(cluster)
    }

    /// Three hosts whose silent machines are gone after `ttl`, such as `5s`.
    pub fn with_ttl(ttl: &str) -> Result<Self> {
        let provision = vec!["--ttl".to_owned(), ttl.to_owned()];
        Self::start(Options { provision, ..Options::default() })
    }

    /// The end of a test that went well.
    pub fn tear_down(mut self) -> Result<()> {
        self.step("done");
        self.lab.take().context("the lab is gone")?.tear_down()
    }

    /// Says what comes next, and when it came.
    pub fn step(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    /// Says how long something took.
    pub fn report_duration(&self, what: &str, took: Duration) {
        self.step(&format!("  {what}: {:.2} s", took.as_secs_f64()));
    }

    // ---- what a user does ----

    /// Runs a command line in root's home on a host.
    pub fn run_shell(&self, host: &Host, line: &str) -> Result<Output> {
        host.exec(&["sh", "-c", &format!("cd /root && {line}")])
    }

    /// [`Cluster::run_shell`] that must succeed.
    pub fn run(&self, host: &Host, line: &str) -> Result<Output> {
        let output = self.run_shell(host, line)?;
        output.ensure_success().with_context(|| format!("{}: {line}", host.name()))
    }

    /// [`Cluster::run_shell`] that must fail with exit code 1 and say each of these on standard error.
    pub fn run_failing(&self, host: &Host, line: &str, words: &[&str]) -> Result<Output> {
        let output = self.run_shell(host, line)?;
        let problem_text = format!(
            "{}: {line}: exit code {}\n{}{}",
            host.name(),
            output.code,
            output.stdout,
            output.stderr
        );
        ensure!(output.code == 1, "expected exit code 1 from {problem_text}");
        for word in words {
            ensure!(output.stderr.contains(word), "expected {word:?} from {problem_text}");
        }
        Ok(output)
    }

    /// Writes a unit file into root's home on a host.
    pub fn write_unit(&self, host: &Host, name: &str, text: &str) -> Result<()> {
        host.write_file(&format!("/root/{name}"), text)
    }

    /// Writes a unit that just runs, with these lines in its `[X-Fleet]` section.
    pub fn write_sleeper(&self, host: &Host, name: &str, fleet: &str) -> Result<()> {
        let text = format!("[Service]\nExecStart=/bin/sleep infinity\n\n[X-Fleet]\n{fleet}\n");
        self.write_unit(host, name, &text)
    }

    /// Writes a container unit of the lab's image that just runs and stops when asked, with these lines in its `[Container]`
    /// section (and sections after it, if they say so).
    pub fn write_container(&self, host: &Host, name: &str, lines: &str) -> Result<()> {
        let text = format!(
            "[Container]\nImage={IMAGE}\nPull=never\nNetwork=host\nRunInit=yes\nExec=sleep infinity\n{lines}\n"
        );
        self.write_unit(host, name, &text)
    }

    /// Writes files of `examples/` into root's home on a host.
    pub fn write_examples(&self, host: &Host, names: &[&str]) -> Result<()> {
        for name in names {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            self.write_unit(host, name, &text)?;
        }
        Ok(())
    }

    /// `musterctl list-machines` as a host sees it.
    pub fn machines(&self, host: &Host) -> Result<Vec<MachineRow>> {
        self.json(host, "musterctl list-machines --output json")
    }

    /// `musterctl list-unit-files` as a host sees it.
    pub fn unit_files(&self, host: &Host) -> Result<Vec<FileRow>> {
        self.json(host, "musterctl list-unit-files --output json")
    }

    /// `musterctl list-units` as a host sees it.
    pub fn list_states(&self, host: &Host) -> Result<Vec<StateRow>> {
        self.json(host, "musterctl list-units --output json")
    }

    /// The standard output of a command, which is JSON.
    pub fn json<T: DeserializeOwned>(&self, host: &Host, line: &str) -> Result<T> {
        let output = self.run(host, line)?;
        serde_json::from_str(&output.stdout).with_context(|| format!("{line}: {}", output.stdout))
    }

    /// The host whose engine decides.
    pub fn find_leader(&self) -> Result<&Host> {
        let mut found = None;
        wait_until("a leader", WAIT_LIMIT, || {
            let host =
                self.hosts().iter().find(|host| host.is_up()).context("all hosts are down")?;
            let machines = self.machines(host)?;
            let leader = machines.iter().find(|row| row.leader).context("nobody leads")?;
            found = Some(self.host_with_id(&leader.machine)?);
            anyhow::Ok(())
        })?;
        found.context("nobody leads")
    }

    /// Waits until every host that has power lists this many machines.
    pub fn wait_for_machines(&self, count: usize) -> Result<Duration> {
        self.wait_for_condition(&format!("{count} machines"), || {
            for host in self.hosts().iter().filter(|host| host.is_up()) {
                let machines = self.machines(host)?;
                let names: Vec<&str> = machines.iter().map(|row| row.machine.as_str()).collect();
                ensure!(names.len() == count, "{} lists {names:?}", host.name());
            }
            Ok(())
        })
    }

    // ---- what is so ----

    /// Waits for something that is bound to happen; says how long it took.
    pub fn wait_for_condition(
        &self,
        what: &str,
        condition: impl FnMut() -> Result<()>,
    ) -> Result<Duration> {
        wait_until(what, WAIT_LIMIT, condition)
    }

    /// The one host on which processes of the unit run; an error when it is none or more than one.
    pub fn host_of(&self, unit: &str) -> Result<&Host> {
        match self.active_on(unit).as_slice() {
            [host] => Ok(host),
            hosts => {
                let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
                bail!("{unit} should run on one host, and runs on {names:?}")
            }
        }
    }

    /// Waits until the unit runs on one host, which is not one of these.
    pub fn moves_away(&self, unit: &str, from: &[&Host]) -> Result<Duration> {
        self.wait_for_condition(&format!("{unit} elsewhere"), || {
            let others = self.active_on(unit);
            let mut others =
                others.iter().filter(|host| from.iter().all(|from| from.name() != host.name()));
            ensure!(others.next().is_some(), "it runs nowhere else");
            ensure!(others.next().is_none(), "it runs on more than one");
            Ok(())
        })
    }

    /// Another host that has power.
    pub fn other_host(&self, than: &[&Host]) -> Result<&Host> {
        let mut hosts = self.hosts().iter().filter(|host| host.is_up());
        hosts
            .find(|host| than.iter().all(|taken| taken.name() != host.name()))
            .context("there is no other host")
    }

    /// A property of a unit, from systemd on its host.
    pub fn unit_property(&self, host: &Host, unit: &str, name: &str) -> Result<String> {
        let property = format!("--property={name}");
        let show =
            host.exec(&["systemctl", "show", &property, "--value", unit])?.ensure_success()?;
        Ok(show.stdout.trim().to_owned())
    }

    /// The one container of the unit that runs on a host, seen from outside.
    pub fn container_of(&self, host: &Host, unit: &str) -> Result<Container> {
        let mut its = host.list_containers();
        its.retain(|container| container.unit.as_deref() == Some(unit));
        match (its.pop(), its.is_empty()) {
            (Some(container), true) => Ok(container),
            (None, _) => bail!("{unit} does not run on {}", host.name()),
            (Some(_), false) => bail!("{unit} runs more than once on {}", host.name()),
        }
    }

    /// systemd's id of the unit's present run; of a container unit its container's.
    pub fn invocation_id(&self, host: &Host, unit: &str) -> Result<String> {
        if unit.ends_with(".container") {
            return Ok(self.container_of(host, unit)?.id);
        }
        self.unit_property(host, unit, "InvocationID")
    }

    /// Everything that runs and for whose name `wanted` holds: equal before and after means that nothing was
    /// started, stopped, restarted or moved in between.
    pub fn list_running(&self, wanted: impl Fn(&str) -> bool) -> Result<Running> {
        let mut running = Running::new();
        for host in self.hosts().iter().filter(|host| host.is_up()) {
            for unit in host.active_units(&wanted) {
                let id = self.invocation_id(host, &unit)?;
                running.insert((host.name().to_owned(), unit, id));
            }
        }
        Ok(running)
    }

    /// The hosts and units of `running`, one a line, for errors.
    pub fn format_running(running: &Running) -> String {
        let lines = running.iter().map(|(host, unit, id)| format!("  {host} {unit} {id}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// An error unless exactly what ran before runs now, each run of it the same.
    pub fn ensure_unchanged(&self, before: &Running, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let now = self.list_running(wanted)?;
        ensure!(
            now == *before,
            "something was started, stopped or moved; before:\n{}\nnow:\n{}",
            Self::format_running(before),
            Self::format_running(&now)
        );
        Ok(())
    }

    /// Makes every part of Muster on every host act once: a unit for all of them is placed, started and taken away again.
    /// Whatever the daemons were going to do about what happened before, they have done then.
    pub fn one_round(&self) -> Result<()> {
        let host = self.hosts().iter().find(|host| host.is_up()).context("all hosts are down")?;
        let up = self.hosts().iter().filter(|host| host.is_up()).count();
        self.write_sleeper(host, "round.service", "Global=true")?;
        self.wait_for_condition("a start", || self.run(host, "musterctl start round").map(|_| ()))?;
        self.wait_for_condition("a round of all daemons", || {
            let on = self.active_on("round.service").len();
            ensure!(on == up, "{on} of {up} hosts run it");
            // Reported as well: who destroys it sooner is not told of a machine that has not spoken of it yet.
            let rows = self.list_states(host)?;
            let is_up = |row: &&StateRow| {
                row.unit == "round.service" && row.active.as_deref() == Some("active")
            };
            let problem_text = rows.iter().filter(is_up).count();
            ensure!(problem_text == up, "{problem_text} of {up} hosts report it");
            Ok(())
        })?;
        self.run(host, "musterctl destroy round")?;
        let left = self.active_on("round.service").len();
        ensure!(left == 0, "destroyed, and {left} hosts still run it");
        Ok(())
    }

    /// Keys of the store below the prefix.
    pub fn list_keys(&self, host: &Host, below: &str) -> Result<Vec<String>> {
        let line = format!("etcdctl get --prefix --keys-only {PREFIX}{below}");
        let output = self.run(host, &line)?;
        let keys = output.stdout.lines().filter_map(|line| line.strip_prefix(PREFIX));
        Ok(keys.map(ToOwned::to_owned).collect())
    }

    /// Waits until the store has nothing of any unit.
    pub fn wait_until_forgotten(&self, host: &Host) -> Result<()> {
        self.wait_for_condition("the store to forget", || {
            for below in ["unit/", "place/", "state/", "file/"] {
                let keys = self.list_keys(host, below)?;
                ensure!(keys.is_empty(), "{keys:?}");
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The answer of a host's `/healthz`: its status and body.
    pub fn fetch_health(&self, host: &Host) -> Result<(u16, String)> {
        let line = "curl --silent --show-error --max-time 5 --write-out '\\n%{http_code}' \
                    --unix-socket /run/muster/muster.sock http://localhost/healthz";
        let output = self.run(host, line)?;
        let (body, status) = output.stdout.rsplit_once('\n').context("curl told no status")?;
        Ok((status.parse().context("curl told no status")?, body.to_owned()))
    }

    /// Waits until a host's daemon answers that it is well.
    pub fn wait_until_healthy(&self, host: &Host) -> Result<Duration> {
        self.wait_for_condition(&format!("musterd on {} to be well", host.name()), || {
            match self.fetch_health(host)? {
                (200, _) => Ok(()),
                (status, body) => Err(anyhow!("{status} {body}")),
            }
        })
    }

    /// Waits until a host's daemon answers 503 with this among the reasons.
    pub fn wait_until_unhealthy(&self, host: &Host, reason: &str) -> Result<Duration> {
        self.wait_for_condition(&format!("musterd on {} to say {reason:?}", host.name()), || {
            match self.fetch_health(host)? {
                (503, body) if body.contains(reason) => Ok(()),
                (status, body) => Err(anyhow!("{status} {body}")),
            }
        })
    }

    /// Waits until all daemons of hosts with power are well and nothing is left to be done.
    pub fn wait_until_settled(&self) -> Result<()> {
        for host in self.hosts().iter().filter(|host| host.is_up()) {
            self.wait_until_healthy(host)?;
            self.wait_for_condition("nothing to do", || {
                let plan = self.run(host, "musterctl plan")?;
                ensure!(plan.stdout == "nothing to do\n", "{}", plan.stdout);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn print_output(&self, host: &Host, line: &str) {
        match self.run_shell(host, line) {
            Ok(output) => {
                eprintln!("---- {}: {line}\n{}{}", host.name(), output.stdout, output.stderr);
            }
            Err(error) => eprintln!("---- {}: {line}: {error:#}", host.name()),
        }
    }
}

impl Deref for Cluster {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        match &self.lab {
            Some(lab) => lab,
            // Only `down` takes it, and that consumes the cluster.
            None => unreachable!("the lab is gone"),
        }
    }
}

impl Drop for Cluster {
    /// A test that failed is told from what the daemons saw.
    fn drop(&mut self) {
        if self.lab.is_none() {
            return;
        }
        self.step("FAILED; what the hosts have to say:");
        let hosts: Vec<&Host> = self.hosts().iter().filter(|host| host.is_up()).collect();
        for host in &hosts {
            let line = "journalctl --no-pager --output=short-precise --lines=60 --unit=musterd";
            self.print_output(host, line);
        }
        if let Some(host) = hosts.first() {
            for line in [
                "timeout 10 musterctl list-machines --full",
                "timeout 10 musterctl list-unit-files --full",
                "timeout 10 musterctl list-units --full",
                "timeout 10 musterctl plan",
            ] {
                self.print_output(host, line);
            }
        }
    }
}

/// The package in a directory; the one before it, which tests of upgrades begin with, is not meant.
pub fn newest_package(directory: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .flatten();
    let mut packages = files.map(|file| file.path()).filter(|path| {
        path.extension().is_some_and(|end| end == "deb")
            && !path.to_string_lossy().contains("~before")
    });
    packages.next().with_context(|| format!("no package in {}", directory.display()))
}
