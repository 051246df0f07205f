//! An sshd of the test's own on loopback: its keys, its configuration, a free port. It ends with the test.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::wait_until;
use crate::ports::free_port;

/// Debian's place of the server, which insists on being called by its whole path.
const PROGRAM: &str = "/usr/sbin/sshd";

/// A server that lets in whoever runs the test, with a key that it made.
pub(crate) struct Sshd {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Sshd {
    /// Starts a server with further lines of configuration.
    pub(crate) fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        std::fs::copy(path("user.pub"), path("authorized_keys")).unwrap();
        // Where privileges are separated the server wants this; root's tests make it, as the package's service does.
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let configuration = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{more}\n",
            path("host").display(),
            path("authorized_keys").display(),
        );
        std::fs::write(path("sshd_config"), configuration).unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let child = Command::new(PROGRAM)
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{PROGRAM}: {error}; `cargo xtask test` installs openssh-server")
            });
        let sshd = Self { folder, child, port };
        let host_key = std::fs::read_to_string(sshd.path("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {host_key}");
        std::fs::write(sshd.path("known_hosts"), known).unwrap();
        // The user's own configuration and agent do not count in a test: a program of ssh's name passes ours on.
        let real = Command::new("sh").args(["-c", "command -v ssh"]).output().unwrap();
        let real = String::from_utf8(real.stdout).unwrap();
        let wrapper = format!(
            "#!/bin/sh\nexec {} -F {} \"$@\"\n",
            real.trim(),
            sshd.path("ssh_config").display()
        );
        std::fs::create_dir(sshd.path("bin")).unwrap();
        std::fs::write(sshd.path("bin/ssh"), wrapper).unwrap();
        std::fs::set_permissions(sshd.path("bin/ssh"), Permissions::from_mode(0o755)).unwrap();
        sshd.configure("");
        wait_until("sshd's listening", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        sshd
    }

    /// The client's configuration: the key, the known host, and further lines.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "{more}\nHost *\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nBatchMode yes\n",
            self.path("user").display(),
            self.path("known_hosts").display(),
        );
        std::fs::write(self.path("ssh_config"), text).unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has a command find the test's ssh first, and put what is of the moment where it can be seen.
    pub(crate) fn put_in_front(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        std::fs::create_dir_all(self.path("tmp")).unwrap();
        command
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("SSH_AUTH_SOCK");
    }

    /// Ends every connection, as a host does that goes down.
    pub(crate) fn end_sessions(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let sessions = std::fs::read_to_string(children).unwrap_or_default();
        for session in sessions.split_whitespace() {
            let killed = Command::new("kill").args(["-KILL", session]).status();
            assert!(killed.unwrap().success());
        }
    }

    /// Whether a command has left nothing of its tunnel, neither files nor sessions.
    pub(crate) fn is_left_alone(&self) -> bool {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let sessions = std::fs::read_to_string(children).unwrap_or_default();
        let files = std::fs::read_dir(self.path("tmp")).unwrap().count();
        sessions.trim().is_empty() && files == 0
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).unwrap().uid() == 0
}
