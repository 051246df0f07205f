//! `ssh`, `--tunnel` and `fd-forward`, with a real sshd and the system's ssh; and the environment that fleetctl's users have.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answers::{machine, unit};
use crate::daemon::{Answer, Daemon, interrupt, musterctl, output_text, wait_until};
use crate::sshd::Sshd;

/// Machine 1 is where the test's sshd is.
fn cluster() -> Daemon {
    let mut here = machine(1);
    "127.0.0.1".clone_into(&mut here.address);
    let detail = |name: &str, machines: &[u8], global: bool| {
        let mut unit = unit(name, "launched", "launched", machines);
        unit["text"] = json!("");
        unit["global"] = json!(global);
        Answer::json(unit)
    };
    Daemon::with_rules(vec![
        ("GET /v1/machines", Answer::json(json!({"machines": [here, machine(2)]}))),
        ("GET /v1/units/web.service", detail("web.service", &[1], false)),
        ("GET /v1/units/n1.service", detail("n1.service", &[1], false)),
        ("GET /v1/units/node.service", detail("node.service", &[1, 2], true)),
        ("GET /v1/units/idle.service", detail("idle.service", &[], false)),
        (
            "GET /v1/states",
            Answer::json(json!({"states": [], "silent": ["web.service"], "machines": []})),
        ),
    ])
}

/// A daemon on which a unit that is started is waited for without end, after these events.
fn daemon_with_start(events: Vec<serde_json::Value>) -> Daemon {
    let changed = crate::answers::change_answer([("web.service", json!({"outcome": "created"}))]);
    Daemon::new([
        ("POST /v1/units", Answer::json(changed)),
        ("POST /v1/wait", Answer::OpenEvents(events)),
    ])
}

/// The command that starts that unit, behind a tunnel through the test's sshd.
fn start_behind_tunnel(sshd: &Sshd, daemon: &Daemon) -> Command {
    let mut command = daemon.command("start web --tunnel");
    sshd.put_in_front(&mut command);
    command.arg(format!("127.0.0.1:{}", sshd.port()));
    command
}

/// The standard error of a command that has ended.
fn errors_of(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Runs a command line with the test's ssh; the daemon's socket is what `--endpoint` says.
fn run(sshd: &Sshd, daemon: &Daemon, words: &[&str]) -> String {
    let mut command = daemon.command("");
    sshd.put_in_front(&mut command);
    output_text(&command.args(words).output().unwrap())
}

#[test]
fn a_command_runs_on_the_machine_of_a_unit_with_its_exit_code() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    let port = sshd.port().to_string();
    let ssh =
        |words: &[&str]| run(&sshd, &daemon, &[&["ssh", "--ssh-port", &port], words].concat());
    for target in [
        &["web"][..],
        &["11111111"],
        &["1111"],
        &["127.0.0.1"],
        &["--unit", "n1"],
        &["--machine", "n1"],
    ] {
        let words = [target, &["--", "echo", "out;", "echo", "err", ">&2;", "exit", "7"]].concat();
        assert_eq!(ssh(&words), "exit 7\n--- stdout\nout\n--- stderr\nerr\n", "{target:?}");
    }
    // What stands behind the target is the command's, and nothing of it is ssh's.
    assert_eq!(ssh(&["web", "echo", "-l", "x", "'a  b'"]), "exit 0\n--- stdout\n-l x a  b\n");
    let evil = sshd.path("evil");
    let option = format!("-oProxyCommand=touch {}", evil.display());
    assert!(!ssh(&["web", "--", &option]).starts_with("exit 0"));
    assert!(!evil.exists());
}

