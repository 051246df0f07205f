//! Connections: clients that are slow, send too much, or go away, over real sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use musterd::http::serve::serve;
use musterd::http::socket::Sockets;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::trouble::eventually;
use super::*;

/// Serves a router until the test ends.
async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let sockets = Sockets { tcp: vec![listener], ..Sockets::default() };
    tokio::spawn(serve(sockets, router, CancellationToken::new()));
    address
}

/// Sends bytes and reads until the server has closed the connection.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Longer than the server's own patience.
    let read = tokio::time::timeout(10 * LIMIT, stream.read_to_end(&mut answer)).await;
    // A server that has refused a body does not read it, and then its answer may be followed by a reset.
    let _ = read.expect("the server closes the connection");
    String::from_utf8(answer).unwrap()
}

/// The clock is the test's: it goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_say_what_it_wants_is_cut_off() {
    let address = listen(cluster().await.router).await;
    let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // And one that has nothing more to say.
    let answer = exchange(address, "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_of_a_body_is_cut_off() {
    let address = listen(cluster().await.router).await;
    let head = "POST /v1/units HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    let answer = exchange(address, &format!("{head}{{\"units\": [")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("nothing more of the body came for 30 s"), "{answer}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_is_sent() {
    let address = listen(cluster().await.router).await;
    let head = "POST /v1/units HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
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
    let address = listen(cluster().await.router).await;
    let answer = exchange(address, "\u{16}\u{3}\u{1}nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let answer = exchange(address, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// A journalctl that tells its process id and goes on for ever.
fn endless(directory: &Path) -> PathBuf {
    let path = directory.join("journalctl");
    std::fs::write(&path, "#!/bin/sh\necho $$\nexec sleep 1d\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Follows a journal until the process behind it is known; the connection, and the process.
async fn follow(address: SocketAddr) -> (BufReader<TcpStream>, u32) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let request = "GET /v1/units/a.service/journal?follow=true HTTP/1.1\r\nHost: a\r\n\r\n";
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

fn runs(process: u32) -> bool {
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
    };

    // On the unit's own machine, asked there and through another.
    let (there, id) = (&cluster.registry, "m2".parse().unwrap());
    let app = App::new(Parts { inspector, ..parts(there, &cluster.view, &id) });
    let there = listen(router(app)).await;
    let presence = cluster.join_at("m2", Some(there.to_string())).await;
    cluster.place_on(&presence, &name).await;
    let here = listen(cluster.router.clone()).await;
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
    };
    let shutdown = CancellationToken::new();
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    let app = App::new(Parts { inspector, shutdown: shutdown.clone(), ..parts });
    let address = listen(router(app)).await;
    let (mut connection, process) = follow(address).await;
    shutdown.cancel();
    eventually(|| !runs(process)).await;
    let mut rest = String::new();
    tokio::time::timeout(LIMIT, connection.read_line(&mut rest)).await.unwrap().unwrap();
}
