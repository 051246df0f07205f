//! The way to etcd as it is configured: keys of the configuration file, a real etcd, and what a daemon says of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure"
)]

#[path = "../../store/tests/support/certificates.rs"]
#[allow(dead_code, reason = "the store's tests use more of it")]
mod certificates;
#[path = "../../store/tests/support/ports.rs"]
mod ports;
mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use certificates::Certificates;
use clap::Parser as _;
use muster_store::Registry;
use musterd::config::{Config, Flags};
use musterd::telemetry::health::HealthStatus;
use ports::free_port;
use support::Machine;

/// Generous: a condition that is not met by then never will be.
const LIMIT: Duration = Duration::from_secs(30);

/// An etcd that speaks TLS only, and only with those who have a certificate.
struct Etcd {
    process: Child,
    endpoint: String,
    _data: tempfile::TempDir,
}

impl Etcd {
    fn start(certificates: &Certificates) -> Self {
        let (endpoint, peer) = (
            format!("https://127.0.0.1:{}", free_port()),
            format!("http://127.0.0.1:{}", free_port()),
        );
        let data = tempfile::tempdir().unwrap();
        let (certificate, key) = certificates.server();
        let process = Command::new("etcd")
            .args(["--name", "m0", "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m0={peer}")])
            .arg("--data-dir")
            .arg(data.path())
            .arg("--cert-file")
            .arg(certificate)
            .arg("--key-file")
            .arg(key)
            .arg("--client-cert-auth")
            .arg("--trusted-ca-file")
            .arg(certificates.authority())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is needed (Debian: etcd-server)");
        Self { process, endpoint, _data: data }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A configuration file with one etcd in it.
struct File {
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("muster.toml");
        std::fs::write(&path, format!("machine_id = \"m1\"\n{text}")).unwrap();
        Self { path, _directory: directory }
    }

    fn of(endpoint: &str, authorities: &Certificates, ours: &Certificates) -> Self {
        let (certificate, key) = ours.client();
        let (certificate, key) = (certificate.display(), key.display());
        let authorities = authorities.authority();
        let authorities = authorities.display();
        Self::new(&format!(
            "[etcd]\nendpoints = ['{endpoint}']\nca_file = '{authorities}'\ncert_file = '{certificate}'\nkey_file = '{key}'\n"
        ))
    }

    fn load(&self) -> Config {
        let path = self.path.display().to_string();
        Config::load(Flags::try_parse_from(["musterd", "--config", &path]).unwrap()).unwrap()
    }

    /// What `musterd --check-config` says, without the directories whose names change.
    fn check(&self) -> (Option<i32>, String) {
        let musterd = env!("CARGO_BIN_EXE_musterd");
        let Output { status, stdout, stderr } = Command::new(musterd)
            .arg("--check-config")
            .arg("--config")
            .arg(&self.path)
            .output()
            .unwrap();
        let output = String::from_utf8([stdout, stderr].concat()).unwrap();
        let directory = self.path.parent().unwrap().display().to_string();
        (status.code(), output.replace(&directory, "DIRECTORY"))
    }
}

