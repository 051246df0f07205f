//! What goes wrong between client and daemon, and what the user is told.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

use crate::daemon::{Answer, Daemon, musterctl, output_text};

#[test]
fn no_daemon_at_the_socket() {
    let missing = musterctl("list-units --endpoint unix:///nowhere/muster.sock").output().unwrap();
    assert_snapshot!(output_text(&missing), @r"
    exit 1
    --- stderr
    error: no daemon listens at unix:///nowhere/muster.sock: No such file or directory (os error 2)
    hint: `systemctl start musterd` starts it on this machine; `--endpoint` names another
    ");
}

#[test]
fn a_socket_that_a_daemon_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("muster.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let output = musterctl("list-units").env("MUSTERCTL_ENDPOINT", &socket).output().unwrap();
    let shown = output_text(&output).replace(socket.to_str().unwrap(), "[SOCKET]");
    assert_snapshot!(shown, @r"
    exit 1
    --- stderr
    error: no daemon listens at unix://[SOCKET]: Connection refused (os error 111)
    hint: `systemctl start musterd` starts it on this machine; `--endpoint` names another
    ");
}

#[test]
fn nobody_listens_at_the_port() {
    // Taken, so that nobody else listens there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output =
        musterctl(&format!("list-units --endpoint http://127.0.0.1:{port}")).output().unwrap();
    assert_snapshot!(output_text(&output).replace(&port.to_string(), "[PORT]"), @r"
    exit 1
    --- stderr
    error: no daemon listens at http://127.0.0.1:[PORT]: Connection refused (os error 111)
    hint: `--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask
    ");
}

#[test]
fn a_socket_that_is_not_for_this_user() {
    let daemon = Daemon::new([]);
    let folder = daemon.socket().parent().unwrap().to_owned();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let is_root = std::fs::metadata(&folder).unwrap().uid() == 0;
    // Root may use every socket, so root's test becomes somebody else, who need not be able to reach the binary where it
    // was built. For anybody else a socket without any permission will do.
    mode(&folder, 0o755);
    mode(&daemon.socket(), if is_root { 0o600 } else { 0 });
    let mut command = if is_root {
        let binary = folder.join("musterctl");
        std::fs::copy(env!("CARGO_BIN_EXE_musterctl"), &binary).unwrap();
        let mut command = Command::new(binary);
        command.uid(65534).gid(65534).current_dir("/").env("MUSTERCTL_ENDPOINT", daemon.socket());
        command.arg("list-units");
        command
    } else {
        daemon.command("list-units")
    };
    let shown = output_text(&command.output().unwrap());
    assert_snapshot!(shown.replace(daemon.socket().to_str().unwrap(), "[SOCKET]"), @r"
    exit 1
    --- stderr
    error: you may not use the daemon's socket [SOCKET]: Permission denied (os error 13)
    hint: members of the group `muster` and root may
    ");
}

#[test]
fn a_daemon_that_does_not_answer() {
    let daemon = Daemon::new([("GET /v1/states", Answer::Silence)]);
    assert_snapshot!(daemon.run("list-units --request-timeout 0.2"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] did not answer /v1/states within 200ms
    hint: `--request-timeout` allows more time
    ");
}

#[test]
fn an_answer_that_is_long_in_coming_is_said_to_be_waited_for() {
    let daemon = Daemon::new([("GET /v1/states", Answer::Silence)]);
    let shown = daemon.run("list-units --request-timeout 2 --notice-after 0.3s");
    let expected =
        "exit 1\n--- stderr\nwaiting: unix://[SOCKET] has not answered /v1/states for 1s\n";
    assert!(shown.starts_with(expected), "{shown}");
    assert!(!daemon.run("list-units --request-timeout 0.2").contains("waiting"));
}

#[test]
fn a_daemon_that_hangs_up() {
    let daemon = Daemon::new([("GET /v1/states", Answer::Hangup)]);
    assert_snapshot!(daemon.run("list-units"), @r"
    exit 1
    --- stderr
    error: the exchange with unix://[SOCKET] broke off: connection closed before message completed
    hint: the daemon's log (`journalctl -u musterd`) may say why
    ");
}

#[test]
fn a_daemon_that_says_no() {
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::error(413, "the request is larger than 8 MiB: send fewer units at once"),
    )]);
    assert_snapshot!(daemon.run("start web@1"), @r"
    exit 1
    --- stderr
    error: the request is larger than 8 MiB: send fewer units at once
    ");
}

#[test]
fn a_server_that_is_no_daemon() {
    let html = Answer::Text(200, "<html>hello</html>".to_owned());
    let daemon = Daemon::new([("GET /v1/states", html)]);
    assert_snapshot!(daemon.run("list-units"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] answered /v1/states with 200 OK and something that is not a daemon's answer: expected value at line 1 column 1
    hint: is it a musterd that listens there?
    ");
    let html = Answer::Text(502, "<html>bad gateway</html>".to_owned());
    let daemon = Daemon::new([("GET /v1/states", html)]);
    assert_snapshot!(daemon.run("list-units"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] answered /v1/states with 502 Bad Gateway and something that is not a daemon's answer: expected value at line 1 column 1
    hint: is it a musterd that listens there?
    ");
}

#[test]
fn a_daemon_of_another_version() {
    assert_snapshot!(Daemon::new([]).run("list-units"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] does not know /v1/states
    hint: it is no musterd, or one of another version than this musterctl 0.1.0
    ");
    let daemon =
        Daemon::new([("GET /v1/states", Answer::Text(404, "404 page not found".to_owned()))]);
    assert_snapshot!(daemon.run("list-units"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] does not know /v1/states
    hint: it is no musterd, or one of another version than this musterctl 0.1.0
    ");
}

#[test]
fn debug_tells_each_request() {
    let daemon = Daemon::new([("POST /v1/unfreeze", Answer::Text(204, String::new()))]);
    let shown = daemon.run("unfreeze --debug");
    assert!(shown.contains("debug: POST /v1/unfreeze: 204"), "{shown}");
}
