//! Doors: who is let in over TCP, on real sockets. What a web page can send changes nothing, whatever it tries.

use std::net::SocketAddr;

use musterd::config::{ApiPart, ServedParts};
use musterd::net::listen::{Sockets, Tcp};
use musterd::net::serve::serve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::connections::{exchange, listen, listen_with};
use super::*;

/// Asks once; the first line without its version, the rest below it.
async fn exchange_once(address: SocketAddr, request: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n\r\n{body}"
    );
    let answer = exchange(address, &text).await;
    answer.strip_prefix("HTTP/1.1 ").unwrap_or(&answer).to_owned()
}

async fn wanted(cluster: &Cluster) -> String {
    let units = cluster.get("/v1/units").await.body;
    format!("{} {}", units["units"][0]["name"], units["units"][0]["desired"])
}

#[tokio::test]
async fn no_web_page_changes_or_reads_anything() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "launched").await;
    let address = listen(cluster.app.clone()).await;
    let host = format!("Host: {address}");
    let json = "Content-Type: application/json";
    let destroy = "POST /v1/units/destroy";
    let names = r#"{"names":["a.service"]}"#;
    let port = address.port();
    for (headers, status) in [
        // A name of its own that it has led here.
        (
            format!("Host: evil.example:{port}\r\n{json}\r\nOrigin: http://evil.example:{port}"),
            "421",
        ),
        (format!("Host: evil.example\r\n{json}\r\nSec-Fetch-Site: same-origin"), "421"),
        (format!("Host: 192.0.2.1:{port}\r\n{json}"), "421"),
        // Two of them, and none.
        (format!("{host}\r\nHost: evil.example\r\n{json}"), "400"),
        (json.to_owned(), "400"),
        // From elsewhere, from another port here, and from nowhere.
        (format!("{host}\r\n{json}\r\nOrigin: http://evil.example"), "403"),
        (format!("{host}\r\n{json}\r\nOrigin: http://127.0.0.1:8080"), "403"),
        (format!("{host}\r\n{json}\r\nOrigin: null"), "403"),
        (format!("{host}\r\n{json}\r\nSec-Fetch-Site: cross-site"), "403"),
        (format!("{host}\r\n{json}\r\nSec-Fetch-Site: same-site"), "403"),
        // By an old browser that says nothing of where it is from: what it sends without asking first.
        (format!("{host}\r\nContent-Type: text/plain"), "415"),
        (format!("{host}\r\nContent-Type: application/x-www-form-urlencoded"), "415"),
        (format!("{host}\r\nContent-Type: multipart/form-data; boundary=x"), "415"),
        (host.clone(), "415"),
    ] {
        let answer = exchange_once(address, destroy, &headers, names).await;
        assert!(answer.starts_with(status), "{headers}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
    // Without a body, and by a target that names another host.
    for (request, status) in [
        ("POST /v1/unfreeze", "415"),
        ("POST http://evil.example/v1/unfreeze", "421"),
        ("GET http://evil.example/v1/units", "421"),
    ] {
        let answer = exchange_once(address, request, &host, "").await;
        assert!(answer.starts_with(status), "{request}: {answer}");
    }
    // Reading, and the question before a request.
    let page =
        format!("{host}\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST");
    for request in
        ["GET /v1/units", "GET /metrics", "GET /v1/units/a.service/journal", "OPTIONS /v1/units"]
    {
        let answer = exchange_once(address, request, &page, "").await;
        assert!(answer.starts_with("403"), "{request}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
    }
    assert_eq!(wanted(&cluster).await, r#""a.service" "launched""#);
    let counted = cluster.get("/metrics").await.text;
    for reason in ["host", "origin", "content_type"] {
        let line = format!("muster_http_refusals_total{{reason=\"{reason}\"}}");
        assert!(counted.contains(&line), "{counted}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let cluster = cluster().await;
    let address = listen(cluster.app.clone()).await;
    let answer = exchange_once(address, "GET /v1/units", "Host: muster.example.com:7117", "").await;
    assert!(answer.contains("not known as \\\"muster.example.com:7117\\\""), "{answer}");
    assert!(answer.contains("http.names"), "{answer}");
    let answer =
        exchange_once(address, "POST /fleetlock/v1/pre-reboot", "Host: muster.example.com", "")
            .await;
    assert!(
        answer.starts_with("421") && answer.contains(r#"{"kind":"refused","value":"#),
        "{answer}"
    );
    let answer = exchange_once(address, "POST /v1/unfreeze", &format!("Host: {address}"), "").await;
    assert!(answer.contains("expected 1 Content-Type, got 0"), "{answer}");
    assert!(answer.contains("needs the header Content-Type: application/json"), "{answer}");
    assert!(answer.contains("even without a body"), "{answer}");
}

#[tokio::test]
async fn clients_are_let_in() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "inactive").await;
    let address = listen(cluster.app.clone()).await;
    let port = address.port();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for host in [
        address.to_string(),
        "127.0.0.1".to_owned(),
        format!("localhost:{port}"),
        "LOCALHOST.:1".to_owned(),
        kernel.trim().to_owned(),
        format!("[::ffff:127.0.0.1]:{port}"),
    ] {
        let answer = exchange_once(address, "GET /v1/units", &format!("Host: {host}"), "").await;
        assert!(answer.starts_with("200"), "{host}: {answer}");
    }
    let host = format!("Host: {address}");
    // musterctl's change without a body.
    let json = format!("{host}\r\nContent-Type: application/json");
    assert!(exchange_once(address, "POST /v1/unfreeze", &json, "").await.starts_with("204"));
    // fleetctl sends no content type with a deletion, and fleet's tests none with a patch.
    let patch = r#"[{"op":"add","path":"/m1/metadata/rack","value":"1"}]"#;
    let patched = exchange_once(address, "PATCH /fleet/v1/machines", &host, patch).await;
    assert!(patched.starts_with("20") || patched.starts_with("400"), "{patched}");
    let deleted = exchange_once(address, "DELETE /fleet/v1/units/a.service", &host, "").await;
    assert!(deleted.starts_with("204"), "{deleted}");
    // FleetLock's clients send none either.
    let lock = format!("{host}\r\nfleet-lock-protocol: true");
    let params = r#"{"client_params":{"id":"c988d2509fdf5cdcbed39037c56406fb","group":"default"}}"#;
    let locked = exchange_once(address, "POST /fleetlock/v1/pre-reboot", &lock, params).await;
    assert!(locked.starts_with("200"), "{locked}");
}

#[tokio::test]
async fn names_of_the_configuration_are_names() {
    let cluster = cluster().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = vec![Tcp { listener, serves: ServedParts::all_parts() }];
    let names = vec!["Muster.example.com".parse().unwrap(), "203.0.113.5".parse().unwrap()];
    let sockets = Sockets { tcp, names, ..Sockets::default() };
    tokio::spawn(serve(sockets, cluster.app.clone(), CancellationToken::new()));
    for host in ["muster.example.com", "203.0.113.5:80"] {
        let answer = exchange_once(address, "GET /v1/version", &format!("Host: {host}"), "").await;
        assert!(answer.starts_with("200"), "{host}: {answer}");
    }
    let answer = exchange_once(address, "GET /v1/version", "Host: example.com", "").await;
    assert!(answer.starts_with("421"), "{answer}");
}

#[tokio::test]
async fn a_restricted_listener_serves_its_part_and_nothing_else() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "launched").await;
    let paths = [
        ("fleetlock", "POST /fleetlock/v1/steady-state"),
        ("metrics", "GET /metrics"),
        ("metrics", "GET /healthz"),
        ("api", "GET /v1/units"),
        ("api", "GET /fleet/v1/units"),
        ("api", "POST /v1/unfreeze"),
        ("api", "DELETE /fleet/v1/units/none.service"),
        ("none", "GET /"),
        ("none", "GET /fleetlock/../v1/units"),
        ("none", "GET /fleetlock/%2e%2e/v1/units"),
        ("none", "GET //v1/units"),
    ];
    let headers = "Host: localhost\r\nfleet-lock-protocol: true\r\nContent-Type: application/json";
    let params = r#"{"client_params":{"id":"c988d2509fdf5cdcbed39037c56406fb","group":"default"}}"#;
    for parts in [
        &[ApiPart::FleetLock][..],
        &[ApiPart::Metrics],
        &[ApiPart::Api],
        &[ApiPart::FleetLock, ApiPart::Metrics],
        &[ApiPart::FleetLock, ApiPart::Metrics, ApiPart::Api],
    ] {
        let serves = ServedParts::of_parts(parts).unwrap();
        let address = listen_with(cluster.app.clone(), serves, None).await;
        for (part, request) in paths {
            let answer = exchange_once(address, request, headers, params).await;
            let served = serves.to_string().contains(part);
            let missing = answer.starts_with("404") && !answer.contains("unit does not exist");
            assert_eq!(missing, !served, "{serves}: {request}: {answer}");
            if !served && serves != ServedParts::all_parts() && !request.contains("/fleetlock") {
                let expected =
                    format!("this listener serves {serves} and nothing else (http.listener)");
                assert!(answer.contains(&expected), "{serves}: {request}: {answer}");
            }
        }
    }
    assert_eq!(wanted(&cluster).await, r#""a.service" "launched""#);
}

#[tokio::test]
async fn on_the_unix_socket_all_is_as_it_was() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.sock");
    let unix = vec![UnixListener::bind(&path).unwrap()];
    let sockets = Sockets { unix, ..Sockets::default() };
    tokio::spawn(serve(sockets, cluster.app.clone(), CancellationToken::new()));
    for (request, status) in [
        ("GET /v1/version HTTP/1.1\r\nHost: anything", "200"),
        ("POST /v1/unfreeze HTTP/1.1\r\nHost: localhost", "204"),
        ("GET /healthz HTTP/1.0\r\nAccept: */*", "503"),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let text = format!("{request}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.split(' ').nth(1) == Some(status), "{request}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
}

#[tokio::test]
async fn a_revision_of_the_future_is_refused_without_reading_the_store() {
    let cluster = cluster().await;
    cluster.submit("a.service", HELLO, "inactive").await;
    let wait = json!({"units": [{"name": "a.service", "until": "inactive"}], "revision": u64::MAX});
    // The view has read it once.
    cluster.get("/v1/units").await;
    let before = cluster.line.count_listings();
    for _ in 0..3 {
        let drain = cluster.get("/v1/machines/m1/drain/events?revision=999999999").await;
        let waited = cluster.send_json(Method::POST, "/v1/wait", &wait.to_string()).await;
        for (answer, named) in
            [(drain, "revision=999999999"), (waited, "revision=18446744073709551615")]
        {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
            let expected = format!("{named} is of the future: the store is at revision ");
            assert!(answer.message().starts_with(&expected), "{}", answer.text);
        }
    }
    assert_eq!(cluster.line.count_listings(), before);
    for query in ["revision=-1", "revision=soon", "since=1"] {
        let answer = cluster.get(&format!("/v1/machines/m1/drain/events?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        assert!(answer.message().contains(query.split('=').next().unwrap()), "{}", answer.text);
    }
}

/// A cluster whose store takes no more than that.
async fn limited(store: StoreLimits) -> Cluster {
    let cluster = cluster().await;
    let app = App::with_quotas(
        parts(&cluster.registry, &cluster.view, &cluster.presence.machine),
        Quotas::new(&Limits { store, ..Limits::default() }),
    );
    Cluster { router: api_router(app.clone()), app, ..cluster }
}

#[tokio::test]
async fn metadata_does_not_grow_without_an_end() {
    let limits = StoreLimits { machine_metadata: 3, metadata: 4, ..StoreLimits::default() };
    let cluster = limited(limits).await;
    let patch = async |operations: &[(&str, &str)]| {
        let operation = |(op, path): &(&str, &str)| json!({"op": op, "path": path, "value": "x"});
        let body: Vec<Value> = operations.iter().map(operation).collect();
        cluster.send_json(Method::PATCH, "/fleet/v1/machines", &json!(body).to_string()).await
    };
    let (a, b, c) = ("/m1/metadata/a", "/m1/metadata/b", "/m1/metadata/c");
    let fine = patch(&[("add", a), ("add", b), ("add", c)]).await;
    assert_eq!(fine.status, StatusCode::NO_CONTENT, "{}", fine.text);
    // One more of the machine, and, by way of machines that nobody knows, of them all.
    let (d, others) = ("/m1/metadata/d", [("add", "/m8/metadata/a"), ("add", "/m9/metadata/a")]);
    for (operations, told) in [
        (&[("add", d)][..], "that would make 4 pieces of run-time metadata for m1, and"),
        (&others, "that would make 5 pieces of run-time metadata, and a cluster"),
    ] {
        let answer = patch(operations).await;
        assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE, "{}", answer.text);
        assert!(answer.message().starts_with(told), "{}", answer.text);
    }
    // What is there can be changed and removed, and then there is room.
    for operations in [&[("replace", a)][..], &[("remove", b)], &[("add", d)]] {
        let answer = patch(operations).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_patch_is_carried_out_in_its_order_and_has_an_end() {
    let cluster = cluster().await;
    let patch = async |operations: Value| {
        cluster.send_json(Method::PATCH, "/fleet/v1/machines", &operations.to_string()).await
    };
    let operation = |op: &str, key: &str, value: &str| json!({"op": op, "path": format!("/m1/metadata/{key}"), "value": value});
    let twice = json!([
        operation("add", "a", "1"),
        operation("add", "a", "2"),
        operation("add", "b", "1"),
        operation("remove", "b", "")
    ]);
    let answer = patch(twice).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    let machines = cluster.get("/fleet/v1/machines").await;
    let metadata = &machines.body["machines"][0]["metadata"];
    assert_eq!((&metadata["a"], metadata.get("b")), (&json!("2"), None), "{}", machines.text);
    let many: Vec<Value> = (0..128).map(|n| operation("add", &format!("k{n}"), "x")).collect();
    let answer = patch(json!(many)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.message().contains("128 operations, and at most 127"), "{}", answer.text);
}

#[tokio::test]
async fn the_store_does_not_grow_without_an_end() {
    let bytes = 2 * HELLO.len() + 10;
    let cluster =
        limited(StoreLimits { units: 3, file_bytes: bytes, ..StoreLimits::default() }).await;
    for name in ["a.service", "b.service", "c.service"] {
        cluster.submit(name, HELLO, "inactive").await;
    }
    // One more, by either API; and by instance of a template.
    let hash = FileHash::of_text(HELLO).to_string();
    let more = json!({"files": {&hash: HELLO}, "units": [{"name": "d.service", "file": hash}]});
    let more = cluster.change(more).await;
    let fleets = cluster.put("d.service", json!({"options": options()})).await;
    for answer in [more, fleets] {
        assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE, "{}", answer.text);
        assert!(answer.message().starts_with("that would make 4 units, and"), "{}", answer.text);
    }
    // What is there can be changed, and what is too large cannot.
    let start = json!({"units": [{"name": "a.service", "desired": "launched"}]});
    assert_eq!(cluster.change(start).await.status, StatusCode::OK);
    let large = format!("{HELLO}# {}\n", "x".repeat(HELLO.len()));
    let hash = FileHash::of_text(&large).to_string();
    let unit = json!({"name": "a.service", "file": hash});
    let large = json!({"files": {&hash: large}, "units": [unit], "replace": true});
    let answer = cluster.change(large).await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE, "{}", answer.text);
    assert!(answer.message().contains("bytes of unit files"), "{}", answer.text);
}