/// Runs a daemon's core on what is configured until its status is as it should be.
async fn run_until(config: &Config, holds: impl Fn(&HealthStatus) -> bool) -> HealthStatus {
    let etcd = config.etcd.as_ref().unwrap();
    let store = muster_store::open_etcd(etcd.store_options()).await.unwrap();
    let mut machine = Machine::new("m1", "10.0.0.1");
    machine.settings.ttl = support::LONG;
    let daemon = machine.start(&Registry::new(store, &config.prefix));
    let mut status = daemon.health.subscribe();
    let reached = tokio::time::timeout(LIMIT, status.wait_for(|s| holds(s))).await;
    let status = reached.map(|status| status.unwrap().clone());
    daemon.stop().await;
    status.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_works_with_etcd_over_tls() {
    let certificates = Certificates::new("muster");
    let etcd = Etcd::start(&certificates);
    let config = File::of(&etcd.endpoint, &certificates, &certificates).load();
    run_until(&config, |status| status.lease.ok && status.placements.ok && status.leading).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_trusts_another_authority_says_so() {
    let (certificates, other) = (Certificates::new("muster"), Certificates::new("muster"));
    let etcd = Etcd::start(&certificates);
    let config = File::of(&etcd.endpoint, &other, &certificates).load();
    // Before etcd listens it is something else that is wrong.
    let explains_problem = |status: &HealthStatus| {
        let problem = status.store.problem.as_deref().unwrap_or_default();
        problem.contains(&format!("{}: invalid peer certificate", etcd.endpoint))
            && problem.ends_with("etcd.ca_file must hold the authority that signed its certificate")
    };
    run_until(&config, explains_problem).await;
}

#[test]
fn a_good_configuration_passes_the_check() {
    let file = File::new("ttl = \"20s\"\n");
    let (code, output) = file.check();
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(output, "DIRECTORY/muster.toml: the configuration is fine; machine m1\n");
    let certificates = Certificates::new("muster");
    let (code, output) = File::of("https://127.0.0.1:1", &certificates, &certificates).check();
    assert_eq!(code, Some(0), "nobody is asked: {output}");
}

/// Who may read and write what the configuration rests on.
#[test]
fn the_check_names_modes_that_give_things_away() {
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let explains_problem = |file: &File, expected: &[&str]| {
        let (code, output) = file.check();
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{output}");
        for part in expected {
            assert!(output.contains(part), "{part}: {output}");
        }
    };
    let file = File::new("ttl = \"20s\"\n");
    for (of_file, expected) in [
        (0o644, &[][..]),
        (0o600, &[]),
        (
            0o666,
            &[
                "muster.toml has mode 0666, so that others may write it; chmod go-w DIRECTORY/muster.toml",
            ],
        ),
        (0o646, &["has mode 0646"]),
    ] {
        mode(&file.path, of_file);
        explains_problem(&file, expected);
    }

    let certificates = Certificates::new("muster");
    let login = |rest: &str| {
        let of = File::of("https://127.0.0.1:1", &certificates, &certificates);
        let text = std::fs::read_to_string(&of.path).unwrap();
        std::fs::write(&of.path, format!("{text}username = 'muster'\n{rest}")).unwrap();
        of
    };
    let inside = login("password = 'secret'\n");
    mode(&inside.path, 0o644);
    explains_problem(
        &inside,
        &[
            "there is a password (etcd.password) in it",
            "mode 0644",
            "chmod 0600 DIRECTORY/muster.toml",
        ],
    );
    mode(&inside.path, 0o600);
    explains_problem(&inside, &[]);

    let password = certificates.path("password");
    std::fs::write(&password, "secret\n").unwrap();
    let beside = login(&format!("password_file = '{}'\n", password.display()));
    for (of_password, of_key, expected) in [
        (0o600, 0o600, &[][..]),
        (0o644, 0o600, &["etcd.password_file", "mode 0644"]),
        (0o600, 0o604, &["etcd.key_file", "mode 0604"]),
        (0o666, 0o666, &["etcd.password_file", "etcd.key_file", "chmod 0600 "]),
    ] {
        mode(&password, of_password);
        mode(&certificates.client().1, of_key);
        explains_problem(&beside, expected);
    }
}

#[test]
fn a_bad_configuration_fails_the_check_with_its_reason() {
    let certificates = Certificates::new("muster");
    let plain = File::of("http://127.0.0.1:1", &certificates, &certificates);
    for (file, reason) in [
        (
            File::new("colour = \"red\"\n"),
            "musterd: DIRECTORY/muster.toml: line 2: unknown key `colour`, expected one of ",
        ),
        (
            File::new("[etcd]\nendpoints = [\"https://127.0.0.1:1\"]\n"),
            "musterd: the store refuses connection to etcd: endpoint https://127.0.0.1:1 needs the file of the authorities to trust (etcd.ca_file)\n",
        ),
        (
            File::new("[etcd]\nendpoints = [\"https://127.0.0.1:1\"]\nca_file = \"/nowhere\"\n"),
            "musterd: etcd.ca_file: the store refuses connection to etcd: /nowhere: No such file or directory",
        ),
        (
            plain,
            "musterd: the store refuses connection to etcd: there are files for TLS (etcd.ca_file, etcd.cert_file), but no endpoint begins with https://\n",
        ),
        (
            File::new(
                "[etcd]\nendpoints = [\"https://a:1\", \"http://b:1\"]\nca_file = \"/x\"\nusername = \"u\"\npassword = \"p\"\n",
            ),
            "musterd: DIRECTORY/muster.toml: line 3: etcd.endpoints: a password (etcd.password, etcd.password_file) is never sent over plain HTTP, to http://b:1; ",
        ),
        (
            File::new("[http]\nlisten = [\"10.0.0.1:7117\"]\n"),
            "musterd: DIRECTORY/muster.toml: line 3: http.listen: 10.0.0.1:7117: plain TCP, on loopback too, lets every user",
        ),
    ] {
        let (code, output) = file.check();
        assert_eq!(code, Some(1), "{output}");
        assert!(output.starts_with(reason), "{output}");
    }
}
