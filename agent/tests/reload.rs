//! A daemon as a process: the configuration is read again at SIGHUP, and what it makes is not for others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure"
)]

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Generous: what is waited for takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// A daemon that has the reboot role alone: it touches nothing of the machine that the test runs on.
struct Daemon {
    process: Child,
    lines: Receiver<String>,
    directory: tempfile::TempDir,
}

impl Daemon {
    fn start(rest: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), rest)
    }

    fn start_in(directory: tempfile::TempDir, rest: &str) -> Self {
        write(directory.path(), rest);
        // As a shell's user starts it: what is made is everybody's to read.
        let mut process = Command::new("sh")
            .args(["-c", "umask 022; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_musterd"))
            .arg("--config")
            .arg(directory.path().join("muster.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let daemon = Self { process, lines, directory };
        daemon.says("musterd starts");
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits for a line of the log and returns it.
    fn says(&self, part: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("{part}: {error}; {before:#?}"),
            }
        }
    }

    /// Writes the configuration anew and says so.
    fn reload(&self, rest: &str) {
        write(self.directory.path(), rest);
        self.hang_up();
    }

    fn hang_up(&self) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(id, Signal::HUP).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(directory: &Path, rest: &str) {
    let shown = directory.display();
    let text = format!(
        "machine_id = \"m1\"\nroles = [\"reboot\"]\nstate_dir = \"{shown}/state\"\n{rest}\n[http]\nsocket = \"{shown}/run/muster.sock\"\n"
    );
    std::fs::write(directory.join("muster.toml"), text).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_changed_configuration_is_told_option_by_option() {
    let daemon =
        Daemon::start("ttl = \"20s\"\nmetadata = { zone = \"a\" }\nlog = { level = \"info\" }");
    daemon.hang_up();
    daemon.says("nothing has changed");

    daemon.reload("ttl = \"30s\"\nmetadata = { zone = \"b\" }\nlog = { level = \"debug\" }");
    let mut lines = [(); 3].map(|()| daemon.says("an option has changed"));
    lines.sort_by_key(|line| line.split("option=").nth(1).unwrap().to_owned());
    for (line, parts) in lines.iter().zip([
        ["option=\"log.level\"", "old=\"info\"", "new=\"debug\"", "is in force"],
        ["option=\"metadata\"", "\\\"a\\\"", "\\\"b\\\"", "is in force"],
        ["option=\"ttl\"", "old=\"20s\"", "new=\"30s\"", "needs a restart"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    // What still needs the restart is said again, and what is in force is not.
    daemon.hang_up();
    assert!(daemon.says("an option has changed").contains("option=\"ttl\""));
    daemon.reload("ttl = \"20s\"\nmetadata = { zone = \"b\" }\nlog = { level = \"debug\" }");
    daemon.says("nothing has changed");
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let daemon = Daemon::start("log = { level = \"info\" }");
    for (broken, told) in [
        ("colour = \"red\"", "muster.toml: line 4: unknown key `colour`"),
        ("ttl = \"1ms\"", "line 4: ttl: "),
        ("ttl = ", "line 4"),
    ] {
        daemon.reload(broken);
        let line = daemon.says("cannot be used");
        assert!(line.contains(told) && line.contains("ERROR"), "{line}");
    }
    std::fs::remove_file(daemon.path("muster.toml")).unwrap();
    daemon.hang_up();
    assert!(daemon.says("cannot be used").contains("there is no configuration file"));
    daemon.reload("log = { level = \"info\" }");
    daemon.says("nothing has changed");
}

#[test]
fn the_level_of_the_log_is_in_force_at_once() {
    let rest = "etcd = { endpoints = [\"http://127.0.0.1:1\"] }\nlog = { level = \"info\" }";
    let daemon = Daemon::start(rest);
    daemon.reload(&rest.replace("info", "debug"));
    daemon.says("log.level");
    // Nobody listens there, and that is told at this level alone.
    assert!(daemon.says("a call to etcd failed").contains("DEBUG"));
}

#[test]
fn a_password_is_never_shown() {
    let etcd = |password: &str| {
        format!(
            "etcd = {{ endpoints = [\"https://127.0.0.1:1\"], ca_file = \"CA\", username = \"u\", password = \"{password}\" }}"
        )
    };
    let certificates = tempfile::tempdir().unwrap();
    let authority = certificates.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
    std::fs::write(&authority, made.pem()).unwrap();
    let etcd = |password: &str| etcd(password).replace("CA", authority.to_str().unwrap());
    let daemon = Daemon::start(&etcd("first-secret"));
    daemon.reload(&etcd("second-secret"));
    let line = daemon.says("etcd.password\" old=");
    assert!(line.contains("set, not shown") && !line.contains("-secret"), "{line}");
    assert!(line.contains("needs a restart"), "{line}");
}

#[test]
fn what_the_daemon_makes_is_not_for_others() {
    let daemon = Daemon::start("");
    let state = daemon.path("state");
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    // Members of the group come to the socket.
    assert_eq!(mode(&daemon.path("run")), 0o755);
    assert_eq!(mode(&daemon.path("run/muster.sock")), 0o660);
}

/// An earlier version made them so.
#[test]
fn what_an_earlier_daemon_left_open_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let file = state.join("placements.json");
    std::fs::write(&file, "{}").unwrap();
    std::fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let daemon = Daemon::start_in(directory, "");
    assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
    drop(daemon);
}