#[test]
fn the_configuration_of_ssh_says_what_is_not_said() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    sshd.configure(&format!("Host 127.0.0.1\nPort {}", sshd.port()));
    assert_eq!(run(&sshd, &daemon, &["ssh", "web", "true"]), "exit 0\n");
    // A host that is not known is refused where nobody can be asked, and taken where nothing is checked.
    std::fs::write(sshd.path("known_hosts"), "").unwrap();
    let unknown = run(&sshd, &daemon, &["ssh", "web", "true"]);
    assert!(unknown.starts_with("exit 255\n--- stderr\n"), "{unknown}");
    assert!(unknown.contains("Host key verification failed"), "{unknown}");
    let unchecked =
        run(&sshd, &daemon, &["--strict-host-key-checking=false", "ssh", "web", "true"]);
    assert!(unchecked.starts_with("exit 0\n"), "{unchecked}");
    assert_eq!(
        std::fs::read_to_string(sshd.path("known_hosts")).unwrap(),
        "",
        "nothing was learnt"
    );
    let nobody =
        run(&sshd, &daemon, &["--ssh-username", "nobody-of-that-name", "ssh", "web", "true"]);
    assert!(nobody.starts_with("exit 255\n"), "{nobody}");
}

#[test]
fn what_names_no_machine_says_so() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    let ssh = |words: &[&str]| run(&sshd, &daemon, &[&["ssh"], words].concat());
    assert_snapshot!(ssh(&["n1"]), @r#"
    exit 1
    --- stderr
    error: "n1" names both a machine and a unit
    hint: `--machine` or `--unit` says which is meant
    "#);
    assert_snapshot!(ssh(&["ghost"]), @r#"
    exit 1
    --- stderr
    error: "ghost" names no machine, and there is no unit ghost.service
    hint: `musterctl list-machines` shows the machines there are
    "#);
    assert_snapshot!(ssh(&["node"]), @r"
    exit 1
    --- stderr
    error: node.service is global: it is on every machine that takes it
    hint: name the machine: `musterctl list-units` shows where it is
    ");
    assert_snapshot!(ssh(&["--unit", "idle"]), @r"
    exit 1
    --- stderr
    error: idle.service is on no machine
    hint: `musterctl list-unit-files` shows what is wanted of it
    ");
    assert_snapshot!(ssh(&["--unit", "ghost"]), @r"
    exit 1
    --- stderr
    error: there is no unit ghost.service
    ");
    assert_snapshot!(ssh(&["--machine", "web"]), @r#"
    exit 1
    --- stderr
    error: "web" names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
    assert_snapshot!(ssh(&[]), @r"
    exit 1
    --- stderr
    error: no machine or unit is named
    hint: `musterctl list-machines` shows the machines, `list-units` the units
    ");
    assert!(ssh(&["--machine", "n1", "--unit", "web"]).starts_with("exit 2\n"));
}

#[test]
fn a_machine_whose_address_could_be_an_option_is_not_connected_to() {
    let mut evil = machine(1);
    "-oProxyCommand=id".clone_into(&mut evil.address);
    let daemon =
        Daemon::with_rules(vec![("GET /v1/machines", Answer::json(json!({"machines": [evil]})))]);
    assert_snapshot!(daemon.run("ssh --machine n1 true"), @r#"
    exit 1
    --- stderr
    error: "-oProxyCommand=id" names no host: it begins like an option; expected HOST, HOST:PORT or USER@HOST:PORT, with an IPv6 address in brackets
    "#);
}

#[test]
fn a_tunnel_leads_to_the_socket_and_is_gone_afterwards() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    let tunnel = format!("127.0.0.1:{}", sshd.port());
    let listed = run(&sshd, &daemon, &["--tunnel", &tunnel, "list-units", "--no-legend"]);
    assert_eq!(listed, "exit 0\n--- stdout\nweb.service\t-\t-\t-\n");
    wait_until("the tunnel's end", || sshd.is_left_alone());
    // What a user's configuration says of other connections is not for this one.
    sshd.configure("Host *\nClearAllForwardings yes\nRequestTTY force\nExitOnForwardFailure no");
    assert_eq!(run(&sshd, &daemon, &["--tunnel", &tunnel, "list-units", "--no-legend"]), listed);
    sshd.configure("");
    // What fleetctl's users have set does the same.
    let mut command = musterctl("list-units --no-legend");
    sshd.put_in_front(&mut command);
    let endpoint = format!("file://{}", daemon.socket().display());
    command.env("FLEETCTL_TUNNEL", &tunnel).env("FLEETCTL_ENDPOINT", endpoint);
    assert_eq!(
        output_text(&command.output().unwrap()),
        "exit 0\n--- stdout\nweb.service\t-\t-\t-\n"
    );
    // ssh goes by way of the same host.
    let port = sshd.port().to_string();
    let words =
        ["--tunnel", &tunnel, "ssh", "--ssh-port", &port, "web", "echo $SSH_CONNECTION; exit 3"];
    let through = run(&sshd, &daemon, &words);
    assert!(through.starts_with("exit 3\n--- stdout\n127.0.0.1 "), "{through}");
    wait_until("the tunnel's end", || sshd.is_left_alone());
}

#[test]
fn a_tunnel_that_cannot_be_says_what_ssh_said() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    // Taken, so that nobody else listens there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = taken.local_addr().unwrap().port();
    let refused = run(&sshd, &daemon, &["--tunnel", &format!("127.0.0.1:{closed}"), "list-units"]);
    assert_snapshot!(refused.replace(&closed.to_string(), "[PORT]").replace('\r', ""), @r"
    exit 1
    --- stderr
    ssh: connect to host 127.0.0.1 port [PORT]: Connection refused
    error: ssh to 127.0.0.1:[PORT] ended with exit code 255 before there was a tunnel
    hint: what ssh says above tells why; `ssh HOST` has to work by itself
    ");
    let tunnel = format!("127.0.0.1:{}", sshd.port());
    let nowhere = ["--tunnel", &tunnel, "--endpoint", "unix:///nowhere/muster.sock", "list-units"];
    let nobody = run(&sshd, &daemon, &nowhere);
    assert!(nobody.starts_with("exit 1\n--- stderr\n"), "{nobody}");
    assert!(
        nobody.contains(&format!(
            "the exchange with unix:///nowhere/muster.sock on {tunnel} broke off"
        )),
        "{nobody}"
    );
    let evil = sshd.path("evil");
    let option = format!("-oProxyCommand=touch {}", evil.display());
    assert!(run(&sshd, &daemon, &["--tunnel", &option, "list-units"]).starts_with("exit 2\n"));
    assert!(!evil.exists());
    wait_until("the tunnel's end", || sshd.is_left_alone());
}

#[test]
fn behind_a_tunnel_too_the_first_daemon_that_answers_is_asked() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    let tunnel = format!("127.0.0.1:{}", sshd.port());
    let there = daemon.socket().display().to_string();
    for endpoints in [format!("/nowhere/a.sock,{there}"), format!("{there},/nowhere/a.sock")] {
        let words = ["--tunnel", &tunnel, "--endpoint", &endpoints, "list-units", "--no-legend"];
        let mut command = daemon.command("");
        sshd.put_in_front(&mut command);
        let output = command.args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{endpoints}: {}", output_text(&output));
        assert_eq!(output.stdout, b"web.service\t-\t-\t-\n", "{endpoints}");
    }
    let none = "/nowhere/a.sock,/nowhere/b.sock";
    let nobody = run(&sshd, &daemon, &["--tunnel", &tunnel, "--endpoint", none, "list-units"]);
    let expected = format!("no daemon listens at unix:///nowhere/b.sock on {tunnel}");
    assert!(nobody.starts_with("exit 1\n") && nobody.contains(&expected), "{nobody}");
}

#[test]
fn a_tunnel_that_breaks_in_the_middle_says_so() {
    let daemon = daemon_with_start(vec![]);
    let sshd = Sshd::new("");
    let mut command = start_behind_tunnel(&sshd, &daemon);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the wait", || daemon.lines().len() == 2);
    sshd.end_sessions();
    let shown = output_text(&child.wait_with_output().unwrap());
    let expected = format!(
        "error: the tunnel through 127.0.0.1:{} broke: ssh ended with exit code 255\n\
         hint: what was requested before stays so; the same command takes it up again\n",
        sshd.port()
    );
    assert!(shown.starts_with("exit 1\n--- stderr\n") && shown.ends_with(&expected), "{shown}");
    wait_until("the tunnel's end", || sshd.is_left_alone());
}

#[test]
fn whoever_waits_for_ssh_is_told_so() {
    let (sshd, daemon) = (Sshd::new(""), cluster());
    // A host that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut command = daemon.command("list-units --notice-after 100ms --ssh-timeout 30 --tunnel");
    sshd.put_in_front(&mut command);
    command.arg(format!("127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut begun = [0; 60];
    child.stderr.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let begun = String::from_utf8(begun.into()).unwrap();
    let expected = format!("waiting: ssh to 127.0.0.1:{port} has not made the tunnel");
    assert!(begun.starts_with(&expected), "{begun}");
    interrupt(&child);
    child.wait().unwrap();
}

#[test]
fn a_tunnel_goes_with_its_command_however_that_ends() {
    let refused = json!({ "event": "degraded", "message": "the store is away" });
    let daemon = daemon_with_start(vec![refused]);
    let sshd = Sshd::new("");
    for signal in ["-INT", "-TERM", "-HUP", "-KILL"] {
        let before = daemon.lines().len();
        let mut child = start_behind_tunnel(&sshd, &daemon)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("the wait", || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended by itself: {}",
                errors_of(&mut child)
            );
            daemon.lines().len() >= before + 2
        });
        assert!(!sshd.is_left_alone());
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        child.wait().unwrap();
        wait_until(&format!("the tunnel's end after {signal}"), || sshd.is_left_alone());
    }
}

#[test]
fn a_socket_is_passed_on_until_it_has_no_more_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("echo.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Says what it was told, once it has been told everything.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut remaining = Vec::new();
            stream.read_to_end(&mut remaining).unwrap();
            remaining.reverse();
            stream.write_all(&remaining).unwrap();
        }
    });
    let pass = |argument: &str, input: &[u8]| {
        let mut child = musterctl("fd-forward")
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let path = socket.to_str().unwrap();
    assert_eq!(pass(path, b"abc"), b"cba");
    let much: Vec<u8> = (0..1_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut backwards = much.clone();
    backwards.reverse();
    assert_eq!(pass(&format!("unix://{path}"), &much), backwards);
    let nowhere = musterctl("fd-forward /nowhere.sock").output().unwrap();
    assert_snapshot!(output_text(&nowhere), @r"
    exit 1
    --- stderr
    error: cannot pass anything on to /nowhere.sock: No such file or directory (os error 2)
    ");
}

#[test]
fn a_socket_that_ends_is_not_waited_for_by_who_keeps_its_input_open() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bye.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut child = musterctl("fd-forward")
        .arg(&socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"bye").unwrap();
    drop(stream);
    let input = child.stdin.take();
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "bye");
    assert!(child.wait().unwrap().success());
    drop(input);
}

#[test]
fn of_several_daemons_the_first_that_can_be_reached_is_asked() {
    let daemon = cluster();
    let (there, nobody) = (daemon.socket(), "/nowhere/a.sock");
    let list = |endpoints: String| {
        let output =
            musterctl("list-units --no-legend --endpoint").arg(endpoints).output().unwrap();
        output_text(&output).replace(there.to_str().unwrap(), "[SOCKET]")
    };
    let listed = "exit 0\n--- stdout\nweb.service\t-\t-\t-\n";
    assert_eq!(list(format!("{nobody},{}", there.display())), listed);
    assert_eq!(list(format!("{},{nobody}", there.display())), listed);
    assert_snapshot!(list(format!("{nobody},/nowhere/b.sock")), @r"
    exit 1
    --- stderr
    error: none of the daemons can be reached: no daemon listens at unix:///nowhere/a.sock: No such file or directory (os error 2); no daemon listens at unix:///nowhere/b.sock: No such file or directory (os error 2)
    hint: `--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask
    ");
}

#[test]
fn the_environment_of_fleetctl_counts_behind_our_own() {
    let daemon = cluster();
    let with = |variables: &[(&str, &str)]| {
        let mut command = musterctl("list-units --no-legend");
        command.env("FLEETCTL_ENDPOINT", daemon.socket()).envs(variables.iter().copied());
        output_text(&command.output().unwrap())
            .replace(daemon.socket().to_str().unwrap(), "[SOCKET]")
    };
    assert_eq!(with(&[]), "exit 0\n--- stdout\nweb.service\t-\t-\t-\n");
    assert!(with(&[("MUSTERCTL_ENDPOINT", "/nowhere/m.sock")]).contains("/nowhere/m.sock"));
    // An empty one is none, whosoever it is.
    let empty = ["MUSTERCTL_ENDPOINT", "MUSTERCTL_TUNNEL", "MUSTERCTL_DEBUG", "FLEETCTL_TUNNEL"];
    assert_eq!(with(&empty.map(|name| (name, ""))), "exit 0\n--- stdout\nweb.service\t-\t-\t-\n");
    assert_snapshot!(with(&[("FLEETCTL_DRIVER", "etcd")]), @r"
    exit 1
    --- stderr
    error: FLEETCTL_DRIVER=etcd asks for etcd: musterctl asks a daemon and nobody else
    hint: unset it; `--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask
    ");
    assert_snapshot!(with(&[("FLEETCTL_CA_FILE", "/ca.pem")]), @r"
    exit 0
    --- stdout
    web.service	-	-	-
    --- stderr
    note: FLEETCTL_CA_FILE has no effect: the way to a daemon is a socket, plain HTTP, or `--tunnel`, which is encrypted by ssh
    ");
}

#[test]
fn local_files_are_compared_with_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("a.service", "[Service]\nExecStart=/bin/a\n");
    file("b.service", "[Service]\nExecStart=/bin/b\n");
    file("c@.service", "[Service]\n");
    let stored = |name: &str, text: &str| {
        let mut unit: Value = unit(name, "launched", "launched", &[1]);
        unit["text"] = json!(text);
        Answer::json(unit)
    };
    let daemon = Daemon::with_rules(vec![
        ("GET /v1/units/a.service", stored("a.service", "[Service]\nExecStart=/bin/a\n")),
        ("GET /v1/units/b.service", stored("b.service", "[Service]\nExecStart=/bin/x\n")),
        ("GET /v1/units/c@1.service", Answer::error(404, "unit c@1.service does not exist")),
        (
            "GET /v1/units",
            Answer::json(json!({ "machines": [], "units": [
                unit("a.service", "launched", "launched", &[1]),
                unit("b.service", "launched", "launched", &[1]),
                unit("e.service", "launched", "launched", &[1]),
            ] })),
        ),
    ]);
    assert_snapshot!(daemon.run_in(folder.path(), "verify a.service b.service c@1"), @r"
    exit 1
    --- stdout
    Unit a.service is stored as in the local file
    --- stderr
    error: b.service: the cluster has another file of it; line 2 is the first that differs
    error: c@1.service is not stored in the cluster
    ");
    assert_eq!(daemon.run_in(folder.path(), "verify a").lines().next(), Some("exit 0"));
    // A pattern stands for stored units; each has its file here.
    assert_snapshot!(daemon.run_in(folder.path(), "verify [ab]*"), @r"
    exit 1
    --- stdout
    Unit a.service is stored as in the local file
    --- stderr
    error: b.service: the cluster has another file of it; line 2 is the first that differs
    ");
    assert_snapshot!(daemon.run_in(folder.path(), "verify e*"), @r"
    exit 1
    --- stderr
    error: e.service: no such file, and no such unit in the cluster
    ");
    assert_snapshot!(daemon.run_in(folder.path(), "verify d.service"), @r"
    exit 1
    --- stderr
    error: d.service: no such file, and no such unit in the cluster
    ");
}

#[test]
fn the_version_is_said_as_fleetctl_said_it() {
    let expected = format!("exit 0\n--- stdout\nmusterctl version {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(output_text(&musterctl("version").output().unwrap()), expected);
    // What says whom to ask is nothing to a command that asks nobody.
    let mut command = musterctl("version");
    command.env("FLEETCTL_DRIVER", "etcd").env("FLEETCTL_ENDPOINT", "http://127.0.0.1:2379");
    assert_eq!(output_text(&command.output().unwrap()), expected);
    for flag in ["--version", "-V", "-v"] {
        let shown = output_text(&musterctl(flag).output().unwrap());
        assert!(shown.starts_with("exit 0\n--- stdout\nmusterctl "), "{flag}: {shown}");
    }
}

#[test]
fn ctrl_c_ends_a_wait_behind_a_tunnel_as_it_ends_any() {
    let daemon = daemon_with_start(vec![]);
    let sshd = Sshd::new("");
    let mut command = start_behind_tunnel(&sshd, &daemon);
    command.stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("the wait", || daemon.lines().len() == 2);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
}
