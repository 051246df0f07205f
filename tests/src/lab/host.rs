//! One host of the lab: booted, entered, cut off, killed and looked at from outside.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;

use super::cgroup::Cgroups;
use super::process::Process;
use super::run::{NodeRecord, Run};
use super::wait::{wait_closely, wait_until};
use super::{command, limits};

/// A boot takes half a second on an idle machine; twenty of these may run on a loaded one.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// A shutdown takes a second; a service that does not stop is given 90 by systemd.
const HALT_LIMIT: Duration = Duration::from_secs(120);

/// A shutdown that takes longer than this is waiting for something, which a person wants to know.
const SHUTDOWN_HANGS: Duration = Duration::from_secs(10);

/// How closely a host is looked at that is about to stand still.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// How long a command on a host that goes down hangs at most.
const STOPPED_LIMIT: Duration = Duration::from_millis(200);

const BOOT_SCRIPT: &str = include_str!("boot-node.sh");

/// The answer of a command on a host.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; 128 and more when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The time it took.
    pub took: Duration,
}

impl Output {
    /// Itself if it succeeded, else an error with what it wrote.
    pub fn ensure_success(self) -> Result<Self> {
        if self.code == 0 {
            return Ok(self);
        }
        bail!("exit code {}: {}{}", self.code, self.stdout, self.stderr)
    }
}

/// A host: an own systemd, address, machine id and disk.
#[derive(Debug)]
pub struct Host {
    pub(super) record: NodeRecord,
    run: Run,
    pub(super) cgroups: Cgroups,
    /// What keeps it powered; a run that was kept by another process has none here.
    keeper: Mutex<Option<Child>>,
}

impl Host {
    pub(super) fn from_record(run: &Run, record: NodeRecord) -> Self {
        let cgroups = run.cgroups.node_group(&record.name, record.release.is_unified());
        Self { record, run: run.clone(), cgroups, keeper: Mutex::new(None) }
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its address on the lab's bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.record.address
    }

    /// Its `/etc/machine-id`.
    pub fn machine_id(&self) -> &str {
        &self.record.machine_id
    }

    /// True when it has power.
    pub fn is_up(&self) -> bool {
        self.init_process().is_some()
    }

