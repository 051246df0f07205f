//! Requests that a browser can send, and those of clients.

use http::Request;

use super::*;

/// A request to a daemon that is `n1`: the first line without its version, then headers.
fn judge(text: &str) -> Result<(), (u16, &'static str)> {
    let mut lines = text.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let ours = |host: &RequestHost| host.name == host::HostKind::Name("n1".to_owned());
    check(&parts, ours).map_err(|refused| (refused.error.status.as_u16(), refused.reason))
}

#[test]
fn a_request_for_another_host_is_misdirected() {
    assert_eq!(judge("GET /v1/units\nHost: n1:7117"), Ok(()));
    assert_eq!(judge("GET /v1/units\nHost: N1."), Ok(()));
    for host in
        ["evil.example", "n1.evil.example", "n1evil", "192.0.2.1", "[::1]:7117", "localhost"]
    {
        assert_eq!(judge(&format!("GET /v1/units\nHost: {host}")), Err((421, "host")), "{host}");
    }
    // What no host can be, none, and two.
    for headers in
        ["Host: a b", "Host: ", "Host: n1:0", "Host: me@n1", "Accept: a", "Host: n1\nHost: n1"]
    {
        assert_eq!(judge(&format!("GET /v1/units\n{headers}")), Err((400, "host")), "{headers}");
    }
    // A target with a host of its own: both are ours, or nothing is done.
    assert_eq!(judge("GET http://n1:7117/v1/units\nHost: n1"), Ok(()));
    assert_eq!(judge("GET http://evil.example/v1/units\nHost: n1"), Err((421, "host")));
    assert_eq!(judge("GET http://n1/v1/units\nHost: evil.example"), Err((421, "host")));
}

#[test]
fn a_page_of_another_origin_is_not_answered() {
    let with = |header: &str| judge(&format!("GET /v1/units\nHost: n1:7117\n{header}"));
    for header in [
        "Origin: http://n1:7117",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin",
        "Accept: */*",
    ] {
        assert_eq!(with(header), Ok(()), "{header}");
    }
    for header in [
        "Origin: http://evil.example",
        "Origin: http://n1:8080",
        "Origin: http://n1",
        "Origin: null",
        "Origin: http://n1:7117.evil.example",
        "Origin: ",
        "Origin: http://n1:7117\nOrigin: http://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: Same-Origin",
        "Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site",
    ] {
        assert_eq!(with(header), Err((403, "origin")), "{header}");
    }
    // Behind a proxy for TLS the origin is the proxy's, by the name that it passes on.
    assert_eq!(judge("GET /\nHost: n1\nOrigin: https://n1"), Ok(()));
    assert_eq!(judge("GET /\nHost: n1\nOrigin: https://n1:80"), Err((403, "origin")));
    // The question before a request is one of the page's, too.
    let asked = "OPTIONS /v1/units\nHost: n1\nOrigin: http://evil.example\nAccess-Control-Request-Method: POST";
    assert_eq!(judge(asked), Err((403, "origin")));
}

#[test]
fn a_change_needs_a_content_type_that_no_page_can_send_unasked() {
    let with = |request: &str, header: &str| judge(&format!("{request}\nHost: n1\n{header}"));
    let json = "Content-Type: application/json; charset=utf-8";
    let none = "Accept: */*";
    for request in
        ["POST /v1/unfreeze", "POST /v1/units", "POST /fleet/v1/units", "PUT /v1/x", "DELETE /v1/x"]
    {
        assert_eq!(with(request, json), Ok(()), "{request}");
        for header in [
            none,
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Type: multipart/form-data; boundary=application/json",
            "Content-Type: application/jsonx",
            "Content-Type: application/json\nContent-Type: text/plain",
        ] {
            assert_eq!(with(request, header), Err((415, "content_type")), "{request} {header}");
        }
    }
    assert_eq!(
        with("PATCH /fleet/v1/machines", "Content-Type: application/json-patch+json"),
        Ok(())
    );
    assert!(with("POST /v1/units", "Content-Type: application/json-patch+json").is_err());
}

#[test]
fn fleets_and_fleetlocks_clients_are_let_in_as_they_are() {
    for request in ["DELETE /fleet/v1/units/a.service", "PATCH /fleet/v1/machines"] {
        assert_eq!(judge(&format!("{request}\nHost: n1")), Ok(()), "{request}");
        // One that a browser sends is marked, and then it needs what any other needs.
        for mark in ["Origin: http://n1", "Sec-Fetch-Site: same-origin"] {
            let request = format!("{request}\nHost: n1\n{mark}");
            assert_eq!(judge(&request), Err((415, "content_type")), "{request}");
        }
        let wrong = format!("{request}\nHost: n1\nContent-Type: text/plain");
        assert_eq!(judge(&wrong), Err((415, "content_type")), "{request}");
    }
    for path in ["/fleetlock/v1/pre-reboot", "/v1/steady-state"] {
        assert_eq!(judge(&format!("POST {path}\nHost: n1")), Ok(()), "{path}");
    }
}
