//! Connections: clients that are slow, send too much, or go away, over real sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use musterd::config::ServedParts;
use musterd::net::listen::{Sockets, Tcp};
use musterd::net::serve::serve;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::trouble::eventually;
use super::*;

/// Serves everything until the test ends.
pub(super) async fn listen(app: App) -> SocketAddr {
    listen_with(app, ServedParts::all_parts(), None).await
}

/// Serves a part of it until the test ends, to no more clients than this.
pub(super) async fn listen_with(
    app: App,
    serves: ServedParts,
    limits: Option<Limits>,
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = vec![Tcp { listener, serves }];
    let sockets = Sockets { tcp, limits, ..Sockets::default() };
    tokio::spawn(serve(sockets, app, CancellationToken::new()));
    address
}

/// The same at a unix socket in a directory. What is written there is there: a network, be it loopback, may need a moment,
/// in which a clock that goes on whenever nothing else does would go on.
pub(super) fn listen_locally(app: App, limits: Limits, directory: &Path) -> PathBuf {
    let path = directory.join("socket");
    let unix = vec![UnixListener::bind(&path).unwrap()];
    let sockets = Sockets { unix, limits: Some(limits), ..Sockets::default() };
    tokio::spawn(serve(sockets, app, CancellationToken::new()));
    path
}

/// Sends bytes and reads until the server has closed the connection.
pub(super) async fn exchange(address: SocketAddr, request: &str) -> String {
    exchange_over(TcpStream::connect(address).await.unwrap(), request).await
}

async fn exchange_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Longer than the server's own limit.
    let read = tokio::time::timeout(10 * LIMIT, stream.read_to_end(&mut answer)).await;
    // A server that has refused a body does not read it, and then its answer may be followed by a reset.
    let _ = read.expect("the server closes the connection");
    String::from_utf8(answer).unwrap()
}

/// The clock is the test's: it goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_say_what_it_wants_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listen_locally(cluster().await.app, Limits::default(), directory.path());
    let exchange = async |request: &str| {
        exchange_over(UnixStream::connect(&socket).await.unwrap(), request).await
    };
    let answer = exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // And one that has nothing more to say.
    let answer = exchange("GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_of_a_body_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listen_locally(cluster().await.app, Limits::default(), directory.path());
    let head = "POST /v1/units HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    let stream = UnixStream::connect(&socket).await.unwrap();
    let answer = exchange_over(stream, &format!("{head}{{\"units\": [")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("the whole body did not come within 30 s"), "{answer}");
}

/// Sends a head, then its body byte by byte, each of them in time, until the server has had enough.
async fn drip(socket: &Path, head: &str) -> String {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(head.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(7));
        while write.write_all(b" ").await.is_ok() {
            ticks.tick().await;
        }
    });
    let mut answer = Vec::new();
    let end = tokio::time::timeout(10 * LIMIT, read.read_to_end(&mut answer)).await;
    let _ = end.expect("the server closes the connection");
    dripping.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_for_ever_is_cut_off_whosever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listen_locally(cluster().await.app, Limits::default(), directory.path());
    let body = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n";
    for request in [
        "POST /v1/units",
        "POST /v1/wait",
        "POST /v1/reboot/lock",
        "PUT /fleet/v1/units/a.service",
        "PATCH /fleet/v1/machines",
        "POST /fleetlock/v1/pre-reboot",
        "POST /fleetlock/v1/steady-state",
    ] {
        let head = format!("{request} HTTP/1.1\r\nfleet-lock-protocol: true\r\n{body}\r\n");
        let answer = drip(&socket, &head).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{request}: {answer}");
        assert!(answer.contains("the whole body did not come within 30 s"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_is_sent() {
    let address = listen(cluster().await.app).await;
    let head = "POST /v1/units HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    // Announced: refused before anything of it was sent.
    let announced = exchange(address, &format!("{head}Content-Length: 1048577\r\n\r\n")).await;
    // Not announced: refused once it has become too large.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(17);
    let chunked =
        exchange(address, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
    for answer in [announced, chunked] {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("the body is larger than 1048576 bytes"), "{answer}");
        assert!(answer.contains("application/json"), "{answer}");
    }
    let exact = " ".repeat(1_048_576 - 12);
    let fits =
        exchange(address, &format!("{head}Content-Length: 1048576\r\n\r\n{{\"units\":[]}}{exact}"))
            .await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_cut_off() {
    let address = listen(cluster().await.app).await;
    let answer = exchange(address, "\u{16}\u{3}\u{1}nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let answer = exchange(address, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// A journalctl that tells its process id and goes on for ever.
pub(super) fn endless(directory: &Path) -> PathBuf {
    let path = directory.join("journalctl");
    std::fs::write(&path, "#!/bin/sh\necho $$\nexec sleep 1d\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Follows a journal until the process behind it is known; the connection, and the process.
pub(super) async fn follow(address: SocketAddr) -> (BufReader<TcpStream>, u32) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let request = "GET /v1/units/a.service/journal?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let read = async {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "{lines:?}");
            let after_head = lines.iter().any(|line: &String| line.is_empty());
            let line = line.trim_end().to_owned();
            // The length of the chunk comes before it.
            if after_head && lines.last().is_some_and(|last| !last.is_empty()) {
                return line.parse().unwrap();
            }
            lines.push(line);
        }
    };
    let process = tokio::time::timeout(LIMIT, read).await.unwrap();
    (stream, process)
}

pub(super) fn runs(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[tokio::test]
async fn whoever_follows_a_journal_and_goes_leaves_no_process_behind() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let directory = tempfile::tempdir().unwrap();
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: endless(directory.path()),
        containers: None,
        podman: None,
    };

    // On the unit's own machine, asked there and through another.
    let (there, id) = (&cluster.registry, "m2".parse().unwrap());
    let app = App::new(AppParts { inspector, ..parts(there, &cluster.view, &id) });
    let there = listen(app).await;
    let presence = cluster.join_at("m2", Some(there.to_string())).await;
    cluster.place_on(&presence, &name).await;
    let here = listen(cluster.app.clone()).await;
    for address in [there, here] {
        let (connection, process) = follow(address).await;
        assert!(runs(process));
        drop(connection);
        eventually(|| !runs(process)).await;
    }
}

#[tokio::test]
async fn a_daemon_that_stops_leaves_no_journal_behind() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    cluster.place(&name).await;
    let directory = tempfile::tempdir().unwrap();
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: endless(directory.path()),
        containers: None,
        podman: None,
    };
    let shutdown = CancellationToken::new();
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    let app = App::new(AppParts { inspector, shutdown: shutdown.clone(), ..parts });
    let address = listen(app).await;
    let (mut connection, process) = follow(address).await;
    shutdown.cancel();
    eventually(|| !runs(process)).await;
    let mut rest = String::new();
    tokio::time::timeout(LIMIT, connection.read_line(&mut rest)).await.unwrap().unwrap();
}