    /// Makes its disk: a layer of its own over the base, which survives power cuts and ends with the run.
    pub(super) fn make_disk(&self, base: &Path) -> Result<()> {
        let directory = self.run_directory();
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            directory.join("upper").display(),
            directory.join("work").display()
        );
        let options = std::ffi::CString::new(options)?;
        let mounted = mount(
            "overlay",
            self.disk_root(),
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        );
        if mounted.is_err() {
            // A file system that cannot carry an overlay, such as another overlay, gets a copy.
            let (base, root) = (format!("{}/.", base.display()), self.disk_root());
            let root = root.to_string_lossy();
            command::run("cp", &["--archive", "--reflink=auto", &base, &root])?;
        }
        if self.record.containers {
            self.make_room_for_containers(mounted.is_ok())?;
        }
        if self.record.podman {
            self.make_room_for_podman(mounted.is_ok())?;
        }
        fs::write(self.disk_root().join("etc/machine-id"), format!("{}\n", self.machine_id()))?;
        fs::write(self.disk_root().join("etc/hostname"), format!("{}\n", self.name()))?;
        Ok(())
    }

    /// Its disk as this machine sees it. Only for a host without power: a running one has mounts of its own above it.
    pub(super) fn disk_root(&self) -> PathBuf {
        self.run_directory().join("root")
    }

    pub(super) fn run_directory(&self) -> PathBuf {
        self.run.node_directory(self.name())
    }

    /// The text that its systemd wrote to the console since the run began.
    pub fn read_console(&self) -> String {
        fs::read_to_string(self.run_directory().join("console.log")).unwrap_or_default()
    }

    /// Switches it on and waits until its systemd is up (not for what it starts). How long that took.
    pub fn power_on(&self) -> Result<Duration> {
        let begin = Instant::now();
        if self.is_up() {
            bail!("{} is up already", self.name());
        }
        if self.run.network.is_attached(self.name()) {
            // Somebody on it has switched it off, and nobody has waited for that.
            self.clear()?;
        }
        self.run.network.attach_node(self.name(), self.address())?;
        self.cgroups.create(self.record.containers || self.record.podman)?;
        let directory = self.run_directory();
        let script = directory.join("boot-node.sh");
        fs::write(&script, BOOT_SCRIPT)?;
        let log = directory.join("console.log");
        let console = fs::File::options().create(true).append(true).open(&log)?;
        let unified = self.record.release.is_unified();
        let child = Command::new("bash")
            .arg(&script)
            .arg(self.disk_root())
            .arg(self.run.nspawn_name(self.name()))
            .arg(self.name())
            .arg(self.run.network.node_namespace(self.name()))
            .args(self.cgroups.list_directories())
            .envs(unified.then_some(("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")))
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            // A Ctrl-C meant for the command that keeps the lab is not meant for the host.
            .process_group(0)
            .spawn()
            .context("cannot run bash")?;
        *self.lock_keeper()? = Some(child);
        self.wait_for_systemd(None).map_err(|error| match limits::name_shortage() {
            Some(shortage) => error.context(shortage),
            None => error,
        })?;
        Ok(begin.elapsed())
    }

    /// Pulls the cable, then kills every process of it at once. Its disk stays as it is (what it had written but not
    /// yet synced is not lost: the machine below keeps running).
    pub fn power_cut(&self) -> Result<()> {
        self.run.network.plug_cable(self.name(), false)?;
        self.clear()
    }

    /// Shuts it down as `systemctl poweroff` does and waits for the end.
    pub fn shutdown(&self) -> Result<Duration> {
        let begin = Instant::now();
        // The connection to systemd may break before the answer arrives.
        let _ = self.exec(&["systemctl", "poweroff"])?;
        self.wait_for_the_end(HALT_LIMIT)?;
        Ok(begin.elapsed())
    }

    /// Waits until it has gone down by itself and its power can be switched on again with [`Host::power_on`].
    pub fn wait_for_the_end(&self, limit: Duration) -> Result<Duration> {
        let begin = Instant::now();
        self.wait_while_it_runs(limit, || Ok(!self.keeper_ended()?))?;
        self.clear()?;
        Ok(begin.elapsed())
    }

    /// Reboots it as `systemctl reboot` does and waits until its systemd is up again.
    pub fn reboot(&self) -> Result<Duration> {
        let begin = Instant::now();
        let before = self.init_process().with_context(|| format!("{} is not up", self.name()))?;
        let _ = self.exec(&["systemctl", "reboot"])?;
        self.wait_for_reboot(before, HALT_LIMIT)?;
        Ok(begin.elapsed())
    }

    /// Waits until it has rebooted by itself and its systemd is up again; `before` is its [`Host::init_process`] of earlier.
    pub fn wait_for_reboot(&self, before: Process, limit: Duration) -> Result<Duration> {
        let begin = Instant::now();
        self.wait_while_it_runs(limit, || Ok(before.is_alive()))?;
        self.wait_for_systemd(Some(before))?;
        Ok(begin.elapsed())
    }

    /// Waits for the end of a shutdown. One that hangs is said while it does, with what holds it up.
    fn wait_while_it_runs(&self, limit: Duration, runs: impl Fn() -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        let mut announced = false;
        wait_until(&format!("{} to go down", self.name()), limit, || match runs() {
            Ok(false) => Ok(()),
            Ok(true) if begin.elapsed() < SHUTDOWN_HANGS.min(limit) => {
                Err(anyhow!("it still runs"))
            }
            Ok(true) => {
                let what = self.describe_shutdown();
                if !std::mem::replace(&mut announced, true) {
                    let seconds = begin.elapsed().as_secs();
                    eprintln!("lab: {} is going down for {seconds} s: {what}", self.name());
                }
                Err(anyhow!("{what}"))
            }
            Err(error) => Err(error),
        })
        .map(|_| ())
    }

    /// What a host that goes down still runs, and what its systemd last said.
    fn describe_shutdown(&self) -> String {
        let last = tail(&self.read_console());
        let units: Vec<String> = self
            .active_units(|unit| unit.ends_with(".service") || unit.ends_with(".container"))
            .into_iter()
            .filter(|unit| unit != "systemd-journald.service")
            .map(|unit| {
                let pids: Vec<String> = self
                    .unit_processes(&unit)
                    .iter()
                    .map(|process| process.pid.to_string())
                    .collect();
                format!("{unit} (processes {} of this machine)", pids.join(", "))
            })
            .collect();
        let units = if units.is_empty() { "no service".to_owned() } else { units.join(", ") };
        format!("it still runs {units}; console: {last}")
    }

    /// True when it does not come back from its next reboots, as after a bad update: it goes down and stays down until it
    /// is switched on with [`Host::power_on`].
    pub fn stay_down(&self, stays: bool) -> Result<()> {
        let mark = self.run_directory().join("stays-down");
        let done = if stays { fs::write(&mark, "") } else { fs::remove_file(&mark) };
        done.with_context(|| mark.display().to_string())
    }

    /// Pulls its cable.
    pub fn cut_network(&self) -> Result<()> {
        self.run.network.plug_cable(self.name(), false)
    }

    /// Plugs its cable in.
    pub fn restore_network(&self) -> Result<()> {
        self.run.network.plug_cable(self.name(), true)
    }

    /// Runs a command on it, as root, to its end.
    pub fn exec<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Output> {
        self.exec_with_input(command, b"")
    }

    /// [`Host::exec`] with something on standard input.
    pub fn exec_with_input<S: AsRef<OsStr>>(&self, command: &[S], input: &[u8]) -> Result<Output> {
        use std::os::unix::process::ExitStatusExt as _;
        let begin = Instant::now();
        let mut child = self
            .command_on(command)?
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nsenter")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input)?;
        }
        let output = wait_out(child)?;
        Ok(Output {
            code: output
                .status
                .code()
                .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: begin.elapsed(),
        })
    }

    /// Starts a command on it; the caller says where its input and output go and waits for it.
    pub fn command_on<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Command> {
        let init = self.init_process().with_context(|| format!("{} is not up", self.name()))?;
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--target={}", init.pid));
        nsenter.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]);
        nsenter.arg("--").args(command);
        nsenter.env_clear();
        nsenter.envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ]);
        Ok(nsenter)
    }

    /// Writes a file on it, directories above it included.
    pub fn write_file(&self, path: &str, content: &(impl AsRef<[u8]> + ?Sized)) -> Result<()> {
        if self.is_up() {
            let script = "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\"";
            self.exec_with_input(&["sh", "-c", script, "sh", path], content.as_ref())?
                .ensure_success()
                .with_context(|| format!("write {path} on {}", self.name()))?;
            return Ok(());
        }
        let path = self.disk_root().join(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }

    /// Reads a file on it.
    pub fn read_file(&self, path: &str) -> Result<String> {
        if self.is_up() {
            let read = self.exec(&["cat", path])?.ensure_success();
            return Ok(read.with_context(|| format!("read {path} on {}", self.name()))?.stdout);
        }
        let path = self.disk_root().join(path.trim_start_matches('/'));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Reads a file on it without entering it, cheap enough to be done a thousand times a second; `init` is its PID 1. None
    /// when there is no such file, or that boot is over.
    pub fn peek_file(&self, init: Process, path: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/root{path}", init.pid)).ok()
    }

    /// True when processes of the unit, a container's included, run on it: the truth, seen from outside, whatever anybody
    /// reports.
    pub fn is_active(&self, unit: &str) -> bool {
        !self.unit_processes(unit).is_empty()
    }

    /// Names of systemd units and container units whose processes run on it and for which `wanted` holds, sorted.
    pub fn active_units(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let units = self.cgroups.list_units(&|name| wanted(name)).into_iter().map(|(name, _)| name);
        let containers = self.list_containers().into_iter().filter_map(|container| container.unit);
        let mut names: Vec<String> = units.chain(containers.filter(|unit| wanted(unit))).collect();
        names.sort();
        names
    }

    /// The number of instances of a template that are up on it; the prefix is that of the template and has no dash. Cheap enough to
    /// be asked hundreds of times a second while the host is being measured: it only counts directories.
    pub fn count_instances(&self, prefix: &str) -> usize {
        self.cgroups
            .count_directories(&format!("machine/payload/system.slice/system-{prefix}.slice"))
    }

    /// The processes of a systemd unit, or of a container unit, on it.
    pub fn unit_processes(&self, unit: &str) -> Vec<Process> {
        if unit.ends_with(".container") {
            let containers = self.list_containers();
            let its = containers.into_iter().filter(|its| its.unit.as_deref() == Some(unit));
            return its.flat_map(|container| container.processes).collect();
        }
        let units = self.cgroups.list_units(&|name| name == unit);
        units.into_iter().flat_map(|(_, pids)| pids).filter_map(Process::from_pid).collect()
    }

    /// Sends a signal to every process of a systemd unit on it: `KILL` for a crash, `STOP` and `CONT` for a pause.
    pub fn signal_unit(&self, unit: &str, signal: Signal) -> Result<()> {
        let processes = self.unit_processes(unit);
        if processes.is_empty() {
            bail!("{unit} does not run on {}", self.name());
        }
        for process in processes {
            process.send_signal(signal);
        }
        Ok(())
    }

    /// Stops every process on it at once, its PID 1 and what containers run included, as a virtual machine that is paused: it
    /// does nothing and answers nobody until [`Host::resume_all`]. Its clocks go on, as those of a paused machine do when it goes on.
    pub fn pause_all(&self) -> Result<()> {
        let limit = Duration::from_secs(10);
        // What has been stopped begins nothing, so that sooner or later nothing is left that runs.
        wait_closely(&format!("{} to stand still", self.name()), limit, PAUSE_STEP, || {
            let processes = self.cgroups.list_processes().into_iter().filter_map(Process::from_pid);
            let mut running = processes.filter(|process| !process.is_stopped()).peekable();
            if running.peek().is_none() {
                return Ok(());
            }
            running.for_each(|process| process.send_signal(Signal::STOP));
            Err("something runs")
        })
        .map(|_| ())
    }

    /// Lets every process on it go on.
    pub fn resume_all(&self) {
        for process in self.cgroups.list_processes().into_iter().filter_map(Process::from_pid) {
            process.send_signal(Signal::CONT);
        }
    }

    /// Its PID 1, seen from outside: another one after every boot.
    pub fn init_process(&self) -> Option<Process> {
        let processes = self.cgroups.list_processes().into_iter().filter_map(Process::from_pid);
        let firsts = processes.filter_map(|process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
            Some((depth_of_first(&status)?, process))
        });
        // Every container on it has a first process too, one level further down and maybe with a lower number here.
        firsts.min_by_key(|(depth, _)| *depth).map(|(_, process)| process)
    }

    fn wait_for_systemd(&self, before: Option<Process>) -> Result<()> {
        let what = format!("systemd on {}", self.name());
        wait_until(&what, BOOT_LIMIT, || {
            if self.init_process() == before {
                return Err(anyhow!("no PID 1; console: {}", tail(&self.read_console())));
            }
            // Asked twice: early in the boot systemctl itself, later the target, is not there yet.
            let output = self.exec(&["systemctl", "is-active", "basic.target", "dbus.socket"])?;
            output.ensure_success().map(|_| ())
        })?;
        Ok(())
    }

    /// Kills what runs and takes away what only a host with power has.
    fn clear(&self) -> Result<()> {
        self.cgroups.kill_all()?;
        if let Some(mut keeper) = self.lock_keeper()?.take() {
            keeper.wait()?;
        }
        self.cgroups.remove()?;
        self.run.network.detach_node(self.name())?;
        self.run.sweep_leftovers(self.name());
        Ok(())
    }

    /// True when what keeps it powered has ended, and everything of it with that.
    fn keeper_ended(&self) -> Result<bool> {
        let ended = match self.lock_keeper()?.as_mut() {
            Some(keeper) => keeper.try_wait()?.is_some(),
            // Kept by another process.
            None => self.init_process().is_none(),
        };
        Ok(ended)
    }

    fn lock_keeper(&self) -> Result<std::sync::MutexGuard<'_, Option<Child>>> {
        self.keeper.lock().map_err(|_| anyhow!("another thread panicked with {}", self.name()))
    }
}

