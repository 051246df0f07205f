//! One request: its bytes, its answer, and each way in which it fails.

use std::time::Duration;

use muster_client::{ApiRequest, Client, ClientError, HeaderName, HeaderValue, Limits, StatusCode};
use serde_json::{Value, json};

use crate::server::{Reply, Server};

fn client(server: &Server) -> Client {
    Client::new([server.endpoint().into()], Limits::default())
}

#[tokio::test]
async fn a_request_carries_what_it_was_given_and_its_answer_is_typed() {
    let server = Server::start(&[Reply::Close("HTTP/1.1 200 OK\r\n\r\n[1,2]")]);
    let forwarded = HeaderName::from_static("muster-forwarded");
    let client = client(&server).with_header(forwarded, HeaderValue::from_static("1"));
    let answer: Vec<u8> = client.post_json("/v1/units", &json!({"units": []})).await.unwrap();
    assert_eq!(answer, [1, 2]);
    let request = &server.requests()[0].to_ascii_lowercase();
    for part in [
        "post /v1/units http/1.1\r\n",
        "\r\nmuster-forwarded: 1\r\n",
        "\r\ncontent-type: application/json\r\n",
        &format!("\r\nhost: {}\r\n", server.endpoint().host_header()),
        "\r\n\r\n{\"units\":[]}",
    ] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
}

#[tokio::test]
async fn a_refusal_has_its_status_and_its_words_and_is_no_failed_connection() {
    let server = Server::start(&[Reply::Close(
        "HTTP/1.1 409 Conflict\r\n\r\n{\"error\":{\"code\":409,\"message\":\"no slot is free\"}}",
    )]);
    let error = client(&server).post_empty("/v1/reboot/lock").await.unwrap_err();
    assert_eq!(error.to_string(), "no slot is free");
    assert_eq!(error.refused_status(), Some(StatusCode::CONFLICT));
    assert!(!error.is_connection_failure() && !error.is_transient());
    let ClientError::Refused { operation, .. } = error else { panic!("{error:?}") };
    assert_eq!(operation.to_string(), "POST /v1/reboot/lock");
}

#[tokio::test]
async fn an_answer_may_be_read_whatever_its_status_is() {
    let server = Server::start(&[Reply::Close("HTTP/1.1 404 Not Found\r\n\r\n{\"a\":1}")]);
    let answer = client(&server).send(&ApiRequest::get("/elsewhere")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.read_json::<Value>(64).await.unwrap(), json!({"a": 1}));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let server = Server::start(&[Reply::Close("HTTP/1.1 200 OK\r\n\r\n[1,2,3,4]")]);
    let limits = Limits::default().with_body_bytes(8);
    let client = Client::new([server.endpoint().into()], limits);
    let error = client.get::<Value>("/v1/units").await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 8, .. }), "{error:?}");
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up() {
    let server = Server::start(&[Reply::Silence("")]);
    let limits = Limits::default().with_request(Duration::from_millis(50));
    let client = Client::new([server.endpoint().into()], limits);
    let error = client.get::<Value>("/v1/units").await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(error.is_transient() && !error.is_connection_failure());
}

#[tokio::test]
async fn a_body_that_is_read_as_it_comes_is_given_up_when_it_falls_silent() {
    let server = Server::start(&[Reply::Silence("HTTP/1.1 200 OK\r\n\r\nthe first line\n")]);
    let mut body = client(&server).open(&ApiRequest::get("/v1/journal")).await.unwrap();
    assert_eq!(body.next_piece().await.unwrap().unwrap(), "the first line\n");
    let silence = Duration::from_millis(50);
    let error = body.next_piece_within(silence).await.unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_at_the_port_is_a_failed_connection() {
    // Taken, so that nobody else listens there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = Client::new([taken.local_addr().unwrap().into()], Limits::default());
    let error = client.get::<Value>("/v1/units").await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error:?}");
    assert!(error.is_connection_failure() && error.is_transient());
}
