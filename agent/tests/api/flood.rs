//! Floods: more clients than a daemon has room for. Those that find none are told so, and the unix socket has room.

use std::net::SocketAddr;
use std::path::Path;

use musterd::config::ServedParts;
use musterd::net::listen::{Sockets, Tcp};
use musterd::net::serve::serve;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::connections::{endless, exchange, follow, listen, listen_locally, listen_with, runs};
use super::trouble::{eventually, eventually_told};
use super::*;

const ASK: &str = "GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Connects from one of this machine's many loopback addresses.
async fn connect(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Asks, and reads what there is of the answer at first; the connection is kept.
async fn answered(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    // One that is refused may be closed before it is asked.
    let _ = stream.write_all(ASK.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await;
    let length = read.expect("an answer in time").unwrap_or(0);
    answer.truncate(length);
    String::from_utf8(answer).unwrap()
}

/// A daemon with a TCP listener and a unix socket, both for few.
async fn small(app: App, limits: Limits, directory: &Path) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = vec![Tcp { listener, serves: ServedParts::all_parts() }];
    let unix = vec![UnixListener::bind(directory.join("socket")).unwrap()];
    let sockets = Sockets { unix, tcp, limits: Some(limits), ..Sockets::default() };
    tokio::spawn(serve(sockets, app, CancellationToken::new()));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_tcp_leaves_the_unix_socket_its_room() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { listener: 8, peer: 8, local: 2, ..Limits::default() };
    let address = small(cluster.app.clone(), limits, directory.path()).await;
    // Heads that never end: they hold their places for as long as a head may take.
    let mut flood = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(b"GET /v1/version HTTP/1.1\r\nX-Slow: ").await;
        flood.push(stream);
    }
    let mut stream = UnixStream::connect(directory.path().join("socket")).await.unwrap();
    let answer = answered(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // 192 have been turned away, and 8 are in.
    eventually_told(&cluster, "muster_http_refusals_total{reason=\"peer_connections\"} 192\n")
        .await;
    let open = format!("muster_http_connections{{listener=\"{address}\"}} 8\n");
    eventually_told(&cluster, &open).await;
    // Once it is over, all is well.
    drop(flood);
    let poll = async {
        while !answered(&mut connect(9, address).await).await.starts_with("HTTP/1.1 200 ") {}
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap();
}

/// Opens so many connections once it is told to, says so, and keeps them.
const OPENER: &str = "read -r; for i in $(seq 400); do exec {fd}<>/dev/tcp/127.0.0.1/$0; done; echo opened; sleep 1d";

/// Each test is a process of its own, so it can take descriptors from itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_few_descriptors_keeps_some_for_the_unix_socket() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Started first: it is to have as many as it needs.
    let mut opener = tokio::process::Command::new("bash")
        .args(["-c", OPENER, &port.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let few = rustix::process::Rlimit { current: Some(320), maximum: Some(320) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let tcp = vec![Tcp { listener, serves: ServedParts::all_parts() }];
    let unix = vec![UnixListener::bind(directory.path().join("socket")).unwrap()];
    let sockets = Sockets { unix, tcp, ..Sockets::default() };
    tokio::spawn(serve(sockets, cluster.app.clone(), CancellationToken::new()));
    opener.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    let mut head = [0; 6];
    let read = opener.stdout.as_mut().unwrap().read_exact(&mut head);
    tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(directory.path().join("socket")).await.unwrap();
        let answer = answered(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(!cluster.get("/metrics").await.text.contains("reason=\"accept\""));
}

/// On loopback everybody has one address: whoever fills the listener of the figures is not to hold back a host that asks
/// for a slot.
#[tokio::test]
async fn a_flood_at_one_listener_leaves_the_same_address_its_part_of_the_others() {
    let cluster = cluster().await;
    let limits = Limits { listener: 8, peer: 2, ..Limits::default() };
    let mut addresses = Vec::new();
    let mut tcp = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        tcp.push(Tcp { listener, serves: ServedParts::all_parts() });
    }
    let sockets = Sockets { tcp, limits: Some(limits), ..Sockets::default() };
    tokio::spawn(serve(sockets, cluster.app.clone(), CancellationToken::new()));
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(2, addresses[0]).await;
        assert!(answered(&mut stream).await.starts_with("HTTP/1.1 200 "));
        kept.push(stream);
    }
    let answer = answered(&mut connect(2, addresses[0]).await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let answer = answered(&mut connect(2, addresses[1]).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn an_address_that_has_all_it_may_is_told_so_and_others_are_served() {
    let cluster = cluster().await;
    let limits = Limits { listener: 8, peer: 2, ..Limits::default() };
    let address = listen_with(cluster.app.clone(), ServedParts::all_parts(), Some(limits)).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(2, address).await;
        assert!(answered(&mut stream).await.starts_with("HTTP/1.1 200 "));
        kept.push(stream);
    }
    let answer = answered(&mut connect(2, address).await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    assert!(answer.contains("127.0.0.2 has 2 connections to this listener already"), "{answer}");
    assert!(answer.contains("nosniff"), "{answer}");
    assert!(answered(&mut connect(3, address).await).await.starts_with("HTTP/1.1 200 "));
    // What it has it may go on with, and what it gives back it may have again.
    assert!(answered(&mut kept[0]).await.starts_with("HTTP/1.1 200 "));
    kept.pop();
    let poll = async {
        while !answered(&mut connect(2, address).await).await.starts_with("HTTP/1.1 200 ") {}
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap();
}

/// The clock goes on whenever nothing else does, so that nobody finds out too late that there is room.
#[tokio::test(start_paused = true)]
async fn kept_connections_make_room_when_a_listener_is_full() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { local: 2, ..Limits::default() };
    let socket = listen_locally(cluster.app.clone(), limits, directory.path());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        assert!(answered(&mut stream).await.starts_with("HTTP/1.1 200 "));
        kept.push(stream);
    }
    let mut third = UnixStream::connect(&socket).await.unwrap();
    assert!(answered(&mut third).await.starts_with("HTTP/1.1 200 "));
    // They were told: the connection has ended.
    let mut rest = Vec::new();
    for mut stream in kept {
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn whoever_finds_no_room_in_time_is_told_so() {
    let cluster = cluster().await;
    let limits = Limits { listener: 1, peer: 1, ..Limits::default() };
    let address = listen_with(cluster.app.clone(), ServedParts::all_parts(), Some(limits)).await;
    let mut busy = connect(2, address).await;
    busy.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let open = format!("muster_http_connections{{listener=\"{address}\"}} 1\n");
    eventually_told(&cluster, &open).await;
    let answer = answered(&mut connect(3, address).await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("there are 1 connections already"), "{answer}");
}

/// A daemon on which few may follow, and where journals go on for ever.
async fn followed(cluster: &Cluster, directory: &Path, limits: Limits) -> App {
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    cluster.place(&name).await;
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: endless(directory),
        containers: None,
        podman: None,
    };
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    App::with_quotas(AppParts { inspector, ..parts }, Quotas::new(&limits))
}

/// Asks for something that streams; the answer as far as it has come.
async fn begin(address: SocketAddr, from: u8, request: &str, body: &str) -> (TcpStream, String) {
    let mut stream = connect(from, address).await;
    let text = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await.unwrap().unwrap();
    answer.truncate(length);
    (stream, String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn journals_are_followed_by_so_many_and_what_has_ended_makes_room_at_once() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let followers = LimitShares { local: 1, network: 2, peer: 2 };
    let limits = Limits { followers, ..Limits::default() };
    let address = listen(followed(&cluster, directory.path(), limits).await).await;
    let (first, process) = follow(address).await;
    let (second, other) = follow(address).await;
    let journal = "GET /v1/units/a.service/journal?follow=true";
    let (_stream, answer) = begin(address, 9, journal, "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("there are 2 followers of a journal already"), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    let (_stream, answer) = begin(address, 1, journal, "").await;
    assert!(answer.contains("127.0.0.1 has 2 followers of a journal already"), "{answer}");
    // The rest goes on.
    let (_stream, answer) = begin(address, 1, "GET /v1/units/a.service/status", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(first);
    eventually(|| !runs(process)).await;
    let poll =
        async { while !begin(address, 9, journal, "").await.1.starts_with("HTTP/1.1 200 ") {} };
    tokio::time::timeout(LIMIT, poll).await.unwrap();
    assert!(runs(other));
    drop(second);
}

#[tokio::test]
async fn events_are_followed_by_so_many() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let streams = LimitShares { local: 1, network: 1, peer: 1 };
    let limits = Limits { streams, ..Limits::default() };
    let app = followed(&cluster, directory.path(), limits).await;
    let address = listen(app).await;
    let wait = json!({"units": [{"name": "a.service", "until": "launched"}]}).to_string();
    let (held, answer) = begin(address, 2, "POST /v1/wait", &wait).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (request, body) in [
        ("POST /v1/wait", &*wait),
        ("GET /v1/machines/m1/drain/events", ""),
        ("GET /v1/reboot/watch", ""),
    ] {
        let (_stream, answer) = begin(address, 3, request, body).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{request}: {answer}");
        assert!(answer.contains("there are 1 streams of events already"), "{request}: {answer}");
    }
    let scrape = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counted = exchange(address, scrape).await;
    assert!(counted.contains("muster_http_refusals_total{reason=\"streams\"} 3"), "{counted}");
    drop(held);
    let poll = async {
        while !begin(address, 3, "POST /v1/wait", &wait).await.1.starts_with("HTTP/1.1 200 ") {}
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap();
}