/// Waits for the end of a command on a host that may go down meanwhile. A systemd that shuts down stops every process before
/// it ends them; nsenter sees its command stopped and stops itself, as for a terminal, and nobody would wake it.
fn wait_out(child: Child) -> Result<std::process::Output> {
    let nsenter = i32::try_from(child.id()).ok().and_then(Process::from_pid);
    let (ended, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while end.recv_timeout(STOPPED_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Some(nsenter) = nsenter.filter(|nsenter| nsenter.is_stopped()) {
                    nsenter.send_signal(Signal::CONT);
                }
            }
        });
        let output = child.wait_with_output();
        drop(ended);
        Ok(output?)
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(5)).copied().collect::<Vec<_>>().join(" / ")
}

/// How many process namespaces deep a process is that is the first of its own, from what the kernel says of it in
/// `/proc/<pid>/status`; `None` of any other.
fn depth_of_first(status: &str) -> Option<usize> {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let pids: Vec<&str> = pids.split_ascii_whitespace().collect();
    (pids.len() > 1 && pids.last() == Some(&"1")).then_some(pids.len())
}

#[cfg(test)]
mod tests {
    use super::depth_of_first;

    #[test]
    fn the_first_process_of_a_container_is_not_taken_for_the_hosts() {
        let of = |pids: &str| depth_of_first(&format!("Name:\tx\nNSpid:\t{pids}\nNSsid:\t0\n"));
        assert_eq!(of("1"), None, "this machine's own");
        assert_eq!(of("4711\t23"), None, "some process on a host");
        assert_eq!(of("4711\t1"), Some(2), "a host's");
        assert_eq!(of("815\t300\t1"), Some(3), "a container's on a host");
    }
}
