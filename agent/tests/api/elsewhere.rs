//! Machines whose records or daemons lie: what they send goes no further than it has to.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

/// Something that answers every request with this head, and then with this piece as often as that.
async fn pretender(head: &'static str, piece: Vec<u8>, times: usize) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let piece = piece.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|n| n > 2) {
                    line.clear();
                }
                let _ = stream.write_all(head.as_bytes()).await;
                for _ in 0..times {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A cluster in which `m2` has a unit, and is what answers there.
async fn with(address: SocketAddr) -> Cluster {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let presence = cluster.join_at("m2", Some(address.to_string())).await;
    cluster.place_on(&presence, &name).await;
    cluster
}

async fn answer(cluster: &Cluster, path: &str) -> (http::response::Parts, Vec<u8>) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = cluster.router.clone().oneshot(request).await.unwrap().into_parts();
    let body = tokio::time::timeout(LIMIT, body.collect()).await.unwrap().unwrap();
    (parts, body.to_bytes().to_vec())
}

#[tokio::test]
async fn what_another_daemon_says_of_its_answer_is_not_passed_on() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\n\
                Connection: close\r\n\r\n";
    let cluster = with(pretender(head, b"<script>alert(1)</script>\n".to_vec(), 1).await).await;
    let (parts, body) = answer(&cluster, "/v1/units/a.service/journal").await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(body, b"<script>alert(1)</script>\n");
    let headers: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(headers, ["content-type", "x-content-type-options"]);
    assert_eq!(parts.headers["content-type"], "text/plain; charset=utf-8");

    let (parts, body) = answer(&cluster, "/v1/units/a.service/status").await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(parts.status, StatusCode::BAD_GATEWAY, "{body}");
    assert!(body.contains("sent no status such as a daemon sends"), "{body}");
    assert_eq!(parts.headers["content-type"], "application/json");
}

#[tokio::test]
async fn an_answer_that_leads_elsewhere_is_followed_nowhere() {
    let head = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n";
    let cluster = with(pretender(head, Vec::new(), 1).await).await;
    for path in ["/v1/units/a.service/journal", "/v1/units/a.service/status"] {
        let (parts, _) = answer(&cluster, path).await;
        assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
        assert!(!parts.headers.contains_key("location"));
    }
}

#[tokio::test]
async fn a_log_that_never_ends_is_cut() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let line = format!("{}\n", "x".repeat(64 * 1024 - 1)).into_bytes();
    let cluster = with(pretender(head, line, usize::MAX).await).await;
    let (parts, body) = answer(&cluster, "/v1/units/a.service/journal?lines=all").await;
    assert_eq!(parts.status, StatusCode::OK);
    let (most, end) =
        (33 * 1024 * 1024, String::from_utf8_lossy(&body[body.len() - 200..]).into_owned());
    assert!(body.len() < most, "{}", body.len());
    assert!(end.contains("-- the log is cut here: it is longer than "), "{end}");
    // Nor does an endless error or status fill the memory.
    let (parts, _) = answer(&cluster, "/v1/units/a.service/status").await;
    assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_local_log_is_cut_too() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    cluster.place(&name).await;
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: "/usr/bin/yes".into(),
        containers: None,
        podman: None,
    };
    let app = App::new(AppParts { inspector, ..parts });
    let cluster = Cluster { router: api_router(app.clone()), app, ..cluster };
    let (_, body) = answer(&cluster, "/v1/units/a.service/journal?lines=all").await;
    assert!(body.len() < 33 * 1024 * 1024, "{}", body.len());
}

#[tokio::test]
async fn a_record_that_lies_about_its_place_is_asked_nowhere() {
    let cluster = cluster().await;
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let mut machine =
        cluster.registry.read_snapshot().await.unwrap().machines[&cluster.presence.machine].clone();
    machine.id = "m2".parse().unwrap();
    machine.address = "192.0.2.7".to_owned();
    machine.api = Some("169.254.169.254:80".to_owned());
    let lease = cluster.registry.grant_lease(Duration::from_secs(600)).await.unwrap();
    let presence = cluster.registry.register_machine(&machine, lease).await.unwrap();
    cluster.place_on(&presence, &name).await;
    let answer = cluster.get("/v1/units/a.service/status").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text);
    assert!(
        answer.message().contains("\"169.254.169.254:80\", and it is not asked there"),
        "{}",
        answer.text
    );
}
